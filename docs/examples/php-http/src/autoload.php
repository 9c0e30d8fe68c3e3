<?php

/**
 * Finds the classes of this example, and those that it shares with the worker
 * for sockets.
 */

declare(strict_types=1);

spl_autoload_register(function (string $class): void {
    $folders = [
        'WebTransport\\Http\\' => __DIR__,
        'WebTransport\\' => __DIR__ . '/../../php/src',
    ];

    foreach ($folders as $prefix => $folder) {
        if (str_starts_with($class, $prefix)) {
            $name = substr($class, strlen($prefix));
            require $folder . '/' . strtr($name, '\\', '/') . '.php';
            return;
        }
    }
});
