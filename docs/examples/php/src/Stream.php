<?php

declare(strict_types=1);

namespace WebTransport;

/**
 * A stream of a session.  What is written waits in a queue until nginx has
 * given credit for it, so that a slow client blocks nobody else.
 */
final class Stream
{
    /** What fits one frame besides the data: ids, tags, lengths. */
    private const OVERHEAD = 64;

    private string $queue = '';
    private bool $finQueued = false;

    /** What arrived, but nginx was not told that it may send as much again. */
    private int $owed = 0;

    private ?self $sink = null;
    private ?self $source = null;

    /** @internal streams come from App::onStream() and Session::open...() */
    public function __construct(
        private readonly Session $session,
        public readonly int $id,
        private int $credit,
        private bool $opened,
        private bool $canSend,
        private bool $canReceive,
    ) {
    }

    /** Whether bytes travel in one direction only. */
    public function isUni(): bool
    {
        return ($this->id & 2) !== 0;
    }

    /** Bytes that wait for the client.  Keep an eye on it. */
    public function queued(): int
    {
        return strlen($this->queue);
    }

    /** Sends bytes, and with $fin nothing after them. */
    public function write(string $data, bool $fin = false): void
    {
        // A write may cross with a reset or the end of the session.
        if (!$this->canSend || $this->finQueued) {
            return;
        }

        $this->queue .= $data;
        $this->finQueued = $fin;
        $this->session->addSender($this, strlen($data));
    }

    public function end(): void
    {
        $this->write('', true);
    }

    /** Gives up our sending side; what has not left is lost. */
    public function reset(int $code = 0): void
    {
        if (!$this->canSend) {
            return;
        }

        // nginx must not hear of a stream that it never saw open.
        if ($this->opened) {
            $this->session->send(Command::reset($this->id, $code));
        }

        $this->sendingEnded();
    }

    /** Asks the client not to send any more. */
    public function stop(int $code = 0): void
    {
        if (!$this->canReceive) {
            return;
        }

        if ($this->opened) {
            $this->session->send(Command::stop($this->id, $code));
        }

        $this->receivingEnded();
    }

    /**
     * Declares that what arrives on this stream is written to another one:
     * the client may then send only as fast as the other one drains.  Without
     * it, a bidirectional stream is taken to be answered on itself.
     */
    public function forwardTo(self $sink): void
    {
        $this->sink = $sink;
        $sink->source = $this;
    }

    /** The stream that this one was forwarded to. */
    public function sink(): ?self
    {
        return $this->sink;
    }

    /** The stream that was forwarded to this one. */
    public function source(): ?self
    {
        return $this->source;
    }

    // ---- the session's side -------------------------------------------------

    /** @internal */
    public function canSend(): bool
    {
        return $this->canSend;
    }

    /** @internal */
    public function canReceive(): bool
    {
        return $this->canReceive;
    }

    /** @internal */
    public function hasWork(): bool
    {
        return $this->canSend
            && (!$this->opened || $this->queue !== '' || $this->finQueued);
    }

    /** @internal nginx takes that many bytes more. */
    public function addCredit(int $bytes): void
    {
        $this->credit += $bytes;
    }

    /**
     * @internal Sends one piece of the queue, or tells that it cannot.  The
     * opening, the bytes and the FIN travel in one command if they can.
     */
    public function pump(int $maxCommand): bool
    {
        if (!$this->hasWork()) {
            return false;
        }

        $max = max(0, min($this->credit, $maxCommand - self::OVERHEAD));
        $chunk = substr($this->queue, 0, $max);
        $fin = $this->finQueued && strlen($chunk) === strlen($this->queue);
        $open = 0;

        if (!$this->opened) {
            if (!$this->session->takeStreamCredit($this->isUni())) {
                return false;
            }

            $this->opened = true;
            $open = $this->isUni() ? Command::OPEN_UNI : Command::OPEN_BIDI;
        } elseif ($chunk === '' && !$fin) {
            return false;
        }

        $this->session->send(Command::data($this->id, $chunk, $fin, $open));
        $this->session->addQueued(-strlen($chunk));
        $this->credit -= strlen($chunk);
        $this->queue = substr($this->queue, strlen($chunk));

        if ($fin) {
            $this->sendingEnded();
        } elseif ($this->queue === '') {
            $this->settle();
            $this->source?->settle();
        }

        return true;
    }

    /** @internal */
    public function received(int $bytes): void
    {
        $this->owed += $bytes;
    }

    /**
     * @internal Gives credit for what has been handled.  Not for every few
     * bytes: half a window is early enough to keep the client sending.
     */
    public function settle(): void
    {
        $sink = $this->sink ?? $this;

        if (
            $this->canReceive
            && $this->owed >= Session::STREAM_WINDOW / 2
            && $sink->queue === ''
        ) {
            $this->session->send(Command::credit($this->id, $this->owed));
            $this->owed = 0;
        }
    }

    /** @internal By FIN or reset, ours or the client's stop. */
    public function sendingEnded(): void
    {
        $this->canSend = false;
        $this->session->addQueued(-strlen($this->queue));
        $this->queue = '';
        $this->source?->settle();
        $this->forget();
    }

    /** @internal By FIN or reset from the client, or our stop. */
    public function receivingEnded(): void
    {
        $this->canReceive = false;
        $this->forget();
    }

    private function forget(): void
    {
        if ($this->canSend || $this->canReceive) {
            return;
        }

        if ($this->source !== null) {
            $this->source->sink = null;
        }

        $this->session->forget($this);
    }
}
