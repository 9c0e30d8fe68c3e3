<?php

declare(strict_types=1);

namespace WebTransport\Http;

use WebTransport\Closed;
use WebTransport\Connect;

/** Calls the method of the controller for each event of a batch. */
final class Router
{
    /** How long a tick may wait if the session has nothing else to do. */
    private const TICK_SECONDS = 0.2;

    /** @param array<string, class-string<WebTransportController>> $routes */
    public function __construct(private readonly array $routes)
    {
    }

    /**
     * @param array<string, mixed> $batch an EventBatch
     * @return list<array<string, mixed>> commands
     */
    public function dispatch(array $batch): array
    {
        $session = Session::of($batch);
        $answer = new Answer();
        $ticks = array_filter($batch['events'], self::isTick(...));

        foreach (array_diff_key($batch['events'], $ticks) as $event) {
            foreach ($event as $kind => $value) {
                $this->call($session, $kind, $value, $answer);
            }
        }

        // last, because they may wait, if nobody else does
        if ($ticks !== []) {
            $idle = count($batch['events']) === count($ticks);
            $session->ticked();
            $this->controller($session)?->tick(
                $session,
                $idle ? self::TICK_SECONDS : 0.0,
                $answer,
            );
        }

        // there is nobody any more whom it could concern
        if (array_column($batch['events'], 'closed') !== []) {
            return [];
        }

        $changes = $session->changes();

        if ($changes !== null) {
            $answer->update($changes);
        }

        return $answer->commands();
    }

    /** @param array<string, mixed> $event */
    private static function isTick(array $event): bool
    {
        return isset($event['pong']);
    }

    /** @param array<string, mixed> $value */
    private function call(
        Session $session,
        string $kind,
        array $value,
        Answer $answer,
    ): void {
        if ($kind === 'connect') {
            $session->setPath($value['path']);
        }

        $controller = $this->controller($session);

        if ($controller === null) {
            if ($kind === 'connect') {
                $answer->reject(404);
            }
            return;
        }

        // others may come, from a newer nginx: they are to be ignored
        match ($kind) {
            'connect' => $controller->connect(
                $session,
                self::connect($value),
                $answer,
            ),
            'data' => $controller->stream(
                $session,
                StreamData::of($value),
                $answer,
            ),
            'reset' => $controller->reset(
                $session,
                $value['streamId'],
                $value['code'] ?? null,
                $answer,
            ),
            'stop' => $controller->stop(
                $session,
                $value['streamId'],
                $value['code'] ?? null,
                $answer,
            ),
            'datagram' => $controller->datagram(
                $session,
                $value['data'],
                $answer,
            ),
            'closed' => $controller->disconnect(
                $session,
                self::closed($value),
            ),
            'ping' => $answer->pong($value['id']),
            default => null,
        };
    }

    private function controller(Session $session): ?WebTransportController
    {
        $class = $this->routes[$session->path()] ?? null;

        return $class === null ? null : new $class();
    }

    /** @param array<string, mixed> $values */
    private static function connect(array $values): Connect
    {
        $connect = new Connect();
        $connect->authority = $values['authority'];
        $connect->path = $values['path'];
        $connect->query = $values['query'];
        $connect->params = $values['params'];
        $connect->remoteAddr = $values['remoteAddr'];
        $connect->protocols = $values['protocols'];
        $connect->headers = array_map(
            fn (array $header) => [$header['name'], $header['value']],
            $values['headers'],
        );

        return $connect;
    }

    /** @param array<string, mixed> $values */
    private static function closed(array $values): Closed
    {
        return new Closed(
            strtolower((string) $values['by']),
            $values['code'],
            $values['reason'],
        );
    }
}
