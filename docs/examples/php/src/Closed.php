<?php

declare(strict_types=1);

namespace WebTransport;

/** How a session ended. */
final class Closed
{
    private const BY = [
        'unknown', 'client', 'worker', 'control call', 'timeout',
        'lost connection', 'limit', 'nginx shutdown', 'lost worker',
        'expiry', 'protocol error',
    ];

    public function __construct(
        public readonly string $by,
        public readonly int $code = 0,
        public readonly string $reason = '',
    ) {
    }

    public static function decode(string $message): self
    {
        $values = Protobuf::values($message);

        return new self(
            self::BY[$values[1] ?? 0] ?? 'unknown',
            (int) ($values[2] ?? 0),
            (string) ($values[3] ?? ''),
        );
    }
}
