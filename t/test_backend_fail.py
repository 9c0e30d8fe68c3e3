"""Workers that are absent, die, hang or break the contract: what the client
gets, what the logs say, and that nobody else suffers."""

import asyncio
import contextlib
import os
import random
import re
import socket

import pytest

from lib import worker as w
from lib.client import TIMEOUT
from lib.sessions import ended, refused, unreachable
from lib.wire import *
from lib.worker import (
    Listener, Worker, framed, passed, pb, server, upstream)

LIMIT, WORKER_LOST, PROTOCOL = 6, 8, 10


pytestmark = pytest.mark.kinds("unix", "grpc", "unary", "http_backend")

BATCH = ("unary", "http_backend")

# see test_backend.py
streaming = pytest.mark.kinds("unix", "grpc")
protobuf = pytest.mark.kinds("unix", "grpc", "unary")
socket_only = pytest.mark.kinds("unix")


# ---- no worker --------------------------------------------------------------


async def test_absent_socket_is_502(nginx, client, workers):
    absent = await workers(absent=True)
    ngx = nginx(passed(absent))
    line = await unreachable(
        ngx, client, 502,
        rf"connect\(\) to {absent.address} failed \(2: No such file")
    assert line["close_by"] == "worker_lost"
    assert line["backend"] == absent.address


async def test_refused_local_connection_is_502(nginx, client, workers):
    absent = await workers(absent=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(absent.path)
        ngx = nginx(passed(absent))
        await unreachable(ngx, client, 502, r"connect\(\) to unix:.* failed "
                          r"\(111: Connection refused\)")


async def test_refused_tcp_connection_is_502(nginx, client, workers):
    absent = await workers(absent=True)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % sock.getsockname()[1]
        ngx = nginx(passed(absent.passed_as(address)))
        await unreachable(ngx, client, 502,
                          rf"connect\(\) to {address} failed "
                          r"\(111: Connection refused\)")


@contextlib.contextmanager
def full(family, address):
    """A socket whose backlog is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.bind(address)
        listener.listen(0)
        for _ in range(8):
            sock = stack.enter_context(socket.socket(family))
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(listener.getsockname())
        yield listener


async def test_full_local_backlog_is_504(nginx, client, workers):
    absent = await workers(absent=True)
    with full(socket.AF_UNIX, absent.path):
        ngx = nginx(passed(absent, "webtransport_connect_timeout 300ms;"))
        line = await unreachable(
            ngx, client, 504, r"connect\(\) to unix:.* failed \(11: Resource")
        assert float(line["time"]) >= 0.25
        assert ngx.error_log().count("connect()") == 1


async def test_full_tcp_backlog_is_504(nginx, client, workers):
    absent = await workers(absent=True)
    with full(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        ngx = nginx(passed(absent.passed_as(f"{host}:{port}"),
                           "webtransport_connect_timeout 300ms;"))
        await unreachable(
            ngx, client, 504,
            r"connect\(\) to .* failed \(110: Connection timed out")


@socket_only
async def test_full_backlog_is_tried_again(nginx, client, socket_dir):
    with full(socket.AF_UNIX, str(socket_dir / "full")) as listener:
        ngx = nginx(passed(f"unix:{listener.getsockname()}"))
        async with client(ngx) as conn:
            session = conn.connect()
            await asyncio.sleep(0.3)
            listener.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    listener.accept()[0].close()
            loop = asyncio.get_running_loop()
            connection, _ = await loop.sock_accept(listener)
            with connection:
                await loop.sock_sendall(connection, framed(
                    pb.CommandBatch(commands=[w.accept()])))
                await session.response()
                assert session.status == 200
        assert "connect()" not in ngx.error_log()


async def test_client_leaves_while_connecting(nginx, client, workers):
    absent = await workers(absent=True)
    with full(socket.AF_UNIX, absent.path):
        ngx = nginx(passed(absent))
        async with client(ngx) as conn:
            session = conn.connect()
            await conn.ping()
            session.reset_raw(H3_REQUEST_CANCELLED)
            session.stop_raw(H3_REQUEST_CANCELLED)
            await ngx.logged(status="499", close_by="client")
        await ngx.idle()


async def test_client_leaves_while_tcp_connects(nginx, client, workers):
    absent = await workers(absent=True)
    with full(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        ngx = nginx(passed(absent.passed_as(f"{host}:{port}")))
        async with client(ngx) as conn:
            conn.connect()
            await conn.ping()
        await ngx.logged(close_by="lost")
        await ngx.idle()


# ---- before the answer ------------------------------------------------------


async def test_no_answer_is_504(nginx, client, worker, kind):
    worker.accept = None
    ngx = nginx(passed(worker, "webtransport_accept_timeout 300ms;"))
    line = await refused(ngx, client, 504, "worker did not answer in time")
    assert float(line["time"]) >= 0.25
    backend = await worker.session()
    if kind in BATCH:
        backend.send(w.accept())    # too late; a call has to end by itself
    await backend.closed()


@streaming
@pytest.mark.parametrize("how", ["shut", "kill"])
async def test_worker_that_leaves_before_its_answer_is_502(
        nginx, client, worker, how):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        backend = await worker.session()
        getattr(backend, how)()
        await session.response()
        assert session.status == 502
    line = await ngx.logged(status="502", close_by="worker_lost")
    await ngx.wait_log(rf"\[error\].*{line['session_id']}: worker lost")


async def test_client_leaves_before_the_answer(nginx, client, worker, kind):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        backend = await worker.session()
        session.reset_raw(H3_REQUEST_CANCELLED)
        session.stop_raw(H3_REQUEST_CANCELLED)
        if kind in BATCH:
            await ngx.logged(close_by="client")
            backend.send(w.accept())
        assert (await backend.closed()).by in (pb.Closed.LOST,
                                               pb.Closed.CLIENT)
        await backend.end()
    await ngx.idle()


def given_up(kind, reason):
    """A batch is looked at as a whole before any of it is run."""
    return kind in ("unary", "http_backend") and "malformed" in reason


@pytest.mark.parametrize("commands, reason", [
    ([w.datagram(b"x")], "worker sent a command before Accept"),
    ([w.open_uni(7)], "worker sent a command before Accept"),
    ([w.close(1)], "worker sent a command before Accept"),
    ([w.accept(protocol="chat")], "worker accepted with a protocol"),
    ([w.accept(framing=9)], "worker accepted with an unknown framing"),
    ([w.accept(overflow=9)], "worker accepted with an unknown framing"),
    ([w.accept(headers=[("Upper", b"x")])], 'worker sent the header "Upper"'),
    ([w.accept(headers=[("", b"x")])], 'worker sent the header ""'),
    ([w.accept(headers=[(":status", b"x")])], "worker sent the header"),
    ([w.accept(headers=[("a b", b"x")])], "worker sent the header"),
    ([w.accept(headers=[("connection", b"x")])], "worker sent the header"),
    ([w.accept(headers=[("content-length", b"1")])], "worker sent the head"),
    ([w.accept(headers=[("wt-protocol", b'"a"')])], "worker sent the header"),
    ([w.accept(headers=[("sec-webtransport-http3-draft", b"draft02")])],
     "worker sent the header"),
    ([w.accept(headers=[("a\nb\x1b\x85", b"x")])],
     'worker sent the header "a?b???"'),
    ([w.accept(headers=[("x", b"a\r\nb: c")])], "worker sent the header"),
    ([w.accept(headers=[("x", b"a\0")])], "worker sent the header"),
    ([w.accept(headers=[("x", b"y")] * 65)],
     "worker sent a malformed frame: array overflow"),
    ([w.reject(200)], "worker rejected with status 200"),
    ([w.reject(600)], "worker rejected with status 600"),
    ([w.reject(403, headers=[("Upper", b"x")])], "worker sent the header"),
], ids=lambda value: value if isinstance(value, str) else "")
async def test_bad_answer_is_502(nginx, client, worker, kind, commands,
                                 reason):
    worker.accept = commands
    ngx = nginx(passed(worker))
    if given_up(kind, reason):
        await refused(ngx, client, 502, ".*the answer is malformed: array ov")
        return
    line = await refused(ngx, client, 502, re.escape(reason))
    assert line["close_by"] == "protocol"
    closed = await (await worker.session()).closed()
    assert closed.by == pb.Closed.PROTOCOL
    assert closed.reason.startswith(reason)


# ---- in mid-session ---------------------------------------------------------


@pytest.mark.kinds("unix", "tcp", "grpc")
@pytest.mark.parametrize("how", ["shut", "kill"])
async def test_death_of_the_worker_ends_its_session(nginx, client, worker,
                                                    kind, how):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session, other = await conn.session(), await conn.session()
        backend, survivor = await worker.session(), await worker.session()
        stream = session.open_bidi()
        stream.write(b"x")
        while not (backend.events or survivor.events):
            await asyncio.sleep(0.01)
        if not backend.events:
            backend, survivor = survivor, backend
        getattr(backend, how)()
        if (kind, how) == ("grpc", "shut"):
            assert await session.closed() == (0, b"")   # it said OK
            await ngx.logged(status="200", close_by="worker")
        else:
            await ended(ngx, session, WORKER_LOST, "worker lost",
                        "worker_lost")
        await stream.until_reset()

        # the other one, on the same connection, goes on
        other.send_datagram(b"hi")
        assert (await survivor.expect("datagram")).data == b"hi"


@streaming
async def test_what_a_dying_worker_sent_is_delivered(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(w.open_uni(7, b"last words", True), w.close(5, "bye"))
        await backend.drain()
        backend.shut()
        assert await session.closed() == (5, b"bye")


@socket_only
async def test_killed_process_ends_its_sessions(nginx, client, python_worker):
    ngx = nginx(passed(python_worker))
    async with client(ngx) as conn:
        sessions = [await conn.session("/echo") for _ in range(5)]
        os.kill(python_worker.pid, 9)
        for session in sessions:
            assert await session.closed() == (WORKER_LOST, b"worker lost")
        assert await conn.refused("/echo") == 502


@streaming
async def test_hung_worker_ends_its_session(nginx, client, worker):
    ngx = nginx(passed(worker, "webtransport_worker_timeout 400ms;"))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.answer_pings = False
        await ended(ngx, session, WORKER_LOST, "worker timed out",
                    "worker_lost")
        assert await backend.expect("ping")
        closed = await backend.expect("closed")
        assert closed.by == pb.Closed.WORKER_LOST
        assert 400 <= closed.duration_ms < 3000


@streaming
async def test_worker_that_does_not_read_ends_its_session(nginx, client,
                                                          worker):
    ngx = nginx(passed(worker, "webtransport_send_timeout 400ms;"))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.pause()
        stream = session.open_uni()
        stream.write(bytes(1 << 20))
        await ended(ngx, session, WORKER_LOST, "worker timed out",
                    "worker_lost")


@streaming
async def test_slow_reader_is_no_hung_worker(nginx, client, worker):
    ngx = nginx(passed(worker, "webtransport_send_timeout 500ms;"))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        stream = session.open_uni()
        sender = asyncio.create_task(stream.send(bytes(2 << 20), True))
        for _ in range(15):
            backend.pause()
            await asyncio.sleep(0.1)
            backend.resume()
            await asyncio.sleep(0.005)
        await sender
        assert len(await backend.read_all(6)) == 2 << 20


def batch(*commands):
    return pb.CommandBatch(commands=commands).SerializeToString()


@streaming
@pytest.mark.parametrize("message", [b"\x1a\x7f", b"\x18\x01", b"\xff" * 12])
async def test_malformed_frame_ends_the_session(nginx, client, worker,
                                                message):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        (await worker.session()).send_message(message)
        await ended(ngx, session, PROTOCOL, "worker sent a malformed frame",
                    "protocol")


@pytest.mark.parametrize("data, reason", [
    (b"\0\1\0\1", "worker sent a frame of 65537 bytes, more than 65536"),
    (b"\xff\xff\xff\xff", "worker sent a frame of 4294967295 bytes"),
], ids=["1 too long", "4 GB too long"])
@socket_only
async def test_frame_that_is_too_long_ends_the_session(nginx, client, worker,
                                                       data, reason):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        (await worker.session()).write(data)
        await ended(ngx, session, PROTOCOL, re.escape(reason), "protocol")


@protobuf
@pytest.mark.parametrize("message, reason", [
    (b"\x1a\x04\x5a\x02\x12\x05", "worker sent a malformed frame"),
    (batch(w.close(1, "x")).replace(b"x", b"\xff"),
     "worker sent a malformed frame: invalid utf-8"),
    (batch(w.accept()), "worker sent a second Accept"),
    (batch(w.reject()), "worker sent Reject after Accept"),
    (batch(w.data_(5, b"x")), "worker named stream 5, which never existed"),
    (batch(w.data_(4, b"x")), "worker named stream 4, which never existed"),
    (batch(w.data_(3, b"x")), "worker named stream 3, which never existed"),
    (batch(w.data_((1 << 32) + 1, b"x")), "worker named stream 4294967297"),
    (batch(w.data_((1 << 64) - 1, b"x")), "worker named stream 18446744073"),
    (batch(w.reset(8, 1)), "worker named stream 8, which never existed"),
    (batch(w.stop(0, 1)), "worker named stream 0, which never existed"),
    (batch(w.data_(6, b"x")), "worker sent data on stream 6, on which only"),
    (batch(w.open_bidi(7)), "worker opened stream 7, which is not a new id"),
    (batch(w.open_uni(5)), "worker opened stream 5, which is not a new id"),
    (batch(w.open_bidi(1)), "worker opened stream 1, which is not a new id"),
    (batch(w.open_bidi(4)), "worker opened stream 4, which is not a new id"),
    (batch(w.open_bidi((1 << 32) + 1)), "worker opened stream 4294967297"),
    (batch(w.open_bidi(9), w.open_bidi(5)), "worker opened stream 5, which"),
    (batch(w.open_bidi(5), w.open_bidi(5)), "worker opened stream 5, which"),
], ids=lambda value: value if isinstance(value, str) else "")
async def test_bad_command_ends_that_session_alone(nginx, client, worker,
                                                   kind, message, reason):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        other = await conn.session()
        survivor = await worker.session()

        backend.send_message(message)
        if given_up(kind, reason):
            await ended(ngx, session, WORKER_LOST,
                        "worker did not take a batch", "worker_lost")
            await ngx.wait_log("the answer is malformed: ")
            assert (await backend.closed()).by == pb.Closed.WORKER_LOST
        else:
            await ended(ngx, session, PROTOCOL, re.escape(reason), "protocol")
            closed = await backend.closed()
            assert closed.by == pb.Closed.PROTOCOL
            assert reason in closed.reason
        await backend.end()

        other.send_datagram(b"hi")
        assert (await survivor.expect("datagram")).data == b"hi"


async def test_commands_before_a_bad_one_have_run(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(w.datagram(b"good"), w.ping(5), w.data_(5, b"bad"))
        assert (await backend.expect("pong")).id == 5
        assert (await session.closed())[0] == PROTOCOL


async def test_credit_starved_messages_are_bounded(nginx, client, worker,
                                                   build):
    """Streams that have ended, but whose messages the worker did not ask for:
    at some point that is enough."""
    worker.accept = [w.accept(stream_window=1, framing=pb.LINES)]
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        for i in range(1200):
            if not session.writable:
                break
            stream = session.open_uni()
            stream.write(b"more\nthan\none\n", True)
            if i % 20 == 0:
                await conn.ping()
        await ended(ngx, session, LIMIT, "too many streams have ended",
                    "limit")
        assert (await backend.closed()).by == pb.Closed.LIMIT


# ---- anything at all --------------------------------------------------------


def random_command(rng, opened):
    """Mostly good commands, for streams that may have ended."""
    id = rng.choice([0, 0, rng.randrange(1 << 20)])
    if not opened:
        return w.datagram(b"hello", 0, id)
    known = rng.choice(opened)
    data = rng.randbytes(int(rng.expovariate(1 / 3000)))[:60000]
    fin = rng.random() < 0.2
    kind = rng.randrange(14)
    if kind < 3:
        if rng.random() < 0.3:
            return w.open_bidi(0, data, fin, id) if fin else w.open_uni(
                0, data, fin, id)
        uni = rng.random() < 0.5
        last = max((n for n in opened if n & 3 == (3 if uni else 1)),
                   default=3 if uni else 1)
        opened.append(last + 4 * rng.randrange(1, 3))
        return (w.open_uni if uni else w.open_bidi)(opened[-1], data, fin, id)
    if kind < 8 and known & 3 != 2:
        return w.data_(known, data, fin, id)
    return [w.reset(known, rng.randrange(1 << 32), id),
            w.stop(known, rng.randrange(1 << 32), id),
            w.datagram(data[:1100], rng.randrange(50), id),
            w.credit(known, rng.randrange(100000), id), w.ping(7, id),
            w.data_(0, data[:100], id=id)][kind % 6]


async def random_worker(rng, backend):
    opened = []
    with contextlib.suppress(TimeoutError, ConnectionError):
        while not backend.ended:
            opened += [e.data.stream_id for e in backend.events
                       if e.WhichOneof("kind") == "data" and e.data.open]
            backend.events.clear()
            commands = [random_command(rng, opened)
                        for _ in range(rng.randrange(8))]
            size = sum(c.ByteSize() + 8 for c in commands)
            if size < 60000:
                backend.send(*commands)
            choice = rng.random()
            if choice < 0.05:
                backend.pause()
                await asyncio.sleep(rng.random() / 5)
                backend.resume()
            elif choice < 0.07:
                rng.choice([backend.shut, backend.kill,
                            lambda: backend.send(w.close(1, "x", 20)),
                            lambda: backend.send(w.close(1, "x")),
                            lambda: backend.send(w.abort()),
                            lambda: backend.send_message(
                                rng.randbytes(20))])()
            await backend.drain(5)
            await asyncio.sleep(rng.random() / 50)


async def random_client(rng, session):
    streams = []
    while session.writable and not session.ended:
        choice = rng.random()
        streams += [*session.incoming[True], *session.incoming[False]]
        session.incoming[True].clear()
        session.incoming[False].clear()
        if choice < 0.2 and len(streams) < 60:
            streams.append(session.open_bidi())
        elif choice < 0.4 and len(streams) < 60:
            streams.append(session.open_uni())
        elif choice < 0.5:
            session.send_datagram(rng.randbytes(rng.randrange(1000)))
        elif choice < 0.505:
            return session.close(3, "enough")
        elif streams:
            stream = rng.choice(streams)
            what = rng.random()
            if stream.id & 3 == 3:
                what += 0.6
            if what < 0.5 and stream.writable:
                stream.write(rng.randbytes(rng.randrange(3000)),
                             rng.random() < 0.2)
            elif what < 0.6 and stream.writable:
                stream.reset(rng.randrange(1 << 32))
            elif 0.6 <= what < 0.65 and stream.id & 3 != 2:
                with contextlib.suppress(ValueError):  # it has ended
                    stream.stop(rng.randrange(1 << 32))
            else:
                stream.take()
        await asyncio.sleep(rng.random() / 100)


@streaming
@pytest.mark.parametrize("framing", ["raw", "whole", "length", "lines"])
async def test_random_sessions(nginx, client, worker, framing):
    """No input breaks nginx, leaves anything behind or disturbs others."""
    rng = random.Random(os.environ.get("WT_SEED", framing))
    ngx = nginx("webtransport_max_streams 2000 2000;"
                "webtransport_max_sessions 100;"
                + passed(worker, f"""webtransport_framing {framing};
        webtransport_buffer_size 16k; webtransport_max_message_size 4k;
        webtransport_worker_timeout 1s; webtransport_send_timeout 1s;
        webtransport_datagram_queue 4;"""), connections=16384)
    tasks = []
    duration = float(os.environ.get("WT_SECONDS", 3))
    deadline = asyncio.get_running_loop().time() + duration
    async with client(ngx, streams=(30, 30)) as conn:
        while asyncio.get_running_loop().time() < deadline:
            worker.accept = [w.accept(
                stream_window=rng.choice([0, 5000]), overflow=rng.randrange(3),
                notify=rng.choice([[], [pb.Accept.STREAM_CREDIT]]))]
            session = conn.connect()
            if await session.outcome() == 200:
                backend = await worker.session()
                tasks += [asyncio.create_task(random_worker(rng, backend)),
                          asyncio.create_task(random_client(rng, session))]
            while len(tasks) > 16:
                await asyncio.sleep(0.05)
                tasks = [task for task in tasks
                         if not task.done() or task.result()]
    for backend in worker.sessions:
        backend.kill()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await ngx.idle()


# ---- balancers --------------------------------------------------------------


@streaming
async def test_next_worker_is_tried(nginx, client, worker, socket_dir):
    ngx = nginx(passed(worker.passed_as("workers")), http=upstream(
        server(f"unix:{socket_dir}/1"), server(f"unix:{socket_dir}/2"),
        server(worker)))
    async with client(ngx) as conn:
        for _ in range(4):
            session = await conn.session()
            assert session.status == 200
        # max_fails=1: each of the others is tried once
        assert ngx.error_log().count("connect()") == 2
    assert len(worker.sessions) == 4


@streaming
async def test_next_worker_after_a_timeout(nginx, client, worker, socket_dir):
    with full(socket.AF_UNIX, str(socket_dir / "full")) as listener:
        ngx = nginx(passed(worker.passed_as("workers"),
                           "webtransport_connect_timeout 200ms;"),
                    http=upstream(server(f"unix:{listener.getsockname()}"),
                                  server(worker)))
        async with client(ngx) as conn:
            await conn.session()
            await conn.session()
            await conn.session()
        assert ngx.error_log().count("connect()") == 1


@streaming
async def test_next_worker_after_a_tcp_timeout(nginx, client, worker):
    with full(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        ngx = nginx(passed(worker.passed_as("workers"),
                           "webtransport_connect_timeout 200ms;"),
                    http=upstream(server(f"{host}:{port}"), server(worker)))
        async with client(ngx) as conn:
            await conn.session()
            await conn.session()
        await ngx.idle()


@streaming
async def test_backup_worker(nginx, client, workers):
    main, backup = await workers(), await workers()
    ngx = nginx(passed(main.passed_as("workers")), http=upstream(
        server(main), server(backup, "backup")))
    async with client(ngx) as conn:
        await conn.session()
        assert (len(main.sessions), len(backup.sessions)) == (1, 0)
        await main.stop()
        await conn.session()
        assert len(backup.sessions) == 1


async def test_no_worker_of_many(nginx, client, workers):
    absent = [await workers(absent=True) for _ in range(2)]
    ngx = nginx(passed(absent[0].passed_as("workers")),
                http=upstream(*map(server, absent)))
    await refused(ngx, client, 502, ".*no worker could be reached")
    async with client(ngx) as conn:
        assert await conn.refused() == 502
    await ngx.wait_log("no live workers in workers")


@streaming
@pytest.mark.parametrize("how", ["silence", "death", "violation"])
async def test_worker_without_a_good_answer_counts_as_failed(
        nginx, client, workers, how):
    """It got a Connect: the session is refused, but the next ones go to other
    workers."""
    bad, good = await workers(), await workers()
    bad.accept = [w.datagram()] if how == "violation" else None
    ngx = nginx(passed(bad.passed_as("workers"),
                       "webtransport_accept_timeout 300ms;"),
                http=upstream(server(bad), server(good)))
    async with client(ngx) as conn:
        session = conn.connect()
        backend = await bad.session()
        if how == "death":
            backend.shut()
        assert await session.outcome() == (504 if how == "silence" else 502)
        for _ in range(4):
            await conn.session()
    assert (len(bad.sessions), len(good.sessions)) == (1, 4)


@streaming
async def test_connections_are_given_back(nginx, client, workers):
    """However sessions end: max_conns is counted right."""
    worker = await workers()
    ngx = nginx(passed(worker.passed_as("workers"),
                       "webtransport_worker_timeout 500ms;"),
                http=upstream("zone z 64k;", server(worker, "max_conns=1"),
                              server("127.0.0.1:1", "down")))
    async with client(ngx) as conn:
        for how in ("client", "close", "abort", "death", "violation", "hang",
                    "reject"):
            worker.accept = [w.reject() if how == "reject" else w.accept()]
            session = conn.connect()
            await session.response()
            backend = await worker.session()
            if how != "reject":
                assert session.status == 200, how
                assert await conn.refused() == 502
            if how == "client":
                session.close()
            elif how == "close":
                backend.send(w.close())
            elif how == "abort":
                backend.send(w.abort())
            elif how == "death":
                backend.kill()
            elif how == "violation":
                backend.send(w.accept())
            elif how == "hang":
                backend.answer_pings = False
            await session.finished()
        worker.accept = [w.accept()]
        assert (await conn.session()).status == 200


async def test_upstream_may_have_keepalive(nginx, client, worker):
    """It keeps connections of requests; those of sessions end with them."""
    ngx = nginx(passed(worker.passed_as("workers")),
                http=upstream(server(worker), "keepalive 4;"))
    async with client(ngx) as conn:
        for _ in range(3):
            session = await conn.session()
            backend = await worker.session()
            session.close()
            await backend.closed()
            await backend.end()
    await ngx.idle()


async def test_another_worker_after_a_refusal(nginx, client, workers):
    main, other = await workers(), await workers()
    main.accept = [w.reject(503)]
    ngx = nginx(passed(main, "error_page 503 = @other;")
                + passed(other).replace("/", "@other", 1),
                http="""log_format up '$upstream_addr|$upstream_status';
                        access_log %DIR%/upstream.log up;""")
    async with client(ngx) as conn:
        session = await conn.session()
        session.send_datagram(b"hi")
        backend = await other.session()
        assert (await backend.expect("datagram")).data == b"hi"
        assert (await (await main.session()).closed()).by == pb.Closed.WORKER
    line = await ngx.until((ngx.dir / "upstream.log").read_text, "the log")
    assert line == f"{main.address} : {other.address}|503 : 200\n"


# ---- the end of nginx -------------------------------------------------------


@streaming
async def test_exit_while_a_worker_still_has_to_read(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.pause()
        stream = session.open_uni()
        stream.write(bytes(1 << 20))
        await conn.ping()
        session.close()
        await session.closed()
    # the fixture stops nginx gracefully and looks for open sockets in its log
    await ngx.logged(status="200")


@streaming
async def test_last_events_have_an_end(nginx, client, worker):
    ngx = nginx(passed(worker, "webtransport_send_timeout 500ms;"))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.pause()
        stream = session.open_uni()
        stream.write(bytes(1 << 20))
        await conn.ping()
        session.close()
        await session.closed()
    await ngx.idle()


@streaming
async def test_worker_that_keeps_its_side_open(nginx, client, worker):
    """After Closed nginx ends its side, and does not wait for ever."""
    ngx = nginx(passed(worker, "webtransport_send_timeout 300ms;"))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.pause()
        session.close()
        await session.closed()
    backend.send(w.datagram(b"too late"))
    await ngx.idle()


@socket_only
async def test_worker_dies_behind_a_client_that_does_not_read(
        nginx, client, worker):
    ngx = nginx(passed(worker, "webtransport_send_timeout 1s;"))
    async with client(ngx, window=1000) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(w.open_bidi(5))
        for _ in range(20):
            backend.send(w.data_(5, bytes(60000)))
        await session.accept_bidi()
        backend.kill()
        assert (await session.closed())[0] == pb.Closed.WORKER_LOST


@socket_only
async def test_client_leaves_an_error_page_that_waits_for_it(
        nginx, client, worker):
    """The page's location reads the request's body, which has no end."""
    ngx = nginx("""
        location / { webtransport_pass unix:%%DIR%%/none;
                     error_page 502 /page; }
        location /page { internal; proxy_pass http://%s; }
    """ % worker.address)
    async with client(ngx) as conn:
        session = conn.connect()
        await ngx.wait_log("connect\\(\\) to unix:.* failed")
        session.write(b"\x00\x01\x00")
        await conn.ping()
        session.reset_raw(H3_REQUEST_CANCELLED)
        session.stop_raw(H3_REQUEST_CANCELLED)
        await conn.ping()
        assert (await conn.request()).status
    await ngx.idle()


@socket_only
async def test_refusals_may_have_error_pages(nginx, client):
    ngx = nginx("""
        location / { webtransport_pass unix:%DIR%/none;
                     error_page 502 /index.html; }
        location = /index.html { }
    """)
    async with client(ngx) as conn:
        session = conn.connect()
        await session.complete()
        assert session.status == 502
        assert session.body == b"hello\n"


@socket_only
@pytest.mark.parametrize("balancer", ["", "least_conn;", "hash $request_id;"])
async def test_workers_that_are_back_get_sessions_at_once(
        nginx, client, socket_dir, balancer):
    ngx = nginx("location / { webtransport_pass app; }", http=f"""
        upstream app {{
            {balancer}
            server unix:{socket_dir}/a fail_timeout=1s;
            server unix:{socket_dir}/b fail_timeout=1s;
        }}""")
    async with client(ngx) as conn:
        assert await conn.connect().outcome() == 502
        workers = [Worker(f"{socket_dir}/{name}") for name in "ab"]
        try:
            for worker in workers:
                await worker.start()
            await asyncio.sleep(2.1)    # until they may be tried again
            for _ in range(6):
                assert await conn.connect().outcome() == 200
        finally:
            for worker in workers:
                await worker.stop()
