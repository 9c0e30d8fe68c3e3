"""A gRPC worker frame by frame, to do what no gRPC server would do.

    server = H2Server(path, settings={MAX_CONCURRENT_STREAMS: 3})
    call = await server.session()       # a session like those of other workers
    call.conn.goaway()
    call.reset(REFUSED_STREAM)

A call of Worker.Session is accepted like a session of any other worker, unless
server.script is set: then this coroutine gets all calls instead.

RawServer       gives connections to a coroutine, for what is not HTTP/2
"""

import asyncio
import contextlib
import fcntl
import sys
import termios

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from lib.client import TIMEOUT
from lib.worker import StreamListener, WorkerSession, abort_connection

INITIAL_WINDOW_SIZE = SettingCodes.INITIAL_WINDOW_SIZE
MAX_CONCURRENT_STREAMS = SettingCodes.MAX_CONCURRENT_STREAMS
MAX_FRAME_SIZE = SettingCodes.MAX_FRAME_SIZE
ENABLE_PUSH = SettingCodes.ENABLE_PUSH
HEADER_TABLE_SIZE = SettingCodes.HEADER_TABLE_SIZE

NO_ERROR = ErrorCodes.NO_ERROR
PROTOCOL_ERROR = ErrorCodes.PROTOCOL_ERROR
INTERNAL_ERROR = ErrorCodes.INTERNAL_ERROR
REFUSED_STREAM = ErrorCodes.REFUSED_STREAM
CANCEL = ErrorCodes.CANCEL
ENHANCE_YOUR_CALM = ErrorCodes.ENHANCE_YOUR_CALM

SESSION = "/nginx.webtransport.v1.Worker/Session"
DELIVER = "/nginx.webtransport.v1.Worker/Deliver"


def prefixed(message, flag=0):
    """A gRPC message: flag of compression, length, bytes."""
    return bytes([flag]) + len(message).to_bytes(4, "big") + message


class H2Call(WorkerSession):
    """A stream of a connection.

    headers     list of names and values of the request, as text
    body        bytes of DATA that are no whole message yet
    messages    all whole messages
    frames      sizes of DATA frames that came
    reset_code  of nginx's RST_STREAM, or None
    piece       longest DATA frame to send
    polite      ends the call with OK when nginx has ended its side
    """

    def __init__(self, conn, stream_id, headers):
        super().__init__()
        self.conn = conn
        self.stream_id = stream_id
        self.headers = headers
        self.body = bytearray()
        self.messages = []
        self.frames = []
        self.reset_code = None
        self.piece = 1 << 14
        self.polite = conn.server.polite
        self._responded = False
        self._finished = False
        self._queue = bytearray()
        self._trailers = None
        self._kept = 0
        self._room = asyncio.Event()
        self._room.set()

    def header(self, name):
        values = [v for k, v in self.headers if k == name]
        assert len(values) <= 1, f"{name} is repeated: {values}"
        return values[0] if values else None

    # receiving

    def _data(self, data, size):
        self.frames.append(len(data))
        self.body += data
        while len(self.body) >= 5:
            end = 5 + int.from_bytes(self.body[1:5], "big")
            if len(self.body) < end:
                break
            assert self.body[0] == 0, "a compressed message"
            self.messages.append(bytes(self.body[5:end]))
            del self.body[:end]
            self._received(self.messages[-1])
        if self._running.is_set():
            self.conn.grant(size, self.stream_id)
        else:
            self._kept += size

    async def message(self, number=0, timeout=TIMEOUT):
        """Waits for a message; returns its bytes."""
        await self._until(lambda: len(self.messages) > number, timeout,
                          f"message {number}")
        return self.messages[number]

    def resume(self):
        super().resume()
        if self._kept:
            self.conn.grant(self._kept, self.stream_id)
            self._kept = 0

    # sending

    def respond(self, headers=(), status=200, type="application/grpc",
                end=False):
        """Sends the headers of the response; with end: trailers-only."""
        self._responded = True
        self._finished = self._finished or end
        fields = [(":status", str(status))]
        if type:
            fields.append(("content-type", type))
        self.conn.headers(self.stream_id, fields + list(headers), end)

    def send_message(self, message, flag=0):
        self.write(prefixed(message, flag))

    def write(self, data):
        """Sends bytes in DATA frames."""
        if not self._responded:
            self.respond()
        self._queue += data
        self._room.clear()
        self.pump()

    def pump(self):
        """Sends what the window of nginx takes."""
        conn, h2 = self.conn, self.conn.h2
        with contextlib.suppress(h2_exceptions):
            while self._queue:
                size = min(len(self._queue), self.piece,
                           h2.local_flow_control_window(self.stream_id),
                           h2.max_outbound_frame_size)
                if size <= 0:
                    break
                h2.send_data(self.stream_id, bytes(self._queue[:size]))
                del self._queue[:size]
            if not self._queue:
                self._room.set()
            if not self._queue and self._trailers is not None:
                h2.send_headers(self.stream_id, self._trailers, True)
                self._trailers = None
        conn.flush()

    async def drain(self, timeout=TIMEOUT):
        async with asyncio.timeout(timeout):
            await self._room.wait()

    @property
    def unsent(self):
        return len(self._queue)

    def finish(self, code=0, message="", trailers=()):
        """Ends the call, behind what is queued; a call without response
        headers gets trailers only."""
        if self._finished:
            return
        self._finished = True
        fields = [("grpc-status", str(code))]
        if message:
            fields.append(("grpc-message", message))
        fields += trailers
        if not self._responded:
            self.respond(fields, end=True)
            return
        self._trailers = fields
        self.pump()

    def fin(self):
        """Ends the stream without trailers."""
        self._finished = True
        with contextlib.suppress(h2_exceptions):
            self.conn.h2.end_stream(self.stream_id)
        self.conn.flush()

    def shut(self):
        self.finish()

    def reset(self, code=CANCEL):
        self._finished = True
        self._end()
        with contextlib.suppress(h2_exceptions):
            self.conn.h2.reset_stream(self.stream_id, code)
        self.conn.flush()

    def kill(self):
        self.reset(INTERNAL_ERROR)


h2_exceptions = h2.exceptions.ProtocolError


# of SETTINGS; the limit of h2 itself is lower
DEFAULTS = {MAX_CONCURRENT_STREAMS: 1000, ENABLE_PUSH: 0}


class H2Connection:
    """One connection from nginx.

    calls       of it, by stream id
    pings       that nginx sent
    lost        nginx closed it
    goaway_code of nginx, or None
    mute        what is to be sent is dropped
    """

    def __init__(self, server, reader, writer):
        self.server = server
        self.reader = reader
        self.writer = writer
        self.calls = {}
        self.pings = 0
        self.acks = 0
        self.settings_acked = False
        self.goaway_code = None
        self.lost = False
        self.mute = server.mute
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=False, header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False))
        self.h2.local_settings = h2.settings.Settings(
            client=False, initial_values=DEFAULTS | server.settings)

    async def run(self):
        self.h2.initiate_connection()
        self.flush()
        try:
            while data := await self.reader.read(65536):
                for event in self.h2.receive_data(data):
                    self._event(event)
                self.flush()
        except (ConnectionError, h2_exceptions) as error:
            if isinstance(error, h2_exceptions):
                self.server.errors.append(error)
        finally:
            self.lost = True
            for call in self.calls.values():
                call._end()
            self.writer.close()

    def _event(self, event):
        call = self.calls.get(getattr(event, "stream_id", None))
        match event:
            case h2.events.RequestReceived():
                call = H2Call(self, event.stream_id,
                              [(k, v) for k, v in event.headers])
                self.calls[event.stream_id] = call
                self.server._called(call)
            case h2.events.DataReceived():
                # the other calls are not held up by one that is paused
                self.grant(event.flow_controlled_length)
                call._data(event.data, event.flow_controlled_length)
            case h2.events.StreamEnded():
                call._end()
                if call.polite:
                    call.finish()
            case h2.events.StreamReset():
                call.reset_code = event.error_code
                call._end()
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                for call in [call] if call else self.calls.values():
                    call.pump()
            case h2.events.PingReceived():
                self.pings += 1
            case h2.events.PingAckReceived():
                self.acks += 1
            case h2.events.SettingsAcknowledged():
                self.settings_acked = True
            case h2.events.ConnectionTerminated():
                self.goaway_code = event.error_code

    def grant(self, size, stream_id=None):
        """Gives back window: every byte at once, or none."""
        if size:
            with contextlib.suppress(h2_exceptions):
                self.h2.increment_flow_control_window(size, stream_id)
            self.flush()

    def headers(self, stream_id, fields, end=False):
        with contextlib.suppress(h2_exceptions):
            self.h2.send_headers(stream_id, fields, end)
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data and not self.mute:
            self.write(data)

    def write(self, data):
        """Sends raw bytes."""
        if not self.writer.is_closing():
            self.writer.write(data)

    def goaway(self, last=None, code=NO_ERROR):
        """Sends GOAWAY; calls up to `last`, or all so far, go on."""
        if last is None:
            last = max(self.calls, default=0)
        self.write(GoAwayFrame(0, last_stream_id=last, error_code=code)
                   .serialize())

    def ping(self, data=b"12345678"):
        self.h2.ping(data)
        self.flush()

    def hang(self):
        """Neither reads nor sends: the connection looks dead."""
        self.mute = True
        self.reader._transport.pause_reading()

    def recover(self):
        self.mute = False
        self.reader._transport.resume_reading()

    async def filled(self):
        """Waits until nginx has sent what goes into a socket that nobody
        reads from."""
        sock, before, now = self.writer.get_extra_info("socket"), 0, 0
        while now < 50000 or now != before:
            await asyncio.sleep(0.1)
            size = fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4))
            before, now = now, int.from_bytes(size, sys.byteorder)

    def close(self):
        self.writer.close()

    def abort(self):
        abort_connection(self.writer)


class H2Server(StreamListener):
    """Listens.

    settings    values of SETTINGS
    script      None, or a coroutine that gets every call
    connections of nginx, all that there were
    errors      of nginx's HTTP/2
    mute        of new connections: nothing is ever sent
    """

    scheme = "grpc://"
    alpn = ("h2",)

    def __init__(self, path=None, settings=None, script=None, mute=False,
                 polite=True, **options):
        super().__init__(path, **options)
        self.settings = settings or {}
        self.script = script
        self.mute = mute
        self.polite = polite
        self.connections = []
        self.errors = []
        self.calls = []

    async def _connection(self, reader, writer):
        self._adopt()
        conn = H2Connection(self, reader, writer)
        self.connections.append(conn)
        await conn.run()

    def _called(self, call):
        self.calls.append(call)
        if self.script is not None:
            self._task(self.script(call))
        else:
            self.sessions.append(call)
            self._task(self._hello(call))

    @property
    def open(self):
        """Connections that nginx has not closed."""
        return [conn for conn in self.connections if not conn.lost]

    def _abort(self):
        for conn in self.connections:
            conn.abort()


class RawServer(StreamListener):
    """Connections for a coroutine script(reader, writer)."""

    def __init__(self, script, path=None, scheme="grpc://", **options):
        super().__init__(path, **options)
        self.script = script
        self.scheme = scheme
        self.connections = 0
        self._writers = []

    async def _connection(self, reader, writer):
        self._adopt()
        self.connections += 1
        self._writers.append(writer)
        with contextlib.suppress(ConnectionError,
                                 asyncio.IncompleteReadError):
            await self.script(reader, writer)
        writer.close()

    def _abort(self):
        for writer in self._writers:
            abort_connection(writer)
