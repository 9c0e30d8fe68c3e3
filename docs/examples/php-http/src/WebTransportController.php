<?php

declare(strict_types=1);

namespace WebTransport\Http;

use WebTransport\Closed;
use WebTransport\Connect;

/**
 * An application: override what you need.
 *
 * A controller lives as long as a call.  What has to outlive it is in
 * $session->meta, or in a store of yours.
 */
abstract class WebTransportController
{
    /** A client asks for a session: accept() or reject(). */
    public function connect(
        Session $session,
        Connect $connect,
        Answer $answer,
    ): void {
        $answer->accept();
    }

    /** Bytes of a stream; with a framing, one message. */
    public function stream(
        Session $session,
        StreamData $data,
        Answer $answer,
    ): void {
    }

    public function datagram(
        Session $session,
        string $bytes,
        Answer $answer,
    ): void {
    }

    /** The client gave up its sending side. */
    public function reset(
        Session $session,
        int $stream,
        ?int $code,
        Answer $answer,
    ): void {
    }

    /** The client wants no more of this stream; our sending side has ended. */
    public function stop(
        Session $session,
        int $stream,
        ?int $code,
        Answer $answer,
    ): void {
    }

    /**
     * What Session::tick() asked for: the way to say something that is no
     * answer.  It may wait that many seconds for something to say.
     */
    public function tick(
        Session $session,
        float $seconds,
        Answer $answer,
    ): void {
    }

    /** The session is over; nothing can be sent any more. */
    public function disconnect(Session $session, Closed $closed): void
    {
    }
}
