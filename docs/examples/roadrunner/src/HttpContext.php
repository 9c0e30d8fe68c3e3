<?php

declare(strict_types=1);

namespace WebTransport\RoadRunner;

use WebTransport\Protobuf;

/**
 * What the plugin for HTTP tells of a request, and has to be told of a
 * response.  It is JSON in releases up to 2023, and protobuf in later ones:
 *
 *     request     3: method, 5: header fields; there is more
 *     response    1: status, 2: header fields
 *
 * Header fields are a map; its values are messages of repeated strings, 1.
 */
final class HttpContext
{
    /** @return array{string, string} method and content type */
    public static function read(string $context, bool $protobuf): array
    {
        if ($protobuf) {
            return self::readProtobuf($context);
        }

        $request = json_decode($context, true, 16, JSON_THROW_ON_ERROR);

        return [
            $request['method'],
            $request['headers']['Content-Type'][0] ?? '',
        ];
    }

    public static function write(
        int $status,
        string $contentType,
        bool $protobuf,
    ): string {
        if ($protobuf) {
            $value = Protobuf::bytes(1, $contentType);
            $field = Protobuf::bytes(1, 'Content-Type')
                . Protobuf::message(2, $value);

            return Protobuf::uint(1, $status) . Protobuf::message(2, $field);
        }

        return json_encode([
            'status' => $status,
            'headers' => ['Content-Type' => [$contentType]],
        ], JSON_THROW_ON_ERROR);
    }

    /** @return array{string, string} */
    private static function readProtobuf(string $context): array
    {
        $method = '';
        $type = '';

        foreach (Protobuf::fields($context) as $number => $value) {
            if ($number === 3) {
                $method = (string) $value;
            } elseif ($number === 5) {
                $field = Protobuf::values((string) $value);

                if (($field[1] ?? '') === 'Content-Type') {
                    $values = Protobuf::values((string) ($field[2] ?? ''));
                    $type = (string) ($values[1] ?? '');
                }
            }
        }

        return [$method, $type];
    }
}
