<?php

declare(strict_types=1);

namespace WebTransport\Http;

/** Collects the commands with which a batch is answered. */
final class Answer
{
    /** @var list<array<string, mixed>> */
    private array $commands = [];

    /**
     * @param string $framing WHOLE: a stream is one message; LINES: a line is
     *                        one; RAW: bytes as they come
     * @param string $overflow BLOCK: waits for a client that does not read;
     *                         CLOSE: ends its session
     * @param array<string, string> $headers of the response
     */
    public function accept(
        string $framing = 'RAW',
        string $overflow = 'BLOCK',
        string $protocol = '',
        array $headers = [],
    ): self {
        return $this->add('accept', [
            'framing' => $framing,
            'overflow' => $overflow,
            'protocol' => $protocol,
            'headers' => self::fields($headers),
        ]);
    }

    /**
     * A page learns nothing of it but that the session failed: to say why,
     * accept() and close().
     *
     * @param array<string, string> $headers
     */
    public function reject(
        int $status = 403,
        array $headers = [],
        string $body = '',
    ): self {
        return $this->add('reject', [
            'status' => $status,
            'headers' => self::fields($headers),
            'body' => $body,
        ]);
    }

    public function send(int $stream, string $bytes, bool $fin = false): self
    {
        return $this->data($stream, $bytes, $fin, 'NONE');
    }

    /**
     * Opens a stream.  nginx chooses its number, or the caller does: 7, 11, 15
     * and so on, rising.
     */
    public function openUni(
        string $bytes,
        bool $fin = true,
        int $stream = 0,
    ): self {
        return $this->data($stream, $bytes, $fin, 'UNI');
    }

    /** The same; here the numbers are 5, 9, 13 ... */
    public function openBidi(
        string $bytes,
        bool $fin = false,
        int $stream = 0,
    ): self {
        return $this->data($stream, $bytes, $fin, 'BIDI');
    }

    /** Gives up our sending side. */
    public function reset(int $stream, int $code = 0): self
    {
        return $this->add('reset', ['streamId' => $stream, 'code' => $code]);
    }

    /** Asks the client not to send any more. */
    public function stop(int $stream, int $code = 0): self
    {
        return $this->add('stop', ['streamId' => $stream, 'code' => $code]);
    }

    public function datagram(string $bytes): self
    {
        return $this->add('datagram', ['data' => $bytes]);
    }

    /** First delivers what was sent, for that many milliseconds at most. */
    public function close(
        int $code = 0,
        string $reason = '',
        int $flushMs = 1000,
    ): self {
        return $this->add('close', [
            'code' => $code,
            'reason' => $reason,
            'flushMs' => $flushMs,
        ]);
    }

    /** @internal see Session::tick() */
    public function ping(): self
    {
        return $this->add('ping', ['id' => 1]);
    }

    /** @internal */
    public function pong(int $id): self
    {
        return $this->add('pong', ['id' => $id]);
    }

    /**
     * @internal What nginx shall remember goes with Accept, or comes first: a
     * Close would be the last command to be heard.
     *
     * @param array<string, mixed> $update
     */
    public function update(array $update): void
    {
        if (isset($this->commands[0]['accept'])) {
            $this->commands[0]['accept']['session'] = $update;
        } elseif (!isset($this->commands[0]['reject'])) {
            array_unshift($this->commands, ['update' => $update]);
        }
    }

    /** @return list<array<string, mixed>> */
    public function commands(): array
    {
        return $this->commands;
    }

    private function data(
        int $stream,
        string $bytes,
        bool $fin,
        string $open,
    ): self {
        return $this->add('data', [
            'streamId' => $stream,
            'data' => $bytes,
            'fin' => $fin,
            'open' => $open,
        ]);
    }

    /** @param array<string, mixed> $command */
    private function add(string $kind, array $command): self
    {
        $this->commands[] = [$kind => $command];

        return $this;
    }

    /**
     * @param array<string, string> $headers
     * @return list<array<string, string>>
     */
    private static function fields(array $headers): array
    {
        return array_map(
            fn (string $name, string $value) => [
                'name' => $name,
                'value' => $value,
            ],
            array_keys($headers),
            $headers,
        );
    }
}
