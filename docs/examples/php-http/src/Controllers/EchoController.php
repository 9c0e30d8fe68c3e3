<?php

declare(strict_types=1);

namespace WebTransport\Http\Controllers;

use WebTransport\Http\Answer;
use WebTransport\Http\Session;
use WebTransport\Http\StreamData;
use WebTransport\Http\WebTransportController;

/**
 * Sends everything back, and also the ways in which a stream can end.  Nothing
 * has to be remembered: a bidirectional stream is answered on itself, and a
 * unidirectional one, 6, 10, 14 ..., on ours with the next number.
 */
final class EchoController extends WebTransportController
{
    public function stream(
        Session $session,
        StreamData $data,
        Answer $answer,
    ): void {
        $target = self::other($data->stream);

        if ($data->isUni() && $data->opens) {
            $answer->openUni($data->bytes, $data->fin, $target);
        } else {
            $answer->send($target, $data->bytes, $data->fin);
        }
    }

    public function datagram(
        Session $session,
        string $bytes,
        Answer $answer,
    ): void {
        $answer->datagram($bytes);
    }

    public function reset(
        Session $session,
        int $stream,
        ?int $code,
        Answer $answer,
    ): void {
        $answer->reset(self::other($stream), $code ?? 0);
    }

    public function stop(
        Session $session,
        int $stream,
        ?int $code,
        Answer $answer,
    ): void {
        $answer->stop(self::other($stream), $code ?? 0);
    }

    private static function other(int $stream): int
    {
        return ($stream & 2) === 0 ? $stream : $stream ^ 1;
    }
}
