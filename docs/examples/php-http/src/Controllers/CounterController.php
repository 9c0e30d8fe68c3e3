<?php

declare(strict_types=1);

namespace WebTransport\Http\Controllers;

use WebTransport\Connect;
use WebTransport\Http\Answer;
use WebTransport\Http\Session;
use WebTransport\Http\StreamData;
use WebTransport\Http\WebTransportController;

/**
 * Questions and answers in JSON.  A stream is one question,
 *
 *     {"add": 5}                          the answer is {"total": 5}
 *     {"close": 1000, "reason": "bye"}    closes the session
 *
 * or with /counter?framing=lines, each of its lines.  The total is what nginx
 * remembers.
 */
final class CounterController extends WebTransportController
{
    public function connect(
        Session $session,
        Connect $connect,
        Answer $answer,
    ): void {
        parse_str($connect->query, $query);
        $lines = ($query['framing'] ?? '') === 'lines';

        $answer->accept($lines ? 'LINES' : 'WHOLE');
        $answer->openUni(self::json([
            'session' => $session->id,
            'location' => $session->location,
            'node' => $session->node,
            'user' => $session->userId,
        ]));
    }

    public function stream(
        Session $session,
        StreamData $data,
        Answer $answer,
    ): void {
        // the end of a stream that was expected to go on
        if ($data->bytes === '') {
            if (!$data->isUni()) {
                $answer->send($data->stream, '', $data->fin);
            }
            return;
        }

        $question = json_decode($data->bytes, true, 8);

        if (is_int($question['close'] ?? null)) {
            $reason = $question['reason'] ?? '';
            $answer->close(
                $question['close'],
                is_string($reason) ? $reason : '',
            );
            return;
        }

        if (is_int($question['add'] ?? null)) {
            $total = (int) ($session->meta['total'] ?? 0) + $question['add'];
            $session->meta['total'] = (string) $total;
            $reply = self::json(['total' => $total]);
        } else {
            $reply = self::json(['error' => 'not understood']);
        }

        if ($data->isUni()) {
            $answer->openUni($reply);
        } else {
            $answer->send($data->stream, $reply, $data->fin);
        }
    }

    public function datagram(
        Session $session,
        string $bytes,
        Answer $answer,
    ): void {
        $total = (int) ($session->meta['total'] ?? 0);
        $answer->datagram(self::json(['total' => $total]));
    }

    /** @param array<string, mixed> $message */
    private static function json(array $message): string
    {
        return json_encode($message, JSON_THROW_ON_ERROR);
    }
}
