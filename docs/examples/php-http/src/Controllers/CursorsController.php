<?php

declare(strict_types=1);

namespace WebTransport\Http\Controllers;

use WebTransport\Closed;
use WebTransport\Connect;
use WebTransport\Http\Answer;
use WebTransport\Http\Room;
use WebTransport\Http\Session;
use WebTransport\Http\WebTransportController;

/**
 * Everybody sees everybody else's mouse.  A client sends its position as a
 * datagram, {"x": 0.5, "y": 0.25}, parts of the page's size; the others get it
 * with a number: {"id": 7, "x": 0.5, "y": 0.25}, and in the end
 * {"id": 7, "gone": true}.
 */
final class CursorsController extends WebTransportController
{
    private readonly Room $room;

    public function __construct()
    {
        $this->room = new Room('cursors');
    }

    public function connect(
        Session $session,
        Connect $connect,
        Answer $answer,
    ): void {
        $answer->accept();
        $session->meta['at'] = (string) $this->room->end();
        $session->tick($answer);
    }

    public function datagram(
        Session $session,
        string $bytes,
        Answer $answer,
    ): void {
        $at = json_decode($bytes, true, 2);
        $x = $at['x'] ?? null;
        $y = $at['y'] ?? null;

        // Pass on what was understood, never what was received.
        if (self::isPart($x) && self::isPart($y)) {
            $id = self::number($session);
            $this->room->say(['id' => $id, 'x' => $x, 'y' => $y]);
        }
    }

    public function tick(
        Session $session,
        float $seconds,
        Answer $answer,
    ): void {
        $at = (int) $session->meta['at'];
        $moves = [];

        // of each the last one is enough
        foreach ($this->room->wait($at, $seconds) as $move) {
            $moves[$move['id']] = $move;
        }

        unset($moves[self::number($session)]);

        foreach ($moves as $move) {
            $answer->datagram(json_encode($move, JSON_THROW_ON_ERROR));
        }

        $session->meta['at'] = (string) $at;
        $session->tick($answer);
    }

    public function disconnect(Session $session, Closed $closed): void
    {
        $this->room->say(['id' => self::number($session), 'gone' => true]);
    }

    private static function number(Session $session): int
    {
        return crc32($session->id);
    }

    private static function isPart(mixed $value): bool
    {
        return (is_int($value) || is_float($value))
            && $value >= 0
            && $value <= 1;
    }
}
