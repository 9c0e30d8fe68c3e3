<?php

/**
 * A worker of RoadRunner's plugin for HTTP: the context of a call is the head
 * of a request, and the body is its body.
 */

declare(strict_types=1);

use WebTransport\Http\Endpoint;
use WebTransport\RoadRunner\HttpContext;
use WebTransport\RoadRunner\Relay;

require __DIR__ . '/src/bootstrap.php';

$relay = new Relay(STDIN, STDOUT);
$endpoint = new Endpoint();

while (($call = $relay->receive()) !== null) {
    [$context, $body] = $call;
    [$method, $type] = HttpContext::read($context, $relay->isProtobuf());
    [$status, $type, $answer] = $endpoint->handle($method, $type, $body);

    $relay->answer(
        HttpContext::write($status, $type, $relay->isProtobuf()),
        $answer,
    );
}
