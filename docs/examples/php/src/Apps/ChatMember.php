<?php

declare(strict_types=1);

namespace WebTransport\Apps;

use WebTransport\Session;
use WebTransport\Stream;

/** Somebody in the chat room. */
final class ChatMember
{
    /** The beginning of a line whose end has not arrived. */
    public string $partial = '';

    public function __construct(
        public readonly string $name,
        public readonly Session $session,
        public readonly Stream $stream,
    ) {
    }
}
