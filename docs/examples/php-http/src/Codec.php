<?php

declare(strict_types=1);

namespace WebTransport\Http;

/** Messages of the schema, as they travel. */
interface Codec
{
    /**
     * @return array<string, mixed>
     * @throws \WebTransport\ProtocolError if it is no such message
     */
    public function decode(string $message, string $bytes): array;

    /** @param array<string, mixed> $values */
    public function encode(string $message, array $values): string;
}
