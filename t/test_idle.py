"""Silent sessions: webtransport_keepalive and webtransport_idle_timeout."""

import asyncio

import pytest

from lib import worker as w
from lib.client import TIMEOUT
from lib.sessions import opened, take
from lib.wire import *
from lib.worker import passed, pb

# ms: short, but a busy machine must not make a session look idle
IDLE = int(80 * TIMEOUT)

# more PINGs than come for other reasons: packets that seem to be lost
MANY = 12

BY_TIMEOUT = 4, b"idle timeout"


def idle(ms=IDLE):
    return f"webtransport_idle_timeout {ms}ms;"


def locations(worker, **directives):
    return "".join(f"location /{name} {{ webtransport_pass {worker.address}; "
                   f"{more} }}" for name, more in directives.items())


def pings(conn):
    """How many have come, without those that look for a larger MTU."""
    return sum(packet.pings for packet in conn.quic.packets
               if packet.size < 100)


async def more_pings(conn, count=MANY):
    known = pings(conn)
    await conn.until(lambda: pings(conn) >= known + count, "ack",
                     what=f"{count} PINGs")


async def both(conn, worker, path="/"):
    """A new session, and the worker's part of it."""
    return await conn.session(path), await worker.session()


# ---- webtransport_keepalive -------------------------------------------------


async def test_pings_come_at_the_interval(nginx, client):
    """Half of keepalive_timeout would be 37.5 s."""
    ngx = nginx("location / { webtransport_echo; "
                "webtransport_keepalive 100ms; }")
    async with client(ngx) as conn:
        session = await conn.session()
        await more_pings(conn)
        assert await session.echo() == b"ping"


async def test_pings_end_with_the_last_session(nginx, client, worker):
    ngx = nginx("keepalive_timeout 2s; webtransport_keepalive 100ms;"
                + passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        await more_pings(conn)
        session.close()
        await session.closed()
        # nothing else keeps the connection
        await ngx.idle()


async def test_without_pings_a_silent_connection_ends(nginx, client, worker):
    ngx = nginx("keepalive_timeout 1s; webtransport_keepalive off;"
                + passed(worker))
    async with client(ngx) as conn:
        _, backend = await both(conn, worker)
        assert (await backend.closed()).by == pb.Closed.LOST
        await ngx.idle()
        assert pings(conn) < MANY


@pytest.mark.parametrize("interval", ["", "webtransport_keepalive 1h;"])
@pytest.mark.parametrize("whose", ["server", "client"])
async def test_pings_are_never_too_late(nginx, client, whose, interval):
    server = "keepalive_timeout 1s;" if whose == "server" else ""
    parameters = {0x01: varint(1000)} if whose == "client" else {}

    ngx = nginx(server + interval + "location / { webtransport_echo; }")
    async with client(ngx, parameters=parameters) as conn:
        session = await conn.session()
        # two in a timeout: this is longer than three of them
        await more_pings(conn, 7)
        assert await session.echo() == b"ping"


async def test_session_with_the_shortest_interval_decides(nginx, client,
                                                          worker):
    ngx = nginx("keepalive_timeout 2s;" + locations(
        worker, off="webtransport_keepalive off;",
        slow="webtransport_keepalive 1s;",
        fast="webtransport_keepalive 100ms;"))
    async with client(ngx) as conn:
        off, off_backend = await both(conn, worker, "/off")
        slow, slow_backend = await both(conn, worker, "/slow")
        fast, fast_backend = await both(conn, worker, "/fast")

        # longer than keepalive_timeout
        await more_pings(conn, 30)

        fast.close()
        await fast.closed()
        await more_pings(conn, 4)
        assert not off.ended and not slow.ended

        # the rest wants none
        slow.close()
        await slow.closed()
        assert (await off_backend.closed()).by == pb.Closed.LOST


async def test_interval_of_a_later_session(nginx, client, worker):
    """The timer for the first one would come in 37.5 s."""
    ngx = nginx(locations(worker, default="",
                          fast="webtransport_keepalive 100ms;"))
    async with client(ngx) as conn:
        await conn.session("/default")
        await conn.session("/fast")
        await more_pings(conn)


async def test_pings_do_not_keep_a_dead_connection(nginx, client, worker):
    ngx = nginx("keepalive_timeout 2s; webtransport_keepalive 100ms;"
                + passed(worker))
    async with client(ngx) as conn:
        _, backend = await both(conn, worker)
        await more_pings(conn, 1)
        conn.vanish()
    assert (await backend.closed()).by == pb.Closed.LOST
    await ngx.idle()


# ---- webtransport_idle_timeout ----------------------------------------------


async def test_idle_session_is_closed_while_pings_go_on(nginx, client, worker):
    ngx = nginx("webtransport_keepalive 100ms;" + passed(worker, idle()))
    async with client(ngx) as conn:
        session, backend = await both(conn, worker)
        stream = session.open_bidi()
        stream.write(b"open")
        await backend.accept_stream()

        await more_pings(conn, 2)
        assert await session.closed() == BY_TIMEOUT
        assert await stream.until_reset() == WT_SESSION_GONE

        closed = await backend.closed()
        assert closed.by == pb.Closed.TIMEOUT
        assert (closed.code, closed.reason.encode()) == BY_TIMEOUT
        assert closed.duration_ms >= IDLE
        await backend.end()

        # the connection goes on
        assert (await conn.session()).status == 200

    line = await ngx.logged(status="200", close_by="timeout", close_code="4")
    await ngx.wait_log(rf"\[info\].*webtransport session "
                       rf"{line['session_id']}: closed by timeout, code 4")


async def test_sessions_are_never_idle_by_default(nginx, client, worker):
    """Those on the same connection with a timeout come and go."""
    ngx = nginx("webtransport_keepalive 100ms;"
                + locations(worker, default="", idle=idle(200)))
    async with client(ngx) as conn:
        session = await conn.session("/default")
        for _ in range(5):
            silent = await conn.session("/idle")
            assert await silent.closed() == BY_TIMEOUT
        await conn.ping()
        assert not session.ended


async def test_echo_may_be_idle(nginx, client):
    ngx = nginx("location / { webtransport_echo; %s }" % idle())
    async with client(ngx) as conn:
        session = await conn.session()
        assert await session.closed() == BY_TIMEOUT


async def test_sessions_of_a_connection_have_their_own_timeouts(nginx, client,
                                                                worker):
    ngx = nginx(idle() + locations(
        worker, inherits="", long=idle(3 * IDLE),
        off="webtransport_idle_timeout off;"))
    async with client(ngx) as conn:
        off = await conn.session("/off")
        long = await conn.session("/long")
        short = await conn.session("/inherits")

        assert await short.closed() == BY_TIMEOUT
        assert not long.ended

        assert await long.closed() == BY_TIMEOUT
        await conn.ping()
        assert not off.ended


async def test_both_are_inherited(nginx, client, worker):
    """From http to a location, and into an "if" block."""
    ngx = nginx("location / { if ($arg_x) { set $y 1; } "
                f"webtransport_pass {worker.address}; }}",
                http="webtransport_keepalive 100ms;" + idle(3 * IDLE))
    for path in ("/", "/?x=1"):
        async with client(ngx) as conn:
            session = await conn.session(path)
            await more_pings(conn, 5)
            assert await session.closed() == BY_TIMEOUT


# ---- what keeps a session ---------------------------------------------------


class Traffic:
    """A session with streams of all kinds, for something to be done on them
    again and again."""

    COUNT = 40

    @classmethod
    async def create(cls, session, backend):
        self = cls()
        self.session = session
        self.backend = backend
        self.opened = 101

        self.bidi = []
        for _ in range(self.COUNT):
            stream = session.open_bidi()
            stream.write(b"x")
            stream.id = (await backend.accept_stream()).stream_id
            self.bidi.append(stream)

        self.long = self.bidi.pop()
        await session.conn.ping()
        return self


def step(f):
    return pytest.param(f, id=f.__name__)


async def bytes_of_the_client(t):
    t.long.write(b"x")
    assert (await t.backend.find("data", stream_id=t.long.id)).data


async def bytes_of_the_worker(t):
    t.backend.send(w.data_(t.long.id, b"x"))
    assert await t.long.read(1)


async def fin_of_the_client(t):
    stream = t.bidi.pop()
    stream.fin()
    assert (await t.backend.find("data", stream_id=stream.id)).fin


async def fin_of_the_worker(t):
    stream = t.bidi.pop()
    t.backend.send(w.data_(stream.id, fin=True))
    assert await stream.read_all() == b""


async def reset_of_the_client(t):
    stream = t.bidi.pop()
    stream.reset(1)
    assert await t.backend.find("reset", stream_id=stream.id)


async def reset_of_the_worker(t):
    stream = t.bidi.pop()
    t.backend.send(w.reset(stream.id, 1))
    assert await stream.until_reset()


async def stop_of_the_client(t):
    stream = t.bidi.pop()
    stream.stop(1)
    assert await t.backend.find("stop", stream_id=stream.id)


async def stop_of_the_worker(t):
    stream = t.bidi.pop()
    t.backend.send(w.stop(stream.id, 1))
    assert await stream.until_stop()


async def stream_of_the_client(t):
    t.session.open_uni()
    assert await t.backend.accept_stream()


async def stream_of_the_worker(t):
    t.opened += 4
    t.backend.send(w.open_bidi(t.opened))
    assert await t.session.accept_bidi()


async def datagram_of_the_client(t):
    t.session.send_datagram(b"x")
    assert await t.backend.find("datagram")


async def datagram_of_the_worker(t):
    t.backend.send(w.datagram(b"x"))
    assert await t.session.datagram()


async def datagram_in_a_capsule(t):
    t.session.send_capsule(CAPSULE_DATAGRAM, b"x")
    assert await t.backend.find("datagram")


COUNTS = [step(f) for f in (
    bytes_of_the_client, bytes_of_the_worker,
    fin_of_the_client, fin_of_the_worker,
    reset_of_the_client, reset_of_the_worker,
    stop_of_the_client, stop_of_the_worker,
    stream_of_the_client, stream_of_the_worker,
    datagram_of_the_client, datagram_of_the_worker, datagram_in_a_capsule)]


async def until_closed(session, something):
    """Does something now and then until the session is closed."""
    async with asyncio.timeout(TIMEOUT):
        while not session.ended:
            await something()
            try:
                await session.closed(IDLE / 8000)
            except TimeoutError:
                pass
    return await session.closed()


@pytest.mark.parametrize("traffic", COUNTS)
async def test_traffic_keeps_a_session(nginx, client, worker, traffic):
    async with opened(nginx, client, worker, idle()) as (session, backend):
        t = await Traffic.create(session, backend)
        await kept(session, worker, lambda: traffic(t))


async def kept(session, worker, something):
    """A session that begins later, and is silent, ends before this one."""
    for _ in range(2):
        await something()
        silent, _ = await both(session.conn, worker)
        assert await until_closed(silent, something) == BY_TIMEOUT
        assert not session.ended

    # kept as long as needed, not longer
    assert await session.closed() == BY_TIMEOUT


async def test_what_waits_for_a_slow_client_is_traffic(nginx, client, worker):
    """The worker has said everything long ago."""
    ngx = nginx("http3_stream_buffer_size 4k;" + passed(worker, idle()))
    async with client(ngx, window=4096) as conn:
        session, backend = await both(conn, worker)
        stream = session.open_bidi()
        stream.write(b"x")
        stream_id = (await backend.accept_stream()).stream_id
        backend.send(w.data_(stream_id, bytes(60000)))
        await backend.sync()

        await kept(session, worker, lambda: take(stream, 1000))


async def test_what_waits_for_a_slow_worker_is_traffic(nginx, client, worker):
    """The client has sent everything long ago."""
    worker.accept = [w.accept(stream_window=1000)]
    ngx = nginx(passed(worker, idle()))
    async with client(ngx) as conn:
        session, backend = await both(conn, worker)
        stream = session.open_bidi()
        stream.write(bytes(50000))
        stream_id = (await backend.accept_stream()).stream_id
        await stream.drain()

        async def take_more():
            backend.send(w.credit(stream_id, 1000))
            assert (await backend.find("data")).data

        await kept(session, worker, take_more)


async def ping_of_quic(t):
    await t.session.conn.ping()


async def ping_of_the_worker(t):
    t.backend.send(w.ping(1))


async def credit_of_the_worker(t):
    t.backend.send(w.credit(t.long.id, 1))


async def drain_of_the_client(t):
    t.session.drain_session()


async def drain_of_the_worker(t):
    t.backend.send(w.drain())


async def unknown_capsule(t):
    t.session.send_capsule(41 * 23 + 0x17, b"x")


@pytest.mark.parametrize("what", [step(f) for f in (
    ping_of_quic, ping_of_the_worker, credit_of_the_worker,
    drain_of_the_client, drain_of_the_worker, unknown_capsule)])
async def test_what_is_no_traffic_keeps_nothing(nginx, client, worker, what):
    async with opened(nginx, client, worker, idle()) as (session, backend):
        t = await Traffic.create(session, backend)
        done = 0

        async def something():
            nonlocal done
            done += 1
            await what(t)

        assert await until_closed(session, something) == BY_TIMEOUT
        assert done > 2


# ---- with the other ends of a session ---------------------------------------


async def test_flush_is_not_cut_short(nginx, client, worker):
    """The worker closes while the client does not read; the flush has a time
    of its own."""
    ngx = nginx(passed(worker, idle()))
    async with client(ngx, window=4096) as conn:
        session, backend = await both(conn, worker)
        silent = await conn.session()
        stream = session.open_bidi()
        stream.write(b"x")
        stream_id = (await backend.accept_stream()).stream_id
        backend.send(w.data_(stream_id, bytes(50000), True),
                     w.close(7, "bye", flush_ms=60000))
        assert await silent.closed() == BY_TIMEOUT
        assert not session.ended
        assert await stream.read_all() == bytes(50000)
        assert await session.closed() == (7, b"bye")


async def test_session_that_waits_for_its_answer_is_not_idle(nginx, client,
                                                             worker):
    worker.accept = None
    ngx = nginx(passed(worker, idle()))
    async with client(ngx) as conn:
        waiting = conn.connect()
        backend = await worker.session()
        worker.accept = [w.accept()]
        silent = await conn.session()
        assert await silent.closed() == BY_TIMEOUT
        backend.send(w.accept())
        await waiting.response()
        assert waiting.status == 200
        assert await waiting.closed() == BY_TIMEOUT
