<?php

declare(strict_types=1);

namespace WebTransport\Http;

/** Bytes of a stream; with a framing, one message. */
final class StreamData
{
    public function __construct(
        public readonly int $stream,
        public readonly string $bytes,
        public readonly bool $fin,
        public readonly bool $opens,
    ) {
    }

    /** @param array<string, mixed> $data */
    public static function of(array $data): self
    {
        return new self(
            $data['streamId'],
            $data['data'],
            $data['fin'],
            $data['open'] !== 'NONE',
        );
    }

    /** Whether we cannot answer on this stream. */
    public function isUni(): bool
    {
        return ($this->stream & 2) !== 0;
    }
}
