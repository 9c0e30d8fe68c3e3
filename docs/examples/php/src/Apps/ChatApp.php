<?php

declare(strict_types=1);

namespace WebTransport\Apps;

use WebTransport\App;
use WebTransport\Closed;
use WebTransport\Session;
use WebTransport\Stream;

/**
 * A chat room.  A client enters with a bidirectional stream and leaves by
 * ending it; on it go lines to the room, and lines from the room.  Its name is
 * the query's "name".  Every process is a room of its own.
 */
final class ChatApp extends App
{
    /** Codes with which a session or stream is ended. */
    private const ONE_STREAM_ONLY = 1;
    private const LINE_TOO_LONG = 2;
    private const TOO_SLOW = 3;

    private const MAX_LINE = 1000;

    /** A member who is that many bytes behind is thrown out. */
    private const MAX_BEHIND = 65536;

    /** @var array<string, ChatMember> by session id */
    private array $members = [];

    private int $guests = 0;

    public function onStream(
        Session $session,
        Stream $stream,
        string $data,
        bool $fin,
    ): void {
        $member = $this->members[$session->id] ?? null;

        if ($member === null && !$stream->isUni()) {
            $member = $this->enter($session, $stream);
        }

        if ($member?->stream !== $stream) {
            $stream->stop(self::ONE_STREAM_ONLY);
            $stream->reset(self::ONE_STREAM_ONLY);
            return;
        }

        $lines = explode("\n", $member->partial . $data);
        $member->partial = array_pop($lines);

        foreach ([...$lines, $member->partial] as $line) {
            if (strlen($line) > self::MAX_LINE) {
                $session->close(self::LINE_TOO_LONG, 'line too long');
                return;
            }
        }

        foreach ($lines as $line) {
            $this->say("$member->name: " . rtrim($line, "\r"));
        }

        if ($fin) {
            $this->leave($session);
        }
    }

    public function onReset(Session $session, Stream $stream, ?int $code): void
    {
        $this->streamEnded($session, $stream);
    }

    public function onStop(Session $session, Stream $stream, ?int $code): void
    {
        $this->streamEnded($session, $stream);
    }

    public function onClose(Session $session, Closed $closed): void
    {
        $this->leave($session);
    }

    private function streamEnded(Session $session, Stream $stream): void
    {
        if (($this->members[$session->id] ?? null)?->stream === $stream) {
            $this->leave($session);
        }
    }

    private function enter(Session $session, Stream $stream): ChatMember
    {
        parse_str($session->connect->query, $query);

        // Letters and digits of any script; not a string of valid UTF-8, or
        // an array, is no name.
        $name = is_string($query['name'] ?? null) ? $query['name'] : '';
        $known = preg_match('/^[\p{L}\p{N}_-]{1,32}$/Du', $name) === 1;
        $member = new ChatMember(
            $known ? $name : 'guest' . ++$this->guests,
            $session,
            $stream,
        );

        $this->members[$session->id] = $member;
        $this->say("* $member->name joined");

        return $member;
    }

    private function leave(Session $session): void
    {
        $member = $this->members[$session->id] ?? null;

        if ($member !== null) {
            unset($this->members[$session->id]);
            $member->stream->end();
            $member->stream->stop();
            $this->say("* $member->name left");
        }
    }

    private function say(string $line): void
    {
        $slow = [];

        foreach ($this->members as $member) {
            $member->stream->write("$line\n");

            if ($member->stream->queued() > self::MAX_BEHIND) {
                $slow[] = $member;
            }
        }

        // Not in the loop: whoever leaves is announced to the others.
        foreach ($slow as $member) {
            $this->leave($member->session);
            $member->session->close(self::TOO_SLOW, 'too slow', 0);
        }
    }
}
