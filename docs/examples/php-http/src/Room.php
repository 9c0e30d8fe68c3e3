<?php

declare(strict_types=1);

namespace WebTransport\Http;

/**
 * What is said in a room, for all processes of this machine: a file with a line
 * for each message.
 *
 * Positions are those of a file of all that was ever said.  Of it the last part
 * is kept, after a line that tells where it begins.
 */
final class Room
{
    private const MAX_SIZE = 1 << 20;

    /** What is kept of a file that is larger. */
    private const KEEP_SIZE = 1 << 18;

    private const POLL_SECONDS = 0.01;

    /** @var resource */
    private $file;

    private readonly int $header;

    public function __construct(string $name)
    {
        $this->header = strlen($this->header(0));
        $this->file = fopen(Application::folder() . "/$name.room", 'c+');
    }

    /** Where the next message will be. */
    public function end(): int
    {
        return $this->locked(LOCK_SH, fn (int $start, int $end) => $end);
    }

    /** @param array<string, mixed> $message */
    public function say(array $message): void
    {
        $flags = JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE;
        $line = json_encode($message, $flags) . "\n";

        $this->locked(LOCK_EX, function (int $start, int $end) use ($line) {
            if ($end - $start > self::MAX_SIZE) {
                $start = $this->shorten($start, $end);
            } elseif ($end === $start) {
                $this->write(0, $this->header($start));
            }

            $this->write($this->header + $end - $start, $line);
        });
    }

    /**
     * What was said from there on; then $position is the end.
     *
     * @return list<array<string, mixed>>
     */
    public function since(int &$position): array
    {
        $text = $this->locked(
            LOCK_SH,
            function (int $start, int $end) use (&$position) {
                // who is so late has missed something
                $from = max($position, $start);
                $position = $end;
                fseek($this->file, $this->header + $from - $start);

                return $from < $end ? fread($this->file, $end - $from) : '';
            },
        );

        return array_map(
            fn (string $line) => json_decode($line, true),
            $text === '' ? [] : explode("\n", rtrim($text, "\n")),
        );
    }

    /**
     * The same, but waits that long until there is something.
     *
     * @return list<array<string, mixed>>
     */
    public function wait(int &$position, float $seconds): array
    {
        $deadline = microtime(true) + $seconds;

        while (($messages = $this->since($position)) === []
            && microtime(true) < $deadline
        ) {
            usleep((int) (1e6 * self::POLL_SECONDS));
        }

        return $messages;
    }

    /** Calls it with the positions of what is in the file. */
    private function locked(int $lock, \Closure $run): mixed
    {
        flock($this->file, $lock);

        try {
            rewind($this->file);
            $start = (int) fgets($this->file);
            $size = fstat($this->file)['size'];

            return $run($start, $start + max(0, $size - $this->header));
        } finally {
            flock($this->file, LOCK_UN);
        }
    }

    private function shorten(int $start, int $end): int
    {
        fseek($this->file, $this->header + $end - $start - self::KEEP_SIZE);
        // the rest of a line
        fgets($this->file);
        $kept = stream_get_contents($this->file);
        $start = $end - strlen($kept);
        $this->write(0, $this->header($start) . $kept);
        ftruncate($this->file, $this->header + strlen($kept));

        return $start;
    }

    private function write(int $at, string $bytes): void
    {
        fseek($this->file, $at);
        fwrite($this->file, $bytes);
        fflush($this->file);
    }

    private function header(int $start): string
    {
        return sprintf("%020d\n", $start);
    }
}
