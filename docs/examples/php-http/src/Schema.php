<?php

declare(strict_types=1);

namespace WebTransport\Http;

/**
 * As much of webtransport.proto as a worker behind HTTP needs.
 *
 * A message is an array by the names of the fields, as in protobuf's JSON:
 * numbers are int, bytes are strings as they are, enums are their names.  What
 * is absent has its default, but for messages and "optional" fields.
 */
final class Schema
{
    /** By number: "name type", then "[]" if repeated, "?" if optional. */
    private const MESSAGES = [
        'EventBatch' => [
            1 => 'sessionId string',
            2 => 'seq int',
            3 => 'context Context',
            4 => 'events Event[]',
        ],
        'Context' => [
            1 => 'userId string',
            2 => 'meta map',
            3 => 'location string',
            4 => 'node string',
        ],
        'Event' => [
            1 => 'connect Connect',
            2 => 'data StreamData',
            3 => 'reset StreamAbort',
            4 => 'stop StreamAbort',
            5 => 'datagram Datagram',
            8 => 'closed Closed',
            9 => 'result Result',
            10 => 'ping Ping',
            11 => 'pong Ping',
        ],
        'Connect' => [
            3 => 'authority bytes',
            4 => 'path bytes',
            5 => 'query bytes',
            6 => 'headers Header[]',
            7 => 'params map',
            8 => 'remoteAddr string',
            13 => 'protocols string[]',
        ],
        'Header' => [1 => 'name string', 2 => 'value bytes'],
        'StreamData' => [
            1 => 'streamId int',
            2 => 'data bytes',
            3 => 'fin bool',
            4 => 'open Open',
        ],
        'StreamAbort' => [1 => 'streamId int', 2 => 'code int?'],
        'Datagram' => [1 => 'data bytes'],
        'Closed' => [1 => 'by By', 2 => 'code int', 3 => 'reason string'],
        'Result' => [
            1 => 'id int',
            2 => 'status int',
            3 => 'message string',
            4 => 'streamId int',
        ],
        'Ping' => [1 => 'id int'],
        'CommandBatch' => [
            1 => 'sessionId string',
            2 => 'seq int',
            3 => 'commands Command[]',
        ],
        'Command' => [
            1 => 'id int',
            2 => 'accept Accept',
            3 => 'reject Reject',
            4 => 'data StreamData',
            5 => 'reset StreamAbort',
            6 => 'stop StreamAbort',
            7 => 'datagram Datagram',
            11 => 'close Close',
            16 => 'update Update',
            17 => 'ping Ping',
            18 => 'pong Ping',
        ],
        'Accept' => [
            1 => 'protocol string',
            2 => 'headers Header[]',
            4 => 'framing Framing',
            5 => 'session Update',
            7 => 'overflow Overflow',
        ],
        'Reject' => [
            1 => 'status int',
            2 => 'headers Header[]',
            3 => 'body bytes',
        ],
        'Close' => [1 => 'code int', 2 => 'reason string', 3 => 'flushMs int'],
        'Update' => [2 => 'userId string', 3 => 'meta map'],
    ];

    /** Names in the order of their numbers. */
    private const ENUMS = [
        'Open' => ['NONE', 'BIDI', 'UNI'],
        'Framing' => ['RAW', 'WHOLE', 'U32', 'LINES'],
        'Overflow' => ['DEFAULT', 'BLOCK', 'CLOSE'],
        'By' => [
            'UNKNOWN', 'CLIENT', 'WORKER', 'CONTROL', 'TIMEOUT', 'LOST',
            'LIMIT', 'SHUTDOWN', 'WORKER_LOST', 'EXPIRED', 'PROTOCOL',
        ],
    ];

    private const DEFAULTS = [
        'int' => 0,
        'bool' => false,
        'string' => '',
        'bytes' => '',
        'map' => [],
    ];

    /** @var array<string, array<int, Field>> */
    private static array $fields = [];

    /** @return array<int, Field> by number */
    public static function fields(string $message): array
    {
        return self::$fields[$message] ??= array_map(
            Field::parse(...),
            self::MESSAGES[$message],
        );
    }

    public static function isMessage(string $type): bool
    {
        return isset(self::MESSAGES[$type]);
    }

    public static function isEnum(string $type): bool
    {
        return isset(self::ENUMS[$type]);
    }

    /** One that we do not know keeps its number. */
    public static function enumName(string $enum, int $number): string|int
    {
        return self::ENUMS[$enum][$number] ?? $number;
    }

    public static function enumNumber(string $enum, string|int $value): int
    {
        if (is_int($value)) {
            return $value;
        }

        // A newer nginx may have more of them: 0 is "unknown" in all enums.
        return (int) array_search($value, self::ENUMS[$enum], true);
    }

    /** @return array<string, mixed> a message of which nothing is set */
    public static function defaults(string $message): array
    {
        $defaults = [];

        foreach (self::fields($message) as $field) {
            if ($field->repeated) {
                $defaults[$field->name] = [];
            } elseif (self::isEnum($field->type)) {
                $defaults[$field->name] = self::enumName($field->type, 0);
            } elseif (!$field->optional && !self::isMessage($field->type)) {
                $defaults[$field->name] = self::DEFAULTS[$field->type];
            }
        }

        return $defaults;
    }
}
