<?php

declare(strict_types=1);

namespace WebTransport;

/** Serves the sessions of one process. */
final class Server
{
    /**
     * stream_select() takes descriptors below 1024 only, some of which belong
     * to PHP.  Further sessions wait for another process, or for nginx to give
     * up: see --processes.
     */
    private const MAX_SESSIONS = 1000;

    /** How long sessions may take to end when the process is told to. */
    private const SHUTDOWN_SECONDS = 2;

    /** @var array<int, Session> by resource id of the socket */
    private array $sessions = [];

    /** @var array<int, resource> */
    private array $sockets = [];

    /** When to give up waiting for sessions; null while not stopping. */
    private ?float $deadline = null;

    /**
     * @param array<string, App> $apps by path
     * @param \Closure(string): void $log
     */
    public function __construct(
        private readonly Listener $listener,
        private readonly array $apps,
        private readonly \Closure $log,
    ) {
        // Several processes wake up for one connection, one of them gets it.
        stream_set_blocking($listener->socket, false);
    }

    public function run(): void
    {
        while (!$this->finished()) {
            foreach ($this->wait() as $key => $socket) {
                if ($socket === $this->listener->socket) {
                    $this->accept();
                } else {
                    $session = $this->sessions[$key];
                    $this->guard($session, $session->read(...));
                }
            }

            $this->reap();
        }
    }

    /** Called by a signal handler, which is why it only takes a note. */
    public function stop(): void
    {
        $this->deadline ??= microtime(true) + self::SHUTDOWN_SECONDS;
    }

    private function finished(): bool
    {
        if ($this->deadline === null) {
            return false;
        }

        $this->listener->close();

        foreach ($this->sessions as $session) {
            $this->guard($session, $session->goAway(...));
        }

        return $this->sessions === [] || microtime(true) > $this->deadline;
    }

    /**
     * Writes what is to be written, then sleeps until something can be done.
     *
     * @return array<int, resource> what can be read
     */
    private function wait(): array
    {
        $readable = [];
        $writable = [];
        $except = null;

        foreach ($this->sockets as $key => $socket) {
            $session = $this->sessions[$key];
            $this->guard($session, $session->flush(...));

            if ($session->hasOutput()) {
                $writable[$key] = $socket;
            }

            // A session that takes nothing is not read either: this is what
            // keeps its memory bounded.
            if (!$session->isBusy()) {
                $readable[$key] = $socket;
            }
        }

        $full = count($this->sessions) >= self::MAX_SESSIONS;

        if ($this->deadline === null && !$full) {
            $readable[-1] = $this->listener->socket;
        }

        // Signals interrupt it, with a warning.  One that comes just before
        // it does not, hence the second.
        return @stream_select($readable, $writable, $except, 1)
            ? $readable
            : [];
    }

    private function accept(): void
    {
        // Nothing is there if another process was faster.
        $socket = @stream_socket_accept($this->listener->socket, 0);

        if ($socket !== false) {
            $key = get_resource_id($socket);
            $this->sockets[$key] = $socket;
            $this->sessions[$key] = new Session(
                new Connection($socket),
                $this->apps,
                $this->log,
            );
        }
    }

    /** Removes the sessions that are over. */
    private function reap(): void
    {
        foreach ($this->sessions as $key => $session) {
            if ($session->isOver()) {
                unset($this->sessions[$key], $this->sockets[$key]);
                $this->guard($session, $session->end(...));
            }
        }
    }

    /** Sees to it that an error in one session ends no other one. */
    private function guard(Session $session, \Closure $action): void
    {
        try {
            $action();
        } catch (ProtocolError $e) {
            $session->lose('protocol error', $e->getMessage());
        } catch (\Throwable $e) {
            $session->fail($e);
        }
    }
}
