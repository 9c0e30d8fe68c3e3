<?php

declare(strict_types=1);

namespace WebTransport;

/**
 * The commands of webtransport.proto, encoded.  Each function returns one
 * element of CommandBatch.commands.
 */
final class Command
{
    /** StreamData.open */
    public const OPEN_BIDI = 1;
    public const OPEN_UNI = 2;

    /** Accept.Notify: nginx tells us how much each stream takes. */
    private const NOTIFY_STREAM_CREDIT = 3;

    /** @param array<string, string> $headers */
    public static function accept(
        string $protocol,
        array $headers,
        int $streamWindow,
    ): string {
        return self::command(
            2,
            Protobuf::bytes(1, $protocol)
            . self::headers($headers)
            . Protobuf::uint(3, $streamWindow)
            // A repeated number is a string of varints; this one has one.
            . Protobuf::bytes(8, chr(self::NOTIFY_STREAM_CREDIT)),
        );
    }

    /** @param array<string, string> $headers */
    public static function reject(
        int $status,
        array $headers,
        string $body,
    ): string {
        return self::command(
            3,
            Protobuf::uint(1, $status)
            . self::headers($headers)
            . Protobuf::bytes(3, $body),
        );
    }

    public static function data(
        int $stream,
        string $data,
        bool $fin,
        int $open,
    ): string {
        return self::command(
            4,
            Protobuf::uint(1, $stream)
            . Protobuf::bytes(2, $data)
            . Protobuf::uint(3, (int) $fin)
            . Protobuf::uint(4, $open),
        );
    }

    public static function reset(int $stream, int $code): string
    {
        $abort = Protobuf::uint(1, $stream) . Protobuf::uint(2, $code);

        return self::command(5, $abort);
    }

    public static function stop(int $stream, int $code): string
    {
        $abort = Protobuf::uint(1, $stream) . Protobuf::uint(2, $code);

        return self::command(6, $abort);
    }

    public static function datagram(string $data): string
    {
        return self::command(7, Protobuf::bytes(1, $data));
    }

    public static function credit(int $stream, int $bytes): string
    {
        $credit = Protobuf::uint(1, $stream) . Protobuf::uint(2, $bytes);

        return self::command(8, $credit);
    }

    public static function close(
        int $code,
        string $reason,
        int $flushMs,
    ): string {
        return self::command(
            11,
            Protobuf::uint(1, $code)
            . Protobuf::bytes(2, $reason)
            . Protobuf::uint(3, $flushMs),
        );
    }

    public static function pong(int $id): string
    {
        return self::command(18, Protobuf::uint(1, $id));
    }

    private static function command(int $kind, string $body): string
    {
        return Protobuf::message(3, Protobuf::message($kind, $body));
    }

    /** @param array<string, string> $headers */
    private static function headers(array $headers): string
    {
        $encoded = '';

        foreach ($headers as $name => $value) {
            $header = Protobuf::bytes(1, $name) . Protobuf::bytes(2, $value);
            $encoded .= Protobuf::message(2, $header);
        }

        return $encoded;
    }
}
