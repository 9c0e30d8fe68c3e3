<?php

declare(strict_types=1);

namespace WebTransport;

/** The listening socket: "unix:/path" or "host:port". */
final class Listener
{
    /**
     * Connections that the kernel keeps until a process accepts them.  nginx
     * opens one per session, and PHP's default of 32 is gone at once when many
     * browsers reconnect after a restart.  net.core.somaxconn may lower it.
     */
    private const BACKLOG = 1024;

    /** @var resource */
    public readonly mixed $socket;

    private readonly ?string $path;
    private readonly int $process;
    private ?int $inode = null;

    public function __construct(string $address)
    {
        $this->path = str_starts_with($address, 'unix:')
            ? substr($address, 5)
            : null;

        if ($this->path !== null) {
            self::removeStale($this->path);
        }

        $context = stream_context_create([
            'socket' => ['backlog' => self::BACKLOG, 'tcp_nodelay' => true],
        ]);

        $socket = @stream_socket_server(
            $this->path !== null ? "unix://$this->path" : "tcp://$address",
            $errno,
            $error,
            STREAM_SERVER_BIND | STREAM_SERVER_LISTEN,
            $context,
        );

        if ($socket === false) {
            // For unix sockets PHP does not tell.
            $error = $error ?: 'is the directory there, and writable?';
            throw new \RuntimeException("cannot listen on $address: $error");
        }

        $this->socket = $socket;
        $this->process = getmypid();

        if ($this->path !== null) {
            // nginx's workers run as another user, and connecting takes the
            // right to write.  Who may come here is up to the directory.
            chmod($this->path, 0666);
            $this->inode = fileinode($this->path) ?: null;
        }
    }

    /**
     * Ends listening; in the process that began it, the file goes too.  What
     * nginx has not been able to connect to, it can take to another worker.
     */
    public function close(): void
    {
        if (!is_resource($this->socket)) {
            return;
        }

        fclose($this->socket);
        clearstatcache();

        // By now the file may be the socket of our successor.
        if (
            $this->path !== null
            && $this->process === getmypid()
            && @fileinode($this->path) === $this->inode
        ) {
            unlink($this->path);
        }
    }

    /** A worker that was killed leaves its socket behind. */
    private static function removeStale(string $path): void
    {
        if (!file_exists($path)) {
            return;
        }

        if (filetype($path) !== 'socket') {
            throw new \RuntimeException("$path exists and is not a socket");
        }

        $peer = @stream_socket_client("unix://$path", $errno, $error, 1);

        if ($peer !== false || $error !== 'Connection refused') {
            throw new \RuntimeException("$path is in use");
        }

        unlink($path);
    }
}
