<?php

declare(strict_types=1);

namespace WebTransport\Http;

use WebTransport\ProtocolError;

/** Protobuf's JSON: bytes are base64, and so on. */
final class JsonCodec implements Codec
{
    private const DEPTH = 32;

    public function decode(string $message, string $bytes): array
    {
        try {
            $values = json_decode(
                $bytes,
                true,
                self::DEPTH,
                JSON_THROW_ON_ERROR,
            );
        } catch (\JsonException $e) {
            throw new ProtocolError($e->getMessage());
        }

        return $this->decodeMessage($message, $values);
    }

    public function encode(string $message, array $values): string
    {
        return json_encode(
            $this->encodeMessage($message, $values),
            JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES
                | JSON_UNESCAPED_UNICODE,
        );
    }

    /** @return array<string, mixed> */
    private function decodeMessage(string $message, mixed $json): array
    {
        $values = Schema::defaults($message);
        $json = self::expect(is_array($json), $json);

        foreach (Schema::fields($message) as $field) {
            // null and absence mean the same
            $value = $json[$field->name] ?? null;

            if ($value === null) {
                continue;
            }

            if ($field->repeated) {
                $values[$field->name] = array_map(
                    fn (mixed $element) => $this->read($field->type, $element),
                    array_values(self::expect(is_array($value), $value)),
                );
            } else {
                $values[$field->name] = $this->read($field->type, $value);
            }
        }

        return $values;
    }

    private function read(string $type, mixed $value): mixed
    {
        if (Schema::isMessage($type)) {
            return $this->decodeMessage($type, $value);
        }

        if ($type === 'map') {
            return array_map(
                fn (mixed $text) => $this->read('string', $text),
                self::expect(is_array($value), $value),
            );
        }

        if (Schema::isEnum($type)) {
            self::expect(is_int($value) || is_string($value), $value);
            $number = Schema::enumNumber($type, $value);

            return Schema::enumName($type, $number);
        }

        // 64-bit numbers are strings, because JavaScript has none so long
        return match ($type) {
            'int' => (int) self::expect(is_numeric($value), $value),
            'bool' => self::expect(is_bool($value), $value),
            'string' => self::expect(is_string($value), $value),
            'bytes' => self::fromBase64(self::expect(
                is_string($value),
                $value,
            )),
        };
    }

    private static function expect(bool $right, mixed $value): mixed
    {
        if (!$right) {
            throw new ProtocolError('unexpected ' . get_debug_type($value));
        }

        return $value;
    }

    private static function fromBase64(string $text): string
    {
        $bytes = base64_decode(strtr($text, '-_', '+/'), true);

        return self::expect(is_string($bytes), $bytes);
    }

    /** @param array<string, mixed> $values */
    private function encodeMessage(string $message, array $values): object
    {
        // not an array: an empty one would be [] instead of {}
        $json = new \stdClass();

        foreach (Schema::fields($message) as $field) {
            $value = $values[$field->name] ?? null;

            if ($value === null || $value === []) {
                continue;
            }

            $json->{$field->name} = $field->repeated
                ? array_map(
                    fn (mixed $element) => $this->write($field->type, $element),
                    $value,
                )
                : $this->write($field->type, $value);
        }

        return $json;
    }

    private function write(string $type, mixed $value): mixed
    {
        return match (true) {
            Schema::isMessage($type) => $this->encodeMessage($type, $value),
            $type === 'bytes' => base64_encode($value),
            $type === 'map' => (object) $value,
            default => $value,
        };
    }
}
