<?php

declare(strict_types=1);

namespace WebTransport;

/** What a client asked for: the request behind a session. */
final class Connect
{
    public string $authority = '';
    public string $path = '';
    public string $query = '';

    /** @var list<array{string, string}> names are in lower case */
    public array $headers = [];

    /** @var array<string, string> what webtransport_param sets */
    public array $params = [];

    public string $remoteAddr = '';

    /** @var list<string> offered; choose one in Session::accept() */
    public array $protocols = [];

    /** Bytes that we may send on every stream before nginx gives credit. */
    public int $streamWindow = 0;

    /** The longest frame that nginx reads. */
    public int $maxCommand = 65536;

    /** Streams that we may open before nginx gives credit. */
    public int $streamsBidi = 0;
    public int $streamsUni = 0;

    /** The first header of that name, or null. */
    public function header(string $name): ?string
    {
        foreach ($this->headers as [$have, $value]) {
            if ($have === $name) {
                return $value;
            }
        }

        return null;
    }

    /**
     * The casts are for a peer that sends a number where the contract has a
     * string, or the reverse: nonsense in, nonsense out, but no TypeError.
     */
    public static function decode(string $message): self
    {
        $connect = new self();

        foreach (Protobuf::fields($message) as $field => $value) {
            match ($field) {
                3 => $connect->authority = (string) $value,
                4 => $connect->path = (string) $value,
                5 => $connect->query = (string) $value,
                6 => $connect->headers[] = self::pair((string) $value),
                7 => $connect->addParam(...self::pair((string) $value)),
                8 => $connect->remoteAddr = (string) $value,
                13 => $connect->protocols[] = (string) $value,
                16 => $connect->streamWindow = (int) $value,
                17 => $connect->maxCommand = (int) $value,
                18 => $connect->streamsBidi = (int) $value,
                19 => $connect->streamsUni = (int) $value,
                default => null,
            };
        }

        return $connect;
    }

    private function addParam(string $name, string $value): void
    {
        $this->params[$name] = $value;
    }

    /**
     * A Header, and also an entry of a map: protobuf encodes a map as repeated
     * messages of a key and a value.
     *
     * @return array{string, string}
     */
    private static function pair(string $message): array
    {
        $values = Protobuf::values($message);

        return [(string) ($values[1] ?? ''), (string) ($values[2] ?? '')];
    }
}
