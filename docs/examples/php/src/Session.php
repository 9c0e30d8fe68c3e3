<?php

declare(strict_types=1);

namespace WebTransport;

/**
 * One session of one client: turns events into callbacks of its application,
 * and the application's calls into commands.
 */
final class Session
{
    /** Codes with which this worker closes sessions; as in WebSocket. */
    public const GOING_AWAY = 1001;
    public const INTERNAL_ERROR = 1011;
    public const OVERLOADED = 1013;

    /** Bytes of a stream that nginx sends before it needs credit from us. */
    public const STREAM_WINDOW = 65536;

    /**
     * Above this many bytes that nginx has not taken, datagrams are dropped,
     * streams wait, and nothing more is read from this session.
     */
    private const MAX_OUTPUT = 262144;

    /** Bytes of all streams that wait for the client; more end the session. */
    private const MAX_QUEUED = 8 << 20;

    /** Streams at a time, those included that wait to be opened. */
    private const MAX_STREAMS = 1024;

    public readonly string $id;
    public readonly Connect $connect;

    private ?App $app = null;
    private ?Closed $closed = null;
    private bool $answered = false;
    private bool $accepted = false;
    private bool $closing = false;

    /** @var array<int, Stream> */
    private array $streams = [];

    /** @var array<int, Stream> those with something to send */
    private array $senders = [];

    private int $queued = 0;
    private int $nextBidi = 5;
    private int $nextUni = 7;
    private int $bidiCredit = 0;
    private int $uniCredit = 0;

    /**
     * @internal the server makes sessions
     *
     * @param array<string, App> $apps by path
     * @param \Closure(string): void $log
     */
    public function __construct(
        private readonly Connection $connection,
        private readonly array $apps,
        private readonly \Closure $log,
    ) {
    }

    // ---- for applications ---------------------------------------------------

    /**
     * @param string $protocol one of $connect->protocols, or none
     * @param array<string, string> $headers of the response
     */
    public function accept(string $protocol = '', array $headers = []): void
    {
        $this->answer(
            Command::accept($protocol, $headers, self::STREAM_WINDOW),
        );
        $this->accepted = true;
    }

    /**
     * Refuses the session.  A page learns no more than that it failed; to tell
     * it why, accept() and close() with a code.
     *
     * @param array<string, string> $headers of the response
     */
    public function reject(
        int $status = 403,
        array $headers = [],
        string $body = '',
    ): void {
        $this->answer(Command::reject($status, $headers, $body));
        $this->closing = true;
    }

    public function openBidi(): Stream
    {
        $id = $this->nextBidi;
        $this->nextBidi += 4;

        return $this->openStream($id);
    }

    public function openUni(): Stream
    {
        $id = $this->nextUni;
        $this->nextUni += 4;

        return $this->openStream($id);
    }

    /**
     * Sends a datagram, or drops it: datagrams are for what is soon outdated,
     * and must not pile up.
     */
    public function datagram(string $data): void
    {
        if ($this->connection->buffered() < self::MAX_OUTPUT) {
            $this->send(Command::datagram($data));
        }
    }

    /**
     * Ends the session.  What was written is delivered first, if the client
     * takes it within $flushMs milliseconds.
     */
    public function close(
        int $code = 0,
        string $reason = '',
        int $flushMs = 1000,
    ): void {
        if ($this->closing) {
            return;
        }

        if ($flushMs > 0) {
            $this->pumpStreams();
        }

        $this->send(Command::close($code, $reason, $flushMs));
        $this->closing = true;
    }

    // ---- for streams --------------------------------------------------------

    /** @internal */
    public function send(string $command): void
    {
        if (!$this->accepted) {
            throw new \LogicException('accept() the session first');
        }

        // After Close nginx would ignore it anyway.
        if (!$this->closing) {
            $this->connection->send($command);
        }
    }

    /** @internal The stream has something to send, once that is possible. */
    public function addSender(Stream $stream, int $bytes): void
    {
        $this->senders[$stream->id] = $stream;
        $this->addQueued($bytes);

        if ($this->queued > self::MAX_QUEUED) {
            $this->close(self::OVERLOADED, 'client is too slow', 0);
        }
    }

    /** @internal */
    public function addQueued(int $bytes): void
    {
        $this->queued += $bytes;
    }

    /** @internal Whether one more stream may be opened now. */
    public function takeStreamCredit(bool $uni): bool
    {
        if ($uni) {
            return $this->uniCredit > 0 && $this->uniCredit-- > 0;
        }

        return $this->bidiCredit > 0 && $this->bidiCredit-- > 0;
    }

    /** @internal */
    public function forget(Stream $stream): void
    {
        unset($this->streams[$stream->id], $this->senders[$stream->id]);
    }

    // ---- for the server -----------------------------------------------------

    /** @internal */
    public function isOver(): bool
    {
        if ($this->connection->ended()) {
            $this->lose('lost connection to nginx');
        }

        return $this->closed !== null;
    }

    /** @internal */
    public function hasOutput(): bool
    {
        return $this->connection->buffered() > 0;
    }

    /** @internal */
    public function isBusy(): bool
    {
        return $this->connection->buffered() >= self::MAX_OUTPUT;
    }

    /** @internal Reads what has arrived, and runs the callbacks. */
    public function read(): void
    {
        foreach ($this->connection->read() as $frame) {
            $this->handleFrame($frame);
        }
    }

    /** @internal Writes what the callbacks of this or other sessions sent. */
    public function flush(): void
    {
        do {
            $this->pumpStreams();
            $full = $this->isBusy();
            $this->connection->flush();
        } while ($full && !$this->isBusy());
    }

    /** @internal The process ends. */
    public function goAway(): void
    {
        $this->dismiss(503, self::GOING_AWAY, 'worker restarts', 1000);
    }

    /** @internal The application failed; what it wrote may be anything. */
    public function fail(\Throwable $error): void
    {
        error_log("session {$this->name()}: $error");
        $this->dismiss(500, self::INTERNAL_ERROR, 'internal error', 0);
    }

    /** @internal There is nothing to say to the other side any more. */
    public function lose(string $by, string $reason = ''): void
    {
        $this->closed ??= new Closed($by, 0, $reason);
    }

    /** @internal The last call: tells the application. */
    public function end(): void
    {
        $this->closing = true;
        $this->streams = [];
        $this->senders = [];
        $this->connection->close();

        $this->log("closed by {$this->closed->by}, "
            . "code {$this->closed->code} \"{$this->closed->reason}\"");
        $this->app?->onClose($this, $this->closed);
    }

    // ---- events -------------------------------------------------------------

    private function handleFrame(string $frame): void
    {
        $events = [];

        // EventBatch: 1 is the session id, 4 are the events.
        foreach (Protobuf::fields($frame) as $field => $value) {
            if ($field === 1) {
                $this->id ??= (string) $value;
            } elseif ($field === 4) {
                $events[] = (string) $value;
            }
        }

        foreach ($events as $event) {
            foreach (Protobuf::fields($event) as $kind => $body) {
                $this->handleEvent($kind, (string) $body);
            }
        }
    }

    private function handleEvent(int $kind, string $body): void
    {
        if ($this->closed !== null) {
            throw new ProtocolError('event after Closed');
        }

        if (!isset($this->connect) && $kind !== 1) {
            throw new ProtocolError('first event is not Connect');
        }

        // What arrives after our Close is nobody's business any more.
        if ($this->closing && $kind !== 8 && $kind !== 10) {
            return;
        }

        // Others may come, from a newer nginx: they are to be ignored.
        match ($kind) {
            1 => $this->handleConnect($body),
            2 => $this->handleData($body),
            3 => $this->handleReset($body),
            4 => $this->handleStop($body),
            5 => $this->handleDatagram($body),
            6 => $this->handleCredit($body),
            8 => $this->closed = Closed::decode($body),
            10 => $this->handlePing($body),
            default => null,
        };
    }

    private function handleConnect(string $body): void
    {
        if (isset($this->connect)) {
            throw new ProtocolError('second Connect');
        }

        $this->id ??= '';
        $this->connect = Connect::decode($body);
        $this->bidiCredit = $this->connect->streamsBidi;
        $this->uniCredit = $this->connect->streamsUni;
        $this->connection->setMaxBatch($this->connect->maxCommand);
        $this->app = $this->apps[$this->connect->path] ?? null;

        $this->log("{$this->connect->path} from {$this->connect->remoteAddr}");

        if ($this->app === null) {
            $this->reject(404);
        } else {
            $this->app->onConnect($this);
        }
    }

    private function handleData(string $body): void
    {
        $values = Protobuf::values($body);
        $id = (int) ($values[1] ?? 0);
        $data = (string) ($values[2] ?? '');
        $fin = (bool) ($values[3] ?? false);

        if (($values[4] ?? 0) !== 0) {
            $this->addStream($id, opened: true);
        }

        $stream = $this->streams[$id] ?? null;

        // It may have crossed with our stop().
        if (!$stream?->canReceive()) {
            return;
        }

        $stream->received(strlen($data));

        if ($fin) {
            $stream->receivingEnded();
        }

        $this->app->onStream($this, $stream, $data, $fin);
        $stream->settle();
    }

    private function handleReset(string $body): void
    {
        [$stream, $code] = $this->decodeAbort($body);

        if ($stream?->canReceive()) {
            $stream->receivingEnded();
            $this->app->onReset($this, $stream, $code);
        }
    }

    private function handleStop(string $body): void
    {
        [$stream, $code] = $this->decodeAbort($body);

        if ($stream?->canSend()) {
            $stream->sendingEnded();
            $this->app->onStop($this, $stream, $code);
        }
    }

    private function handleDatagram(string $body): void
    {
        $values = Protobuf::values($body);
        $this->app->onDatagram($this, (string) ($values[1] ?? ''));
    }

    private function handleCredit(string $body): void
    {
        $values = Protobuf::values($body);
        $this->bidiCredit += (int) ($values[3] ?? 0);
        $this->uniCredit += (int) ($values[4] ?? 0);

        // The stream may have ended in the meantime.
        $stream = $this->streams[$values[1] ?? 0] ?? null;
        $stream?->addCredit((int) ($values[2] ?? 0));
    }

    private function handlePing(string $body): void
    {
        // Nothing may come before Accept, not even this.
        if ($this->accepted) {
            $this->send(Command::pong((int) (Protobuf::values($body)[1] ?? 0)));
        }
    }

    // ---- helpers ------------------------------------------------------------

    private function dismiss(
        int $status,
        int $code,
        string $reason,
        int $flushMs,
    ): void {
        if ($this->accepted) {
            $this->close($code, $reason, $flushMs);
        } elseif (!$this->answered) {
            $this->reject($status);
        }
    }

    /** Clients choose much of what is logged: no control characters. */
    private function log(string $line): void
    {
        $line = "session {$this->name()}: $line";
        ($this->log)(addcslashes($line, "\0..\37\177"));
    }

    private function name(): string
    {
        return $this->id ?? 'without a name';
    }

    private function answer(string $command): void
    {
        if ($this->answered) {
            throw new \LogicException('session has its answer already');
        }

        $this->answered = true;
        $this->connection->send($command);
    }

    private function openStream(int $id): Stream
    {
        if (!$this->accepted) {
            throw new \LogicException('accept() the session first');
        }

        $stream = $this->addStream($id, opened: false);
        $this->addSender($stream, 0);

        return $stream;
    }

    private function addStream(int $id, bool $opened): Stream
    {
        if (count($this->streams) >= self::MAX_STREAMS) {
            $this->close(self::OVERLOADED, 'too many streams', 0);
        }

        // The low bits of an id tell what it is: 1 is set if we opened the
        // stream, 2 if it is unidirectional.
        $ours = ($id & 1) !== 0;
        $bidi = ($id & 2) === 0;

        return $this->streams[$id] = new Stream(
            $this,
            $id,
            credit: $this->connect->streamWindow,
            opened: $opened,
            canSend: $bidi || $ours,
            canReceive: $bidi || !$ours,
        );
    }

    /**
     * Fills the connection from the queues of the streams, in turns, so that a
     * long one does not starve the others.
     */
    private function pumpStreams(): void
    {
        do {
            $progress = false;

            foreach ($this->senders as $id => $stream) {
                if (!$this->accepted || $this->closing || $this->isBusy()) {
                    return;
                }

                if ($stream->pump($this->connect->maxCommand)) {
                    $progress = true;
                    unset($this->senders[$id]);

                    if ($stream->hasWork()) {
                        $this->senders[$id] = $stream;
                    } elseif ($stream->canSend()) {
                        $this->app->onDrain($this, $stream);
                    }
                }
            }
        } while ($progress);
    }

    /** @return array{?Stream, ?int} */
    private function decodeAbort(string $body): array
    {
        $values = Protobuf::values($body);

        return [
            $this->streams[$values[1] ?? 0] ?? null,
            isset($values[2]) ? (int) $values[2] : null,
        ];
    }
}
