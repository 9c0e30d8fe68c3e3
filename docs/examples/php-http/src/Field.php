<?php

declare(strict_types=1);

namespace WebTransport\Http;

/** A field of a message. */
final class Field
{
    private function __construct(
        public readonly string $name,
        public readonly string $type,
        public readonly bool $repeated,
        public readonly bool $optional,
    ) {
    }

    /** See Schema::MESSAGES. */
    public static function parse(string $field): self
    {
        [$name, $type] = explode(' ', $field);

        return new self(
            $name,
            rtrim($type, '[]?'),
            str_ends_with($type, '[]'),
            str_ends_with($type, '?'),
        );
    }
}
