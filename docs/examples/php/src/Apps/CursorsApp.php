<?php

declare(strict_types=1);

namespace WebTransport\Apps;

use WebTransport\App;
use WebTransport\Closed;
use WebTransport\Session;

/**
 * Everybody sees everybody else's mouse.  A client sends its position as a
 * datagram, {"x": 0.5, "y": 0.25}, parts of the page's size; the others get it
 * with a number: {"id": 7, "x": 0.5, "y": 0.25}, and in the end
 * {"id": 7, "gone": true}.  Any datagram may be lost, the last one too, so a
 * page should also forget cursors that have not moved for some time.
 */
final class CursorsApp extends App
{
    /** @var array<int, Session> by number */
    private array $sessions = [];

    /** @var \WeakMap<Session, int> */
    private \WeakMap $numbers;

    private int $next = 1;

    public function __construct()
    {
        $this->numbers = new \WeakMap();
    }

    public function onConnect(Session $session): void
    {
        $session->accept();
        $this->numbers[$session] = $this->next++;
        $this->sessions[$this->numbers[$session]] = $session;
    }

    public function onDatagram(Session $session, string $data): void
    {
        $at = json_decode($data, true, 2);
        $x = $at['x'] ?? null;
        $y = $at['y'] ?? null;

        // Pass on what was understood, never what was received.
        if (self::isPart($x) && self::isPart($y)) {
            $id = $this->numbers[$session];
            $this->tellOthers($session, ['id' => $id, 'x' => $x, 'y' => $y]);
        }
    }

    public function onClose(Session $session, Closed $closed): void
    {
        $id = $this->numbers[$session];
        unset($this->sessions[$id]);
        $this->tellOthers($session, ['id' => $id, 'gone' => true]);
    }

    private static function isPart(mixed $value): bool
    {
        return (is_int($value) || is_float($value))
            && $value >= 0
            && $value <= 1;
    }

    /** @param array<string, mixed> $message */
    private function tellOthers(Session $session, array $message): void
    {
        $json = json_encode($message, JSON_THROW_ON_ERROR);

        foreach ($this->sessions as $other) {
            if ($other !== $session) {
                $other->datagram($json);
            }
        }
    }
}
