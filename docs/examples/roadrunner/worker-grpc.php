<?php

/**
 * A worker of RoadRunner's plugin for gRPC: the context of a call is its
 * service and method in JSON, the body is the message.
 */

declare(strict_types=1);

use WebTransport\Http\Application;
use WebTransport\Http\ProtobufCodec;
use WebTransport\ProtocolError;

require __DIR__ . '/src/bootstrap.php';

const SERVICE = 'nginx.webtransport.v1.Worker';
const METHOD = 'Deliver';

/** Status codes of gRPC. */
const INVALID_ARGUMENT = 3;
const UNIMPLEMENTED = 12;
const INTERNAL = 13;

$relay = new WebTransport\RoadRunner\Relay(STDIN, STDOUT);
$application = new Application();
$codec = new ProtobufCodec();

// RoadRunner finds the status code in front of that mark
$fail = fn (int $code, string $message) => $relay->fail("$code|:|$message");

while (($call = $relay->receive()) !== null) {
    [$context, $body] = $call;
    $request = json_decode($context, true, 16, JSON_THROW_ON_ERROR);

    if ($request['service'] !== SERVICE || $request['method'] !== METHOD) {
        $fail(UNIMPLEMENTED, 'there is only ' . METHOD);
        continue;
    }

    try {
        $relay->answer('{}', $application->deliver($codec, $body));
    } catch (ProtocolError $e) {
        $fail(INVALID_ARGUMENT, $e->getMessage());
    } catch (\Throwable $e) {
        fwrite(STDERR, "$e\n");
        $fail(INTERNAL, 'internal error');
    }
}
