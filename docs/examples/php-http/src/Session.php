<?php

declare(strict_types=1);

namespace WebTransport\Http;

/**
 * What nginx remembers about a session, and sends with every batch: any
 * process, on any machine, may get the next one.
 *
 * Changes of $userId and $meta are sent back with the answer.  nginx keeps 4 KB
 * of them.  Not in datagram(): its batches travel beside the others, and what
 * they read may be older than what they overwrite.
 */
final class Session
{
    /** The path that the client asked for. */
    private const PATH = 'path';

    /** Set while a tick is on its way. */
    private const TICK = 'tick';

    /** @var array<string, string> */
    private readonly array $oldMeta;

    private readonly string $oldUserId;

    /** @param array<string, string> $meta valid UTF-8 */
    private function __construct(
        public readonly string $id,
        public readonly string $location,
        public readonly string $node,
        public string $userId,
        public array $meta,
    ) {
        $this->oldUserId = $userId;
        $this->oldMeta = $meta;
    }

    /** @param array<string, mixed> $batch an EventBatch */
    public static function of(array $batch): self
    {
        $context = $batch['context'] ?? Schema::defaults('Context');

        return new self(
            $batch['sessionId'],
            $context['location'],
            $context['node'],
            $context['userId'],
            $context['meta'],
        );
    }

    public function path(): string
    {
        return $this->meta[self::PATH] ?? '';
    }

    /** @internal */
    public function setPath(string $path): void
    {
        $this->meta[self::PATH] = $path;
    }

    /**
     * Asks for a call of the controller's tick(), soon.  One at a time: while
     * one is on its way, this does nothing.
     */
    public function tick(Answer $answer): void
    {
        if (!isset($this->meta[self::TICK])) {
            $this->meta[self::TICK] = '1';
            $answer->ping();
        }
    }

    /** @internal */
    public function ticked(): void
    {
        unset($this->meta[self::TICK]);
    }

    /**
     * @internal
     * @return array<string, mixed>|null an Update
     */
    public function changes(): ?array
    {
        $meta = array_diff_assoc($this->meta, $this->oldMeta);

        // an empty value removes the key
        $meta += array_fill_keys(
            array_keys(array_diff_key($this->oldMeta, $this->meta)),
            '',
        );

        if ($meta === [] && $this->userId === $this->oldUserId) {
            return null;
        }

        return ['userId' => $this->userId, 'meta' => $meta];
    }
}
