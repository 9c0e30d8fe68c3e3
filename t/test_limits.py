"""Each limit at n - 1, n and n + 1; floods; memory."""

import asyncio
import random

import pytest

from lib import worker as w
from lib.client import ConnectionLost, Session, StreamReset
from lib.wire import *
from lib.worker import pb

ECHO = "location / { webtransport_echo; }"
MIB = 1 << 20


def passed(worker, more=""):
    return f"location / {{ webtransport_pass {worker.address}; {more} }}"


@pytest.fixture
def grows(build):
    """grows(ngx, mib): fails if the workers grow by more than that within
    the block.  The sanitizers keep freed memory, so there it only runs."""
    from contextlib import contextmanager

    @contextmanager
    def check(ngx, mib):
        before = ngx.rss()
        yield
        grown = (ngx.rss() - before) / MIB
        if not build.sanitized:
            assert grown < mib, f"grew by {grown:.1f} MiB"

    return check


@pytest.fixture
def many(build):
    """How often, for things that the sanitizers make slow."""
    return 2_000 if build.sanitized else 20_000


# ---- n - 1, n, n + 1 --------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 4])
async def test_max_sessions(nginx, client, count):
    ngx = nginx("webtransport_max_sessions 3;" + ECHO)
    async with client(ngx) as conn:
        sessions = [conn.connect() for _ in range(count)]
        outcomes = [await session.outcome() for session in sessions]
        assert outcomes.count(200) == min(count, 3)
        assert outcomes[-1] in (200, 429, H3_REQUEST_REJECTED)
        for session in sessions[:min(count, 3)]:
            assert await session.echo() == b"ping"


@pytest.mark.parametrize("count", [7, 8, 9])
async def test_max_streams_bidi(nginx, client, count):
    """The CONNECT stream is one of them."""
    ngx = nginx("webtransport_max_streams 8 8;" + ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        streams = [session.open_bidi() for _ in range(count - 1)]
        for stream in streams:
            stream.write(b"x")
        for stream in streams[:7]:
            assert await stream.read() == b"x"
        if count > 8:
            await conn.ping()
            assert not streams[-1].buffer
            streams[0].fin()
            assert await streams[-1].read() == b"x"


@pytest.mark.parametrize("count", [7, 8, 9])
async def test_max_streams_uni(nginx, client, count):
    """The three streams of HTTP/3 are none of them."""
    ngx = nginx("webtransport_max_streams 8 8;" + ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        streams = [session.open_uni() for _ in range(count)]
        for stream in streams:
            stream.write(b"x")
        answers = [await session.accept_uni() for _ in range(min(count, 8))]
        for stream in answers:
            assert await stream.read() == b"x"
        if count > 8:
            await conn.ping()
            assert not session.incoming[True]
            streams[0].fin()
            assert await (await session.accept_uni()).read() == b"x"


@pytest.mark.parametrize("uni", [False, True])
async def test_stream_beyond_the_limit_closes_the_connection(nginx, client,
                                                             uni):
    ngx = nginx("webtransport_max_streams 8 8;" + ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        conn.quic.ignore_stream_limits()
        limit = 8 + 3 if uni else 8
        conn.new_stream(stream_id=4 * limit + 2 * uni, uni=uni).write(b"x")
        assert await conn.closed() == QUIC_STREAM_LIMIT_ERROR


@pytest.mark.parametrize("uni", [False, True])
async def test_highest_stream_creates_all_below(nginx, client, uni, grows):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        highest = 4 * 66 + 2 if uni else 4 * 63
        with grows(ngx, 8):
            stream = conn.new_stream(stream_id=highest, uni=uni)
            kind = STREAM_WT_UNI if uni else FRAME_WT_BIDI
            stream.write(varint(kind) + varint(session.id) + b"top", True)
            answer = await session.accept_uni() if uni else stream
            assert await answer.read_all() == b"top"
        assert await session.echo_datagram() == b"ping"


@pytest.mark.parametrize("count", [15, 16, 17])
async def test_early_streams(nginx, client, count):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = conn.new_stream(Session)
        early = [session.open_bidi() for _ in range(count)]
        for stream in early:
            stream.write(b"early", True)
        await conn.ping()
        session.write(frame(FRAME_HEADERS, conn.encoder.section(
            conn.connect_headers())))
        assert await session.outcome() == 200
        for stream in early[:16]:
            assert await stream.read_all() == b"early"
        for stream in early[16:]:
            assert await stream.until_reset() == WT_BUFFERED_STREAM_REJECTED


@pytest.mark.parametrize("count", [15, 16, 17])
async def test_early_datagrams(nginx, client, count):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = conn.new_stream(Session)
        for i in range(count):
            session.send_datagram(b"%d" % i)
        await conn.ping()
        session.write(frame(FRAME_HEADERS, conn.encoder.section(
            conn.connect_headers())))
        assert await session.outcome() == 200
        session.send_datagram(b"last")
        seen = []
        while not seen or seen[-1] != b"last":
            seen.append(await session.datagram())
        assert len(seen) - 1 == min(count, 16)
        assert seen[-2] == b"%d" % (count - 1)


# ---- worker_connections -----------------------------------------------------


@pytest.mark.parametrize("uni", [False, True])
async def test_no_connection_slots_refuse_a_stream_and_nothing_else(
        nginx, client, uni):
    ngx = nginx("webtransport_max_streams 200 200;" + ECHO, connections=60)
    ngx.allow("worker_connections are not enough")
    async with client(ngx) as conn:
        session = await conn.session()
        kept = session.open_bidi()
        kept.write(b"kept")
        assert await kept.read() == b"kept"

        opener = session.open_uni if uni else session.open_bidi
        streams = [opener() for _ in range(100)]
        for stream in streams:
            stream.write(b"x")
        await conn.until(
            lambda: any(s.stop_code is not None for s in streams), "ack",
            what="a refused stream")
        await conn.ping()

        kept.write(b" on")
        assert await kept.read() == b" on"
        assert await session.echo_datagram() == b"ping"

        for stream in streams:
            if stream.writable:
                stream.fin()
        for stream in session.incoming[True]:
            await stream.finished()

        async def recovered():
            try:
                return await session.echo(timeout=2) == b"ping"
            except StreamReset:
                return False

        while not await recovered():
            pass
    await ngx.idle()


async def test_no_connection_slots_for_streams_of_the_worker(nginx, client,
                                                             worker):
    ngx = nginx(passed(worker), connections=60)
    ngx.allow("worker_connections are not enough")
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        for i in range(100):
            backend.send(w.open_uni(7 + 4 * i, b"x", id=i + 1))
        results = [(await backend.find("result", id=i + 1)).status
                   for i in range(100)]
        assert 0 in results and 8 in results
        backend.send(w.datagram(b"still here"))
        assert await session.datagram() == b"still here"


# ---- floods -----------------------------------------------------------------


async def flood(conn, count, action, batch=100):
    """Repeats an action; True if nginx has put up with it."""
    try:
        for i in range(count):
            waiting = action(i)
            if waiting:
                await waiting
            if i % batch == 0:
                await conn.ping()
        await conn.ping()
        return True
    except ConnectionLost:
        return False


@pytest.mark.timeout(300)
async def test_flood_of_datagrams_to_a_worker_that_does_not_read(
        nginx, client, worker, grows, many):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.pause()
        session.send_datagram(b"first")
        with grows(ngx, 16):
            await flood(conn, many,
                        lambda i: session.send_datagram(bytes(1000)))
        backend.resume()
        assert (await backend.expect("datagram")).data == b"first"


@pytest.mark.timeout(300)
async def test_flood_of_datagrams_without_a_session(nginx, client, grows,
                                                    many):
    ngx = nginx(ECHO)
    async with client(ngx) as conn, client(ngx) as other:
        session = await other.session()
        with grows(ngx, 8):
            await flood(conn, many,
                        lambda i: conn.send_datagram(b"\x05" + bytes(500)))
        assert await session.echo() == b"ping"
    await ngx.idle()


@pytest.mark.timeout(300)
async def test_flood_of_resets(nginx, client, grows, many):
    ngx = nginx(ECHO)
    async with client(ngx) as conn, client(ngx) as other:
        session, theirs = await conn.session(), await other.session()

        async def open_and_reset(i):
            stream = session.open_uni() if i % 2 else session.open_bidi()
            stream.write(b"x")
            await stream.allowed()
            stream.reset(i)

        with grows(ngx, 16):
            await flood(conn, many // 4, open_and_reset)
        assert await theirs.echo() == b"ping"
    await ngx.idle()


@pytest.mark.timeout(300)
async def test_flood_of_streams_that_never_say_which_session(nginx, client,
                                                             grows):
    ngx = nginx(ECHO)
    async with client(ngx) as conn, client(ngx) as other:
        theirs = await other.session()
        with grows(ngx, 16):
            for i in range(63):
                conn.new_stream().write(b"\x40")
                conn.new_stream(uni=True).write(b"\x40")
            await conn.ping()
        assert await theirs.echo() == b"ping"
    await ngx.idle()


@pytest.mark.timeout(300)
async def test_flood_of_capsules(nginx, client, grows, many):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        with grows(ngx, 8):
            for i in range(10):
                await session.send(
                    data_frame(capsule(grease(i), b"x")) * (many // 2))
        session.send_capsule(CAPSULE_DATAGRAM, b"next")
        assert await session.datagram() == b"next"


@pytest.mark.timeout(300)
async def test_flood_of_sessions(nginx, client, grows, build):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        async def one(i):
            session = await conn.session()
            stream = session.open_bidi()
            stream.write(b"left open")
            assert await session.echo_datagram() == b"ping"
            session.close(i)
            await session.closed()
            await stream.until_reset()

        for i in range(20):
            await one(i)
        with grows(ngx, 4):
            for i in range(100 if build.sanitized else 500):
                await one(i)


async def test_flood_of_refused_connects(nginx, client, grows):
    ngx = nginx("location /wt { webtransport_echo; }")
    async with client(ngx) as conn:
        session = await conn.session("/wt")
        with grows(ngx, 4):
            for i in range(300):
                assert await conn.refused() == 405
        assert await session.echo() == b"ping"


# ---- anything at all --------------------------------------------------------

# bytes that mean something here or there

PIECES = [
    b"", b"\0", b"\xff" * 8, varint(FRAME_WT_BIDI), varint(STREAM_WT_UNI),
    varint(FRAME_WT_BIDI) + varint(0), varint(STREAM_WT_UNI) + varint(0),
    varint(STREAM_WT_UNI) + varint(4), varint(0), varint(1 << 40),
    frame(FRAME_HEADERS, b"\0\0\xcf"), frame(FRAME_HEADERS, b"\0\0"),
    frame(FRAME_HEADERS, b"\x02\0\x80"), frame(FRAME_DATA, b"x"),
    frame(FRAME_DATA, close_capsule(1, b"x")), frame(grease(), bytes(100)),
    close_capsule(), capsule(CAPSULE_DATAGRAM, b"x"), capsule(CAPSULE_DRAIN),
    varint(CAPSULE_CLOSE), varint(STREAM_CONTROL),
    varint(STREAM_QPACK_ENCODER), settings_frame(CLIENT_SETTINGS),
    frame(FRAME_GOAWAY, varint(0)),
]


def disorder(conn, session, dice):
    """Does one thing that makes more or less sense."""
    data = b"".join(dice.choices(PIECES, k=dice.randrange(4)))
    if dice.random() < 0.3:
        data += dice.randbytes(dice.randrange(30))
    match dice.randrange(10):
        case 0 | 1:
            stream = conn.new_stream(uni=dice.random() < 0.5)
            stream.write(data, dice.random() < 0.5)
        case 2 | 3:
            stream = dice.choice([session.open_bidi, session.open_uni])()
            stream.write(data)
            if dice.random() < 0.5:
                stream.reset_raw(dice.choice([0, WT_CODE_FIRST, 0x10c]))
        case 4:
            stream = session.open_bidi()
            stream.stop_raw(dice.choice([0, WT_CODE_FIRST + 1, 0x10c]))
        case 5:
            conn.send_datagram(data)
        case 6:
            session.send_datagram(data)
        case 7:
            if session.writable:
                session.write(data_frame(data) if dice.random() < 0.8
                              else data)
        case 8:
            fields = conn.connect_headers(dice.choice(["/", "/no"]))
            block = frame(FRAME_HEADERS, conn.encoder.section(fields))
            other = conn.new_stream(Session)
            other.write(block[:dice.randrange(1, len(block) + 20)])
            if dice.random() < 0.3:
                other.write(data, True)
        case 9:
            if session.writable and dice.random() < 0.2:
                dice.choice([session.close, session.fin])()


@pytest.mark.parametrize("seed", range(30))
async def test_disorder_hurts_nobody_else(nginx, client, seed):
    ngx = nginx("location / { webtransport_echo; } location /no { }")
    dice = random.Random(seed)
    async with client(ngx) as other:
        theirs = await other.session()
        for _ in range(5):
            async with client(ngx) as conn:
                session = await conn.session()
                try:
                    for _ in range(40):
                        disorder(conn, session, dice)
                        if dice.random() < 0.5:
                            await conn.ping()
                except ConnectionLost:
                    pass
            assert await theirs.echo() == b"ping"
    await ngx.idle()


# ---- memory -----------------------------------------------------------------


@pytest.mark.timeout(300)
async def test_client_that_does_not_read_stops_its_echo(nginx, client, grows):
    ngx = nginx(ECHO)
    async with client(ngx, window=65536, connection_window=1 << 20) as conn:
        session = await conn.session()
        assert await session.echo() == b"ping"
        streams = [session.open_bidi() for _ in range(10)]
        with grows(ngx, 8):
            for stream in streams:
                stream.write(bytes(4 * MIB))
            with pytest.raises(TimeoutError):
                await streams[0].drain(timeout=2)
        for stream in streams:
            assert stream.unacknowledged > 3 * MIB


@pytest.mark.timeout(300)
async def test_many_connections_leave_nothing_behind(nginx, client, grows,
                                                     build):
    ngx = nginx(ECHO)

    async def one(i):
        async with client(ngx) as conn:
            session = await conn.session()
            assert await session.echo(b"%d" % i) == b"%d" % i
            session.open_bidi().write(b"left open")
            if i % 3 == 0:
                session.close(i)

    rounds = 5 if build.sanitized else 20
    for i in range(2):
        await asyncio.gather(*map(one, range(20)))
    await ngx.idle()
    with grows(ngx, 8):
        for i in range(rounds):
            await asyncio.gather(*map(one, range(20)))
        await ngx.idle()


@pytest.mark.timeout(300)
async def test_large_transfer_needs_little_memory(nginx, client, grows):
    ngx = nginx(ECHO)
    async with client(ngx, mtu=1452) as conn:
        session = await conn.session()
        assert await session.echo(bytes(MIB)) == bytes(MIB)
        with grows(ngx, 4):
            stream = session.open_bidi()

            async def down():
                count = 0
                while data := await stream.read(timeout=60):
                    count += len(data)
                return count

            _, count = await asyncio.gather(
                stream.send(bytes(32 * MIB), True, timeout=60), down())
            assert count == 32 * MIB


async def test_large_entries_of_the_dynamic_table_take_no_memory(
        nginx, client):
    """A field section that names an entry over and over, and never ends."""
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        conn.encoder_stream.write(conn.insert((b":x", b"v" * 4000)))
        await conn.ping()
        before = ngx.rss()
        for _ in range(16):
            stream = conn.new_stream()
            stream.write(varint(FRAME_HEADERS) + varint(8000)
                         + b"\x02\x00" + b"\x80" * 7900)
            await conn.ping()
        assert ngx.rss() - before < 100 << 20


async def test_streams_that_cannot_be_opened_use_no_id(nginx, client, worker):
    """An id left out would open a stream at the client that never ends."""
    ngx = nginx(passed(worker), connections=24)
    ngx.allow("worker_connections are not enough")
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()

        def opened(number):
            return backend.call(number, data=pb.StreamData(
                stream_id=4 * number + 3, open=pb.UNI, data=b"x"))

        failed = [(await opened(n)).status for n in range(1, 15)].count(8)
        assert failed

        for n in range(1, 15):
            backend.send(w.data_(4 * n + 3, b"", True))
        while (await opened(n := n + 1)).status:
            pass
        await conn.ping()
        ids = sorted(id for id in conn.streams if id & 3 == 3)
        assert ids == list(range(ids[0], ids[-1] + 1, 4))
