"""Streams: four kinds, their headers, ends and codes, and how many."""

import asyncio
import hashlib
import os

import pytest

from lib import worker as w
from lib.client import TIMEOUT, Session, Stream, StreamReset, WtStream
from lib.udp_proxy import UdpProxy
from lib.wire import *
from lib.worker import pb

ECHO = "location / { webtransport_echo; }"
MANY = "webtransport_max_streams 400 400;"

# vectors of the digest, and both ends of the range
CODES = [0, 1, 0x1d, 0x1e, 42, 0xff, 0x10000, 0xdeadbeef, 0xffffffff]

# not application codes; the second one is in their range, but reserved
OTHER_CODES = [0, 0x52e4a40fa8f9, H3_REQUEST_CANCELLED, WT_CODE_FIRST - 1,
               WT_CODE_LAST + 1, (1 << 62) - 1]


def passed(worker, more=""):
    return f"location / {{ webtransport_pass {worker.address}; {more} }}"


@pytest.fixture
def big(build):
    """Bytes to move in tests of throughput."""
    return (16 if build.sanitized else 100) << 20


# ---- kinds ------------------------------------------------------------------


async def test_bidi_stream_of_the_client_is_echoed(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        stream = session.open_bidi()
        for part in (b"one", b"two", b"three"):
            stream.write(part)
            assert await stream.read_exactly(len(part)) == part
        stream.fin()
        assert await stream.read_all() == b""


async def test_uni_stream_of_the_client_is_echoed_on_another(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        stream = session.open_uni()
        stream.write(b"some")
        answer = await session.accept_uni()
        assert await answer.read_exactly(4) == b"some"
        stream.write(b" more", True)
        assert await answer.read_all() == b" more"


async def test_discard_answers_a_fin(nginx, client):
    ngx = nginx("location / { webtransport_echo discard; }")
    async with client(ngx) as conn:
        session = await conn.session()
        uni = session.open_uni()
        await uni.send(bytes(100_000), True)
        session.send_datagram(b"dropped")
        stream = session.open_bidi()
        await stream.send(bytes(300_000), True)
        assert await stream.read_all() == b""


async def test_discard_ends_both_directions_on_a_reset(nginx, client):
    ngx = nginx("location / { webtransport_echo discard; }")
    async with client(ngx) as conn:
        session = await conn.session()
        stream = session.open_bidi()
        stream.write(b"some")
        await stream.drain()
        stream.reset(42)
        assert await stream.until_reset() == app_to_h3(42)


@pytest.mark.parametrize("count", [0, 1, 16384, 1_000_000])
async def test_generate_sends_what_is_asked_for(nginx, client, count):
    ngx = nginx("location / { webtransport_echo generate; }")
    async with client(ngx) as conn:
        session = await conn.session()
        stream = session.open_bidi()
        for digit in str(count):
            stream.write(digit.encode())
        stream.fin()
        assert await stream.read_all() == bytes(i % 251 for i in range(count))


@pytest.mark.parametrize("text", [b"12x", b"-1", b"1" * 19])
async def test_generate_refuses_what_is_no_count(nginx, client, text):
    ngx = nginx("location / { webtransport_echo generate; }")
    async with client(ngx) as conn:
        session = await conn.session()
        stream = session.open_bidi()
        stream.write(text)
        assert await stream.until_reset() == WT_CODE_FIRST
        assert await stream.until_stop() == WT_CODE_FIRST
        stream = session.open_bidi()
        stream.write(b"5", True)
        assert await stream.read_all() == bytes(range(5))


async def test_generate_for_a_client_that_stops_at_once(nginx, client):
    """The stop is known to nginx before the number has been read."""
    ngx = nginx("location / { webtransport_echo generate; }")
    async with client(ngx) as conn:
        session = await conn.session()
        stream = session.open_bidi()
        stream.stop(0)
        stream.write(b"9" * 18, True)
        assert await stream.until_reset() is not None
        stream = session.open_bidi()
        stream.write(b"5", True)
        assert await stream.read_all() == bytes(range(5))


async def test_worker_sees_streams_of_the_client(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        for opener, kind, number in [(session.open_bidi, pb.BIDI, 4),
                                     (session.open_uni, pb.UNI, 6),
                                     (session.open_bidi, pb.BIDI, 8),
                                     (session.open_uni, pb.UNI, 10)]:
            stream = opener()
            stream.write(b"hello")
            event = await backend.accept_stream()
            assert (event.open, event.stream_id) == (kind, number)
            data = event.data
            while data != b"hello":
                data += (await backend.expect("data")).data
            assert not event.fin
            stream.fin()
            event = await backend.expect("data")
            assert (event.data, event.fin, event.open) == (b"", True, pb.NONE)


async def test_worker_opens_streams(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()

        backend.send(w.open_uni(7, b"uni", True), w.open_bidi(5, b"bidi"),
                     w.open_uni(11), w.open_bidi(9, fin=True))

        for content in (b"uni", b""):
            stream = await session.accept_uni()
            if content:
                assert await stream.read_all() == content

        bidi = await session.accept_bidi()
        assert await bidi.read_exactly(4) == b"bidi"
        bidi.write(b"answer", True)
        assert await backend.read_all(5) == b"answer"

        finished = await session.accept_bidi()
        assert await finished.read_all() == b""
        finished.write(b"still open", True)
        assert await backend.read_all(9) == b"still open"


async def test_stream_without_data_is_announced(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        session.open_bidi()
        event = await backend.accept_stream()
        assert (event.stream_id, event.data, event.fin) == (4, b"", False)


async def test_empty_streams(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        bidi, uni = session.open_bidi(), session.open_uni()
        bidi.fin()
        uni.fin()
        assert await bidi.read_all() == b""
        assert await (await session.accept_uni()).read_all() == b""


@pytest.mark.parametrize("size", [0, 1, 100, 400])
async def test_fin_leaves_with_the_last_bytes(nginx, client, size):
    """A small stream is one frame: every frame more is work for both."""
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        bidi, uni = session.open_bidi(), session.open_uni()
        bidi.write(bytes(size), True)
        uni.write(bytes(size), True)
        assert await bidi.read_all() == bytes(size)
        answer = await session.accept_uni()
        assert await answer.read_all() == bytes(size)
        header = len(varint(STREAM_WT_UNI) + varint(session.id))
        assert conn.quic.stream_frames[bidi.id] == {(0, size, True)}
        assert conn.quic.stream_frames[answer.id] == {(0, size + header, True)}


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
async def test_fin_of_the_worker_leaves_with_the_last_bytes(nginx, client,
                                                            worker, parts):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(w.open_bidi(5, b"1"))
        stream = await session.accept_bidi()
        for _ in range(parts - 1):
            backend.send(w.data_(5, bytes(32768)))
        backend.send(w.data_(5, bytes(32768), True))
        assert len(await stream.read_all()) == 1 + parts * 32768
        ends = [length for _, length, fin in conn.quic.stream_frames[stream.id]
                if fin]
        assert ends and min(ends) > 0


# ---- headers ----------------------------------------------------------------


def raw(session, uni, head=None, ident=None):
    """A stream of which only the header has been built; returns both."""
    kind = STREAM_WT_UNI if uni else FRAME_WT_BIDI
    stream = session.conn.new_stream(WtStream, uni=uni)
    return stream, varint(kind, head) + varint(session.id, ident)


@pytest.mark.parametrize("uni", [False, True])
@pytest.mark.parametrize("head", [2, 4, 8])
@pytest.mark.parametrize("ident", [1, 2, 4, 8])
async def test_header_integers_may_have_any_length(nginx, client, uni, head,
                                                   ident):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        stream, header = raw(session, uni, head, ident)
        stream.write(header + b"body", True)
        if uni:
            stream = await session.accept_uni()
        assert await stream.read_all() == b"body"


@pytest.mark.parametrize("uni", [False, True])
async def test_header_arrives_byte_by_byte(nginx, client, uni):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        stream, header = raw(session, uni, 8, 8)
        await stream.write_split(header + b"body", True)
        if uni:
            stream = await session.accept_uni()
        assert await stream.read_all() == b"body"


@pytest.mark.parametrize("uni", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3, 5, 4097])
async def test_id_that_cannot_be_a_session_closes_the_connection(
        nginx, client, uni, number):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        await conn.session()
        stream = conn.new_stream(uni=uni)
        kind = STREAM_WT_UNI if uni else FRAME_WT_BIDI
        stream.write(varint(kind) + varint(number) + b"body")
        assert await conn.closed() == H3_ID_ERROR


def after_connect(conn, session):
    session.write(varint(FRAME_WT_BIDI) + varint(session.id))


def after_unknown_frame(conn, session):
    stream = conn.new_stream()
    stream.write(frame(h3_grease(), b"x")
                 + varint(FRAME_WT_BIDI) + varint(session.id))


def after_ordinary_request(conn, session):
    fields = conn.headers("POST", "/", [("content-length", "100")])
    stream = conn.new_stream()
    stream.write(frame(FRAME_HEADERS, conn.encoder.section(fields))
                 + varint(FRAME_WT_BIDI) + varint(session.id))


@pytest.mark.parametrize("place", [after_connect, after_unknown_frame,
                                   after_ordinary_request])
async def test_stream_header_anywhere_else_closes_the_connection(
        nginx, client, place):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        place(conn, session)
        assert await conn.closed() == H3_FRAME_ERROR


@pytest.mark.parametrize("uni", [False, True])
async def test_stream_that_ends_in_its_header_is_discarded(nginx, client, uni):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        for size in range(0, 10):
            stream, header = raw(session, uni, 2, 8)
            stream.write(header[:size], True)
        for size in range(0, 10):
            stream, header = raw(session, uni, 2, 8)
            stream.write(header[:size])
            await stream.drain()
            stream.reset(5)
        assert await session.echo() == b"ping"


# ---- ends and codes ---------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
async def test_reset_of_the_client_reaches_the_worker(nginx, client, worker,
                                                      code):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        for stream in (session.open_bidi(), session.open_uni()):
            stream.write(b"begun")
            event = await backend.accept_stream()
            stream.reset(code)
            assert await backend.find(
                "reset", stream_id=event.stream_id, code=code)


@pytest.mark.parametrize("code", OTHER_CODES)
async def test_reset_with_another_code_has_none(nginx, client, worker, code):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        stream = session.open_bidi()
        stream.write(b"begun")
        await backend.accept_stream()
        stream.reset_raw(code)
        event = await backend.find("reset", stream_id=4)
        assert not event.HasField("code")


@pytest.mark.parametrize("code", CODES)
async def test_stop_of_the_client_reaches_the_worker(nginx, client, worker,
                                                     code):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()

        stream = session.open_bidi()
        await backend.accept_stream()
        backend.send(w.open_bidi(5, b"bidi"), w.open_uni(7, b"uni"))
        bidi = await session.accept_bidi()
        uni = await session.accept_uni()

        backend.send(w.data_(4, b"x"))
        assert await stream.read() == b"x"

        for number, stream in ((4, stream), (5, bidi), (7, uni)):
            stream.stop(code)
            assert await backend.find("stop", stream_id=number, code=code)
            assert await stream.until_reset() == app_to_h3(code)


@pytest.mark.parametrize("code", OTHER_CODES)
async def test_stop_with_another_code_has_none(nginx, client, worker, code):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(w.open_uni(7, b"uni"))
        stream = await session.accept_uni()
        stream.stop_raw(code)
        event = await backend.find("stop", stream_id=7)
        assert not event.HasField("code")
        await stream.until_reset()


@pytest.mark.parametrize("code", CODES)
async def test_reset_of_the_worker_reaches_the_client(nginx, client, worker,
                                                      code):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        stream = session.open_bidi()
        await backend.accept_stream()
        backend.send(w.open_bidi(5, b"bidi"), w.open_uni(7, b"uni"))
        bidi = await session.accept_bidi()
        uni = await session.accept_uni()
        for number, stream in ((4, stream), (5, bidi), (7, uni)):
            backend.send(w.reset(number, code))
            assert await stream.until_reset() == app_to_h3(code)
            assert stream.stop_code is None


@pytest.mark.parametrize("code", CODES)
async def test_stop_of_the_worker_reaches_the_client(nginx, client, worker,
                                                     code):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        bidi, uni = session.open_bidi(), session.open_uni()
        for _ in range(2):
            await backend.accept_stream()
        backend.send(w.open_bidi(5, b"bidi"))
        theirs = await session.accept_bidi()
        for number, stream in ((4, bidi), (6, uni), (5, theirs)):
            backend.send(w.stop(number, code))
            assert await stream.until_stop() == app_to_h3(code)
            assert stream.reset_code is None


async def test_fin_of_the_client_leaves_the_other_direction(nginx, client,
                                                            worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        stream = session.open_bidi()
        stream.write(b"question", True)
        assert await backend.read_all(4) == b"question"
        for _ in range(3):
            backend.send(w.data_(4, b"answer"))
            assert await stream.read_exactly(6) == b"answer"
        backend.send(w.data_(4, fin=True))
        assert await stream.read_all() == b""


async def test_fin_of_the_worker_leaves_the_other_direction(nginx, client,
                                                            worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        stream = session.open_bidi()
        await backend.accept_stream()
        backend.send(w.data_(4, b"answer", True))
        assert await stream.read_all() == b"answer"
        for part in (b"still", b"writing"):
            stream.write(part)
            assert (await backend.expect("data")).data == part
        stream.fin()
        assert (await backend.expect("data")).fin


async def test_reset_of_the_client_leaves_the_other_direction(nginx, client,
                                                              worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        stream = session.open_bidi()
        await backend.accept_stream()
        stream.reset(1)
        await backend.find("reset", stream_id=4)
        backend.send(w.data_(4, b"still open", True))
        assert await stream.read_all() == b"still open"


async def test_stop_of_the_client_leaves_the_other_direction(nginx, client,
                                                             worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        stream = session.open_bidi()
        await backend.accept_stream()
        stream.stop(1)
        await backend.find("stop", stream_id=4)
        stream.write(b"still open", True)
        assert await backend.read_all(4) == b"still open"


async def test_reset_of_the_worker_leaves_the_other_direction(nginx, client,
                                                              worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        stream = session.open_bidi()
        await backend.accept_stream()
        backend.send(w.reset(4, 1))
        await stream.until_reset()
        stream.write(b"still open", True)
        assert await backend.read_all(4) == b"still open"


async def test_stop_of_the_worker_leaves_the_other_direction(nginx, client,
                                                             worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        stream = session.open_bidi()
        await backend.accept_stream()
        backend.send(w.stop(4, 1), w.data_(4, b"still open", True))
        assert await stream.read_all() == b"still open"
        assert await stream.until_stop() == app_to_h3(1)


async def test_bytes_come_before_the_reset(nginx, client, worker):
    """What nginx had before the reset arrived is not lost behind it."""
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        stream = session.open_bidi()
        stream.write(b"first")
        await stream.drain()
        stream.reset(9)
        event = await backend.accept_stream()
        data = event.data
        while data != b"first":
            data += (await backend.expect("data")).data
        assert (await backend.expect("reset")).code == 9


async def test_reset_and_stop_of_echoed_streams(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        for i in range(150):
            stream = session.open_bidi()
            stream.write(b"begun")
            assert await stream.read() == b"begun"
            stream.stop(i)
            assert await stream.until_reset() == app_to_h3(i)
            stream.reset(i)
        uni = session.open_uni()
        uni.write(b"begun")
        answer = await session.accept_uni()
        uni.reset(3)
        await answer.finished()
        assert await session.echo() == b"ping"


async def test_stop_of_an_echoed_uni_stream(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        uni = session.open_uni()
        uni.write(b"begun")
        answer = await session.accept_uni()
        answer.stop(3)
        assert await answer.until_reset() == app_to_h3(3)
        uni.write(bytes(1000), True)
        assert await session.echo() == b"ping"


# ---- streams without a session ----------------------------------------------


async def test_streams_before_their_connect_wait(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = conn.new_stream(Session)
        bidi, uni = session.open_bidi(), session.open_uni()
        bidi.write(b"bidi")
        uni.write(b"uni", True)
        late = session.open_bidi()
        late.write(b"whole", True)
        await conn.ping()

        session.write(frame(FRAME_HEADERS, conn.encoder.section(
            conn.connect_headers())))
        assert await session.outcome() == 200
        assert await (await session.accept_uni()).read_all() == b"uni"
        assert await late.read_all() == b"whole"
        bidi.write(b" more", True)
        assert await bidi.read_all() == b"bidi more"


async def test_streams_during_authentication_wait(nginx, client, worker):
    ngx = nginx("""
        location / { auth_request /auth; webtransport_echo; }
        location = /auth {
            internal; proxy_pass http://%s;
            proxy_pass_request_body off; proxy_set_header Content-Length "";
        }
    """ % worker.address)
    worker.accept = None
    async with client(ngx) as conn:
        session = conn.connect()
        stream = session.open_bidi()
        stream.write(b"meanwhile", True)
        await ngx.until(lambda: worker.sessions, "the authentication request")
        await conn.ping()
        assert session.status is None
        worker.sessions[0].write(b"HTTP/1.0 204 No Content\r\n\r\n")
        worker.sessions[0].shut()
        assert await session.outcome() == 200
        assert await stream.read_all() == b"meanwhile"


async def test_streams_of_a_refused_session_are_rejected(nginx, client):
    ngx = nginx("location / { deny all; }")
    async with client(ngx) as conn:
        session = conn.connect()
        bidi, uni = session.open_bidi(), session.open_uni()
        bidi.write(b"bidi")
        uni.write(b"uni")
        await session.outcome()
        rejected = (WT_BUFFERED_STREAM_REJECTED, WT_SESSION_GONE)
        assert await bidi.until_reset() in rejected
        assert await bidi.until_stop() in rejected
        assert await uni.until_stop() in rejected


async def test_early_flood_is_rejected_and_the_session_works(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = conn.new_stream(Session)
        early = []
        for i in range(60):
            early += [session.open_bidi(), session.open_uni()]
        for stream in early:
            stream.write(b"early")

        await conn.until(
            lambda: any(s.stop_code is not None for s in early), "ack",
            what="rejected streams")
        await conn.ping()
        rejected = [s for s in early if s.stop_code is not None]
        for stream in rejected:
            assert stream.stop_code == WT_BUFFERED_STREAM_REJECTED
        assert len(rejected) < len(early)

        session.write(frame(FRAME_HEADERS, conn.encoder.section(
            conn.connect_headers())))
        assert await session.outcome() == 200
        kept = [s for s in early[::2] if s.stop_code is None]
        assert kept
        for stream in kept:
            assert await stream.read() == b"early"


async def test_early_stream_with_much_data_is_bounded(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = conn.new_stream(Session)
        stream = session.open_bidi()
        stream.write(bytes(500_000))
        await conn.ping()
        before = stream.unacknowledged
        assert before > 300_000, "more than the buffers was taken"

        session.write(frame(FRAME_HEADERS, conn.encoder.section(
            conn.connect_headers())))
        assert await session.outcome() == 200
        stream.fin()
        assert await stream.read_all() == bytes(500_000)


@pytest.mark.parametrize("uni", [False, True])
async def test_early_stream_without_a_connect_times_out(nginx, client, uni):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        stream = conn.new_stream(uni=uni)
        kind = STREAM_WT_UNI if uni else FRAME_WT_BIDI
        stream.write(varint(kind) + varint(400) + b"who?")
        assert await stream.until_stop(15) == WT_BUFFERED_STREAM_REJECTED
        if not uni:
            assert await stream.until_reset() == WT_BUFFERED_STREAM_REJECTED
        assert await session.echo() == b"ping"


@pytest.mark.parametrize("uni", [False, True])
async def test_late_stream_of_a_closed_session(nginx, client, uni):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session, other = await conn.session(), await conn.session()
        session.close()
        await session.closed()
        stream = session.open_uni() if uni else session.open_bidi()
        stream.write(b"late")
        gone = (WT_SESSION_GONE, WT_BUFFERED_STREAM_REJECTED)
        assert await stream.until_stop() in gone
        if not uni:
            assert await stream.until_reset() in gone
        assert await other.echo() == b"ping"


@pytest.mark.parametrize("uni", [False, True])
async def test_stream_that_names_an_ordinary_request(nginx, client, uni):
    ngx = nginx("location /wt { webtransport_echo; }")
    async with client(ngx) as conn:
        session = await conn.session("/wt")
        request = await conn.request("GET", "/")
        stream = conn.new_stream(uni=uni)
        kind = STREAM_WT_UNI if uni else FRAME_WT_BIDI
        stream.write(varint(kind) + varint(request.id) + b"body")
        await stream.until_stop(15)
        assert await session.echo() == b"ping"


@pytest.mark.parametrize("beside", ["", "webtransport on;"],
                         ids=["alone", "beside one with it"])
@pytest.mark.parametrize("uni", [False, True])
async def test_no_streams_on_a_server_without_webtransport(nginx, client,
                                                           beside, uni):
    ngx = nginx(beside, http="server { %LISTEN% server_name b.test; }",
                webtransport=False)
    async with client(ngx, sni="b.test", settings=None) as conn:
        stream = conn.new_stream(uni=uni)
        kind = STREAM_WT_UNI if uni else FRAME_WT_BIDI
        stream.write(varint(kind) + varint(0) + b"body", True)
        await conn.until(lambda: conn.lost or stream.stop_code is not None
                         or stream.reset_code is not None, stream.id,
                         what="an error")


# ---- numbers ----------------------------------------------------------------


async def test_300_uni_streams_one_after_the_other(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        for i in range(300):
            session.open_uni().write(b"%d" % i, True)
            stream = await session.accept_uni()
            assert await stream.read_all() == b"%d" % i


async def test_300_uni_streams_at_once(nginx, client):
    ngx = nginx(MANY + ECHO, connections=4096)
    async with client(ngx) as conn:
        session = await conn.session()
        streams = [session.open_uni() for _ in range(300)]
        for i, stream in enumerate(streams):
            stream.write(b"%d" % i)
        answers = [await session.accept_uni() for _ in range(300)]
        for stream in streams:
            stream.fin()
        contents = [await stream.read_all() for stream in answers]
        assert sorted(map(int, contents)) == list(range(300))


async def test_more_streams_than_the_limit_wait(nginx, client):
    ngx = nginx("webtransport_max_streams 5 5;" + ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        contents = [b"%d" % i for i in range(40)]
        assert await asyncio.gather(*map(session.echo, contents)) == contents


async def test_stream_limits_are_advertised(nginx, client):
    ngx = nginx("webtransport_max_streams 17 23;" + ECHO)
    async with client(ngx) as conn:
        parameters = conn.quic.peer_parameters
        assert read_varint(parameters[0x08])[0] == 17
        assert read_varint(parameters[0x09])[0] == 23 + 3


async def test_new_limits_are_not_told_for_each_stream(nginx, client):
    """Alone in a packet they would cost two packets for each stream."""
    ngx = nginx("webtransport_max_streams 40 37;"
                "location / { webtransport_echo discard; }")
    async with client(ngx) as conn:
        session = await conn.session()
        limits = conn.quic.limits_uni
        before = len(limits)

        # the three of HTTP/3 are used up, a quarter of all is left to go
        for _ in range(7):
            session.open_uni().fin()
            await conn.ping()
        assert limits[before:] == []

        for _ in range(33):
            session.open_uni().fin()
            await conn.ping()
        assert 1 <= len(limits) - before <= 8
        assert limits[-1] >= 40 + 30


@pytest.mark.parametrize("uni", [False, True])
async def test_limits_of_streams_may_be_lost(nginx, client, uni):
    ngx = nginx("webtransport_max_streams 4 4;"
                "location / { webtransport_echo discard; }")
    async with UdpProxy(ngx.port, loss=0.2) as proxy:
        async with client(proxy) as conn:
            session = await conn.session()
            for _ in range(60):
                stream = session.open_uni() if uni else session.open_bidi()
                stream.fin()
                await stream.allowed()
                await stream.drain()


async def test_stream_credit_comes_back_however_a_stream_ends(nginx, client):
    ngx = nginx("webtransport_max_streams 6 6;" + ECHO)
    async with client(ngx) as conn:
        session = await conn.session()

        async def by_fin(stream):
            stream.fin()

        async def by_reset(stream):
            await stream.drain()
            stream.reset(1)

        async def by_immediate_reset(stream):
            stream.reset(2)

        async def by_stop(stream):
            stream.stop(3)
            await stream.until_reset()
            if stream.writable:
                stream.fin()

        for end in (by_fin, by_reset, by_immediate_reset, by_stop):
            for _ in range(20):
                stream = session.open_bidi()
                stream.write(b"x")
                await stream.allowed()
                await end(stream)
            assert await session.echo() == b"ping"

        for end in (by_fin, by_reset, by_immediate_reset):
            for _ in range(20):
                stream = session.open_uni()
                stream.write(b"x")
                await stream.allowed()
                await end(stream)
            assert await session.echo() == b"ping"


# ---- streams of HTTP/3 itself -----------------------------------------------


async def test_unknown_uni_streams_are_ignored(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        for i in range(20):
            stream = conn.new_stream(uni=True)
            stream.write(varint(h3_grease(i)) + b"whatever", i % 2 == 0)
        assert await session.echo() == b"ping"


async def test_unknown_uni_streams_may_come_first(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx, settings=None) as conn:
        for i in range(5):
            conn.new_stream(uni=True).write(varint(h3_grease(i)) + b"x")
        await conn.ping()
        conn.open_control(CLIENT_SETTINGS)
        assert await (await conn.session()).echo() == b"ping"


async def test_control_and_qpack_streams_may_come_late(nginx, client):
    ngx = nginx("location /dynamic { webtransport_echo; }")
    pairs = [(b":protocol", b"webtransport"), (b":path", b"/dynamic")]
    async with client(ngx, settings=None) as conn:
        session = conn.new_stream(Session)
        early = [session.open_uni() for _ in range(4)]
        for stream in early:
            stream.write(b"early", True)
        await conn.ping()

        conn.open_control(CLIENT_SETTINGS)
        conn.encoder_stream.write(conn.insert(*pairs))
        session.write(frame(FRAME_HEADERS, conn.encoder.section(
            conn.connect_headers("/dynamic"))))
        assert await session.outcome() == 200
        for _ in early:
            assert await (await session.accept_uni()).read_all() == b"early"

        conn.control.write(frame(h3_grease(), b"unknown frame"))
        assert await session.echo() == b"ping"


async def test_settings_arrive_byte_by_byte(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx, settings=None) as conn:
        conn.control = conn.new_stream(uni=True)
        session = conn.connect()
        await conn.control.write_split(varint(STREAM_CONTROL, 4)
                                       + settings_frame(CLIENT_SETTINGS))
        assert await session.outcome() == 200


def second_control(conn):
    conn.new_stream(uni=True).write(varint(STREAM_CONTROL))


def second_encoder(conn):
    conn.new_stream(uni=True).write(varint(STREAM_QPACK_ENCODER))


def second_decoder(conn):
    conn.new_stream(uni=True).write(varint(STREAM_QPACK_DECODER))


def push(conn):
    conn.new_stream(uni=True).write(varint(STREAM_PUSH))


@pytest.mark.parametrize("bad", [second_control, second_encoder,
                                 second_decoder, push])
async def test_forbidden_uni_stream_closes_the_connection(nginx, client, bad):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        await conn.session()
        bad(conn)
        assert await conn.closed() == H3_STREAM_CREATION_ERROR


@pytest.mark.parametrize("late", [False, True])
async def test_control_stream_must_begin_with_settings(nginx, client, late):
    ngx = nginx(ECHO)
    async with client(ngx, settings=None) as conn:
        if late:
            for i in range(3):
                conn.new_stream(uni=True).write(varint(h3_grease(i)))
        conn.new_stream(uni=True).write(varint(STREAM_CONTROL)
                                        + frame(FRAME_GOAWAY, varint(0)))
        assert await conn.closed() == H3_MISSING_SETTINGS


@pytest.mark.parametrize("late", [False, True])
async def test_end_of_the_control_stream_closes_the_connection(nginx, client,
                                                               late):
    ngx = nginx(ECHO)
    async with client(ngx, settings=None) as conn:
        if late:
            for i in range(3):
                conn.new_stream(uni=True).write(varint(h3_grease(i)))
        conn.open_control(CLIENT_SETTINGS)
        await conn.session()
        conn.control.fin()
        assert await conn.closed() == H3_CLOSED_CRITICAL_STREAM


# ---- much data --------------------------------------------------------------


def pattern(size, seed):
    block = hashlib.sha256(b"%d" % seed).digest() * 2048
    return (block * (size // len(block) + 1))[:size]


async def pump(stream, size, seed, source=None):
    """Sends that many bytes and checks that they come back."""
    sent, received = hashlib.sha256(), hashlib.sha256()

    async def up():
        left, number = size, 0
        while left:
            data = pattern(min(left, 1 << 18), seed + number)
            sent.update(data)
            await stream.send(data, timeout=60)
            left -= len(data)
            number += 1
        stream.fin()

    async def down():
        count = 0
        while data := await source.read(timeout=60):
            received.update(data)
            count += len(data)
        return count

    source = source or stream
    _, count = await asyncio.gather(up(), down())
    assert count == size
    assert sent.digest() == received.digest()


@pytest.mark.timeout(600)
async def test_much_data_up_and_down_on_one_stream(nginx, client, big):
    ngx = nginx(ECHO)
    async with client(ngx, mtu=1452) as conn:
        session = await conn.session()
        await pump(session.open_bidi(), big, 1)


@pytest.mark.timeout(600)
async def test_much_data_up_and_down_on_50_streams(nginx, client, big):
    ngx = nginx(ECHO)
    async with client(ngx, mtu=1452, window=1 << 17) as conn:
        session = await conn.session()
        await asyncio.gather(*[pump(session.open_bidi(), big // 50, i)
                               for i in range(50)])


async def test_much_data_through_a_bad_network(nginx, client, bad_network):
    ngx = nginx(ECHO)
    async with bad_network(ngx) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        await asyncio.gather(*[pump(session.open_bidi(), 200_000, i)
                               for i in range(5)])
        assert proxy.lost and proxy.duplicated and proxy.reordered


async def test_client_that_does_not_read_one_stream_can_use_others(nginx,
                                                                   client):
    ngx = nginx(ECHO)
    async with client(ngx, window=65536) as conn:
        session = await conn.session()
        stuck = session.open_bidi()
        stuck.write(bytes(1 << 20))
        with pytest.raises(TimeoutError):
            await stuck.drain(timeout=0.5)
        for i in range(20):
            assert await session.echo(bytes(5000)) == bytes(5000)
        assert len(stuck.buffer) <= 65536
        stuck.fin()
        assert len(await stuck.read_all()) == 1 << 20


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_stream_in_small_pieces(nginx, client, size):
    ngx = nginx(ECHO)
    data = os.urandom(200 * size)
    async with client(ngx) as conn:
        session = await conn.session()
        stream = session.open_bidi()
        await stream.write_split(data, True, size)
        assert await stream.read_all() == data


@pytest.mark.parametrize("uni", [False, True])
async def test_stream_that_never_names_its_session_times_out(
        nginx, client, uni):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        stream = conn.new_stream(uni=uni)
        stream.write(varint(STREAM_WT_UNI if uni else FRAME_WT_BIDI))
        assert await stream.until_stop(15) == WT_BUFFERED_STREAM_REJECTED
        assert await session.echo() == b"ping"


async def test_early_streams_wait_as_long_as_their_session(
        nginx, client, worker):
    ngx = nginx(passed(worker))
    worker.accept = None
    async with client(ngx) as conn:
        session = conn.connect()
        stream = session.open_bidi()
        stream.write(b"early", True)
        backend = await worker.session()
        await asyncio.sleep(6)      # longer than without a session
        backend.send(w.accept())
        assert (await backend.find("data")).data == b"early"


async def test_many_small_writes_do_not_end_the_connection(
        nginx, client, worker):
    """Each of them takes a frame, of which nginx has 10,000."""
    ngx = nginx(passed(worker))
    async with UdpProxy(ngx.port) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(w.open_uni(7))
        stream = await session.accept_uni()
        expected = b"".join(b"%05d" % i for i in range(11000))

        proxy.filter = lambda direction, data: []
        for i in range(0, 11000, 500):
            backend.send(*[w.data_(7, expected[5 * n:5 * n + 5])
                           for n in range(i, i + 500)])
            await backend.sync()
        backend.send(w.data_(7, b"", True))
        await backend.sync()
        proxy.behave()

        assert await stream.read_all() == expected
