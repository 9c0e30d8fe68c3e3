"""A WebTransport client that can also do what no browser would.

    async with connect(port) as conn:
        session = await conn.session("/app")
        stream = session.open_bidi()
        stream.write(b"hello")
        stream.fin()
        assert await stream.read_all() == b"hello"
        session.close(7, b"bye")

Calls that only queue something (write, reset, send_datagram, close ...) are
plain functions; what is queued without an "await" in between leaves in the
same packet, if it fits.  Calls that wait are coroutines, have a timeout, and
fail at once if the connection is lost.

Everything below a session is open to tests: Stream for any stream of any id,
conn.quic for frames, limits and transport parameters.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections import defaultdict, deque

import pylsqpack
from aioquic.asyncio import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion

from lib import qpack
from lib.quic import Quic
from lib.wire import *


# the sanitizer build is several times slower

TIMEOUT = 10 * float(os.environ.get("WT_SLOWNESS", 1))

UNSENT_LIMIT = 1 << 20


class ConnectionLost(Exception):
    """The connection was closed, by whom is in the event."""

    def __init__(self, event):
        self.code = event.error_code
        self.frame_type = event.frame_type
        self.reason = event.reason_phrase
        super().__init__(f"code {self.code:#x}, reason \"{self.reason}\", "
                         f"frame {self.frame_type}")


class StreamReset(Exception):
    """The server reset its side of a stream."""

    def __init__(self, stream, code):
        self.code = code
        super().__init__(f"stream {stream} reset with {code:#x}")


class Stream:
    """A QUIC stream: bytes, and codes as they are on the wire."""

    def __init__(self, conn, stream_id):
        self.conn = conn
        self.id = stream_id
        self.buffer = bytearray()
        self.ended = False
        self.reset_code = None
        self.stop_code = None
        conn.streams[stream_id] = self

    def __repr__(self):
        return f"<{type(self).__name__} {self.id}>"

    # sending

    def write(self, data, fin=False):
        self.conn.quic.send_stream_data(self.id, data, fin)
        self.conn._transmit_soon()

    def fin(self):
        self.write(b"", True)

    def reset_raw(self, code):
        self.conn.quic.reset_stream(self.id, code)
        self.conn._transmit_soon()

    def stop_raw(self, code):
        self.conn.stop_stream(self.id, code)

    reset = reset_raw
    stop = stop_raw

    @property
    def sender(self):
        """aioquic's sending side; None if all of it is acknowledged."""
        stream = self.conn.quic._streams.get(self.id)
        return stream and stream.sender

    @property
    def writable(self):
        """Neither finished nor reset, nor stopped by the server."""
        sender = self.sender
        return (sender is not None and sender._buffer_fin is None
                and sender._reset_error_code is None)

    @property
    def unacknowledged(self):
        sender = self.sender
        return sender._buffer_stop - sender._buffer_start if sender else 0

    async def drain(self, limit=0, timeout=TIMEOUT):
        """Waits until no more than `limit` bytes are unacknowledged."""
        await self.conn.until(
            lambda: self.unacknowledged <= limit or self.stop_code is not None,
            "ack", timeout, f"{self} to be acknowledged")

    async def allowed(self, timeout=TIMEOUT):
        """Waits until the server's limit permits this stream; aioquic would
        send RESET_STREAM even before that."""
        await self.conn.until(
            lambda: not self.conn.quic._streams[self.id].is_blocked, "ack",
            timeout, f"{self} to be permitted")

    async def send(self, data, fin=False, timeout=TIMEOUT):
        """Writes much, without keeping all of it in aioquic's buffers."""
        view = memoryview(data)
        for pos in range(0, len(data), UNSENT_LIMIT // 4):
            await self.drain(UNSENT_LIMIT, timeout)
            self.write(view[pos:pos + UNSENT_LIMIT // 4])
        if fin:
            self.fin()

    async def write_split(self, data, fin=False, size=1):
        """Writes byte by byte, each one in a packet of its own, and in order:
        the next one leaves when the former one has been acknowledged."""
        for pos in range(0, len(data), size):
            last = pos + size >= len(data)
            self.write(data[pos:pos + size], fin and last)
            await self.drain()

    # receiving

    def _received(self, data, ended):
        self.conn.quic.unread[self.id] += len(data)
        self.buffer += data
        self.ended = self.ended or ended

    def _reset(self, code):
        self.reset_code = code

    def _stopped(self, code):
        self.stop_code = code

    def take(self, size=None):
        """Removes bytes that have arrived; the server may send as many."""
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        self.conn.quic.unread[self.id] -= len(data)
        self.conn._transmit_soon()
        return data

    async def _until(self, predicate, timeout, what):
        await self.conn.until(
            lambda: predicate() or self.reset_code is not None or self.ended,
            self.id, timeout, f"{self}: {what}")
        if not predicate() and self.reset_code is not None:
            raise StreamReset(self.id, self.reset_code)

    async def read(self, size=None, timeout=TIMEOUT):
        """What has arrived, or the next bytes; b"" after the end."""
        await self._until(lambda: self.buffer, timeout, "bytes")
        return self.take(size)

    async def read_exactly(self, size, timeout=TIMEOUT):
        await self._until(lambda: len(self.buffer) >= size, timeout,
                          f"{size} bytes")
        assert len(self.buffer) >= size, f"{self} ended with {self.buffer}"
        return self.take(size)

    async def read_all(self, timeout=TIMEOUT):
        parts = []
        while part := await self.read(timeout=timeout):
            parts.append(part)
        return b"".join(parts)

    async def finished(self, timeout=TIMEOUT):
        """Waits for the end, whether FIN or RESET_STREAM."""
        await self.conn.until(
            lambda: self.ended or self.reset_code is not None,
            self.id, timeout, f"{self}: FIN or RESET_STREAM")

    async def until_reset(self, timeout=TIMEOUT):
        """Waits for RESET_STREAM; returns the code on the wire."""
        await self.conn.until(lambda: self.reset_code is not None, self.id,
                              timeout, f"{self}: RESET_STREAM")
        return self.reset_code

    async def until_stop(self, timeout=TIMEOUT):
        """Waits for STOP_SENDING; returns the code on the wire."""
        await self.conn.until(lambda: self.stop_code is not None, self.id,
                              timeout, f"{self}: STOP_SENDING")
        return self.stop_code

    async def until_aborted(self, timeout=TIMEOUT):
        """Waits for either; returns the code on the wire."""
        await self.conn.until(
            lambda: (self.stop_code, self.reset_code) != (None, None),
            self.id, timeout, f"{self}: RESET_STREAM or STOP_SENDING")
        return self.reset_code if self.stop_code is None else self.stop_code


class WtStream(Stream):
    """A stream of a session: codes are the application's.

    The header has been sent or removed.  until_reset() and until_stop() still
    return what is on the wire, because that is what a test is about.
    """

    def reset(self, code=0):
        self.reset_raw(app_to_h3(code))

    def stop(self, code=0):
        self.stop_raw(app_to_h3(code))


class Request(Stream):
    """A request stream: HTTP/3 frames.

    frames has all but DATA, whose payload is in body; buffer has what is not
    yet parsed.
    """

    def __init__(self, conn, stream_id):
        super().__init__(conn, stream_id)
        self.frames = []
        self.responses = []
        self.body = bytearray()
        self._left = 0

    @property
    def headers(self):
        return self.responses[0] if self.responses else None

    @property
    def status(self):
        return int(self.header(":status")) if self.responses else None

    def header(self, name):
        """The value of a response header, or None; fails if it is repeated."""
        values = [v for k, v in self.headers if k == name.encode()]
        assert len(values) <= 1, f"{name} is repeated: {values}"
        return values[0].decode() if values else None

    def _received(self, data, ended):
        super()._received(data, ended)
        while self._left or read_varint(self.buffer):
            if self._left:
                part = self.take(self._left)
                if not part:
                    return
                self._left -= len(part)
                self.body += part
            elif not self._frame():
                return
            self._parsed()

    def _frame(self):
        """Takes the next frame, of DATA frames only the header: they may be
        longer than the window."""
        kind, pos = read_varint(self.buffer)
        size = read_varint(self.buffer, pos)
        if size is None:
            return False
        size, pos = size
        if kind == FRAME_DATA:
            self.take(pos)
            self._left = size
            return True
        if len(self.buffer) < pos + size:
            return False
        payload = self.take(pos + size)[pos:]
        self.frames.append((kind, payload))
        if kind == FRAME_HEADERS:
            self.responses.append(self.conn.decode(self.id, payload))
        return True

    def _parsed(self):
        pass

    async def response(self, timeout=TIMEOUT):
        """Waits for the response headers."""
        await self._until(lambda: self.responses, timeout, "response")
        assert self.responses, f"{self} ended without a response"
        return self

    async def outcome(self, timeout=TIMEOUT):
        """The status of the response, or the code of a reset instead."""
        try:
            return (await self.response(timeout)).status
        except StreamReset as error:
            return error.code

    async def complete(self, timeout=TIMEOUT):
        """Waits for the whole response."""
        await self.response(timeout)
        await self._until(lambda: self.ended, timeout, "end of response")
        return self


class Session(Request):
    """A CONNECT stream and all that belongs to it."""

    def __init__(self, conn, stream_id):
        super().__init__(conn, stream_id)
        self.capsules = []
        self.datagrams = deque()
        self.incoming = {True: deque(), False: deque()}
        self.answer_close = True
        conn.sessions[stream_id] = self

    # the CONNECT stream

    def send_capsule(self, kind, payload=b"", fin=False):
        self.write(data_frame(capsule(kind, payload)), fin)

    def close(self, code=0, reason=b""):
        """Sends WT_CLOSE_SESSION and ends the CONNECT stream."""
        if isinstance(reason, str):
            reason = reason.encode()
        self.write(data_frame(close_capsule(code, reason)), True)

    def drain_session(self):
        self.send_capsule(CAPSULE_DRAIN)

    def _parsed(self):
        while item := read_tlv(self.body):
            self.capsules.append(item[:2])
            self.body = bytearray(item[2])

    def _received(self, data, ended):
        super()._received(data, ended)
        if self.ended and self.writable and self.answer_close:
            self.fin()

    async def next_capsule(self, kind, timeout=TIMEOUT):
        """Waits for a capsule of that type; returns its value."""
        def found():
            return [v for k, v in self.capsules if k == kind]

        await self._until(found, timeout, f"capsule {kind:#x}")
        assert found(), f"{self} ended without capsule {kind:#x}"
        return found()[0]

    async def closed(self, timeout=TIMEOUT):
        """Waits until the server ends the session; returns (code, reason).

        An end without a capsule is (0, b"").  A reset raises StreamReset.
        """
        await self._until(lambda: self.ended, timeout, "end of session")
        if not self.capsules or self.capsules[-1][0] != CAPSULE_CLOSE:
            return 0, b""
        value = self.capsules[-1][1]
        return int.from_bytes(value[:4], "big"), value[4:]

    # streams

    def open_bidi(self):
        stream = self.conn.new_stream(WtStream)
        stream.write(varint(FRAME_WT_BIDI) + varint(self.id))
        return stream

    def open_uni(self):
        stream = self.conn.new_stream(WtStream, uni=True)
        stream.write(varint(STREAM_WT_UNI) + varint(self.id))
        return stream

    async def _accept(self, uni, timeout):
        await self.conn.until(lambda: self.incoming[uni], "accept", timeout,
                              f"{self}: a stream from the server")
        return self.incoming[uni].popleft()

    async def accept_bidi(self, timeout=TIMEOUT):
        return await self._accept(False, timeout)

    async def accept_uni(self, timeout=TIMEOUT):
        return await self._accept(True, timeout)

    # datagrams

    def send_datagram(self, data):
        self.conn.send_datagram(varint(self.id // 4) + data)

    async def datagram(self, timeout=TIMEOUT):
        """The next datagram."""
        await self.conn.until(lambda: self.datagrams, "datagram", timeout,
                              f"{self}: a datagram")
        return self.datagrams.popleft()

    # shortcuts

    async def echo(self, data=b"ping", timeout=TIMEOUT):
        """Sends data on a new stream; returns what comes back."""
        stream = self.open_bidi()
        stream.write(data, True)
        return await stream.read_all(timeout)

    async def echo_datagram(self, data=b"ping", timeout=TIMEOUT):
        self.send_datagram(data)
        return await self.datagram(timeout)


class Connection(QuicConnectionProtocol):
    """A QUIC connection that speaks HTTP/3."""

    def __init__(self, quic, authority):
        super().__init__(quic)
        self.quic = quic
        self.authority = authority
        self.encoder = qpack.Encoder()
        self.decoder = pylsqpack.Decoder(65536, 100)
        self.on_handshake = None
        self.silent = False

        self.streams = {}
        self.sessions = {}
        self.control = None
        self.encoder_stream = None

        # of the server
        self.handshake = None
        self.peer_settings = None
        self.goaways = []
        self.control_frames = []
        self.decoder_instructions = bytearray()
        self.other_streams = []
        self.stray_datagrams = []
        self.lost = None

        # what the server must not do, as exceptions
        self.violations = []

        self.ponged = 0
        self._pings = 0
        self._first_uni = None
        self._seen = {}
        self._waiters = defaultdict(list)
        self._touched = set()

    def start(self, address):
        super().connect(address)

    def end(self):
        """Says goodbye, without waiting for an answer."""
        if not self.lost and not self.silent:
            self.close(H3_NO_ERROR)
        if self._timer:
            self._timer.cancel()

    def vanish(self):
        """Will go without a goodbye, as a killed process does."""
        self.silent = True

    # waiting

    async def until(self, predicate, key, timeout=TIMEOUT, what="it"):
        """Waits until the predicate is true; tried again on what happens to
        `key`: a stream id, "ack", "accept", "datagram", "control"."""
        try:
            async with asyncio.timeout(timeout):
                while not (value := predicate()):
                    if self.violations:
                        raise self.violations[0]
                    if self.lost:
                        raise ConnectionLost(self.lost)
                    waiter = self._loop.create_future()
                    self._waiters[key].append(waiter)
                    await waiter
                return value
        except TimeoutError:
            raise TimeoutError(f"waited {timeout} s for {what}") from None

    def _wake(self):
        everyone = self.lost or self.violations
        keys = list(self._waiters) if everyone else self._touched | {"ack"}
        for key in keys:
            for waiter in self._waiters.pop(key, ()):
                if not waiter.done():
                    waiter.set_result(None)
        self._touched.clear()

    async def closed(self, timeout=TIMEOUT):
        """Waits until the server closes the connection; returns the code."""
        await self.until(lambda: self.lost, "lost", timeout,
                         "the connection to be closed")
        return self.lost.error_code

    async def settings(self, timeout=TIMEOUT):
        """The server's SETTINGS."""
        await self.until(lambda: self.peer_settings is not None, "control",
                         timeout, "SETTINGS")
        return self.peer_settings

    async def ping(self, timeout=TIMEOUT):
        """Waits until the server has acknowledged what is sent by now, but
        for stream data that has to wait for credit."""
        await self.until(lambda: not self.quic._datagrams_pending, "ack",
                         timeout, "datagrams to be sent")
        uid = self._pings = self._pings + 1
        self.quic.send_ping(uid)
        self._transmit_soon()
        await self.until(lambda: self.ponged >= uid, "ack", timeout, "a ping")

    # sending

    def new_stream(self, kind=Stream, uni=False, stream_id=None):
        """A stream with nothing on it; the next free id unless told."""
        if stream_id is None:
            stream_id = self.quic.get_next_available_stream_id(uni)
        self.quic._get_or_create_stream_for_send(stream_id)
        return kind(self, stream_id)

    def stop_stream(self, stream_id, code):
        self.quic.stop_stream(stream_id, code)
        self._transmit_soon()

    def send_datagram(self, payload):
        """A DATAGRAM frame with any payload."""
        self.quic.send_datagram_frame(payload)
        self._transmit_soon()

    def send_frame(self, kind, payload):
        """Any QUIC frame."""
        self.quic.send_frame(kind, payload)
        self._transmit_soon()

    def open_control(self, settings):
        """Opens the control and both QPACK streams."""
        self.control = self.new_stream(uni=True)
        self.control.write(varint(STREAM_CONTROL) + settings_frame(settings))
        self.open_qpack()

    def open_qpack(self):
        self.encoder_stream = self.new_stream(uni=True)
        self.encoder_stream.write(varint(STREAM_QPACK_ENCODER))
        decoder = self.new_stream(uni=True)
        decoder.write(varint(STREAM_QPACK_DECODER))

    def insert(self, *pairs, capacity=4096):
        """QPACK instructions that put pairs into the dynamic table."""
        return self.encoder.capacity(capacity) + b"".join(
            self.encoder.insert(*pair) for pair in pairs)

    def headers(self, method, path, headers=(), authority=None, **pseudo):
        """Header fields of a request; pseudo=None leaves one out."""
        fields = {":method": method, ":scheme": "https",
                  ":authority": authority or self.authority, ":path": path}
        fields.update((":" + k, v) for k, v in pseudo.items())
        return [(as_bytes(k), as_bytes(v)) for k, v in
                [(k, v) for k, v in fields.items() if v is not None]
                + list(headers)]

    def connect_headers(self, path="/", headers=(), **pseudo):
        return self.headers("CONNECT", path, headers,
                            **{"protocol": "webtransport", **pseudo})

    def connect(self, path="/", headers=(), stream_id=None, **pseudo):
        """Sends a CONNECT; returns a Session that has no response yet."""
        session = self.new_stream(Session, stream_id=stream_id)
        fields = self.connect_headers(path, headers, **pseudo)
        session.write(frame(FRAME_HEADERS, self.encoder.section(fields)))
        return session

    async def session(self, path="/", headers=(), timeout=TIMEOUT, **pseudo):
        """Opens a session and expects it to be accepted."""
        session = self.connect(path, headers, **pseudo)
        await session.response(timeout)
        assert session.status == 200, session.headers
        return session

    async def refused(self, path="/", headers=(), timeout=TIMEOUT, **pseudo):
        """Asks for a session and expects a refusal; returns the status."""
        session = self.connect(path, headers, **pseudo)
        await session.complete(timeout)
        assert not 200 <= session.status < 300, session.headers
        return session.status

    def start_request(self, method="GET", path="/", headers=(), body=b"",
                      **pseudo):
        request = self.new_stream(Request)
        fields = self.headers(method, path, headers, **pseudo)
        data = frame(FRAME_HEADERS, self.encoder.section(fields))
        request.write(data + (data_frame(body) if body else b""), True)
        return request

    async def request(self, method="GET", path="/", *args, **kwargs):
        """An ordinary request; returns it with status, headers and body."""
        return await self.start_request(method, path, *args,
                                        **kwargs).complete()

    # receiving

    def decode(self, stream_id, block):
        """Header fields; nginx never uses the dynamic table."""
        acknowledgement, fields = self.decoder.feed_header(stream_id, block)
        return fields

    def quic_event_received(self, event):
        try:
            self._event(event)
        except Exception as error:
            self.violations.append(error)

    def _event(self, event):
        match event:
            case events.PingAcknowledged():
                self.ponged = event.uid
            case events.HandshakeCompleted():
                self.handshake = event
                if self.on_handshake:
                    self.on_handshake(self)
            case events.StreamDataReceived():
                self._stream_data(event)
            case events.StreamReset():
                self._stream(event.stream_id)._reset(event.error_code)
                self._touched.add(event.stream_id)
            case events.StopSendingReceived():
                self._stream(event.stream_id)._stopped(event.error_code)
                self._touched.add(event.stream_id)
            case events.DatagramFrameReceived():
                self._datagram(event.data)
                self._touched.add("datagram")
            case events.ConnectionTerminated():
                self.lost = event

    def _stream(self, stream_id):
        if stream_id not in self.streams:
            ServerStream(self, stream_id)
        return self.streams[stream_id]

    def _stream_data(self, event):
        self._touched.add(event.stream_id)
        self._stream(event.stream_id)._received(event.data, event.end_stream)

    def _datagram(self, data):
        quarter, pos = read_varint(data)
        session = self.sessions.get(4 * quarter)
        if session is None or session.status is None:
            self.stray_datagrams.append(data)
        else:
            session.datagrams.append(data[pos:])

    def _control_data(self, stream):
        while item := read_tlv(stream.buffer):
            kind, payload, rest = item
            stream.take(len(stream.buffer) - len(rest))
            if self.peer_settings is None:
                assert kind == FRAME_SETTINGS, f"first control frame {kind:#x}"
                self.peer_settings = read_settings(payload)
            elif kind == FRAME_GOAWAY:
                self.goaways.append(read_varint(payload)[0])
            else:
                assert kind != FRAME_SETTINGS, "second SETTINGS frame"
                self.control_frames.append((kind, payload))
        self._touched.add("control")

    def datagram_received(self, data, address):
        # aioquic would deliver a duplicated DATAGRAM twice
        if data in self._seen:
            return
        self._seen[data] = None
        if len(self._seen) > 5000:
            del self._seen[next(iter(self._seen))]
        super().datagram_received(data, address)

    def _process_events(self):
        super()._process_events()
        self._wake()

    def _handle_timer(self):
        super()._handle_timer()
        self._wake()

    def connection_lost(self, error):
        pass


class ServerStream(Stream):
    """A stream that the server opened, until its header is known; then it
    becomes a stream of a session, or one of HTTP/3."""

    def __init__(self, conn, stream_id):
        super().__init__(conn, stream_id)
        assert stream_id & 1, f"the server used stream {stream_id}"
        self.uni = bool(stream_id & 2)
        self.kind = None
        if self.uni and conn._first_uni is None:
            conn._first_uni = stream_id

    def _received(self, data, ended):
        super()._received(data, ended)
        if self.kind is None:
            head = read_varint(self.buffer)
            if head is None:
                return
            self._identify(head[0], head[1])
        if self.kind == STREAM_CONTROL:
            self.conn._control_data(self)
        elif self.kind == STREAM_QPACK_ENCODER:
            self.conn.decoder.feed_encoder(self.take())
        elif self.kind == STREAM_QPACK_DECODER:
            self.conn.decoder_instructions += self.take()

    def _identify(self, kind, pos):
        if kind == (STREAM_WT_UNI if self.uni else FRAME_WT_BIDI):
            owner = read_varint(self.buffer, pos)
            if owner is None:
                return
            session = self.conn.sessions.get(owner[0])
            assert session is not None, f"{self} of unknown session {owner[0]}"
            self.take(owner[1])
            self.__class__ = WtStream
            self.session = session
            session.incoming[self.uni].append(self)
            self.conn._touched.add("accept")
            return

        assert self.uni, f"{self} of the server starts with {kind:#x}"

        if kind == STREAM_CONTROL:
            assert self.id == self.conn._first_uni, "control is not the first"
        elif kind not in (STREAM_QPACK_ENCODER, STREAM_QPACK_DECODER):
            self.conn.other_streams.append(self)
        self.take(pos)
        self.kind = kind


def as_bytes(value):
    return value.encode() if isinstance(value, str) else value


def udp_socket(local):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    sock.bind((local, 0))
    return sock


@contextlib.asynccontextmanager
async def connect(port, *, host="127.0.0.1", authority=None, sni="localhost",
                  alpn=("h3",), settings=CLIENT_SETTINGS, parameters=None,
                  max_datagram=65536, mtu=1200, window=1 << 20,
                  connection_window=16 << 20, streams=(1000, 1000),
                  pacing=True, idle_timeout=60, cipher_suites=None,
                  on_handshake=None, session_ticket=None, on_ticket=None,
                  local="127.0.0.1", wait=True):
    """Connects, and closes the connection at the end.

    authority      of requests; host and port unless told
    sni            server name in TLS, None for none
    settings       None: no control stream; the test opens its own
    parameters     transport parameters: id to bytes, None to leave one out
    max_datagram   our max_datagram_frame_size; None to leave it out
    mtu            of the UDP packets that we send; aioquic's encryption can
                   do 1500 at most, and takes no longer ones from the server
    window         bytes that the server may send ahead on a stream
    on_handshake   called when the handshake has completed, before anything
                   is sent: what it queues leaves together with the Finished
    """
    configuration = QuicConfiguration(
        alpn_protocols=list(alpn), is_client=True, server_name=sni,
        verify_mode=ssl.CERT_NONE, idle_timeout=idle_timeout,
        max_data=connection_window, max_stream_data=window,
        max_datagram_size=mtu, max_datagram_frame_size=max_datagram,
        session_ticket=session_ticket, cipher_suites=cipher_suites,
        supported_versions=[QuicProtocolVersion.VERSION_1])

    # without max_udp_payload_size nginx would look for a larger MTU first
    parameters = {0x03: varint(1500), **(parameters or {})}

    quic = Quic(configuration=configuration, parameters=parameters,
                window=window, streams=streams, pacing=pacing,
                session_ticket_handler=on_ticket)

    transport, conn = await asyncio.get_running_loop(
        ).create_datagram_endpoint(
            lambda: Connection(quic, authority or f"localhost:{port}"),
            sock=udp_socket(local))

    try:
        conn.on_handshake = on_handshake
        conn.start((host, port))
        if wait:
            await conn.until(lambda: conn.handshake, "ack", TIMEOUT,
                             "the handshake")
        if settings is not None and conn.control is None:
            conn.open_control(settings)
        yield conn
        if conn.violations:
            raise conn.violations[0]
    finally:
        conn.end()
        transport.close()
