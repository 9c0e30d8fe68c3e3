<?php

declare(strict_types=1);

namespace WebTransport;

/**
 * An application: override what you need.
 *
 * One object serves all sessions of its path in this process, so its
 * properties are what the sessions share.  A callback has the process to
 * itself until it returns: it must not wait for anything.
 */
abstract class App
{
    /**
     * A client asks for a session.  Answer with accept() or reject(), now or
     * later; before accept() nothing else can be sent.
     */
    public function onConnect(Session $session): void
    {
        $session->accept();
    }

    /**
     * Bytes of a stream, cut anywhere; empty with only a FIN or the opening
     * of a stream.  With $fin they are the last ones.
     */
    public function onStream(
        Session $session,
        Stream $stream,
        string $data,
        bool $fin,
    ): void {
    }

    /** All that was written on the stream has left: time to write more. */
    public function onDrain(Session $session, Stream $stream): void
    {
    }

    /** A datagram. */
    public function onDatagram(Session $session, string $data): void
    {
    }

    /**
     * The client gave up its sending side.  Ours is still open.  No code means
     * that it was none of the application's.
     */
    public function onReset(
        Session $session,
        Stream $stream,
        ?int $code,
    ): void {
    }

    /** The client wants no more of this stream; our sending side has ended. */
    public function onStop(Session $session, Stream $stream, ?int $code): void
    {
    }

    /** The session is over; the last callback of every session. */
    public function onClose(Session $session, Closed $closed): void
    {
    }
}
