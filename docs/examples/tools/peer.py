"""Plays nginx to a worker: one connection or call, one session.

What the worker sends is recorded, and checked against the contract: nginx
would end the session at the first violation, this only lists them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

try:
    import webtransport_pb2 as pb
except ModuleNotFoundError as error:
    raise SystemExit(
        f"{error}\n"
        "webtransport_pb2 is made from webtransport.proto, see README.md; its "
        "folder has to be in PYTHONPATH, and protobuf has to be installed."
    ) from None

from transport import Call, Frames

__all__ = ["Lost", "Peer", "Stream", "pb"]

STREAM_CREDIT = pb.Accept.Notify.Value("STREAM_CREDIT")

# Result.status
OK = 0
RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12


class Lost(Exception):
    """The worker ended the connection."""


@dataclass
class Stream:
    """A stream, as nginx sees it."""

    id: int
    credit: int  # bytes that the worker may send
    window: int  # bytes that we may send, if Accept.stream_window is set
    data: bytearray = field(default_factory=bytearray)
    fin: bool = False
    reset: int | None = None  # codes of the worker's commands
    stop: int | None = None
    stopped: bool = False  # by us: what still comes is ignored

    @property
    def uni(self) -> bool:
        return self.id & 2 != 0

    @property
    def ours(self) -> bool:
        """Whether the worker opened it."""
        return self.id & 1 != 0


class Peer:
    def __init__(
        self,
        transport: Frames | Call,
        *,
        window: int = 65536,
        streams: int = 16,
        max_command: int = 65536,
        auto_credit: bool = True,
        on_command: Callable[[pb.Command], None] | None = None,
    ) -> None:
        self.window = window
        self.max_command = max_command
        self.auto_credit = auto_credit

        self.accept: pb.Accept | None = None
        self.reject: pb.Reject | None = None
        self.close: pb.Close | None = None
        self.aborted = False
        self.streams: dict[int, Stream] = {}
        self.datagrams: list[bytes] = []
        self.pongs: list[int] = []
        self.violations: list[str] = []
        self.sent_closed = False
        self.lost = False

        self._transport = transport
        self._on_command = on_command
        self._next_id = {False: 4, True: 6}  # by "unidirectional"
        self._last_opened = {False: 1, True: 3}
        self._stream_credit = {False: streams, True: streams}
        self._waiters: dict[asyncio.Future[None], None] = {}
        self._reading = asyncio.Event()
        self._reading.set()
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, address: str, **options: Any) -> Peer:
        """Connects to "unix:/path" or "host:port", calls "grpc://..."."""
        transport = Call if address.startswith("grpc://") else Frames

        return cls(await transport.open(address), **options)

    # ---- events -------------------------------------------------------------

    def connect(
        self,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Sends the first event; nginx's ids have 128 random bits, too."""
        path, _, query = path.partition("?")
        self.send(
            pb.Event(
                connect=pb.Connect(
                    version=1,
                    scheme="https",
                    authority=b"localhost",
                    path=path.encode(),
                    query=query.encode(),
                    headers=[
                        pb.Header(name=name, value=value.encode())
                        for name, value in headers
                    ],
                    remote_addr="127.0.0.1",
                    remote_port=50000,
                    server_addr="127.0.0.1",
                    server_port=443,
                    draft="07",
                    limits=pb.Limits(max_datagram=1200),
                    stream_window=self.window,
                    max_command=self.max_command,
                    streams_bidi=self._stream_credit[False],
                    streams_uni=self._stream_credit[True],
                )
            ),
            session_id=secrets.token_urlsafe(16),
        )

    def send(self, *events: pb.Event, session_id: str = "") -> None:
        """Sends events in one batch."""
        batch = pb.EventBatch(session_id=session_id, events=events)
        self.send_frame(batch.SerializeToString())

    def send_frame(self, message: bytes) -> None:
        # An answer to a command may come too late for its connection.
        if not self.lost:
            self._transport.send(message)

    def send_bytes(self, data: bytes | bytearray) -> None:
        """Sends what need not be a frame; not possible in a call."""
        if not self.lost:
            self._transport.send_bytes(data)

    async def drain(self) -> None:
        await self._transport.drain()

    def open_event(
        self, data: bytes, *, uni: bool = False, fin: bool = False
    ) -> pb.Event:
        """Opens a stream of the client; does not look at the window."""
        stream_id = self._next_id[uni]
        self._next_id[uni] += 4
        stream = self._add_stream(stream_id)
        stream.window -= len(data)

        return pb.Event(
            data=pb.StreamData(
                stream_id=stream_id,
                data=data,
                fin=fin,
                open=pb.UNI if uni else pb.BIDI,
            )
        )

    def open_stream(
        self, data: bytes, *, uni: bool = False, fin: bool = False
    ) -> Stream:
        event = self.open_event(data, uni=uni, fin=fin)
        self.send(event)

        return self.streams[event.data.stream_id]

    async def write(
        self, stream: Stream, data: bytes, *, fin: bool = False
    ) -> None:
        """Sends on a stream, as fast as socket and worker allow."""
        while data or fin:
            size = min(len(data), 16384)

            if self.accept is not None and self.accept.stream_window > 0:
                if data:
                    await self.wait(lambda: stream.window > 0)

                size = min(size, stream.window)

            last = fin and size == len(data)
            stream.window -= size
            self.send(
                pb.Event(
                    data=pb.StreamData(
                        stream_id=stream.id, data=data[:size], fin=last
                    )
                )
            )
            await self.drain()
            data = data[size:]
            fin = fin and not last

    def datagram(self, data: bytes) -> None:
        self.send(pb.Event(datagram=pb.Datagram(data=data)))

    def reset(self, stream: Stream, code: int | None) -> None:
        abort = pb.StreamAbort(stream_id=stream.id, code=code)
        self.send(pb.Event(reset=abort))

    def stop(self, stream: Stream, code: int | None) -> None:
        stream.stopped = True
        abort = pb.StreamAbort(stream_id=stream.id, code=code)
        self.send(pb.Event(stop=abort))

    def credit(
        self,
        stream: Stream | None = None,
        *,
        bytes: int = 0,
        bidi: int = 0,
        uni: int = 0,
    ) -> None:
        """Gives credit for bytes of a stream, or for streams."""
        self._stream_credit[False] += bidi
        self._stream_credit[True] += uni

        if stream is not None:
            stream.credit += bytes

        self.send(
            pb.Event(
                credit=pb.Credit(
                    stream_id=stream.id if stream else 0,
                    bytes=bytes,
                    bidi=bidi,
                    uni=uni,
                )
            )
        )

    def ping(self, ping_id: int) -> None:
        self.send(pb.Event(ping=pb.Ping(id=ping_id)))

    def closed(
        self,
        code: int = 0,
        reason: str = "",
        by: pb.Closed.By = pb.Closed.CLIENT,
    ) -> None:
        """Sends the last event; nginx sends it once."""
        if not self.sent_closed:
            self.sent_closed = True
            closed = pb.Closed(by=by, code=code, reason=reason)
            self.send(pb.Event(closed=closed))

    def end_of_file(self) -> None:
        """Ends the connection without a word, as if nginx had died."""
        self._transport.end()

    async def disconnect(self) -> None:
        self._task.cancel()
        await self._transport.close()

    # ---- what the worker did ------------------------------------------------

    @property
    def counts_bytes(self) -> bool:
        """Whether the worker wants to know how much each stream takes.

        If not, it relies on nginx reading no further: Accept.overflow.
        """
        return self.accept is not None and STREAM_CREDIT in self.accept.notify

    def pause(self) -> None:
        """Reads nothing more: a client that is slow, or gone."""
        self._reading.clear()

    async def wait(
        self, condition: Callable[[], Any], timeout: float | None = 10
    ) -> None:
        """Waits until a condition holds; Lost if it never will."""
        async with asyncio.timeout(timeout):
            while not condition():
                if self.lost:
                    raise Lost("the worker ended the connection")

                waiter = asyncio.get_running_loop().create_future()
                self._waiters[waiter] = None

                try:
                    await waiter
                finally:
                    del self._waiters[waiter]

    async def wait_lost(self, timeout: float | None = 10) -> None:
        """Waits until the worker has ended the connection."""
        await self.wait(lambda: self.lost, timeout)

    # ---- commands -----------------------------------------------------------

    async def _read(self) -> None:
        try:
            while True:
                message = await self._transport.receive()
                self._must(
                    len(message) <= self.max_command,
                    f"batch of {len(message)} bytes, max_command is "
                    f"{self.max_command}",
                )
                await self._reading.wait()

                for command in pb.CommandBatch.FromString(message).commands:
                    self._handle(command)

                self._wake()
        except ConnectionError:
            trouble = self._transport.trouble()

            if self.sent_closed and trouble is not None:
                self.violations.append(trouble)
        except Exception as error:  # a frame that cannot be parsed
            self._must(False, f"{type(error).__name__}: {error}")
        finally:
            self.lost = True
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _must(self, condition: bool, violation: str) -> None:
        if not condition:
            self.violations.append(violation)

    def _handle(self, command: pb.Command) -> None:
        kind = command.WhichOneof("kind")

        if self._on_command is not None:
            self._on_command(command)

        first = self.accept is None and self.reject is None
        self._must(
            first == (kind in ("accept", "reject")),
            f"{kind} is the first command" if first else f"second {kind}",
        )
        self._must(
            self.close is None and not self.aborted, f"{kind} after close"
        )

        handler = getattr(self, f"_handle_{kind}", None)
        status = UNIMPLEMENTED if handler is None else handler(command)

        if command.id != 0 or status not in (None, OK):
            self.send(
                pb.Event(
                    result=pb.Result(
                        id=command.id,
                        status=status or OK,
                        stream_id=command.data.stream_id,
                    )
                )
            )

    def _handle_accept(self, command: pb.Command) -> None:
        self.accept = command.accept

    def _handle_reject(self, command: pb.Command) -> None:
        self.reject = command.reject
        self.closed(by=pb.Closed.WORKER)

    def _handle_data(self, command: pb.Command) -> int | None:
        data = command.data

        if data.open != pb.NONE:
            status = self._open_by_worker(data.stream_id, data.open == pb.UNI)

            if status != OK:
                return status

        stream = self._existing(data.stream_id, "data")

        if stream is None or stream.stopped:
            return None

        size = len(data.data)
        self._must(
            stream.ours or not stream.uni,
            f"data on stream {stream.id}, which only the client can send on",
        )
        self._must(
            not stream.fin and stream.reset is None,
            f"data on stream {stream.id} after its end",
        )
        self._must(
            size <= stream.credit or not self.counts_bytes,
            f"{size} bytes on stream {stream.id}, credit is {stream.credit}",
        )
        stream.data += data.data
        stream.credit -= size
        stream.fin = data.fin

        if self.auto_credit and self.counts_bytes and size and not data.fin:
            self.credit(stream, bytes=size)

        return None

    def _handle_reset(self, command: pb.Command) -> None:
        stream = self._existing(command.reset.stream_id, "reset")

        if stream is not None:
            stream.reset = command.reset.code

    def _handle_stop(self, command: pb.Command) -> None:
        stream = self._existing(command.stop.stream_id, "stop")

        if stream is not None:
            stream.stop = command.stop.code

    def _handle_datagram(self, command: pb.Command) -> None:
        self.datagrams.append(command.datagram.data)

    def _handle_credit(self, command: pb.Command) -> None:
        stream = self._existing(command.credit.stream_id, "credit")
        self._must(
            self.accept is None or self.accept.stream_window > 0,
            "credit without Accept.stream_window",
        )

        if stream is not None:
            stream.window += command.credit.bytes

    def _handle_priority(self, command: pb.Command) -> None:
        self._existing(command.priority.stream_id, "priority")

    def _handle_drain(self, command: pb.Command) -> None:
        pass

    def _handle_close(self, command: pb.Command) -> None:
        self.close = command.close
        self.closed(
            command.close.code, command.close.reason, by=pb.Closed.WORKER
        )

    def _handle_abort(self, command: pb.Command) -> None:
        self.aborted = True
        self.closed(by=pb.Closed.WORKER)

    def _handle_ping(self, command: pb.Command) -> None:
        self.send(pb.Event(pong=command.ping))

    def _handle_pong(self, command: pb.Command) -> None:
        self.pongs.append(command.pong.id)

    # ---- streams ------------------------------------------------------------

    def _add_stream(self, stream_id: int) -> Stream:
        window = self.accept.stream_window if self.accept is not None else 0
        stream = Stream(stream_id, credit=self.window, window=window)
        self.streams[stream_id] = stream

        return stream

    def _open_by_worker(self, stream_id: int, uni: bool) -> int:
        self._must(
            stream_id & 3 == (3 if uni else 1),
            f"stream {stream_id} opened with the wrong kind",
        )
        self._must(
            stream_id > self._last_opened[uni],
            f"stream {stream_id} opened after {self._last_opened[uni]}",
        )
        self._must(
            self._stream_credit[uni] > 0,
            f"stream {stream_id} opened without credit",
        )

        if self._stream_credit[uni] == 0:
            return RESOURCE_EXHAUSTED

        self._stream_credit[uni] -= 1
        self._last_opened[uni] = stream_id
        self._add_stream(stream_id)

        return OK

    def _existing(self, stream_id: int, what: str) -> Stream | None:
        stream = self.streams.get(stream_id)
        self._must(
            stream is not None,
            f"{what} for stream {stream_id}, which never was",
        )

        return stream
