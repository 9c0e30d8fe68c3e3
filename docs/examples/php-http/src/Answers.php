<?php

declare(strict_types=1);

namespace WebTransport\Http;

/**
 * Remembers the last answer to each session.
 *
 * nginx delivers a batch at least once: if an answer is lost, or comes too
 * late, the batch comes again, with the same number.  Then it must not be done
 * again, but be answered as the first time.
 *
 * This one is made of files.  An application with a database rather keeps the
 * number in a row of its own, and writes it in the transaction in which it
 * does the work: then nothing is done twice, even if the process dies between
 * the two.
 */
final class Answers
{
    /** Nobody asks for an answer so old. */
    private const KEEP_SECONDS = 3600;

    public function __construct(private readonly string $folder)
    {
    }

    /**
     * @param \Closure(): string $run
     * @return string|null what it returned, now or the first time; null for a
     *                     number that is older than the last one
     */
    public function once(string $session, int $number, \Closure $run): ?string
    {
        $this->forgetOld();

        // a client chooses nothing of it, but who knows who is asking
        $path = $this->folder . '/' . hash('sha256', $session) . '.answer';
        $file = fopen($path, 'c+');

        try {
            // the first attempt may still be running
            flock($file, LOCK_EX);

            [$last, $answer] = explode(
                "\n",
                stream_get_contents($file) . "\n",
                2,
            );
            $last = (int) $last;

            if ($number === $last) {
                return substr($answer, 0, -1);
            }

            if ($number < $last) {
                return null;
            }

            $answer = $run();
            rewind($file);
            fwrite($file, "$number\n$answer");
            ftruncate($file, ftell($file));
            fflush($file);

            return $answer;
        } finally {
            fclose($file);
        }
    }

    private function forgetOld(): void
    {
        if (mt_rand(0, 999) !== 0) {
            return;
        }

        foreach (glob($this->folder . '/*.answer') as $path) {
            // another process may be doing the same
            $time = @filemtime($path);

            if ($time !== false && $time < time() - self::KEEP_SECONDS) {
                @unlink($path);
            }
        }
    }
}
