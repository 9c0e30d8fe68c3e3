<?php

declare(strict_types=1);

namespace WebTransport\Http;

use WebTransport\Protobuf;

/** Protobuf's wire format. */
final class ProtobufCodec implements Codec
{
    public function decode(string $message, string $bytes): array
    {
        $values = Schema::defaults($message);
        $fields = Schema::fields($message);

        foreach (Protobuf::fields($bytes) as $number => $value) {
            $field = $fields[$number] ?? null;

            if ($field === null) {
                continue;
            }

            if ($field->type === 'map') {
                $entry = Protobuf::values((string) $value);
                $values[$field->name][(string) ($entry[1] ?? '')]
                    = (string) ($entry[2] ?? '');
            } elseif ($field->repeated) {
                $values[$field->name][] = $this->read($field->type, $value);
            } else {
                $values[$field->name] = $this->read($field->type, $value);
            }
        }

        return $values;
    }

    public function encode(string $message, array $values): string
    {
        $bytes = '';

        foreach (Schema::fields($message) as $number => $field) {
            $value = $values[$field->name] ?? null;

            if ($field->type === 'map') {
                foreach ($value ?? [] as $key => $text) {
                    $bytes .= Protobuf::message(
                        $number,
                        Protobuf::bytes(1, (string) $key)
                        . Protobuf::bytes(2, $text),
                    );
                }
            } elseif ($field->repeated) {
                foreach ($value ?? [] as $element) {
                    $bytes .= $this->write($number, $field->type, $element);
                }
            } elseif ($value !== null) {
                $bytes .= $this->write($number, $field->type, $value);
            }
        }

        return $bytes;
    }

    private function read(string $type, int|string $value): mixed
    {
        return match (true) {
            Schema::isMessage($type) => $this->decode($type, (string) $value),
            Schema::isEnum($type) => Schema::enumName($type, (int) $value),
            $type === 'int' => (int) $value,
            $type === 'bool' => (bool) $value,
            default => (string) $value,
        };
    }

    private function write(int $number, string $type, mixed $value): string
    {
        return match (true) {
            Schema::isMessage($type) => Protobuf::message(
                $number,
                $this->encode($type, $value),
            ),
            Schema::isEnum($type) => Protobuf::uint(
                $number,
                Schema::enumNumber($type, $value),
            ),
            $type === 'int', $type === 'bool' => Protobuf::uint(
                $number,
                (int) $value,
            ),
            default => Protobuf::bytes($number, $value),
        };
    }
}
