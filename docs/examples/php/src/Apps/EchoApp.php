<?php

declare(strict_types=1);

namespace WebTransport\Apps;

use WebTransport\App;
use WebTransport\Session;
use WebTransport\Stream;

/**
 * Sends everything back: a bidirectional stream on itself, a unidirectional
 * one on a new one, datagrams, and also the ways in which a stream can end.
 */
final class EchoApp extends App
{
    public function onStream(
        Session $session,
        Stream $stream,
        string $data,
        bool $fin,
    ): void {
        if ($stream->isUni() && $stream->sink() === null) {
            $stream->forwardTo($session->openUni());
        }

        $this->target($stream)->write($data, $fin);
    }

    public function onDatagram(Session $session, string $data): void
    {
        $session->datagram($data);
    }

    public function onReset(Session $session, Stream $stream, ?int $code): void
    {
        $this->target($stream)->reset($code ?? 0);
    }

    public function onStop(Session $session, Stream $stream, ?int $code): void
    {
        $origin = $stream->source() ?? $stream;
        $origin->stop($code ?? 0);
    }

    private function target(Stream $stream): Stream
    {
        return $stream->sink() ?? $stream;
    }
}
