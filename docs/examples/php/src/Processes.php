<?php

declare(strict_types=1);

namespace WebTransport;

/**
 * Runs a function in several processes, and starts it again in place of one
 * that died, until SIGTERM or SIGINT.
 */
final class Processes
{
    private const SIGNALS = [SIGTERM, SIGINT, SIGCHLD];

    /** @var array<int, true> by process id */
    private array $children = [];

    /**
     * @param \Closure(): void $main what a process does
     * @param \Closure(string): void $log
     */
    public function __construct(
        private readonly \Closure $main,
        private readonly \Closure $log,
    ) {
    }

    public function start(int $count): void
    {
        // Blocked signals wait for sigwaitinfo(): none is missed.
        pcntl_sigprocmask(SIG_BLOCK, self::SIGNALS);

        for ($i = 0; $i < $count; $i++) {
            $this->fork();
        }
    }

    /** Returns when the signal to stop has come. */
    public function wait(): void
    {
        do {
            $signal = pcntl_sigwaitinfo(self::SIGNALS);
            $this->replaceDead();
        } while ($signal !== SIGTERM && $signal !== SIGINT);
    }

    public function stop(): void
    {
        foreach (array_keys($this->children) as $pid) {
            posix_kill($pid, SIGTERM);
        }

        foreach (array_keys($this->children) as $pid) {
            pcntl_waitpid($pid, $status);
        }
    }

    private function fork(): void
    {
        $pid = pcntl_fork();

        if ($pid === 0) {
            pcntl_sigprocmask(SIG_UNBLOCK, self::SIGNALS);
            ($this->main)();
            exit(0);
        }

        if ($pid > 0) {
            $this->children[$pid] = true;
        }
    }

    private function replaceDead(): void
    {
        while (($pid = pcntl_waitpid(-1, $status, WNOHANG)) > 0) {
            unset($this->children[$pid]);
            ($this->log)("process $pid died");

            // One that dies at once shall not keep the machine busy.
            sleep(1);
            $this->fork();
        }
    }
}
