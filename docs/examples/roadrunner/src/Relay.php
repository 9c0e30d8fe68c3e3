<?php

declare(strict_types=1);

namespace WebTransport\RoadRunner;

/**
 * How RoadRunner talks with its workers: frames on standard input and output.
 *
 *     1 byte    version 1 in the high half, in the low half the length of the
 *               header, options included, in words of 4 bytes: 3 to 13
 *     1 byte    flags, see below
 *     4 bytes   length of the payload
 *     4 bytes   CRC-32 of the 6 bytes before
 *     2 bytes   not used here
 *     options   words; one, in calls and answers: the length of the context
 *     payload   context and body, or a control message
 *
 * Numbers are little-endian.  Nothing else may be written to standard output.
 */
final class Relay
{
    private const VERSION = 1;
    private const HEADER = 12;
    private const WORD = 4;

    /** Flags. */
    private const CONTROL = 0x01;
    private const JSON = 0x08;
    private const ERROR = 0x40;
    private const PROTOBUF = 0x80;

    /** The format of the context of the last call, a flag. */
    private int $format = self::JSON;

    /**
     * @param resource $in
     * @param resource $out
     */
    public function __construct(private $in, private $out)
    {
    }

    /**
     * The next call; control messages are dealt with.
     *
     * @return array{string, string}|null context and body; null: it is time to
     *                                    end
     */
    public function receive(): ?array
    {
        while (($frame = $this->readFrame()) !== null) {
            [$flags, $options, $payload] = $frame;

            if (($flags & self::CONTROL) === 0) {
                $this->format = $flags & self::PROTOBUF ?: self::JSON;
                $length = $options[0] ?? 0;

                return [
                    substr($payload, 0, $length),
                    substr($payload, $length),
                ];
            }

            $message = json_decode($payload, true);

            if ($message['stop'] ?? false) {
                return null;
            }

            if (isset($message['pid'])) {
                // the greeting: both tell who they are
                $this->writeFrame(
                    self::CONTROL | self::JSON,
                    [],
                    json_encode(['pid' => getmypid()], JSON_THROW_ON_ERROR),
                );
            }
        }

        return null;
    }

    /** Whether the context of this call, and of its answer, is no JSON. */
    public function isProtobuf(): bool
    {
        return $this->format === self::PROTOBUF;
    }

    public function answer(string $context, string $body): void
    {
        $this->writeFrame($this->format, [strlen($context)], $context . $body);
    }

    /** The call failed, but the worker is well. */
    public function fail(string $message): void
    {
        $this->writeFrame($this->format | self::ERROR, [0], $message);
    }

    /** @return array{int, list<int>, string}|null flags, options, payload */
    private function readFrame(): ?array
    {
        $header = $this->read(self::HEADER);

        // RoadRunner has gone
        if ($header === null) {
            return null;
        }

        [$first, $flags, $length, $crc] = array_values(
            unpack('Cfirst/Cflags/Vlength/Vcrc', $header),
        );

        if ($first >> 4 !== self::VERSION || $crc !== self::crc($header)) {
            throw new \RuntimeException('no frame of RoadRunner');
        }

        $more = ($first & 0x0f) * self::WORD - self::HEADER;
        $options = array_values(unpack('V*', (string) $this->read($more)));

        return [$flags, $options, (string) $this->read($length)];
    }

    private function read(int $length): ?string
    {
        $bytes = '';

        while (strlen($bytes) < $length) {
            $more = fread($this->in, $length - strlen($bytes));

            if ($more === false || $more === '') {
                return null;
            }

            $bytes .= $more;
        }

        return $bytes;
    }

    /** @param list<int> $options */
    private function writeFrame(
        int $flags,
        array $options,
        string $payload,
    ): void {
        $words = self::HEADER / self::WORD + count($options);
        $start = pack(
            'CCV',
            self::VERSION << 4 | $words,
            $flags,
            strlen($payload),
        );

        $frame = $start . pack('Vv', self::crc($start), 0)
            . pack('V*', ...$options) . $payload;

        while ($frame !== '') {
            $written = fwrite($this->out, $frame);

            if ($written === false || $written === 0) {
                throw new \RuntimeException('RoadRunner does not listen');
            }

            $frame = substr($frame, $written);
        }

        fflush($this->out);
    }

    private static function crc(string $header): int
    {
        return crc32(substr($header, 0, 6));
    }
}
