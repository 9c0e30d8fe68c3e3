<?php

declare(strict_types=1);

namespace WebTransport;

/** The peer sent what nginx never sends; its connection ends. */
final class ProtocolError extends \RuntimeException
{
}
