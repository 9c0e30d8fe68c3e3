<?php

/**
 * The front controller: every request of nginx is a batch of events, and its
 * response is a batch of commands.
 *
 *     php -S 127.0.0.1:9200 public/index.php
 */

declare(strict_types=1);

// a warning amidst an answer would spoil it; it is logged
ini_set('display_errors', '0');

require __DIR__ . '/../src/autoload.php';

[$status, $type, $body] = (new WebTransport\Http\Endpoint())->handle(
    $_SERVER['REQUEST_METHOD'],
    $_SERVER['CONTENT_TYPE'] ?? '',
    file_get_contents('php://input'),
);

http_response_code($status);
header("Content-Type: $type");
header('Content-Length: ' . strlen($body));
echo $body;
