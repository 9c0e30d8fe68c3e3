<?php

declare(strict_types=1);

namespace WebTransport;

/**
 * As much of protobuf's wire format as the contract needs.
 *
 * A message is a sequence of fields in any order.  Each begins with a varint,
 * its number times 8 plus a type: 0 is a varint, 1 is 8 bytes, 5 is 4 bytes,
 * and 2 is a length and that many bytes, which are a string, bytes or another
 * message.  What a field means stands in webtransport.proto.
 */
final class Protobuf
{
    /**
     * Reads the fields of a message, in order: number => value.
     *
     * @return \Generator<int, int|string>
     */
    public static function fields(string $message): \Generator
    {
        $at = 0;
        $end = strlen($message);

        while ($at < $end) {
            $tag = self::readVarint($message, $at);

            if (($tag & 7) === 0) {
                yield $tag >> 3 => self::readVarint($message, $at);
                continue;
            }

            $length = match ($tag & 7) {
                1 => 8,
                2 => self::readVarint($message, $at),
                5 => 4,
                default => throw new ProtocolError('unknown wire type'),
            };

            if ($length < 0 || $length > $end - $at) {
                throw new ProtocolError('field ends beyond its message');
            }

            yield $tag >> 3 => substr($message, $at, $length);
            $at += $length;
        }
    }

    /**
     * Reads a message without repeated fields: what is absent has its default
     * value, and of a field that comes twice the last one counts.
     *
     * @return array<int, int|string> by number
     */
    public static function values(string $message): array
    {
        return iterator_to_array(self::fields($message));
    }

    /** A varint field; nothing if the value is 0, which is the default. */
    public static function uint(int $field, int $value): string
    {
        return $value === 0
            ? ''
            : self::varint($field << 3) . self::varint($value);
    }

    /** A string or bytes field; nothing if the value is empty. */
    public static function bytes(int $field, string $value): string
    {
        return $value === '' ? '' : self::message($field, $value);
    }

    /** A message field: unlike a string it means something when empty. */
    public static function message(int $field, string $value): string
    {
        return self::varint($field << 3 | 2)
            . self::varint(strlen($value)) . $value;
    }

    /**
     * nginx writes varints that are longer than they need to be, 87 80 00 for
     * 7, so the length says nothing about the value.
     */
    private static function readVarint(string $bytes, int &$at): int
    {
        $value = 0;

        for ($shift = 0; $shift < 70; $shift += 7) {
            if (!isset($bytes[$at])) {
                throw new ProtocolError('varint is cut off');
            }

            $byte = ord($bytes[$at++]);
            $value |= ($byte & 0x7f) << $shift;

            if ($byte < 0x80) {
                return $value;
            }
        }

        throw new ProtocolError('varint of more than 10 bytes');
    }

    private static function varint(int $value): string
    {
        $bytes = '';

        // A uint64 above 2^63 is negative here, and >> keeps the sign.
        while ($value < 0 || $value > 0x7f) {
            $bytes .= chr($value & 0x7f | 0x80);
            $value = $value >> 7 & 0x1ffffffffffffff;
        }

        return $bytes . chr($value);
    }
}
