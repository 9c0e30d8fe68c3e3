"""Three applications: an echo, a chat room and everybody's cursor."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator
from typing import ClassVar
from urllib.parse import parse_qs

from connection import pb
from session import Session, Stream, StreamReset, StreamStopped


class Echo(Session):
    """Sends everything back.

    A bidirectional stream on itself, a unidirectional one on a new one,
    datagrams, and also the ways in which a stream can end.
    """

    async def on_stream(self, stream: Stream) -> None:
        back = stream if stream.bidirectional else await self.open_uni()

        try:
            async for data in stream:
                await back.write(data)

            await back.end()
        except StreamReset as reset:
            back.reset(reset.code)
            raise

    def on_datagram(self, data: bytes) -> None:
        self.send_datagram(data)


class LineTooLong(Exception):
    pass


class Chat(Session):
    """A chat room.

    A client enters with a bidirectional stream and leaves by ending it; on it
    go lines to the room, and lines from the room.  Its name is the query's
    "name".  Every process is a room of its own.
    """

    # Codes with which a session or stream is ended.
    ONE_STREAM_ONLY = 1
    LINE_TOO_LONG = 2
    TOO_SLOW = 3

    MAX_LINE = 1000

    # A member who is that many lines behind is thrown out.
    MAX_BEHIND = 100

    room: ClassVar[set[Chat]] = set()
    guests: ClassVar[itertools.count[int]] = itertools.count(1)

    async def on_stream(self, stream: Stream) -> None:
        if not stream.bidirectional or self in self.room:
            stream.stop(self.ONE_STREAM_ONLY)
            stream.reset(self.ONE_STREAM_ONLY)
            return

        self.name = self._choose_name()
        self.lines: asyncio.Queue[str | None] = asyncio.Queue()
        self.room.add(self)
        delivery = self.spawn(self._deliver(stream))

        try:
            self.say(f"* {self.name} joined")

            async for line in self._split(stream):
                self.say(f"{self.name}: {line}")

            self.lines.put_nowait(None)
            await delivery
        except LineTooLong:
            self.close(self.LINE_TOO_LONG, "line too long")
        finally:
            # Also if the session has ended, which cancels this task.
            delivery.cancel()
            self.room.discard(self)
            self.say(f"* {self.name} left")

    def say(self, line: str) -> None:
        """Sends a line to everybody.

        Nobody is waited for: everyone has a queue, and a task that empties
        it as fast as the client reads.
        """
        for member in list(self.room):
            member.lines.put_nowait(line)

            if member.lines.qsize() > self.MAX_BEHIND:
                self.room.discard(member)
                member.close(self.TOO_SLOW, "too slow", flush_ms=0)

    async def _deliver(self, stream: Stream) -> None:
        try:
            while (line := await self.lines.get()) is not None:
                await stream.write(line.encode() + b"\n")
        except StreamStopped as stopped:
            # Whoever does not listen may not talk: this ends on_stream().
            stream.stop(stopped.code)

    async def _split(self, stream: Stream) -> AsyncIterator[str]:
        partial = b""

        async for data in stream:
            *lines, partial = (partial + data).split(b"\n")

            for line in [*lines, partial]:
                if len(line) > self.MAX_LINE:
                    raise LineTooLong

            for line in lines:
                yield line.rstrip(b"\r").decode(errors="replace")

    def _choose_name(self) -> str:
        query = parse_qs(self.connect.query.decode(errors="replace"))
        name = query.get("name", [""])[0]

        # Letters and digits of any script.
        if re.fullmatch(r"[\w-]{1,32}", name):
            return name

        return f"guest{next(self.guests)}"


class Cursors(Session):
    """Everybody sees everybody else's mouse.

    A client sends its position as a datagram, {"x": 0.5, "y": 0.25}, parts of
    the page's size; the others get it with a number, {"id": 7, "x": 0.5,
    "y": 0.25}, and in the end {"id": 7, "gone": true}.  Any datagram may be
    lost, the last one too, so a page should also forget cursors that have not
    moved for some time.
    """

    MAX_LENGTH = 100

    sessions: ClassVar[set[Cursors]] = set()
    numbers: ClassVar[itertools.count[int]] = itertools.count(1)

    async def on_connect(self) -> None:
        self.accept()
        self.number = next(self.numbers)
        self.sessions.add(self)

    def on_datagram(self, data: bytes) -> None:
        if len(data) > self.MAX_LENGTH:
            return

        # Pass on what was understood, never what was received.
        try:
            at = json.loads(data)
            x, y = float(at["x"]), float(at["y"])
        except (ValueError, TypeError, KeyError):
            return

        # Which NaN is not, either.
        if 0 <= x <= 1 and 0 <= y <= 1:
            self._tell_others({"id": self.number, "x": x, "y": y})

    def on_close(self, closed: pb.Closed) -> None:
        self.sessions.discard(self)
        self._tell_others({"id": self.number, "gone": True})

    def _tell_others(self, message: dict[str, object]) -> None:
        datagram = json.dumps(message).encode()

        for session in self.sessions:
            if session is not self:
                session.send_datagram(datagram)
