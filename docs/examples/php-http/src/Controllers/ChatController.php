<?php

declare(strict_types=1);

namespace WebTransport\Http\Controllers;

use WebTransport\Closed;
use WebTransport\Connect;
use WebTransport\Http\Answer;
use WebTransport\Http\Room;
use WebTransport\Http\Session;
use WebTransport\Http\StreamData;
use WebTransport\Http\WebTransportController;

/**
 * A chat room.  A client enters with a bidirectional stream and leaves by
 * ending it; on it go lines to the room, and lines from the room.  Its name is
 * the query's "name".
 *
 * Whoever enters shall hear the others before saying anything, so the stream
 * has to be announced without a line: the framing is RAW, and a line of which
 * only a part has come waits in the session.
 */
final class ChatController extends WebTransportController
{
    /** Codes with which a session or stream is ended. */
    private const ONE_STREAM_ONLY = 1;
    private const LINE_TOO_LONG = 2;

    private const MAX_LINE = 1000;

    private readonly Room $room;

    public function __construct()
    {
        $this->room = new Room('chat');
    }

    public function connect(
        Session $session,
        Connect $connect,
        Answer $answer,
    ): void {
        parse_str($connect->query, $query);

        // Letters and digits of any script; not a string of valid UTF-8, or
        // an array, is no name.
        $name = is_string($query['name'] ?? null) ? $query['name'] : '';
        $known = preg_match('/^[\p{L}\p{N}_-]{1,32}$/Du', $name) === 1;

        $session->meta['name'] = $known
            ? $name
            : 'guest-' . substr($session->id, 0, 6);
        $answer->accept(overflow: 'CLOSE');
    }

    public function stream(
        Session $session,
        StreamData $data,
        Answer $answer,
    ): void {
        if (!self::isMember($session) && $data->opens && !$data->isUni()) {
            $this->enter($session, $data->stream, $answer);
        }

        if (!self::isMember($session, $data->stream)) {
            $answer->stop($data->stream, self::ONE_STREAM_ONLY);
            if (!$data->isUni()) {
                $answer->reset($data->stream, self::ONE_STREAM_ONLY);
            }
            return;
        }

        $partial = base64_decode($session->meta['partial'] ?? '');
        $lines = explode("\n", $partial . $data->bytes);

        if (max(array_map(strlen(...), $lines)) > self::MAX_LINE) {
            $answer->close(self::LINE_TOO_LONG, 'line too long');
            return;
        }

        $partial = array_pop($lines);

        unset($session->meta['partial']);

        if ($partial !== '') {
            // it may end within a character, and what nginx keeps must be UTF-8
            $session->meta['partial'] = base64_encode($partial);
        }

        foreach ($lines as $line) {
            $this->say($session, ': ' . rtrim($line, "\r"));
        }

        $this->hear($session, 0, $answer);

        if ($data->fin) {
            $answer->send($data->stream, '', fin: true);
            $this->leave($session);
        }
    }

    public function reset(
        Session $session,
        int $stream,
        ?int $code,
        Answer $answer,
    ): void {
        if (self::isMember($session, $stream)) {
            $answer->send($stream, '', fin: true);
            $this->leave($session);
        }
    }

    public function stop(
        Session $session,
        int $stream,
        ?int $code,
        Answer $answer,
    ): void {
        if (self::isMember($session, $stream)) {
            $answer->stop($stream);
            $this->leave($session);
        }
    }

    public function tick(
        Session $session,
        float $seconds,
        Answer $answer,
    ): void {
        if (self::isMember($session)) {
            $this->hear($session, $seconds, $answer);
            $session->tick($answer);
        }
    }

    public function disconnect(Session $session, Closed $closed): void
    {
        if (self::isMember($session)) {
            $this->say($session, ' left');
        }
    }

    /** Of the room, and with that stream. */
    private static function isMember(
        Session $session,
        ?int $stream = null,
    ): bool {
        $own = $session->meta['stream'] ?? null;

        return $own !== null && ($stream === null || (int) $own === $stream);
    }

    private function enter(
        Session $session,
        int $stream,
        Answer $answer,
    ): void {
        $session->meta['stream'] = (string) $stream;
        $session->meta['at'] = (string) $this->room->end();
        $this->say($session, ' joined');
        $session->tick($answer);
    }

    private function leave(Session $session): void
    {
        $this->say($session, ' left');
        unset($session->meta['stream'], $session->meta['partial']);
    }

    /** ": what" is a line of the member, " what" one about the member. */
    private function say(Session $session, string $what): void
    {
        $mark = str_starts_with($what, ':') ? '' : '* ';
        $this->room->say(['line' => $mark . $session->meta['name'] . $what]);
    }

    /** Passes on what was said. */
    private function hear(
        Session $session,
        float $seconds,
        Answer $answer,
    ): void {
        $at = (int) $session->meta['at'];
        $lines = array_column($this->room->wait($at, $seconds), 'line');
        $session->meta['at'] = (string) $at;

        if ($lines !== []) {
            $text = implode("\n", $lines) . "\n";
            $answer->send((int) $session->meta['stream'], $text);
        }
    }
}
