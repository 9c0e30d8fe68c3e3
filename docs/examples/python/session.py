"""Sessions and streams.

An application is a subclass of Session:

    class Shout(Session):
        async def on_stream(self, stream):
            async for data in stream:
                await stream.write(data.upper())

Awaiting is all the flow control there is: a client has to wait while its
stream is not read, and write() waits for a client that is slow.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping

from connection import Connection, ProtocolError, pb

logger = logging.getLogger(__name__)

# Codes with which this worker closes sessions, as in WebSocket.
GOING_AWAY = 1001
INTERNAL_ERROR = 1011
OVERLOADED = 1013

# Bytes of a stream that nginx sends before it needs credit from us.
STREAM_WINDOW = 65536

# Streams of a session that are handled at a time; more end the session.
MAX_STREAMS = 1024

# What fits one frame besides the data: ids, tags, lengths.
OVERHEAD = 64


class SessionClosed(Exception):
    """The session has ended, or is about to."""


class NoStreamCredit(Exception):
    """The client does not allow one more stream at the moment."""


class StreamReset(Exception):
    """The client gave up its sending side."""

    def __init__(self, code: int) -> None:
        super().__init__(f"stream reset, code {code}")
        self.code = code


class StreamStopped(Exception):
    """The client wants no more of the stream."""

    def __init__(self, code: int) -> None:
        super().__init__(f"stream stopped, code {code}")
        self.code = code


class StreamCredit:
    """Streams that may be opened."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._more = asyncio.Event()

    async def take(self, wait: bool) -> None:
        while self._count == 0:
            if not wait:
                raise NoStreamCredit

            self._more.clear()
            await self._more.wait()

        self._count -= 1

    def add(self, count: int) -> None:
        self._count += count

        if count > 0:
            self._more.set()


class Stream:
    """A stream: read it with "async for", or read()."""

    def __init__(self, session: Session, stream_id: int) -> None:
        ours = stream_id & 1 != 0

        self.session = session
        self.id = stream_id
        self.bidirectional = stream_id & 2 == 0
        self.receiving = self.bidirectional or not ours
        self.sending = self.bidirectional or ours

        self._credit = session.connect.stream_window
        self._chunks: deque[bytes] = deque()
        self._unread = 0
        self._owed = 0  # has been read, but nginx has no credit for it yet
        self._reset: StreamReset | None = None
        self._stopped: StreamStopped | None = None
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    async def read(self) -> bytes:
        """The bytes that came next, b"" after the last ones."""
        while not self._chunks:
            if self._reset is not None:
                raise self._reset

            if not self.receiving:
                return b""

            self._readable.clear()
            await self._readable.wait()

        data = self._chunks.popleft()
        self._unread -= len(data)
        self._owed += len(data)

        # Not for every few bytes: half a window is early enough to keep the
        # client sending.
        if self.receiving and self._owed >= STREAM_WINDOW // 2:
            credit = pb.Credit(stream_id=self.id, bytes=self._owed)
            self.session._send(pb.Command(credit=credit))
            self._owed = 0

        return data

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        if data := await self.read():
            return data

        raise StopAsyncIteration

    async def write(self, data: bytes, *, fin: bool = False) -> None:
        """Sends bytes, and with fin nothing after them."""
        at = 0

        while at < len(data) or fin:
            self._check_writable()
            size = min(len(data) - at, self._credit, self.session._max_data)

            if size == 0 and at < len(data):
                self._writable.clear()
                await self._writable.wait()
                continue

            at += size
            last = fin and at == len(data)
            self._credit -= size
            self._send(data[at - size : at], last)
            fin = fin and not last
            await self.session._connection.drain()

    async def end(self) -> None:
        """Ends our sending side."""
        await self.write(b"", fin=True)

    def reset(self, code: int = 0) -> None:
        """Gives up our sending side; what has not left is lost."""
        if self.sending:
            abort = pb.StreamAbort(stream_id=self.id, code=code)
            self.session._send(pb.Command(reset=abort))
            self.sending = False
            self._forget()

    def stop(self, code: int = 0) -> None:
        """Asks the client not to send any more; a reader sees the end."""
        if self.receiving:
            abort = pb.StreamAbort(stream_id=self.id, code=code)
            self.session._send(pb.Command(stop=abort))
            self.receiving = False
            self._chunks.clear()
            self._readable.set()
            self._forget()

    # ---- for the session ----------------------------------------------------

    def _send(self, data: bytes, fin: bool, kind: pb.Open = pb.NONE) -> None:
        command = pb.StreamData(
            stream_id=self.id, data=data, fin=fin, open=kind
        )
        self.session._send(pb.Command(data=command))

        if fin:
            self.sending = False
            self._forget()

    def _check_writable(self) -> None:
        if self._stopped is not None:
            raise self._stopped

        if self.session._closing:
            raise SessionClosed

        if not self.sending:
            raise ValueError(f"stream {self.id} is not open for writing")

    def _on_data(self, data: bytes, fin: bool) -> None:
        # It may have crossed with our stop().
        if not self.receiving:
            return

        if data:
            self._chunks.append(data)
            self._unread += len(data)

        if self._unread > STREAM_WINDOW:
            raise ProtocolError(f"stream {self.id} exceeds its window")

        if fin:
            self.receiving = False
            self._forget()

        self._readable.set()

    def _on_reset(self, code: int) -> None:
        if self.receiving:
            self._reset = StreamReset(code)
            self.receiving = False
            self._readable.set()
            self._forget()

    def _on_stop(self, code: int) -> None:
        if self.sending:
            self._stopped = StreamStopped(code)
            self.sending = False
            self._writable.set()
            self._forget()

    def _on_credit(self, size: int) -> None:
        self._credit += size
        self._writable.set()

    def _forget(self) -> None:
        if not self.receiving and not self.sending:
            self.session._streams.pop(self.id, None)


class Session:
    """A session; override the methods that begin with on_."""

    def __init__(
        self, connection: Connection, session_id: str, connect: pb.Connect
    ) -> None:
        self.id = session_id
        self.connect = connect

        max_command = connect.max_command or 65536
        connection.max_batch = max_command
        self._connection = connection
        self._max_data = max(1, max_command - OVERHEAD)
        self._accepted = False
        self._closing = False
        self._closed: pb.Closed | None = None
        self._streams: dict[int, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._next_bidi = 5
        self._next_uni = 7
        self._bidi_credit = StreamCredit(connect.streams_bidi)
        self._uni_credit = StreamCredit(connect.streams_uni)

    # ---- callbacks ----------------------------------------------------------

    async def on_connect(self) -> None:
        """A client asks for a session: accept() or reject() it."""
        self.accept()

    async def on_stream(self, stream: Stream) -> None:
        """The client opened a stream.

        Every stream has its own task, and ends with it: what is still open
        when the method returns is ended, and reset if it raises StreamReset
        or StreamStopped.
        """

    def on_datagram(self, data: bytes) -> None:
        """A datagram arrived."""

    def on_close(self, closed: pb.Closed) -> None:
        """The session is over; tasks and streams are gone already."""

    # ---- what a session can do ----------------------------------------------

    def accept(
        self, protocol: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Accepts the session; protocol is one of connect.protocols."""
        self._answer(
            pb.Command(
                accept=pb.Accept(
                    protocol=protocol,
                    headers=_headers(headers),
                    stream_window=STREAM_WINDOW,
                    notify=[pb.Accept.STREAM_CREDIT],
                )
            )
        )
        self._accepted = True

    def reject(
        self,
        status: int = 403,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        """Refuses the session.

        A page learns no more than that it failed.  To tell it why, accept()
        and close() with a code.
        """
        reject = pb.Reject(status=status, headers=_headers(headers), body=body)
        self._answer(pb.Command(reject=reject))
        self._closing = True

    async def open_bidi(self, *, wait: bool = True) -> Stream:
        """Opens a bidirectional stream, when the client allows one more.

        Without wait it has to be at once: NoStreamCredit if it is not.
        """
        await self._bidi_credit.take(wait)
        stream_id = self._next_bidi
        self._next_bidi += 4

        return self._open(stream_id, pb.BIDI)

    async def open_uni(self, *, wait: bool = True) -> Stream:
        """Opens a unidirectional stream, likewise."""
        await self._uni_credit.take(wait)
        stream_id = self._next_uni
        self._next_uni += 4

        return self._open(stream_id, pb.UNI)

    def send_datagram(self, data: bytes) -> None:
        """Sends a datagram, or drops it.

        Datagrams are for what is soon outdated, and must not pile up.
        """
        if not self._connection.is_full():
            self._send(pb.Command(datagram=pb.Datagram(data=data)))

    def close(
        self, code: int = 0, reason: str = "", flush_ms: int = 1000
    ) -> None:
        """Ends the session.

        What was written is delivered first, if the client takes it within
        flush_ms.
        """
        close = pb.Close(code=code, reason=reason, flush_ms=flush_ms)
        self._send(pb.Command(close=close))
        self._closing = True

    def spawn(
        self, coroutine: Coroutine[None, None, None]
    ) -> asyncio.Task[None]:
        """Runs something beside the callbacks, until the session ends."""
        task = asyncio.create_task(self._guard(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # For one that is cancelled before it has begun.
        task.add_done_callback(lambda _: coroutine.close())

        return task

    # ---- for the server -----------------------------------------------------

    async def run(self, events: Iterable[pb.Event]) -> None:
        """Serves the session to its end; events came along with Connect."""
        logger.info(
            "session %s: %r from %s",
            self.id,
            self.connect.path.decode(errors="replace"),
            self.connect.remote_addr,
        )

        try:
            await self._guard(self.on_connect())

            while True:
                for event in events:
                    self._handle(event)

                if self._closed is not None:
                    break

                # A session that takes nothing is not read either: this is
                # what keeps its memory bounded.
                await self._connection.drain()
                events = (await self._connection.read()).events
        except ProtocolError as error:
            self._lost(f"protocol error: {error}")
        except (asyncio.IncompleteReadError, ConnectionError):
            self._lost("nginx ended the connection")
        finally:
            await self._end()

    def go_away(self) -> None:
        """The process ends."""
        self._dismiss(503, GOING_AWAY, "worker restarts", 1000)

    # ---- events -------------------------------------------------------------

    def _handle(self, event: pb.Event) -> None:
        kind = event.WhichOneof("kind")

        if kind == "connect" or self._closed is not None:
            raise ProtocolError(f"{kind} out of order")

        if kind == "closed":
            self._closed = event.closed
        elif self._closing:
            pass  # nobody's business any more
        elif kind == "data":
            self._on_data(event.data)
        elif kind == "reset":
            if stream := self._streams.get(event.reset.stream_id):
                stream._on_reset(event.reset.code)
        elif kind == "stop":
            if stream := self._streams.get(event.stop.stream_id):
                stream._on_stop(event.stop.code)
        elif kind == "datagram":
            self._on_datagram(event.datagram.data)
        elif kind == "credit":
            self._on_credit(event.credit)
        elif kind == "ping" and self._accepted:
            self._send(pb.Command(pong=event.ping))
        # Others may come, from a newer nginx: they are to be ignored.

    def _on_data(self, data: pb.StreamData) -> None:
        stream = self._streams.get(data.stream_id)

        if data.open != pb.NONE:
            stream = self._streams[data.stream_id] = Stream(
                self, data.stream_id
            )

            if len(self._tasks) < MAX_STREAMS:
                self.spawn(self._serve(stream))
            else:
                self.close(OVERLOADED, "too many streams", 0)

        if stream is not None:
            stream._on_data(data.data, data.fin)

    def _on_datagram(self, data: bytes) -> None:
        try:
            self.on_datagram(data)
        except Exception:
            self._fail()

    def _on_credit(self, credit: pb.Credit) -> None:
        self._bidi_credit.add(credit.bidi)
        self._uni_credit.add(credit.uni)

        # The stream may have ended in the meantime.
        if stream := self._streams.get(credit.stream_id):
            stream._on_credit(credit.bytes)

    # ---- helpers ------------------------------------------------------------

    async def _serve(self, stream: Stream) -> None:
        try:
            await self.on_stream(stream)

            if stream.sending:
                await stream.end()

            stream.stop()
        except (StreamReset, StreamStopped) as error:
            stream.reset(error.code)
            stream.stop(error.code)

    async def _guard(self, coroutine: Coroutine[None, None, None]) -> None:
        """Sees to it that an error of the application ends its session."""
        try:
            await coroutine
        except (SessionClosed, StreamReset, StreamStopped):
            pass
        except Exception:
            self._fail()

    def _fail(self) -> None:
        logger.exception("session %s: error in the application", self.id)
        self._dismiss(500, INTERNAL_ERROR, "internal error", 0)

    def _dismiss(
        self, status: int, code: int, reason: str, flush_ms: int
    ) -> None:
        """Ends the session politely, whatever state it is in."""
        if self._accepted:
            self.close(code, reason, flush_ms)
        elif not self._closing:
            self.reject(status)

    def _answer(self, command: pb.Command) -> None:
        if self._accepted or self._closing:
            raise RuntimeError("the session has its answer already")

        self._connection.send(command)

    def _send(self, command: pb.Command) -> None:
        if not self._accepted:
            raise RuntimeError("accept() the session first")

        # After Close nginx would ignore it anyway.
        if not self._closing:
            self._connection.send(command)

    def _open(self, stream_id: int, kind: pb.Open) -> Stream:
        stream = self._streams[stream_id] = Stream(self, stream_id)
        stream._send(b"", False, kind)

        return stream

    def _lost(self, reason: str) -> None:
        self._closed = pb.Closed(reason=reason)

    async def _end(self) -> None:
        self._closing = True

        for task in self._tasks:
            task.cancel()

        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._connection.close()
        closed = self._closed or pb.Closed()
        logger.info(
            "session %s: closed by %s, code %d %r",
            self.id,
            pb.Closed.By.Name(closed.by),
            closed.code,
            closed.reason,
        )

        try:
            self.on_close(closed)
        except Exception:
            logger.exception("session %s: error in on_close()", self.id)


class NotFound(Session):
    """For a path that has no application."""

    async def on_connect(self) -> None:
        self.reject(404)


def _headers(headers: Mapping[str, str] | None) -> list[pb.Header]:
    return [
        pb.Header(name=name, value=value.encode())
        for name, value in (headers or {}).items()
    ]
