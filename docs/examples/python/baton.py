"""Devious Baton, with which implementations of WebTransport test each other:
version 0, draft-frindell-webtrans-devious-baton-00.

A baton is a number below 256.  Who gets it adds one and hands it on, until it
is 256, which is 0.  What it came on decides what it goes on with:

    from us to the client   on a unidirectional stream of ours
    from the client to us   on a bidirectional stream of the client
    from us to the client   back on that one
    from the client to us   on a unidirectional stream of the client
    from us to the client   on a bidirectional stream of ours
    from the client to us   back on that one, and so on from the top

Two things are nginx's and not ours.  A stream that the client stops is reset
with the client's code, where the draft wants WHATEVER; and the end without an
error is a close with code 0, which means the same as the FIN of the draft.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from typing import NoReturn
from urllib.parse import parse_qs

from session import (
    NoStreamCredit,
    Session,
    SessionClosed,
    Stream,
    StreamReset,
    StreamStopped,
)


class DeviousBaton(Session):
    VERSION = 0
    MAX_BATONS = 100

    # How long we wait for a message, in seconds.
    PATIENCE = 10.0

    # In front of each message, as much as one of these: with lengths of 1, 2
    # and 4 bytes.
    PADDING = (0, 1, 63, 64, 1000, 20000)

    # Codes of the draft with which we end a session ...
    DA_YAMN = 1
    BRUH = 2
    SUS = 3
    BORED = 4

    # ... and stop or reset a stream.
    IDC = 1
    WHATEVER = 2

    async def on_connect(self) -> None:
        try:
            count, baton = self._read_query()
        except ValueError:
            self.reject(400)
            return

        self.active = count
        self.heard = asyncio.Event()

        # What the client owes us: a baton with that value, on a stream of its
        # own that is bidirectional or is not.
        self.due: Counter[tuple[bool, int]] = Counter()

        self.accept()
        self.spawn(self._watch())

        # Not here: until on_connect() returns, no credit is received.
        for _ in range(count):
            self.spawn(self._start(baton))

    async def on_stream(self, stream: Stream) -> None:
        baton = await self._receive_baton(stream)

        if not self.due[stream.bidirectional, baton]:
            self._give_up(self.SUS, "unexpected baton")

        self.due[stream.bidirectional, baton] -= 1

        if baton == 0:
            self._retire()
            # Returning would end the stream, but to end it without a message
            # is an error, and to reset it is to lose another baton.
            await asyncio.Event().wait()
        elif stream.bidirectional:
            await self._hand_on(stream, after(baton), bidirectional=False)
        else:
            await self._play_on_ours(after(baton))

    def on_datagram(self, data: bytes) -> None:
        try:
            _, baton = parse(data[:8], len(data), data[-1:])
        except ValueError:
            self.close(self.BRUH, "malformed datagram", flush_ms=0)
            return

        # Of these, and of no others, a client sends a copy.
        if baton % 7 != 1:
            self.close(self.SUS, "unexpected datagram", flush_ms=0)

    # ---- a baton's way ------------------------------------------------------

    async def _start(self, baton: int) -> None:
        """Sends a baton, at the top of the list above."""
        stream = await self._open_now(bidirectional=False)
        await self._hand_on(stream, baton, bidirectional=True)

    async def _hand_on(
        self, stream: Stream, baton: int, *, bidirectional: bool
    ) -> None:
        """Sends a baton, which comes back on a new stream of that kind."""
        if baton != 0:
            # Before it is sent: it may be back while we still wait to send.
            self.due[bidirectional, after(baton)] += 1

        await self._send_baton(stream, baton)

    async def _play_on_ours(self, baton: int) -> None:
        """Sends a baton, which comes back on the same stream."""
        stream = await self._open_now(bidirectional=True)
        await self._send_baton(stream, baton)

        if baton == 0:
            return

        answer = await self._receive_baton(stream)

        if answer != after(baton):
            self._give_up(self.SUS, "unexpected baton")

        if answer == 0:
            self._retire()
        else:
            await self._start(after(answer))

    async def _open_now(self, *, bidirectional: bool) -> Stream:
        try:
            if bidirectional:
                return await self.open_bidi(wait=False)

            return await self.open_uni(wait=False)
        except NoStreamCredit:
            self._give_up(self.DA_YAMN, "no credit for a stream")

    # ---- messages -----------------------------------------------------------

    async def _send_baton(self, stream: Stream, baton: int) -> None:
        padding = random.choice(self.PADDING)

        try:
            await stream.write(message(padding, baton), fin=True)
        except StreamStopped:
            stream.stop(self.IDC)
            self._retire()
            raise

        if baton == 0:
            # One less, but if it was the last one, let the client end the
            # session: if we did, it might never see the message.
            self.active -= 1

    async def _receive_baton(self, stream: Stream) -> int:
        # Padding may be longer than memory: only count it.
        head, size, last = b"", 0, b""

        try:
            async for data in stream:
                head += data[: 8 - len(head)]
                size += len(data)
                last = data[-1:]

            padding, baton = parse(head, size, last)
        except StreamReset:
            stream.reset(self.WHATEVER)
            self._retire()
            raise
        except ValueError:
            self._give_up(self.BRUH, "malformed message")

        self.heard.set()

        if baton % 7 == 0:
            fits = padding + 9 <= self.connect.limits.max_datagram
            self.send_datagram(message(padding if fits else 0, baton))

        return baton

    # ---- the end ------------------------------------------------------------

    def _retire(self) -> None:
        """A baton has arrived at 0, or was lost with its stream."""
        self.active -= 1

        if self.active <= 0:
            self.close()

    def _give_up(self, code: int, reason: str) -> NoReturn:
        self.close(code, reason, flush_ms=0)
        raise SessionClosed

    async def _watch(self) -> None:
        try:
            while True:
                async with asyncio.timeout(self.PATIENCE):
                    await self.heard.wait()

                self.heard.clear()
        except TimeoutError:
            if self.active > 0:
                self._give_up(self.BORED, "no message")

            self.close()

    def _read_query(self) -> tuple[int, int]:
        """How many batons, and which; ValueError if it cannot be."""
        query = parse_qs(self.connect.query.decode(), keep_blank_values=True)

        def number(name: str, default: int, low: int, high: int) -> int:
            # A ValueError, too, if it is there twice.
            [text] = query.get(name, [str(default)])

            if not re.fullmatch("[0-9]+", text):
                raise ValueError(name)

            if not low <= int(text) <= high:
                raise ValueError(name)

            return int(text)

        number("version", 0, self.VERSION, self.VERSION)
        count = number("count", 1, 1, self.MAX_BATONS)
        baton = number("baton", random.randint(1, 255), 1, 255)

        return count, baton


def after(baton: int) -> int:
    return (baton + 1) % 256


def message(padding: int, baton: int) -> bytes:
    """The length of the padding, as QUIC writes integers; padding; a byte."""
    power = next(n for n in range(4) if padding < 1 << (8 << n) - 2)
    length = power << (8 << power) - 2 | padding

    return length.to_bytes(1 << power, "big") + bytes(padding) + bytes([baton])


def parse(head: bytes, size: int, last: bytes) -> tuple[int, int]:
    """Padding and baton of a message of that many bytes.

    Of these, head are the first eight or all, and last is the last.
    """
    if size == 0:
        raise ValueError("empty")

    power = head[0] >> 6
    length = int.from_bytes(head[: 1 << power], "big")
    padding = length - (power << (8 << power) - 2)

    if size != (1 << power) + padding + 1:
        raise ValueError("cut short, or with something behind it")

    return padding, last[0]
