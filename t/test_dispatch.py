"""Ordinary packets, whose frames the module hands to nginx's frame handlers,
and all others, which nginx handles.  A client must not notice which.

A packet with more frames than the module dispatches is the simplest of the
others: here it has 80 PINGs.  Which way packets went is in nginx's debug log,
so only the sanitizer build can tell.
"""

import re
from collections import Counter

import pytest
from aioquic import tls

from lib.client import TIMEOUT, ConnectionLost
from lib.udp_proxy import UdpProxy
from lib.wire import *

ECHO = "location / { webtransport_echo; }"

# RFC 9000, 19

PADDING, PING, ACK = 0x00, 0x01, 0x02
RESET_STREAM, STOP_SENDING, NEW_TOKEN = 0x04, 0x05, 0x07
STREAM, STREAM_LEN, STREAM_OFF_LEN, FIN = 0x08, 0x0a, 0x0e, 0x01
MAX_DATA, MAX_STREAM_DATA, MAX_STREAMS = 0x10, 0x11, 0x12
DATA_BLOCKED, STREAM_DATA_BLOCKED, STREAMS_BLOCKED = 0x14, 0x15, 0x16
PATH_CHALLENGE, CONNECTION_CLOSE_APP, HANDSHAKE_DONE = 0x1a, 0x1d, 0x1e
UNKNOWN, DATAGRAM, DATAGRAM_LEN = 0x21, 0x30, 0x31

FLOW_CONTROL_ERROR, STREAM_STATE_ERROR, FINAL_SIZE_ERROR = 3, 5, 6

MANY = 80

either_way = pytest.mark.parametrize("others", [0, MANY],
                                     ids=["dispatched", "by nginx"])


def passed(worker, more=""):
    return f"location / {{ webtransport_pass {worker.address}; {more} }}"


def crowd(conn, others):
    """Puts so many PINGs into the next packet, before all else."""
    for _ in range(others):
        conn.send_frame(PING, b"")


def stream_frame(stream_id, data, offset=None):
    """The payload of a STREAM frame with a length."""
    return (varint(stream_id)
            + (b"" if offset is None else varint(offset))
            + varint(len(data)) + data)


def datagram_frame(session, data):
    return varint(len(data) + 1) + varint(session.id // 4) + data


@pytest.fixture
def ways(build):
    """ways(ngx) counts packets since it was called last: "dispatched",
    "by nginx", and how often one was "decrypted"."""
    if not build.sanitized:
        pytest.skip("only the sanitizer build has a debug log")

    seen = {}

    def count(ngx):
        log = (ngx.dir / "debug.log").read_text(errors="replace")
        new, seen[ngx] = log[seen.get(ngx, 0):], len(log)
        return Counter({
            "dispatched": len(re.findall("wt packet dispatched", new)),
            "by nginx": len(re.findall("quic packet done", new)),
            "decrypted": len(re.findall("quic packet rx number", new)),
        })

    return count


DEBUG = {"main": "error_log %DIR%/debug.log debug;"}


# ---- which way --------------------------------------------------------------


async def test_ordinary_packets_are_decrypted_once(nginx, client, ways):
    ngx = nginx(ECHO, **DEBUG)
    async with client(ngx) as conn:
        session = await conn.session()
        await conn.ping()
        ways(ngx)
        for i in range(20):
            assert await session.echo_datagram(b"%d" % i) == b"%d" % i
            assert await session.echo(bytes(2000)) == bytes(2000)
        await conn.ping()
        count = ways(ngx)
        assert count["dispatched"] >= 60
        assert count["decrypted"] == count["dispatched"]
        assert count["by nginx"] == 0


@pytest.mark.parametrize("frames", [1, 2, 60, 64, 65, 66, 300])
async def test_datagram_among_many_frames(nginx, client, frames):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        for i in range(3):
            crowd(conn, frames - 1)
            assert await session.echo_datagram(b"%d" % i) == b"%d" % i
        await conn.ping()
        assert not session.datagrams


async def test_too_many_frames_are_for_nginx(nginx, client, ways):
    ngx = nginx(ECHO, **DEBUG)
    async with client(ngx) as conn:
        session = await conn.session()
        await conn.ping()
        for frames, way in (50, "dispatched"), (MANY, "by nginx"):
            ways(ngx)
            crowd(conn, frames)
            session.send_datagram(b"%d" % frames)
            conn.transmit()
            assert await session.datagram() == b"%d" % frames
            assert ways(ngx)[way] >= 1
        assert ways(ngx)["by nginx"] == 0


@either_way
async def test_all_kinds_of_frames_at_once(nginx, client, worker, others):
    """One packet for them all; what they do is seen at both ends."""
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        bidi, uni = session.open_bidi(), session.open_uni()
        bidi.write(b"bidi")
        uni.write(b"uni")
        first = await backend.accept_stream()
        second = await backend.accept_stream()
        await conn.ping()

        crowd(conn, others)
        conn.send_frame(MAX_DATA, varint(1 << 40))
        conn.send_frame(MAX_STREAM_DATA, varint(bidi.id) + varint(1 << 40))
        conn.send_frame(MAX_STREAMS, varint(2000))
        conn.send_frame(DATA_BLOCKED, varint(1))
        conn.send_frame(STREAM_DATA_BLOCKED, varint(bidi.id) + varint(1))
        conn.send_frame(STREAMS_BLOCKED, varint(1))
        conn.send_frame(PADDING, bytes(10))
        conn.send_frame(RESET_STREAM, varint(uni.id)
                        + varint(app_to_h3(77)) + varint(100))
        conn.send_frame(STOP_SENDING, varint(bidi.id) + varint(app_to_h3(88)))
        session.send_datagram(b"datagram")
        bidi.write(b" more", True)

        assert (await backend.find("datagram")).data == b"datagram"
        ids = {event.data: event.stream_id for event in (first, second)}
        assert await backend.find("reset", stream_id=ids[b"uni"], code=77)
        assert await backend.find("stop", stream_id=ids[b"bidi"], code=88)
        assert (await backend.find("data", stream_id=ids[b"bidi"],
                                   fin=True)).data == b" more"
        await conn.ping()


# ---- errors -----------------------------------------------------------------

ERRORS = {
    "flow control of a stream": ([
        (STREAM_OFF_LEN, lambda i: stream_frame(i, b"x", 1 << 40)),
    ], FLOW_CONTROL_ERROR),
    "flow control of a reset": ([
        (RESET_STREAM, lambda i: varint(i) + varint(0) + varint(1 << 40)),
    ], FLOW_CONTROL_ERROR),
    "stream limit": ([
        (STREAM_LEN, lambda i: stream_frame(1 << 30, b"x")),
    ], QUIC_STREAM_LIMIT_ERROR),
    "data beyond the final size": ([
        (STREAM_OFF_LEN | FIN, lambda i: stream_frame(i, b"x", 100)),
        (STREAM_OFF_LEN, lambda i: stream_frame(i, b"x", 200)),
    ], FINAL_SIZE_ERROR),
    "another final size": ([
        (STREAM_OFF_LEN | FIN, lambda i: stream_frame(i, b"x", 100)),
        (STREAM_OFF_LEN | FIN, lambda i: stream_frame(i, b"x", 90)),
    ], FINAL_SIZE_ERROR),
    "final size of a reset": ([
        (STREAM_OFF_LEN, lambda i: stream_frame(i, b"x", 100)),
        (RESET_STREAM, lambda i: varint(i) + varint(0) + varint(50)),
    ], FINAL_SIZE_ERROR),
    "stream of the server": ([
        (STREAM_LEN, lambda i: stream_frame(1 << 20 | 1, b"x")),
    ], STREAM_STATE_ERROR),
    "uni stream of the server": ([
        (STREAM_LEN, lambda i: stream_frame(3, b"x")),
    ], STREAM_STATE_ERROR),
    "stop of a uni stream": ([
        (STOP_SENDING, lambda i: varint(2) + varint(0)),
    ], STREAM_STATE_ERROR),
    "limit of a uni stream": ([
        (MAX_STREAM_DATA, lambda i: varint(2) + varint(1 << 30)),
    ], STREAM_STATE_ERROR),
    "blocked on a uni stream of the server": ([
        (STREAM_DATA_BLOCKED, lambda i: varint(3) + varint(0)),
    ], STREAM_STATE_ERROR),
    "ACK of a packet that was not sent": ([
        (ACK, lambda i: varint(1 << 30) + bytes(3)),
    ], QUIC_PROTOCOL_VIOLATION),
    "ACK of a negative packet number": ([
        (ACK, lambda i: b"\0\0\0\5"),
    ], QUIC_FRAME_ENCODING_ERROR),
    "ACK with a negative range": ([
        (ACK, lambda i: b"\1\0\1\0" b"\5\0"),
    ], QUIC_FRAME_ENCODING_ERROR),
    "too many streams": ([
        (MAX_STREAMS, lambda i: varint((1 << 60) + 1)),
    ], QUIC_FRAME_ENCODING_ERROR),
    "unknown frame": ([
        (UNKNOWN, lambda i: b""),
    ], QUIC_FRAME_ENCODING_ERROR),
    "NEW_TOKEN": ([
        (NEW_TOKEN, lambda i: b"\1x"),
    ], QUIC_PROTOCOL_VIOLATION),
    "HANDSHAKE_DONE": ([
        (HANDSHAKE_DONE, lambda i: b""),
    ], QUIC_PROTOCOL_VIOLATION),
}


@either_way
@pytest.mark.parametrize("error", ERRORS)
async def test_error_closes_the_connection(nginx, client, worker, error,
                                           others):
    """With the code that nginx has for it, and after what comes before it."""
    ngx = nginx(passed(worker))
    frames, code = ERRORS[error]
    async with client(ngx) as conn, client(ngx) as other:
        theirs = await other.session()
        await worker.session()
        session = await conn.session()
        backend = await worker.session()
        stream = session.open_bidi()
        await backend.accept_stream()
        await conn.ping()

        crowd(conn, others)
        conn.send_frame(DATAGRAM_LEN, datagram_frame(session, b"before"))
        for kind, payload in frames:
            conn.send_frame(kind, payload(stream.id))
        assert await conn.closed() == code

        if error == "ACK of a packet that was not sent":
            assert conn.lost.frame_type == ACK
            assert conn.lost.reason_phrase == "unknown packet number"

        assert (await backend.find("datagram")).data == b"before"
        await backend.find("closed")
        assert not [event for event in backend.events
                    if event.HasField("datagram")]

        # nobody else is hurt
        await other.ping()
        theirs.close()
    await ngx.idle()


@either_way
async def test_invalid_datagram_among_others(nginx, client, worker, others):
    """The error is carried out after the packet; what follows is dropped."""
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        crowd(conn, others)
        session.send_datagram(b"before")
        conn.send_datagram(b"\x40")      # half of a varint
        session.send_datagram(b"after")
        assert await conn.closed() == H3_DATAGRAM_ERROR
        assert (await backend.expect("datagram")).data == b"before"
        await backend.expect("closed")
    await ngx.idle()


@either_way
async def test_datagram_with_the_end_of_the_connection(nginx, client, worker,
                                                       others):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        crowd(conn, others)
        conn.send_frame(CONNECTION_CLOSE_APP, varint(H3_NO_ERROR) + b"\0")
        session.send_datagram(b"last")
        conn.transmit()
        assert (await backend.expect("datagram")).data == b"last"
        await backend.expect("closed")
        conn.end()
    await ngx.idle()


async def test_reserved_bits_close_the_connection(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        await conn.ping()
        crypto = conn.quic._cryptos[tls.Epoch.ONE_RTT]
        encrypt = crypto.encrypt_packet
        crypto.encrypt_packet = lambda header, payload, number: encrypt(
            bytes([header[0] | 0x18]) + header[1:], payload, number)
        session.send_datagram(b"x")
        assert await conn.closed() == QUIC_PROTOCOL_VIOLATION
    await ngx.idle()


async def test_damaged_packets_are_dropped(nginx, client, ways):
    ngx = nginx(ECHO, **DEBUG)
    damaged = 0

    def damage(direction, data):
        """A short header's connection id has 20 bytes with nginx."""
        nonlocal damaged
        if direction == "down" or data[0] & 0x80 or conn.ponged % 2 == 0:
            return [data]
        damaged += 1
        pos = 21 + damaged % (len(data) - 21)
        return [data[:pos] + bytes([data[pos] ^ 1]) + data[pos + 1:], data]

    async with UdpProxy(ngx.port) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        proxy.filter = damage
        for i in range(60):
            await conn.ping()
            assert await session.echo_datagram(b"%d" % i) == b"%d" % i
        assert damaged > 50
        assert not session.datagrams
        assert ways(ngx)["by nginx"] >= damaged


# ---- floods -----------------------------------------------------------------


@pytest.mark.timeout(300)
async def test_flood_of_pings_is_still_a_flood(nginx, client):
    """nginx allows 8 MiB more than eight times the bytes in streams."""
    ngx = nginx(ECHO)
    async with client(ngx, pacing=False) as conn:
        session = await conn.session()
        assert await session.echo_datagram() == b"ping"
        sent = 0
        while not conn.lost and sent < 12_000_000:
            for _ in range(20):
                conn.send_frame(PING, b"")
                conn.send_frame(PADDING, bytes(1100))
                conn.transmit()
                sent += 1100
            try:
                await conn.ping()
            except ConnectionLost:
                break
        assert await conn.closed() == QUIC_NO_ERROR
        assert conn.lost.reason_phrase == "QUIC flood detected"
        assert sent > 7_000_000
    await ngx.wait_log("quic flood detected")
    await ngx.idle()


# ---- keys and paths ---------------------------------------------------------


async def test_key_updates_amid_traffic(nginx, client, worker):
    """Packets of both phases, one behind the other.  aioquic drops what nginx
    still sends under the old keys, so nothing comes back here."""
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        stream = session.open_bidi()
        await backend.accept_stream()
        for i in range(10):
            session.send_datagram(b"old")
            stream.write(b"old")
            conn.transmit()
            conn.quic.request_key_update()
            session.send_datagram(b"new")
            stream.write(b"new")
            conn.transmit()
            await conn.ping()
        stream.fin()
        assert await backend.read_all(4) == b"oldnew" * 10
        for i in range(10):
            assert (await backend.find("datagram")).data == b"old"
            assert (await backend.find("datagram")).data == b"new"
        await conn.ping()
        assert not backend.events


async def test_packets_are_dispatched_after_a_key_update(nginx, client, ways):
    ngx = nginx(ECHO, **DEBUG)
    async with client(ngx) as conn:
        session = await conn.session()
        await conn.ping()
        conn.quic.request_key_update()
        ways(ngx)
        await conn.ping()
        assert ways(ngx)["by nginx"] == 1
        for i in range(5):
            assert await session.echo_datagram(b"%d" % i) == b"%d" % i
        count = ways(ngx)
        assert count["dispatched"] >= 5
        assert count["by nginx"] == 0


async def test_path_challenge_in_the_packet_of_a_datagram(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        await conn.ping()
        challenge = b"question"
        conn.quic._add_local_challenge(challenge, conn.quic._network_paths[0])
        conn.send_frame(PATH_CHALLENGE, challenge)
        assert await session.echo_datagram(b"along") == b"along"
        await conn.until(
            lambda: challenge not in conn.quic._local_challenges, "ack",
            TIMEOUT, "PATH_RESPONSE")
        await conn.ping()
        assert not session.datagrams


async def test_packets_are_dispatched_after_a_migration(nginx, client, ways):
    ngx = nginx(ECHO, **DEBUG)
    async with UdpProxy(ngx.port) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        stream = session.open_bidi()
        stream.write(b"here")
        assert await stream.read() == b"here"
        await conn.ping()

        ways(ngx)
        port = proxy.rebind()
        stream.write(b"there")
        assert await stream.read() == b"there"
        await ngx.wait_log(rf"quic path seq:\d+ addr:127.0.0.1:{port} "
                           "successfully validated")
        assert ways(ngx)["by nginx"] >= 2

        # the response to nginx's second challenge is perhaps on its way
        await conn.ping()
        ways(ngx)
        for i in range(5):
            assert await session.echo_datagram(b"%d" % i) == b"%d" % i
        stream.write(b"again", True)
        assert await stream.read_all() == b"again"
        count = ways(ngx)
        assert count["dispatched"] >= 6
        assert count["by nginx"] == 0


async def test_packet_of_another_address_is_for_nginx(nginx, client, ways):
    """A copy of an old packet, from elsewhere: nginx drops it."""
    ngx = nginx(ECHO, **DEBUG)
    async with UdpProxy(ngx.port) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        packets = []

        def keep(direction, data):
            if direction == "up":
                packets.append(data)
            return [data]

        proxy.filter = keep
        assert await session.echo_datagram(b"one") == b"one"
        await conn.ping()
        proxy.filter = None
        ways(ngx)
        other = proxy._socket("down")
        try:
            other.sendto(packets[0], proxy.server)
            await ngx.until(lambda: ways(ngx)["by nginx"], "the copy")
        finally:
            proxy._close(other)
        assert await session.echo_datagram(b"two") == b"two"
        await conn.ping()
        assert not session.datagrams
        count = ways(ngx)
        assert count["dispatched"] >= 2
        assert count["by nginx"] == 0


# ---- order ------------------------------------------------------------------


async def test_doubled_and_swapped_packets(nginx, client):
    """Each packet twice, and pairs of them in reverse: acknowledgements, too,
    come late and again."""
    ngx = nginx(ECHO)
    held = {"up": [], "down": []}

    def swap(direction, data):
        waiting = held[direction]
        waiting.append(data)
        if len(waiting) < 2 and conn.quic._loss.bytes_in_flight > 3000:
            return []
        packets = waiting[::-1] * 2
        waiting.clear()
        return packets

    async with UdpProxy(ngx.port) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        proxy.filter = swap
        stream = session.open_bidi()
        data = bytes(range(256)) * 400
        stream.write(data, True)
        for i in range(100):
            session.send_datagram(b"%d" % i)
        assert await stream.read_all() == data
        proxy.behave()
        await conn.ping()
        seen = Counter(session.datagrams)
        assert len(seen) > 50
        assert set(seen.values()) == {1}
