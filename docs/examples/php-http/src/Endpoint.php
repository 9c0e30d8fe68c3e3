<?php

declare(strict_types=1);

namespace WebTransport\Http;

use WebTransport\ProtocolError;

/** The application as a handler of HTTP requests. */
final class Endpoint
{
    private readonly Application $application;

    public function __construct()
    {
        $this->application = new Application();
    }

    /**
     * The answer has the format of the question.
     *
     * @return array{int, string, string} status, content type, body
     */
    public function handle(
        string $method,
        string $contentType,
        string $body,
    ): array {
        $type = strtolower(trim(explode(';', $contentType)[0]));

        $codec = match ($type) {
            'application/json' => new JsonCodec(),
            'application/proto' => new ProtobufCodec(),
            default => null,
        };

        if ($method !== 'POST') {
            return [405, 'text/plain', "POST a batch of events\n"];
        }

        if ($codec === null) {
            return [415, 'text/plain', "neither JSON nor protobuf\n"];
        }

        try {
            return [200, $type, $this->application->deliver($codec, $body)];
        } catch (ProtocolError $e) {
            return [400, 'text/plain', $e->getMessage() . "\n"];
        } catch (\Throwable $e) {
            // nginx gives the batch up; it would repeat it after a 503
            error_log((string) $e);

            return [500, 'text/plain', "internal error\n"];
        }
    }
}
