<?php

declare(strict_types=1);

namespace WebTransport;

/**
 * A socket to nginx: cuts what arrives into frames, and packs commands into
 * frames.  Never blocks.
 */
final class Connection
{
    /**
     * nginx keeps to 64 KB unless webtransport_framing is set, and then to
     * webtransport_max_message_size.
     */
    private const MAX_FRAME = 1 << 20;

    private const READ_SIZE = 65536;

    private string $input = '';
    private string $batch = '';
    private string $output = '';
    private int $maxBatch = 65536;
    private bool $ended = false;

    /** @param resource $socket */
    public function __construct(private $socket)
    {
        stream_set_blocking($socket, false);

        // Frames are put together here; PHP's own buffer would only be one
        // more copy, and read 8 KB at a time.
        stream_set_read_buffer($socket, 0);
    }

    /** @return resource */
    public function socket()
    {
        return $this->socket;
    }

    /** Whether the other side is gone. */
    public function ended(): bool
    {
        return $this->ended;
    }

    /** Bytes that nginx has not taken yet. */
    public function buffered(): int
    {
        return strlen($this->output) + strlen($this->batch);
    }

    public function setMaxBatch(int $bytes): void
    {
        $this->maxBatch = $bytes;
    }

    /**
     * Reads once, and returns the frames that are complete now.  Once only, so
     * that a busy session leaves time to the others.
     *
     * @return list<string>
     */
    public function read(): array
    {
        // "Connection reset by peer" is an end like any other, no warning.
        $bytes = @fread($this->socket, self::READ_SIZE);

        if ($bytes === false || $bytes === '') {
            $this->ended = feof($this->socket);
            return [];
        }

        $this->input .= $bytes;
        $frames = [];
        $at = 0;

        while (strlen($this->input) - $at >= 4) {
            $length = unpack('N', $this->input, $at)[1];

            if ($length > self::MAX_FRAME) {
                throw new ProtocolError("frame of $length bytes");
            }

            if (strlen($this->input) - $at - 4 < $length) {
                break;
            }

            $frames[] = substr($this->input, $at + 4, $length);
            $at += 4 + $length;
        }

        $this->input = substr($this->input, $at);

        return $frames;
    }

    /** Adds a command to the batch that is being made. */
    public function send(string $command): void
    {
        if (strlen($this->batch) + strlen($command) > $this->maxBatch) {
            $this->seal();
        }

        $this->batch .= $command;
    }

    /** Writes as much as the socket takes. */
    public function flush(): void
    {
        $this->seal();

        if ($this->output === '' || $this->ended) {
            return;
        }

        $written = @fwrite($this->socket, $this->output);

        if ($written === false) {
            $this->ended = true;
            return;
        }

        $this->output = substr($this->output, $written);
    }

    public function close(): void
    {
        fclose($this->socket);
    }

    /** Ends the batch: all commands since the last one travel as one frame. */
    private function seal(): void
    {
        if ($this->batch !== '') {
            $this->output .= pack('N', strlen($this->batch)) . $this->batch;
            $this->batch = '';
        }
    }
}
