<?php

/**
 * A worker for nginx's webtransport_pass, in plain PHP.
 *
 *     php worker.php unix:/path|host:port [--processes N] [--quiet]
 */

declare(strict_types=1);

use WebTransport\Apps\ChatApp;
use WebTransport\Apps\CursorsApp;
use WebTransport\Apps\EchoApp;
use WebTransport\Listener;
use WebTransport\Processes;
use WebTransport\Server;

const USAGE = "usage: php worker.php unix:/path|host:port"
    . " [--processes N] [--quiet]\n";

spl_autoload_register(function (string $class): void {
    if (str_starts_with($class, 'WebTransport\\')) {
        $name = substr($class, strlen('WebTransport\\'));
        require __DIR__ . '/src/' . strtr($name, '\\', '/') . '.php';
    }
});

function usage(): never
{
    fwrite(STDERR, USAGE);
    exit(2);
}

/** @return array{string, int, bool} address, processes, quiet */
function arguments(array $argv): array
{
    $address = null;
    $processes = 1;
    $quiet = false;

    for ($i = 1; $i < count($argv); $i++) {
        if ($argv[$i] === '--processes') {
            $processes = (int) ($argv[++$i] ?? usage());
        } elseif ($argv[$i] === '--quiet') {
            $quiet = true;
        } elseif ($address === null && !str_starts_with($argv[$i], '-')) {
            $address = $argv[$i];
        } else {
            usage();
        }
    }

    if ($address === null || $processes < 1) {
        usage();
    }

    return [$address, $processes, $quiet];
}

function main(array $argv): int
{
    [$address, $processes, $quiet] = arguments($argv);

    $log = function (string $line) use ($quiet): void {
        if (!$quiet) {
            echo $line, "\n";
        }
    };

    if ($processes > 1 && !function_exists('pcntl_fork')) {
        fwrite(STDERR, "--processes needs the pcntl extension\n");
        return 1;
    }

    try {
        $listener = new Listener($address);
    } catch (\RuntimeException $e) {
        fwrite(STDERR, $e->getMessage() . "\n");
        return 1;
    }

    echo "listening on $address\n";

    $serve = function () use ($listener, $log): void {
        $server = new Server(
            $listener,
            [
                '/echo' => new EchoApp(),
                '/chat' => new ChatApp(),
                '/cursors' => new CursorsApp(),
            ],
            $log,
        );

        if (function_exists('pcntl_signal')) {
            pcntl_async_signals(true);
            pcntl_signal(SIGTERM, fn () => $server->stop());
            pcntl_signal(SIGINT, fn () => $server->stop());
        }

        $server->run();
    };

    if ($processes === 1) {
        $serve();
    } else {
        $children = new Processes($serve, $log);
        $children->start($processes);
        $children->wait();
        // Before the children go, so that nobody new comes.
        $listener->close();
        $children->stop();
    }

    return 0;
}

exit(main($argv));
