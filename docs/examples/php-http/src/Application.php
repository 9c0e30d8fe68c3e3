<?php

declare(strict_types=1);

namespace WebTransport\Http;

/** The applications of this example, and where they keep their files. */
final class Application
{
    private const ROUTES = [
        '/echo' => Controllers\EchoController::class,
        '/chat' => Controllers\ChatController::class,
        '/cursors' => Controllers\CursorsController::class,
        '/counter' => Controllers\CounterController::class,
    ];

    private readonly Router $router;
    private readonly Answers $answers;

    public function __construct()
    {
        $this->router = new Router(self::ROUTES);
        $this->answers = new Answers(self::folder());
    }

    /** Shared by all processes; $WEBTRANSPORT_STATE, or a temporary one. */
    public static function folder(): string
    {
        $folder = getenv('WEBTRANSPORT_STATE')
            ?: sys_get_temp_dir() . '/webtransport-' . posix_geteuid();

        // another process may be faster
        if (!is_dir($folder) && !@mkdir($folder, 0700) && !is_dir($folder)) {
            throw new \RuntimeException("cannot create $folder");
        }

        // where everybody may write, somebody may have been first
        if (fileowner($folder) !== posix_geteuid()) {
            throw new \RuntimeException("$folder is somebody else's");
        }

        return $folder;
    }

    /**
     * Answers an EventBatch with a CommandBatch.
     *
     * @throws \WebTransport\ProtocolError if it is none
     */
    public function deliver(Codec $codec, string $body): string
    {
        $batch = $codec->decode('EventBatch', $body);

        $run = fn () => $codec->encode('CommandBatch', [
            'sessionId' => $batch['sessionId'],
            'seq' => $batch['seq'],
            'commands' => $this->router->dispatch($batch),
        ]);

        // Those with datagrams are never repeated, and may be on their way at
        // the same time as one of the others.
        if (count(array_column($batch['events'], 'datagram'))
            === count($batch['events'])
        ) {
            return $run();
        }

        return $this->answers->once($batch['sessionId'], $batch['seq'], $run)
            ?? $codec->encode('CommandBatch', []);
    }
}
