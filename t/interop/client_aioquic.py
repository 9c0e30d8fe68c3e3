"""The scenario of t/lib/interop.py, for aioquic as it comes: its HTTP/3 layer
and its asyncio client.

    client_aioquic.py <url> <SHA-256 of the certificate> [features...]

prints a JSON object: a result for each feature.  aioquic leaves capsules and
the mapping of codes to the application; here they are done at the end.  It
also takes what comes back on a bidirectional stream of the client for HTTP/3
frames, so that the application has to read these streams itself.
"""

import asyncio
import hashlib
import json
import os
import ssl
import sys
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3 import events as h3
from aioquic.h3.connection import H3Connection
from aioquic.quic import events as quic
from aioquic.quic.configuration import QuicConfiguration
from cryptography.hazmat.primitives.serialization import Encoding

CODES = [0, 42, 255, 256, 0xffffffff]
PROTOCOLS = ["interop-1", "interop-2"]
BULK = bytes((i * 7 + (i >> 8)) & 0xff for i in range(1 << 20))
STREAMS = 100
TIMEOUT = 10 * float(os.environ.get("WT_SLOWNESS", 1))

# what the other side sees last
SEEN_THERE = ["bidi-in", "uni-out", "datagram-out", "reset-out", "stop-out",
              "drain-out", "close-out"]

BASE, HASH = sys.argv[1:3]


class Stream:

    def __init__(self, client, id):
        self.client = client
        self.id = id
        self.data = bytearray()
        self.ended = False
        self.reset_code = None
        self.stop_code = None

    def write(self, data, fin=False):
        self.client._quic.send_stream_data(self.id, data, fin)
        self.client.transmit()

    def reset(self, code):
        self.client._quic.reset_stream(self.id, app_to_h3(code))
        self.client.transmit()

    def stop(self, code):
        self.client._quic.stop_stream(self.id, app_to_h3(code))
        self.client.transmit()

    async def some(self):
        await self.client.until(lambda: self.data or self.ended)

    async def read(self):
        await self.client.until(
            lambda: self.ended or self.reset_code is not None)
        expect(self.reset_code, None)
        return bytes(self.data)


class Session(Stream):
    """A CONNECT stream and what belongs to it."""

    def __init__(self, client, id):
        super().__init__(client, id)
        self.headers = None
        self.incoming = {True: [], False: []}
        self.datagrams = []

    def open(self, uni=False):
        id = self.client.http.create_webtransport_stream(self.id, uni)
        self.client.own.add(id)
        self.client.transmit()
        return self.client.stream(id)

    async def accept(self, uni=False):
        await self.client.until(lambda: self.incoming[uni])
        return self.incoming[uni].pop(0)

    def capsule(self, kind, value=b"", fin=False):
        self.client.http.send_data(
            self.id, varint(kind) + varint(len(value)) + value, fin)
        self.client.transmit()

    def close(self, code=0, reason=""):
        self.capsule(0x2843, code.to_bytes(4, "big") + reason.encode(), True)

    def capsules(self):
        found, data = {}, bytes(self.data)
        while data:
            kind, data = take_varint(data)
            size, data = take_varint(data)
            found[kind], data = data[:size], data[size:]
        return found

    async def closed(self):
        await self.client.until(lambda: self.ended)
        return self.capsules().get(0x2843)


class Client(QuicConnectionProtocol):

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.streams = {}
        self.own = set()
        self.changed = asyncio.Event()

    def stream(self, id):
        return self.streams.setdefault(id, Stream(self, id))

    async def until(self, predicate):
        while not predicate():
            self.changed.clear()
            await self.changed.wait()

    async def session(self, path, protocols=()):
        id = self._quic.get_next_available_stream_id()
        session = self.streams[id] = Session(self, id)
        headers = [(b":method", b"CONNECT"), (b":scheme", b"https"),
                   (b":authority", urlsplit(BASE).netloc.encode()),
                   (b":path", path.encode()), (b":protocol", b"webtransport")]
        if protocols:
            names = ", ".join(f'"{name}"' for name in protocols)
            headers.append((b"wt-available-protocols", names.encode()))
        self.http.send_headers(id, headers)
        self.transmit()
        await self.until(lambda: session.headers is not None)
        return session

    def quic_event_received(self, event):
        match event:
            case quic.HandshakeCompleted():
                self.http = H3Connection(self._quic, enable_webtransport=True)
            case quic.StreamReset():
                self.stream(event.stream_id).reset_code = event.error_code
            case quic.StopSendingReceived():
                self.stream(event.stream_id).stop_code = event.error_code
            case quic.StreamDataReceived() if event.stream_id in self.own:
                stream = self.stream(event.stream_id)
                stream.data += event.data
                stream.ended = event.end_stream
        if self.http is not None and getattr(event, "stream_id",
                                             None) not in self.own:
            for event in self.http.handle_event(event):
                self.http_event(event)
        self.changed.set()

    def http_event(self, event):
        stream = self.stream(event.stream_id)
        match event:
            case h3.HeadersReceived():
                stream.headers = dict(event.headers)
                stream.ended = event.stream_ended
            case h3.DataReceived():
                stream.data += event.data
                stream.ended = event.stream_ended
            case h3.WebTransportStreamDataReceived():
                if not stream.data and not stream.ended and event.stream_id & 1:
                    uni = bool(event.stream_id & 2)
                    self.streams[event.session_id].incoming[uni].append(stream)
                stream.data += event.data
                stream.ended = event.stream_ended
            case h3.DatagramReceived():
                stream.datagrams.append(event.data)


def expect(found, wanted):
    if found != wanted:
        raise Exception(f"{found!r} instead of {wanted!r}")


def connection():
    configuration = QuicConfiguration(
        alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE,
        max_datagram_frame_size=65536)
    url = urlsplit(BASE)
    return connect(url.hostname, url.port, configuration=configuration,
                   create_protocol=Client)


async def perform(feature):
    async with connection() as client:
        # aioquic can compare no hashes
        certificate = client._quic.tls._peer_certificate
        expect(hashlib.sha256(
            certificate.public_bytes(Encoding.DER)).hexdigest(), HASH)
        if feature == "pooling":
            return await pooling(client)
        session = await client.session(
            f"/{feature}", PROTOCOLS if feature == "protocol" else ())
        status = int(session.headers[b":status"])
        if feature == "reject":
            return expect(status, 403)
        expect(status, 200)
        await SCENARIO[feature](session)
        if feature == "close-in":
            return
        if feature not in SEEN_THERE:
            session.close()
        await session.closed()


async def nothing(session):
    pass


async def protocol(session):
    expect(session.headers.get(b"wt-protocol"), b'"interop-2"')


async def bidi_out(session, data=b"ping", answer=b"pong"):
    stream = session.open()
    stream.write(data, True)
    expect(await stream.read(), answer)


async def bidi_in(session):
    stream = await session.accept()
    expect(await stream.read(), b"ping")
    stream.write(b"pong", True)


async def uni_out(session):
    session.open(uni=True).write(b"ping", True)


async def uni_in(session):
    stream = await session.accept(uni=True)
    expect(await stream.read(), b"ping")


async def datagram_out(session):
    session.client.http.send_datagram(session.id, b"ping")
    session.client.transmit()


async def datagram_in(session):
    await session.client.until(lambda: session.datagrams)
    expect(session.datagrams[0], b"ping")


async def opened(session):
    stream = session.open()
    stream.write(b"x")
    await stream.some()
    return stream


def report(session):
    session.open().write(",".join(map(str, CODES)).encode(), True)


async def reset_out(session):
    for code in CODES:
        (await opened(session)).reset(code)
    report(session)


async def stop_out(session):
    for code in CODES:
        (await opened(session)).stop(code)
    report(session)


async def reset_in(session):
    for code in CODES:
        stream = session.open()
        stream.write(b"%d\n" % code)
        await session.client.until(lambda: stream.reset_code is not None)
        expect(stream.reset_code, app_to_h3(code))


async def stop_in(session):
    for code in CODES:
        stream = session.open()
        stream.write(b"%d\n" % code)
        await session.client.until(lambda: stream.stop_code is not None)
        expect(stream.stop_code, app_to_h3(code))


async def close_in(session):
    expect(await session.closed(),
           b"\xff\xff\xff\xfe" + "ende \u00fc".encode())


async def close_out(session):
    session.close(0xffffffff, "bye \u00e4")


async def drain_in(session):
    await session.client.until(lambda: 0x78ae in session.capsules())


async def drain_out(session):
    session.capsule(0x78ae)


async def bulk(session):
    await bidi_out(session, BULK, BULK)


async def streams(session):
    for _ in range(STREAMS):
        await bidi_out(session, b"ping", b"ping")


async def pooling(client):
    sessions = [await client.session("/pooling") for _ in range(3)]
    for session in sessions:
        expect(session.headers[b":status"], b"200")
        name = b"%d" % session.id
        await bidi_out(session, name, name)
    for session in sessions:
        session.close()
        await session.closed()


SCENARIO = {"session": nothing, "protocol": protocol, "bidi-out": bidi_out,
            "bidi-in": bidi_in, "uni-out": uni_out, "uni-in": uni_in,
            "datagram-out": datagram_out, "datagram-in": datagram_in,
            "reset-out": reset_out, "reset-in": reset_in,
            "stop-out": stop_out, "stop-in": stop_in, "bulk": bulk,
            "streams": streams, "close-in": close_in, "close-out": close_out,
            "drain-in": drain_in, "drain-out": drain_out}


# what aioquic has not got

def app_to_h3(code):
    return 0x52e4a40fa8db + code + code // 0x1e


def varint(value):
    for bits, prefix in ((6, 0), (14, 1), (30, 2), (62, 3)):
        if value < 1 << bits:
            size = (bits + 2) // 8
            return (prefix << 8 * size - 2 | value).to_bytes(size, "big")


def take_varint(data):
    size = 1 << (data[0] >> 6)
    value = int.from_bytes(data[:size], "big") & (1 << 8 * size - 2) - 1
    return value, data[size:]


async def main():
    results = {}
    for feature in sys.argv[3:]:
        try:
            await asyncio.wait_for(perform(feature), TIMEOUT)
            results[feature] = "ok"
        except asyncio.TimeoutError:
            results[feature] = "failed: timeout"
        except Exception as error:
            results[feature] = f"failed: {error or type(error).__name__}"
    print(json.dumps(results))


asyncio.run(main())
