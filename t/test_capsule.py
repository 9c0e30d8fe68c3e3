"""What a client may write on the CONNECT stream, and what not."""

import pytest

from lib import worker as w
from lib.client import Session
from lib.wire import *
from lib.worker import pb

ECHO = "location / { webtransport_echo; }"


def passed(worker, more=""):
    return f"location / {{ webtransport_pass {worker.address}; {more} }}"


async def works(conn):
    """The connection has survived."""
    return await (await conn.session()).echo() == b"ping"


# ---- how capsules arrive ----------------------------------------------------


async def test_capsules_arrive_byte_by_byte(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        await session.write_split(
            data_frame(capsule(grease(), b"skip me")
                       + capsule(CAPSULE_DATAGRAM, b"datagram")
                       + close_capsule(5, b"bye")), True)
        assert (await backend.expect("datagram")).data == b"datagram"
        closed = await backend.closed()
        assert (closed.code, closed.reason) == (5, "bye")


async def test_capsule_in_many_data_frames(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        for byte in close_capsule(5, b"reason"):
            session.write(data_frame(b"") + data_frame(bytes([byte])))
        closed = await backend.closed()
        assert (closed.code, closed.reason) == (5, "reason")


async def test_many_capsules_in_one_data_frame(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        session.write(data_frame(b"".join(
            capsule(CAPSULE_DATAGRAM, b"%d" % i) for i in range(50))))
        for i in range(50):
            assert await session.datagram() == b"%d" % i


@pytest.mark.parametrize("length", [2, 4, 8])
async def test_capsule_integers_may_have_any_length(nginx, client, worker,
                                                    length):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        body = varint(CAPSULE_CLOSE, length) + varint(5, length) + bytes(5)
        session.write(varint(FRAME_DATA, length) + varint(len(body), length)
                      + body, True)
        closed = await (await worker.session()).closed()
        assert (closed.code, closed.reason) == (0, "\0")


async def test_capsules_before_the_response_are_kept(nginx, client, worker):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        session.write(data_frame(capsule(grease(), b"as Chrome does")
                                 + capsule(CAPSULE_DATAGRAM, b"early")))
        backend = await worker.session()
        assert session.status is None
        backend.send(w.accept())
        assert (await backend.expect("datagram")).data == b"early"
        assert await session.outcome() == 200


async def test_close_before_the_response(nginx, client, worker):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        session.close(3, "changed my mind")
        backend = await worker.session()
        backend.send(w.accept())
        closed = await backend.closed()
        assert (closed.by, closed.code) == (pb.Closed.CLIENT, 3)
        await session.finished()
    await ngx.idle()


async def test_much_before_the_response_is_bounded(nginx, client, worker):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        backend = await worker.session()
        session.write(data_frame(capsule(grease(), bytes(500_000))))
        await conn.ping()
        assert session.unacknowledged > 300_000
        backend.send(w.accept())
        assert await session.outcome() == 200
        session.send_capsule(CAPSULE_DATAGRAM, b"behind it")
        assert (await backend.expect("datagram")).data == b"behind it"


# ---- kinds ------------------------------------------------------------------


@pytest.mark.parametrize("kind", [
    grease(0), grease(1), grease(1 << 50), 0x3f, 0x190b4d38, 0x190b4d3c,
    (1 << 62) - 1])
@pytest.mark.parametrize("size", [0, 1, 1000])
async def test_unknown_capsules_are_skipped(nginx, client, kind, size):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        session.send_capsule(kind, bytes(size))
        session.send_capsule(CAPSULE_DATAGRAM, b"next")
        assert await session.datagram() == b"next"


async def test_large_unknown_capsule_is_skipped_without_memory(nginx, client,
                                                               build):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        assert await session.echo() == b"ping"
        before = ngx.rss()
        size = 32 << 20
        session.write(varint(FRAME_DATA) + varint(size + 16)
                      + varint(grease(7), 8) + varint(size, 8))
        await session.send(bytes(size), timeout=60)
        session.send_capsule(CAPSULE_DATAGRAM, b"next")
        assert await session.datagram() == b"next"
        if not build.sanitized:
            assert ngx.rss() - before < 4 << 20


async def test_capsule_that_never_ends_is_skipped(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        session.write(data_frame(varint(grease()) + varint((1 << 62) - 1)))
        for _ in range(10):
            session.write(data_frame(bytes(1000)))
        assert await session.echo() == b"ping"
        session.fin()
        await session.finished()
        assert await works(conn)


async def test_datagram_capsule_is_a_datagram(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        for data in (b"", b"x", bytes(1000)):
            session.send_capsule(CAPSULE_DATAGRAM, data)
            assert await session.datagram() == data


async def test_drain_reaches_the_worker(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        session.drain_session()
        assert (await backend.expect("drain")).by == pb.Drain.CLIENT
        session.send_datagram(b"still works")
        assert (await backend.expect("datagram")).data == b"still works"


async def test_drain_of_the_worker_reaches_the_client(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(w.drain())
        assert await session.next_capsule(CAPSULE_DRAIN) == b""
        backend.send(w.datagram(b"still works"))
        assert await session.datagram() == b"still works"


@pytest.mark.parametrize("size, ends", [(0, False), (1024, False),
                                        (1025, True), (100_000, True)])
async def test_longest_reason(nginx, client, worker, size, ends):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        session.write(data_frame(close_capsule(1, b"x" * size)))
        closed = await backend.closed()
        if ends:
            assert await session.until_reset() == H3_MESSAGE_ERROR
            assert closed.by == pb.Closed.PROTOCOL
        else:
            assert closed.by == pb.Closed.CLIENT
            assert (closed.code, closed.reason) == (1, "x" * size)
        worker.accept = [w.accept()]
        await conn.session()


# ---- errors -----------------------------------------------------------------

INVALID = {
    "close of 0 bytes": capsule(CAPSULE_CLOSE, b""),
    "close of 3 bytes": capsule(CAPSULE_CLOSE, bytes(3)),
    "a lone continuation byte": close_capsule(1, b"a\x80"),
    "a character cut short": close_capsule(1, b"\xe2\x82"),
    "an overlong character": close_capsule(1, b"\xc0\xaf"),
    "a surrogate": close_capsule(1, b"\xed\xa0\x80"),
    "beyond Unicode": close_capsule(1, b"\xf4\x90\x80\x80"),
    "latin-1": close_capsule(1, b"caf\xe9"),
}


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID.keys())
@pytest.mark.parametrize("fin", [False, True])
async def test_invalid_close_resets_the_session(nginx, client, data, fin):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        stream = session.open_bidi()
        session.write(data_frame(data), fin)
        assert await session.until_reset() == H3_MESSAGE_ERROR
        assert await stream.until_stop() == WT_SESSION_GONE
        assert await works(conn)


@pytest.mark.parametrize("more", [b"\0", capsule(grease()),
                                  close_capsule(2)],
                         ids=["a byte", "a capsule", "another close"])
@pytest.mark.parametrize("together", [False, True])
async def test_data_after_the_close_resets_the_session(nginx, client, worker,
                                                       more, together):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        session.answer_close = False
        backend = await worker.session()
        if together:
            session.write(data_frame(close_capsule(1, b"x") + more))
        else:
            session.write(data_frame(close_capsule(1, b"x"))
                          + data_frame(more))
        assert await session.until_aborted() == H3_MESSAGE_ERROR
        await backend.closed()
        await conn.session()


TRUNCATED = {
    "type": varint(CAPSULE_CLOSE)[:1],
    "length": varint(CAPSULE_CLOSE),
    "value": close_capsule(1, b"reason")[:-1],
    "unknown": capsule(grease(), bytes(100))[:-1],
}


@pytest.mark.parametrize("data", TRUNCATED.values(), ids=TRUNCATED.keys())
async def test_truncated_capsule_resets_the_session(nginx, client, worker,
                                                    data):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        session.write(data_frame(data), True)
        assert await session.until_reset() == H3_MESSAGE_ERROR
        assert (await backend.closed()).by == pb.Closed.PROTOCOL
        await conn.session()


@pytest.mark.parametrize("part", [
    varint(FRAME_DATA), varint(FRAME_DATA) + b"\x40",
    data_frame(bytes(10))[:-1], varint(h3_grease(), 8)[:5]],
    ids=["no length", "half a length", "short data", "half a type"])
async def test_truncated_frame_closes_the_connection(nginx, client, part):
    """RFC 9114, 7.1: a frame that its stream does not contain wholly"""
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        session.write(part, True)
        assert await conn.closed() == H3_FRAME_ERROR


@pytest.mark.parametrize("kind", [
    FRAME_HEADERS, FRAME_CANCEL_PUSH, FRAME_SETTINGS, FRAME_PUSH_PROMISE,
    FRAME_GOAWAY, FRAME_MAX_PUSH_ID])
async def test_other_frame_on_connect_closes_the_connection(nginx, client,
                                                            kind):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        session.write(frame(kind, b"\0\0\0"))
        assert await conn.closed() == H3_FRAME_UNEXPECTED


@pytest.mark.parametrize("kind", [0x02, 0x06, 0x08, 0x09])
async def test_http2_frame_on_connect_closes_the_connection(nginx, client,
                                                            kind):
    """RFC 9114, 7.2.8"""
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        session.write(frame(kind, b"\0\0\0"))
        assert await conn.closed() == H3_FRAME_UNEXPECTED


@pytest.mark.parametrize("size", [0, 1, 100_000])
async def test_unknown_frame_on_connect_is_skipped(nginx, client, size):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        session.write(frame(h3_grease(3), bytes(size)))
        session.send_capsule(CAPSULE_DATAGRAM, b"next")
        assert await session.datagram() == b"next"


async def test_stalled_connect_hurts_nobody(nginx, client):
    """Headers that never become complete."""
    ngx = nginx("client_header_timeout 2s;" + ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        stalled = conn.new_stream(Session)
        stalled.write(frame(FRAME_HEADERS, conn.encoder.section(
            conn.connect_headers()))[:-3])
        assert await session.echo() == b"ping"
        await stalled.until_aborted(15)
        assert await session.echo() == b"ping"
    await ngx.idle()
