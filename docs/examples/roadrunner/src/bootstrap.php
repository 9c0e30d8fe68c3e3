<?php

declare(strict_types=1);

require __DIR__ . '/../../php-http/src/autoload.php';
require __DIR__ . '/HttpContext.php';
require __DIR__ . '/Relay.php';

// standard output is RoadRunner's; it logs what comes on standard error
ini_set('display_errors', 'stderr');
ini_set('log_errors', '0');
