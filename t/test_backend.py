"""Workers, whatever carries the batches: what they are told, and what they may
say.  What is special about gRPC and HTTP is in files of their own."""

import asyncio
import contextlib
import hashlib
import os
import random
import re
import socket

import pytest

from lib import worker as w
from lib.client import TIMEOUT, StreamReset
from lib.sessions import echo_hundred_times, opened, take
from lib.wire import *
from lib.worker import framed, passed, pb, server, upstream

WINDOW = 65536

OK, INVALID, EXHAUSTED, PRECONDITION, RANGE, UNIMPLEMENTED = 0, 3, 8, 9, 11, 12


pytestmark = pytest.mark.kinds("unix", "grpc", "unary", "http_backend")

# workers with a connection or call per session, which can say something at
# any time, and whose reading is what stops nginx
streaming = pytest.mark.kinds("unix", "grpc")

# messages as bytes, which may be wrong
protobuf = pytest.mark.kinds("unix", "grpc", "unary")

socket_only = pytest.mark.kinds("unix")


# ---- Connect ----------------------------------------------------------------


async def test_connect_tells_the_request(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        await conn.session("/a%2Fb/../c?x=1&y=%20?z", headers=[
            ("cookie", "a=b"), ("x-one", "1"), ("x-two", b"\xff\x80"),
            ("x-one", "2")])
        connect = (await worker.session()).connect
    assert connect.version == 1
    assert connect.scheme == "https"
    assert connect.authority == f"localhost:{ngx.port}".encode()
    assert connect.path == b"/a%2Fb/../c"
    assert connect.query == b"x=1&y=%20?z"
    assert [(h.name, h.value) for h in connect.headers
            if h.name in ("cookie", "x-one", "x-two")] == [
        ("x-one", b"1"), ("x-two", b"\xff\x80"), ("x-one", b"2"),
        ("cookie", b"a=b")]  # nginx puts cookies together, at the end
    assert not [h for h in connect.headers if h.name.startswith(":")]
    assert connect.remote_addr == "127.0.0.1"
    assert connect.remote_port > 1023
    assert connect.server_addr == "127.0.0.1"
    assert connect.server_port == ngx.port
    assert connect.server_name == "localhost"
    assert connect.draft == "02"
    assert connect.limits.max_datagram > 1000
    assert connect.stream_window == WINDOW
    assert connect.max_command == 65536
    assert connect.streams_bidi > 0
    assert connect.streams_uni > 0


async def test_connect_without_query_and_server_name(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx, sni=None) as conn:
        await conn.session("/")
        connect = (await worker.session()).connect
    assert (connect.path, connect.query) == (b"/", b"")
    assert connect.server_name == ""


async def test_session_id_is_in_the_first_batch(nginx, client, worker):
    async with opened(nginx, client, worker) as (_, backend):
        assert re.fullmatch(r"[\w-]{22}", backend.id)


async def test_buffer_size_sets_window_and_longest_command(nginx, client,
                                                           worker):
    more = "webtransport_buffer_size 256k;"
    async with opened(nginx, client, worker, more) as (_, backend):
        assert backend.connect.stream_window == 256 << 10
        assert backend.connect.max_command == 256 << 10


async def test_params_are_evaluated(nginx, client, worker):
    more = """webtransport_param uri $uri;
        webtransport_param address $remote_addr;
        webtransport_param empty "$http_none";
        webtransport_param bytes $http_bytes;"""
    ngx = nginx(passed(worker, more))
    async with client(ngx) as conn:
        await conn.session("/%41?x", headers=[("bytes", b"a\xff\xc3z")])
        connect = (await worker.session()).connect
    assert dict(connect.params) == {
        "uri": "/A", "address": "127.0.0.1", "empty": "", "bytes": "a??z"}


async def test_headers_are_set_replaced_and_removed(nginx, client, worker):
    more = """webtransport_set_header X-User $http_x_name;
        webtransport_set_header Cookie "";
        webtransport_set_header X-Twice new;"""
    ngx = nginx(passed(worker, more))
    async with client(ngx) as conn:
        await conn.session(headers=[
            ("x-twice", "1"), ("cookie", "a"), ("x-name", "me"),
            ("x-twice", "2"), ("cookie", "b")])
        connect = (await worker.session()).connect
    assert [(h.name, h.value) for h in connect.headers
            if h.name.startswith("x-") or h.name == "cookie"] == [
        ("x-name", b"me"), ("x-user", b"me"), ("x-twice", b"new")]


@pytest.mark.parametrize("fields, protocols", [
    (['"a", "b"'], ["a", "b"]),
    (['"a";q=1;x="y, z" ,\t"b c"'], ["a", "b c"]),
    ([r'"q\"\\"'], ['q"\\']),
    (['"a"', '"b"'], ["a", "b"]),
    ([""], []),
    (['a, "b"'], []),
    (['"a", 5'], []),
    (['"a",'], []),
    (['"a" "b"'], []),
    (['"a'], []),
    (['"a', '"b"'], []),
    (['"a\\x"'], []),
    (['"a";x="'], []),
    (['"a";x="\\'], []),
    ([b'"\xc3\xa4"'], []),
    ([", ".join(f'"{i}"' for i in range(33))], []),
])
async def test_protocols_are_offered(nginx, client, worker, fields,
                                     protocols):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        await conn.session(headers=[("wt-available-protocols", field)
                                    for field in fields])
        assert list((await worker.session()).connect.protocols) == protocols


async def test_worker_chooses_a_protocol(nginx, client, worker):
    worker.accept = [w.accept(protocol="chat.v2")]
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session(headers=[
            ("wt-available-protocols", '"chat.v1", "chat.v2"')])
        assert session.header("wt-protocol") == '"chat.v2"'
    await ngx.logged(protocol="chat.v2")


async def test_connect_may_be_longer_than_the_buffer(nginx, client, worker):
    ngx = nginx(passed(worker, "webtransport_buffer_size 4k;"),
                http="large_client_header_buffers 64 8k;")
    headers = [(f"x-{i}", "y" * 1000) for i in range(50)]
    async with client(ngx) as conn:
        session = await conn.session(headers=headers)
        backend = await worker.session()
        assert [(h.name, h.value.decode()) for h in backend.connect.headers
                if h.name.startswith("x-")] == headers
        stream = session.open_bidi()
        stream.write(b"x" * 20000, True)
        assert await backend.read_all(4) == b"x" * 20000


# ---- Accept and Reject ------------------------------------------------------


async def test_accept_adds_headers(nginx, client, worker):
    worker.accept = [w.accept(headers=[("x-a", b"1"), ("x-b", b"\xff"),
                                       ("x-a", b"2")])]
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        assert [(k, v) for k, v in session.headers
                if k.startswith(b"x-")] == [
            (b"x-a", b"1"), (b"x-b", b"\xff"), (b"x-a", b"2")]


@pytest.mark.parametrize("status", [0, 300, 404, 599])
async def test_reject_is_an_http_response(nginx, client, worker, status):
    worker.accept = [w.reject(status, [("x-why", b"because")], b"no!")]
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.connect().complete()
        assert session.status == (status or 403)
        assert session.header("x-why") == "because"
        assert session.body == b"no!"
        backend = await worker.session()
        closed = await backend.closed()
        assert closed.by == pb.Closed.WORKER
        await backend.end()
    await ngx.logged(status=str(status or 403), close_by="worker")


async def test_reject_without_body_gets_the_page_of_nginx(nginx, client,
                                                          worker):
    worker.accept = [w.reject(404)]
    ngx = nginx(passed(worker, "error_page 404 =410 /gone;")
                + "location = /gone { return 410 'gone'; }")
    async with client(ngx) as conn:
        session = await conn.connect().complete()
        assert session.status == 410


@pytest.mark.parametrize("body", [b"", b"no"])
@pytest.mark.parametrize("status", [408, 444, 494, 499])
async def test_statuses_that_nginx_uses_itself_become_400(nginx, client,
                                                          worker, status,
                                                          body):
    worker.accept = [w.reject(status, body=body)]
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        assert await conn.refused() == 400


async def test_reject_is_the_last_command(nginx, client, worker):
    worker.accept = [w.reject(403), w.accept(), w.datagram(b"x")]
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        assert await conn.refused() == 403


async def test_streams_before_accept_wait(nginx, client, worker):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        backend = await worker.session()
        stream = session.open_bidi()
        stream.write(b"early", True)
        session.send_datagram(b"early, too")
        await conn.ping()
        assert not backend.events
        backend.send(w.accept())
        await session.response()
        assert await backend.read_all(4) == b"early"
        assert (await backend.find("datagram")).data == b"early, too"


@streaming
async def test_ping_works_before_accept(nginx, client, worker):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        backend = await worker.session()
        await backend.sync()
        backend.send(w.accept())
        await session.response()


async def test_commands_behind_accept_in_one_batch(nginx, client, worker):
    worker.accept = [w.accept(), w.open_uni(7, b"hello", True),
                     w.datagram(b"hi")]
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        assert await (await session.accept_uni()).read_all() == b"hello"
        assert await session.datagram() == b"hi"


# ---- frames -----------------------------------------------------------------


@socket_only
async def test_commands_may_arrive_byte_by_byte(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        data = framed(pb.CommandBatch(commands=[
            w.open_bidi(5, b"one"), w.data_(5, b"two", True)])) + framed(b"")
        for i in range(len(data)):
            backend.write(data[i:i + 1])
            await backend.drain()
            await asyncio.sleep(0)
        stream = await session.accept_bidi()
        assert await stream.read_all() == b"onetwo"


async def test_many_frames_at_once(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        backend.send(w.open_bidi(5))
        for i in range(5000):
            backend.send(w.data_(5, b"%4d" % i))
        stream = await session.accept_bidi()
        data = await stream.read_exactly(20000)
        assert data == b"".join(b"%4d" % i for i in range(5000))


@protobuf
async def test_longest_frame(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        size = 65536 - len(pb.CommandBatch(commands=[
            w.open_bidi(5, bytes(65000))]).SerializeToString()) + 65000
        batch = pb.CommandBatch(commands=[w.open_bidi(5, bytes(size))])
        assert len(batch.SerializeToString()) == 65536
        backend.send(*batch.commands)
        stream = await session.accept_bidi()
        await stream.read_exactly(size)


@protobuf
async def test_unknown_commands_and_fields_are_ignored(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        # CommandBatch.commands with field 900, and CommandBatch field 901
        unknown = bytes.fromhex("a23802ffff")
        backend.send_message(b"\x1a" + bytes([len(unknown)]) + unknown
                             + bytes.fromhex("aa3800"))
        backend.send(w.command(7, detach=pb.Detach()))
        result = await backend.find("result")
        assert (result.id, result.status) == (7, UNIMPLEMENTED)
        backend.send(w.command(detach=pb.Detach()))
        await backend.sync()
        assert not backend.events


@streaming
async def test_events_share_frames(nginx, client, worker):
    """What happens in one turn of the event loop needs one write."""
    async with opened(nginx, client, worker) as (session, backend):
        before = backend.batches
        backend.send(*[w.open_uni(7 + 4 * i, b"x", True, id=i + 1)
                       for i in range(20)])
        await backend.find("result", id=20)
        assert backend.batches - before <= 3


# ---- streams ----------------------------------------------------------------


async def test_four_kinds_of_streams_at_once(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        bidi, uni = session.open_bidi(), session.open_uni()
        bidi.write(b"a" * 3000, True)
        uni.write(b"b" * 3000, True)
        backend.send(w.open_bidi(5, b"c" * 3000, True),
                     w.open_uni(7, b"d" * 3000, True))
        assert await backend.read_all(4) == b"a" * 3000
        assert await backend.read_all(6) == b"b" * 3000
        theirs = await session.accept_bidi()
        assert await theirs.read_all() == b"c" * 3000
        assert await (await session.accept_uni()).read_all() == b"d" * 3000
        theirs.write(b"e" * 3000, True)
        assert await backend.read_all(5) == b"e" * 3000
        backend.send(w.data_(4, b"f" * 3000, True))
        assert await bidi.read_all() == b"f" * 3000


async def test_nginx_picks_the_id_of_a_stream(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        backend.send(w.open_bidi(0, b"one", id=1), w.open_uni(0, b"two", id=2),
                     w.open_uni(0, b"three", True))
        first = await backend.find("result", id=1)
        second = await backend.find("result", id=2)
        assert first.status == second.status == OK
        assert first.stream_id >= 1 << 32 and first.stream_id & 3 == 1
        assert second.stream_id >= 1 << 32 and second.stream_id & 3 == 3
        backend.send(w.data_(first.stream_id, b"!", True))
        assert await (await session.accept_bidi()).read_all() == b"one!"
        assert await (await session.accept_uni()).read_exactly(3) == b"two"
        assert await (await session.accept_uni()).read_all() == b"three"


async def test_ids_of_the_worker_may_have_gaps(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        backend.send(w.open_bidi(5), w.open_bidi(1001), w.open_uni(4294967295),
                     w.data_(1001, b"x", True))
        await session.accept_bidi()
        assert await (await session.accept_bidi()).read_all() == b"x"
        await session.accept_uni()


async def test_worker_opens_more_than_the_client_allows(nginx, client,
                                                        worker):
    async with opened(nginx, client, worker,
                      streams=(2, 5)) as (session, backend):
        assert backend.connect.streams_bidi == 2
        assert backend.connect.streams_uni <= 3  # the others are HTTP/3's
        backend.send(*[w.open_bidi(5 + 4 * i, b"x") for i in range(4)])
        failed = [await backend.find("result") for _ in range(2)]
        assert [(r.id, r.status, r.stream_id) for r in failed] == [
            (0, EXHAUSTED, 13), (0, EXHAUSTED, 17)]

        # commands that crossed the answer
        backend.send(w.data_(13, b"more"), w.reset(17, 1))
        await backend.sync()

        session.conn.quic.grant_streams(bidi=3, uni=1)
        await session.conn.ping()
        credit = await backend.find("credit", stream_id=0)
        assert (credit.bidi, credit.uni, credit.bytes) == (3, 1, 0)
        backend.send(w.open_bidi(21, b"again", id=5))
        assert (await backend.find("result", id=5)).status == OK


async def test_push_stream(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        backend.send(w.data_(0, b"one"), w.data_(0, b"", id=1),
                     w.data_(0, b"two", id=2), w.data_(0, b"", True, id=3))
        stream = await session.accept_uni()
        assert await stream.read_exactly(18) == (
            b"\0\0\0\3one" b"\0\0\0\0" b"\0\0\0\3two")
        results = [await backend.find("result", id=i) for i in (1, 2, 3)]
        assert [r.status for r in results] == [OK, OK, INVALID]
        assert results[0].stream_id == results[1].stream_id >= 1 << 32

        stream.stop(7)
        assert (await backend.find("stop")).code == 7
        backend.send(w.data_(0, b"lost", id=4))
        assert (await backend.find("result", id=4)).status == PRECONDITION


async def test_push_stream_with_lines(nginx, client, worker):
    async with opened(nginx, client, worker, "webtransport_framing lines;"
                      ) as (session, backend):
        backend.send(w.data_(0, b"{}"), w.data_(0, b"[]"))
        stream = await session.accept_uni()
        assert await stream.read_exactly(6) == b"{}\n[]\n"


# ---- results ----------------------------------------------------------------


async def test_every_command_with_an_id_is_answered(nginx, client, worker):
    worker.accept = [w.accept(id=1)]
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        stream = session.open_bidi()
        stream.write(b"x")
        await backend.accept_stream()
        backend.send(w.data_(4, b"x", id=2), w.open_uni(7, b"y", id=3),
                     w.reset(7, 1, id=4), w.stop(4, 1, id=5),
                     w.datagram(b"d", id=6), w.ping(9, id=7), w.drain(id=8),
                     w.close(id=9), w.datagram(b"after", id=10))
        results = [await backend.expect("result", skip=("credit", "pong"))
                   for _ in range(9)]
        assert [r.id for r in results] == list(range(1, 10))
        assert {r.status for r in results} == {OK}
        assert [r.stream_id for r in results] == [0, 4, 7, 7, 4, 0, 0, 0, 0]
        await backend.expect("closed")
        await backend.end()
        assert not backend.events


async def test_failures_are_told_without_an_id(nginx, client, worker):
    worker.accept = [w.accept(stream_window=1000)]
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        uni = session.open_uni()
        uni.write(b"x")
        await backend.accept_stream()

        async def fails(status, command):
            backend.send(command)
            result = await backend.expect("result")
            assert (result.id, result.status) == (0, status)
            assert result.message

        await fails(RANGE, w.datagram(bytes(60000)))
        await fails(PRECONDITION, w.reset(6, 1))
        await fails(INVALID, w.data_(0, b"", True))
        await fails(INVALID, w.data_(0, b"", open=3))
        backend.send(w.open_bidi(5, b"", True))
        await fails(PRECONDITION, w.data_(5, b"after"))
        backend.send(w.open_uni(11, b"x"))
        await fails(PRECONDITION, w.stop(11, 1))


async def test_credit_without_window_fails(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        backend.send(w.credit(4, 100))
        assert (await backend.expect("result")).status == PRECONDITION


async def test_commands_that_crossed_the_end_are_ignored(nginx, client,
                                                         worker):
    async with opened(nginx, client, worker) as (session, backend):
        stream = session.open_bidi()
        stream.write(b"x")
        await backend.accept_stream()
        stream.reset(1)
        stream.stop(2)
        await backend.find("reset")
        await backend.find("stop")
        await session.conn.ping()
        backend.send(w.data_(4, b"late"), w.data_(4, b"", True),
                     w.reset(4, 1), w.stop(4, 2), w.data_(4, b"x", id=1))
        result = await backend.expect("result")
        assert (result.id, result.status) == (1, PRECONDITION)
        await backend.sync()
        assert not backend.events


@streaming
async def test_many_results_for_a_worker_that_does_not_read(nginx, client,
                                                            worker):
    """Answers are not heaped up: commands wait until there is room."""
    async with opened(nginx, client, worker) as (session, backend):
        backend.pause()
        count = 100000
        for i in range(0, count, 1000):
            backend.send(*[w.ping(n) for n in range(i, i + 1000)])
        with pytest.raises(TimeoutError):
            await backend.drain(0.5)
        backend.resume()
        await backend.sync(count)
        assert [event.pong.id for event in backend.events] == list(
            range(count))


# ---- liveness ---------------------------------------------------------------


@streaming
async def test_nginx_pings_a_silent_worker(nginx, client, worker):
    async with opened(nginx, client, worker, "webtransport_worker_timeout 1s;"
                      ) as (session, backend):
        backend.answer_pings = False
        ids = []
        for _ in range(3):
            ids.append((await backend.find("ping")).id)
            backend.send(w.command(pong=pb.Ping(id=ids[-1])))
        assert len(set(ids)) == 3
        backend.send(w.datagram(b"alive"))
        assert await session.datagram() == b"alive"


@streaming
async def test_a_worker_that_talks_is_not_pinged(nginx, client, worker):
    async with opened(nginx, client, worker,
                      "webtransport_worker_timeout 800ms;"
                      ) as (session, backend):
        backend.answer_pings = False
        for _ in range(15):
            backend.send(w.datagram(b"x"))
            await session.datagram()
            await asyncio.sleep(0.1)
        assert not [e for e in backend.events if e.WhichOneof("kind")]


# ---- credit -----------------------------------------------------------------


async def test_worker_gets_credit_as_the_client_reads(nginx, client, worker):
    accept = w.accept(notify=[pb.Accept.STREAM_CREDIT])
    async with opened(nginx, client, worker, accept=accept,
                      window=20000) as (session, backend):
        total = 500000
        credit = backend.connect.stream_window
        backend.send(w.open_bidi(5))
        sent = 0
        stream = await session.accept_bidi()
        task = asyncio.create_task(take(stream, total))
        while sent < total:
            size = min(credit, total - sent, 30000)
            if size == 0:
                event = await backend.find("credit", stream_id=5)
                assert event.bytes >= WINDOW // 2
                credit += event.bytes
                continue
            backend.send(w.data_(5, bytes(size)))
            sent += size
            credit -= size
        assert await task == bytes(total)


async def test_credit_is_exact(nginx, client, worker):
    """Whatever the worker sends: in the end it may send one window again."""
    accept = w.accept(notify=[pb.Accept.STREAM_CREDIT])
    async with opened(nginx, client, worker, accept=accept,
                      window=5000) as (session, backend):
        backend.send(w.open_bidi(5))
        stream = await session.accept_bidi()
        sent = granted = 0
        while sent < 300000:
            size = random.randrange(1, 20000)
            backend.send(w.data_(5, bytes(size)))
            sent += size
            await take(stream, size)
            await backend.sync()
            for event in list(backend.events):
                granted += event.credit.bytes
                backend.events.remove(event)
        assert WINDOW // 2 <= WINDOW + granted - sent <= WINDOW


async def test_credit_is_told_on_request_only(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        backend.send(w.open_bidi(5, bytes(60000)))
        backend.send(w.data_(5, bytes(60000)))
        stream = await session.accept_bidi()
        await take(stream, 120000)
        await backend.sync()
        assert not [e for e in backend.events if e.credit.bytes]


async def test_window_of_the_worker_stops_the_stream(nginx, client, worker):
    async with opened(nginx, client, worker,
                      accept=w.accept(stream_window=1000)
                      ) as (session, backend):
        stream, other = session.open_bidi(), session.open_uni()
        stream.write(b"a" * 2500, True)
        other.write(b"b" * 500, True)

        async def read(size):
            data = b""
            while len(data) < size:
                event = await backend.find("data", stream_id=4)
                assert not event.fin
                data += event.data
            assert data == b"a" * size

        await read(1000)
        assert await backend.read_all(6) == b"b" * 500
        await session.conn.ping()
        await backend.sync()
        assert not backend.events

        backend.send(w.credit(4, 600))
        await read(600)
        await session.conn.ping()
        await backend.sync()
        assert not backend.events

        backend.send(w.credit(4, 1 << 63), w.credit(4, (1 << 64) - 1))
        assert await backend.read_all(4) == b"a" * 900


async def test_reset_needs_no_credit(nginx, client, worker):
    async with opened(nginx, client, worker,
                      accept=w.accept(stream_window=10)
                      ) as (session, backend):
        stream = session.open_bidi()
        stream.write(b"a" * 100)
        assert (await backend.accept_stream()).stream_id == 4
        await session.conn.ping()
        stream.reset(5)
        assert (await backend.find("reset")).code == 5


@protobuf
@pytest.mark.parametrize("notify", [[], [pb.Accept.STREAM_CREDIT]],
                         ids=["blind", "told"])
async def test_overflow_blocks_the_worker(nginx, client, worker, notify):
    more = "webtransport_overflow block; webtransport_worker_timeout 500ms;"
    async with opened(nginx, client, worker, more,
                      accept=w.accept(notify=notify), window=10000
                      ) as (session, backend):
        data = os.urandom(3 << 20)
        backend.send(w.open_bidi(5))
        for pos in range(0, len(data), 60000):
            backend.send(w.data_(5, data[pos:pos + 60000]))
        backend.send(w.datagram(b"behind"))
        stream = await session.accept_bidi()

        # the worker cannot send, and is not blamed for its silence
        await asyncio.sleep(1.5)
        assert not session.datagrams and not backend.ended
        assert backend.unsent > 1 << 20

        assert await take(stream, len(data)) == data
        assert await session.datagram() == b"behind"


@pytest.mark.parametrize("end", ["stop", "close"])
async def test_end_of_a_stream_unblocks_the_worker(nginx, client, worker, end):
    async with opened(nginx, client, worker, window=10000
                      ) as (session, backend):
        backend.send(w.open_bidi(5, bytes(60000)))
        for _ in range(20):
            backend.send(w.data_(5, bytes(60000)))
        backend.send(w.open_uni(7, b"next", True))
        stream = await session.accept_bidi()
        stream.stop(1)
        if end == "close":
            stream.reset(1)
        assert await (await session.accept_uni()).read_all() == b"next"
        await backend.find("stop")


@pytest.mark.parametrize("how", ["directive", "accept"])
async def test_overflow_may_close_the_session(nginx, client, worker, how):
    more = ""
    accept = w.accept()
    if how == "directive":
        more = "webtransport_overflow close;"
    else:
        accept = w.accept(overflow=pb.Accept.CLOSE)
    async with opened(nginx, client, worker, more, accept, window=10000
                      ) as (session, backend):
        # nginx's QUIC takes 64 KB that the client does not take
        backend.send(w.open_bidi(5, bytes(60000)))
        backend.send(w.data_(5, bytes(60000)))
        await backend.sync()
        backend.send(w.data_(5, bytes(60000)))
        code, reason = await session.closed()
        assert code == 6
        closed = await backend.closed()
        assert (closed.by, closed.code) == (pb.Closed.LIMIT, 6)
        assert closed.reason.encode() == reason != b""


async def test_slow_stream_does_not_stop_others(nginx, client, worker):
    """A worker that honours its credit is never blocked."""
    async with opened(nginx, client, worker, window=10000
                      ) as (session, backend):
        backend.send(w.open_bidi(5, bytes(60000)))
        await session.accept_bidi()
        for i in range(50):
            backend.send(w.open_uni(7 + 4 * i, b"%d" % i, True))
            stream = await session.accept_uni()
            assert await stream.read_all() == b"%d" % i


# ---- framing ----------------------------------------------------------------

FRAMINGS = {"whole": pb.WHOLE, "length": pb.U32, "lines": pb.LINES}


def wire(framing, *messages):
    """Messages as they are on a stream."""
    if framing == "length":
        return b"".join(len(m).to_bytes(4, "big") + m for m in messages)
    if framing == "lines":
        return b"".join(m + b"\n" for m in messages)
    return b"".join(messages)


async def events_of(backend, stream_id):
    """(open, data, fin) of all events until the end of a stream."""
    found = []
    while not found or not found[-1][2]:
        event = await backend.find("data", stream_id=stream_id)
        found.append((event.open, event.data, event.fin))
    return found


@pytest.mark.parametrize("how", ["directive", "accept"])
async def test_whole_streams_are_messages(nginx, client, worker, how):
    more, accept = "webtransport_framing whole;", w.accept()
    if how == "accept":
        more, accept = "", w.accept(framing=pb.WHOLE)
    async with opened(nginx, client, worker, more, accept
                      ) as (session, backend):
        stream = session.open_bidi()
        await stream.write_split(b"a message in parts", fin=True, size=5)
        assert await events_of(backend, 4) == [
            (pb.BIDI, b"a message in parts", True)]
        backend.send(w.data_(4, b"an answer"))
        assert await stream.read_all() == b"an answer"

        empty = session.open_uni()
        empty.fin()
        assert await events_of(backend, 6) == [(pb.UNI, b"", True)]

        backend.send(w.open_uni(7, b"all of it"))
        assert await (await session.accept_uni()).read_all() == b"all of it"


@pytest.mark.parametrize("framing", ["length", "lines"])
async def test_messages_are_taken_apart(nginx, client, worker, framing):
    async with opened(nginx, client, worker,
                      f"webtransport_framing {framing};"
                      ) as (session, backend):
        messages = [b"one", b"", b"three" * 1000, b"4", b""]
        stream = session.open_bidi()
        stream.write(wire(framing, *messages), True)
        events = await events_of(backend, 4)
        assert [data for _, data, fin in events[:5]] == messages
        assert [e[0] for e in events] == [pb.BIDI] + [0] * (len(events) - 1)
        assert events[-1] == (0, b"", True)

        slow = session.open_uni()
        await slow.write_split(wire(framing, b"slow", b"er"), fin=True)
        assert await events_of(backend, 6) == [
            (pb.UNI, b"slow", False), (0, b"er", True)]


@pytest.mark.parametrize("framing", ["length", "lines"])
async def test_last_message_comes_with_fin(nginx, client, worker, framing):
    async with opened(nginx, client, worker,
                      f"webtransport_framing {framing};"
                      ) as (session, backend):
        stream = session.open_uni()
        stream.write(wire(framing, b"one", b"two"), True)
        assert await events_of(backend, 6) == [
            (pb.UNI, b"one", False), (0, b"two", True)]


@pytest.mark.parametrize("framing", ["length", "lines"])
async def test_empty_first_message_is_told_from_an_opening(nginx, client,
                                                           worker, framing):
    async with opened(nginx, client, worker,
                      f"webtransport_framing {framing};"
                      ) as (session, backend):
        stream = session.open_uni()
        stream.write(wire(framing, b"", b"x"), True)
        assert await events_of(backend, 6) == [
            (pb.UNI, b"", False), (0, b"", False), (0, b"x", True)]


async def test_last_line_may_be_open(nginx, client, worker):
    async with opened(nginx, client, worker, "webtransport_framing lines;"
                      ) as (session, backend):
        stream = session.open_uni()
        stream.write(b"one\ntwo", True)
        assert await events_of(backend, 6) == [
            (pb.UNI, b"one", False), (0, b"two", True)]


async def test_stream_without_messages(nginx, client, worker):
    async with opened(nginx, client, worker, "webtransport_framing length;"
                      ) as (session, backend):
        session.open_uni().fin()
        assert await events_of(backend, 6) == [(pb.UNI, b"", True)]


@pytest.mark.parametrize("framing", ["length", "lines"])
async def test_worker_sends_messages(nginx, client, worker, framing):
    async with opened(nginx, client, worker,
                      f"webtransport_framing {framing};"
                      ) as (session, backend):
        backend.send(w.open_bidi(5), w.data_(5, b"one"), w.data_(5, b""),
                     w.data_(5, b"two", True), w.open_uni(7, b"three"),
                     w.data_(7, fin=True))
        assert await (await session.accept_bidi()).read_all() == wire(
            framing, b"one", b"", b"two")
        assert await (await session.accept_uni()).read_all() == wire(
            framing, b"three")


async def test_line_feed_in_a_line_is_refused(nginx, client, worker):
    async with opened(nginx, client, worker, "webtransport_framing lines;"
                      ) as (session, backend):
        backend.send(w.open_uni(7), w.data_(7, b"a\nb"))
        result = await backend.expect("result")
        assert (result.status, result.stream_id) == (INVALID, 7)


@streaming
@pytest.mark.parametrize("framing", list(FRAMINGS))
@pytest.mark.parametrize("size", [1000, 70000, 1000000])
async def test_longest_message(nginx, client, worker, framing, size):
    more = f"""webtransport_framing {framing};
        webtransport_max_message_size {size};"""
    async with opened(nginx, client, worker, more) as (session, backend):
        data = random.randbytes(size).replace(b"\n", b" ")
        for _ in range(3):
            stream = session.open_uni()
            await stream.send(wire(framing, data), True)
        for stream_id in (6, 10, 14):
            assert (await events_of(backend, stream_id))[0][1] == data
        bad = session.open_bidi()
        bad.write(wire(framing, data + b"x"))
        assert await bad.until_stop() == app_to_h3(6)
        reset = await backend.find("reset")
        assert not reset.HasField("code")

        # the other direction goes on
        backend.send(w.data_(reset.stream_id, b"too long", True))
        assert (await bad.read_all()).strip(b"\0\n\x08") == b"too long"


@pytest.mark.parametrize("data", [b"\0", b"\0\0\0\5four"])
async def test_end_inside_of_a_message_is_a_reset(nginx, client, worker,
                                                  data):
    async with opened(nginx, client, worker, "webtransport_framing length;"
                      ) as (session, backend):
        stream = session.open_bidi()
        stream.write(wire("length", b"whole") + data, True)
        event = await backend.accept_stream()
        assert (event.data, event.fin) == (b"whole", False)
        assert not (await backend.find("reset")).HasField("code")


@pytest.mark.parametrize("framing", list(FRAMINGS))
async def test_reset_before_a_message_is_told(nginx, client, worker, framing):
    async with opened(nginx, client, worker,
                      f"webtransport_framing {framing};"
                      ) as (session, backend):
        stream = session.open_bidi()
        stream.write(b"\0\0\0")
        await session.conn.ping()
        await backend.sync()
        assert not backend.events
        stream.reset(3)
        event = await backend.expect("data")
        assert (event.open, event.data) == (pb.BIDI, b"")
        assert (await backend.expect("reset")).code == 3


@pytest.mark.parametrize("framing", list(FRAMINGS))
async def test_messages_of_many_streams(nginx, client, worker, framing):
    more = f"""webtransport_framing {framing};
        webtransport_max_message_size 100k; webtransport_buffer_size 16k;"""
    async with opened(nginx, client, worker, more) as (session, backend):
        backend.pause()
        messages = [random.randbytes(random.randrange(60000)).replace(
            b"\n", b" ") for _ in range(40)]
        for message in messages:
            stream = session.open_uni()
            stream.write(wire(framing, message), True)
        await session.conn.ping()
        backend.resume()
        for i, message in enumerate(messages):
            assert b"".join([
                data for _, data, _ in await events_of(backend, 6 + 4 * i)
            ]) == message


@pytest.mark.parametrize("framing", ["length", "lines"])
async def test_messages_and_the_window_of_the_worker(nginx, client, worker,
                                                     framing):
    """A message is delivered if there is any credit, and may overdraw it."""
    accept = w.accept(stream_window=10)
    async with opened(nginx, client, worker,
                      f"webtransport_framing {framing};", accept
                      ) as (session, backend):
        stream = session.open_uni()
        stream.write(wire(framing, b"12345", b"1234567890", b"x", b"y"), True)
        assert (await backend.accept_stream()).data == b"12345"
        assert (await backend.expect("data")).data == b"1234567890"
        await session.conn.ping()
        await backend.sync()
        assert not backend.events
        backend.send(w.credit(6, 5))
        await backend.sync()
        assert not backend.events
        backend.send(w.credit(6, 1))
        assert (await backend.expect("data")).data == b"x"
        backend.send(w.credit(6, 1))
        event = await backend.expect("data")
        assert event.data == b"y"
        if not event.fin:
            assert (await backend.expect("data")).fin


# ---- datagrams --------------------------------------------------------------


@streaming
async def test_datagrams_for_a_busy_worker_are_bounded(nginx, client, worker):
    """The oldest make room, and streams get their share of the buffer."""
    more = "webtransport_datagram_queue 16; webtransport_buffer_size 8k;"
    async with opened(nginx, client, worker, more) as (session, backend):
        backend.pause()
        stream = session.open_bidi()
        for i in range(3000):
            session.send_datagram(b"%04d" % i + bytes(996))
            if i % 50 == 0:
                stream.write(bytes(1000))
                await session.conn.ping()
        await session.conn.ping()
        backend.resume()
        numbers = []
        while not numbers or numbers[-1] != 2999:
            numbers.append(int((await backend.find("datagram")).data[:4]))
        assert numbers == sorted(set(numbers))
        assert len(numbers) < 2000
        total = sum(len(event.data.data) for event in backend.events)
        while total < 60000:
            total += len((await backend.find("data")).data)
        session.close()
        closed = await backend.closed()
        assert closed.counters.datagrams_in == 3000
        assert closed.counters.datagrams_dropped == 3000 - len(numbers)


async def test_datagram_longer_than_the_buffer(nginx, client, worker):
    async with opened(nginx, client, worker, "webtransport_buffer_size 4k;"
                      ) as (session, backend):
        stream = session.open_bidi()
        stream.write(bytes(10000))
        session.send_capsule(CAPSULE_DATAGRAM, bytes(8000))
        session.send_capsule(CAPSULE_DATAGRAM, bytes(8001))
        assert len((await backend.find("datagram")).data) == 8000
        assert len((await backend.find("datagram")).data) == 8001


# ---- the end ----------------------------------------------------------------


async def test_drain_passes_both_ways(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        session.drain_session()
        assert (await backend.expect("drain")).by == pb.Drain.CLIENT
        backend.send(w.drain())
        await session.next_capsule(CAPSULE_DRAIN)
        stream = session.open_bidi()
        stream.write(b"still works", True)
        assert await backend.read_all(4) == b"still works"


async def test_close_may_flush_first(nginx, client, worker):
    async with opened(nginx, client, worker, window=20000
                      ) as (session, backend):
        data = os.urandom(60000)
        backend.send(w.open_uni(7, data, True))
        backend.send(w.close(7, "done", flush_ms=10000))
        stream = await session.accept_uni()
        assert await stream.read_all() == data
        assert await session.closed() == (7, b"done")
        assert (await backend.closed()).by == pb.Closed.WORKER


@streaming
@pytest.mark.parametrize("how", ["shut", "kill"])
async def test_worker_may_leave_behind_its_close(nginx, client, worker, how):
    """It has said all it had to."""
    async with opened(nginx, client, worker, window=20000
                      ) as (session, backend):
        data = os.urandom(60000)
        backend.send(w.open_uni(7, data, True))
        backend.send(w.close(7, "done", flush_ms=10000))
        await backend.drain()
        getattr(backend, how)()
        stream = await session.accept_uni()
        assert await stream.read_all() == data
        assert await session.closed() == (7, b"done")


async def test_close_discards_what_is_queued(nginx, client, worker):
    async with opened(nginx, client, worker, window=20000
                      ) as (session, backend):
        backend.send(w.open_uni(7, bytes(60000), True), w.close(7, "done"))
        assert await session.closed() == (7, b"done")


async def test_flush_has_an_end(nginx, client, worker):
    async with opened(nginx, client, worker, window=1000
                      ) as (session, backend):
        backend.send(w.open_uni(7, bytes(60000), True),
                     w.close(7, "done", flush_ms=300))
        assert await session.closed() == (7, b"done")


async def test_closed_tells_all(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        stream = session.open_bidi()
        stream.write(b"12345")
        await backend.accept_stream()
        backend.send(w.open_uni(7, b"123", True), w.datagram(b"x"))
        await (await session.accept_uni()).read_all()
        session.send_datagram(b"y")
        await backend.find("datagram")
        await asyncio.sleep(0.1)
        session.close(3, "bye")
        closed = await backend.expect("closed", skip=("data",))
        assert closed.duration_ms >= 100
        counters = closed.counters
        assert (counters.streams_in, counters.streams_out) == (1, 1)
        assert (counters.bytes_in, counters.bytes_out) == (5, 3)
        assert (counters.datagrams_in, counters.datagrams_out) == (1, 1)
        await backend.end()
        assert not backend.events


@streaming
async def test_worker_that_reads_late_still_gets_the_end(nginx, client,
                                                         worker):
    """The connection outlives its session to deliver what was read."""
    async with opened(nginx, client, worker) as (session, backend):
        backend.pause()
        stream = session.open_uni()
        data = os.urandom(600000)
        sender = asyncio.create_task(stream.send(data, True))
        await asyncio.sleep(0.5)
        sender.cancel()
        session.close(3, "bye")
        await session.closed()
        await asyncio.sleep(0.5)
        backend.resume()
        closed = None
        received = b""
        while closed is None:
            event = await backend.event()
            if event.WhichOneof("kind") == "closed":
                closed = event.closed
            else:
                received += event.data.data
        assert (closed.by, closed.code) == (pb.Closed.CLIENT, 3)
        assert data.startswith(received) and received
        await backend.end()


# ---- much -------------------------------------------------------------------


@pytest.mark.kinds("unix", "tcp", "grpc", "unary", "http_backend")
async def test_bytes_are_the_same_on_the_other_side(nginx, client, worker,
                                                    kind, build):
    small = build.sanitized or kind in ("unary", "http_backend")
    size = (1 if small else 8) << 20
    async with opened(nginx, client, worker) as (session, backend):
        up, down = os.urandom(size), os.urandom(size)
        backend.send(w.open_uni(7))

        async def send_down():
            for pos in range(0, size, 50000):
                backend.send(w.data_(7, down[pos:pos + 50000]))
                await backend.drain(60)
            backend.send(w.data_(7, fin=True))

        async def receive_down():
            stream = await session.accept_uni()
            return hashlib.sha256(await stream.read_all(60)).digest()

        stream = session.open_bidi()
        _, _, received, digest = await asyncio.gather(
            stream.send(up, True, 60), send_down(), backend.read_all(4, 60),
            receive_down())
        assert received == up
        assert digest == hashlib.sha256(down).digest()


@streaming
async def test_worker_that_stops_reading_stops_the_client(nginx, client,
                                                          worker, build):
    """1 GiB is offered, memory stays flat."""
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.pause()
        streams = [session.open_uni() for _ in range(8)]
        before = ngx.rss()
        total = 1 << 30
        part = bytes(1 << 18)
        offered = 0
        for _ in range(100):
            for stream in streams:
                if stream.unacknowledged <= 1 << 19 and offered < total:
                    stream.write(part)
                    offered += len(part)
            await asyncio.sleep(0.01)
        acknowledged = offered - sum(s.unacknowledged for s in streams)
        assert acknowledged < 16 << 20
        if not build.sanitized:
            assert ngx.rss() - before < 16 << 20

        backend.resume()
        while (await backend.find("data")).stream_id != streams[-1].id // 4:
            if len(backend.events) > 100:
                break


@streaming
async def test_client_that_stops_reading_stops_the_worker(nginx, client,
                                                          worker, build):
    ngx = nginx(passed(worker))
    async with client(ngx, window=10000) as conn:
        session = await conn.session()
        backend = await worker.session()
        before = ngx.rss()
        backend.send(w.open_bidi(5))
        taken = 0
        with pytest.raises(TimeoutError):
            for _ in range((1 << 30) // 60000):
                backend.send(w.data_(5, bytes(60000)))
                await backend.drain(0.5)
                taken += 60000
        assert taken < 4 << 20
        if not build.sanitized:
            assert ngx.rss() - before < 4 << 20


@streaming
async def test_hundred_sessions_at_once(nginx, client, worker):
    ngx = nginx(passed(worker), connections=4096)
    async with contextlib.AsyncExitStack() as stack:
        conns = [await stack.enter_async_context(client(ngx))
                 for _ in range(10)]
        sessions = await asyncio.gather(*[
            conn.session() for conn in conns for _ in range(10)])

        async def echo(backend):
            event = await backend.accept_stream()
            data = event.data
            if not event.fin:
                data += await backend.read_all(event.stream_id)
            backend.send(w.data_(event.stream_id, data, True))

        backends = [await worker.session() for _ in sessions]
        tasks = [asyncio.create_task(echo(backend)) for backend in backends]
        answers = await asyncio.gather(*[
            session.echo(b"%d" % i * 1000) for i, session
            in enumerate(sessions)])
        assert answers == [b"%d" % i * 1000 for i in range(100)]
        await asyncio.gather(*tasks)
    await ngx.idle()


@socket_only
async def test_php_worker_serves_a_hundred_sessions(nginx, client, php_worker):
    await echo_hundred_times(nginx(passed(php_worker), connections=4096),
                             client)


@socket_only
async def test_python_worker_serves_a_hundred_sessions(nginx, client,
                                                       python_worker):
    await echo_hundred_times(nginx(passed(python_worker), connections=4096),
                             client)


@socket_only
async def test_500_sessions_of_a_worker_with_a_short_backlog(nginx, client,
                                                             php_worker):
    """PHP's backlog is 32: connect() has to be tried again."""
    ngx = nginx(passed(php_worker), connections=8192,
                http="webtransport_max_sessions 100;")
    async with contextlib.AsyncExitStack() as stack:
        conns = [await stack.enter_async_context(client(ngx))
                 for _ in range(10)]
        for conn in conns:
            await conn.settings()
        sessions = [conn.connect("/echo") for conn in conns
                    for _ in range(50)]
        await asyncio.gather(*[session.response(TIMEOUT * 3)
                               for session in sessions])
        assert {session.status for session in sessions} == {200}
        answers = await asyncio.gather(*[session.echo(b"%d" % i)
                                         for i, session
                                         in enumerate(sessions)])
        assert answers == [b"%d" % i for i in range(500)]
    assert "[error]" not in re.sub(r".*stream cancellation.*", "",
                                   ngx.error_log())
    await ngx.idle()


# ---- balancers --------------------------------------------------------------


async def counts(ngx, client, workers, count, path="/{}"):
    async with client(ngx) as conn:
        for i in range(count):
            await conn.session(path.format(i))
    return [len(worker.sessions) for worker in workers]


@streaming
async def test_round_robin(nginx, client, workers):
    three = [await workers(), await workers(), await workers(tcp=True)]
    ngx = nginx(passed(three[0].passed_as("workers")), http=upstream(
        server(three[0]), server(three[1], "weight=2"), server(three[2])))
    assert await counts(ngx, client, three, 12) == [3, 6, 3]
    await ngx.logged(12, status="200")
    assert {line["backend"] for line in ngx.access_log()} == {
        worker.address for worker in three}


@streaming
async def test_least_conn(nginx, client, workers):
    two = [await workers(), await workers()]
    ngx = nginx(passed(two[0].passed_as("workers")), http=upstream(
        *map(server, two), more="least_conn;"))
    async with client(ngx) as conn:
        two[0].accept = [w.accept(headers=[("worker", b"0")])]
        sessions = [await conn.session() for _ in range(4)]
        assert [len(worker.sessions) for worker in two] == [2, 2]

        # those of the first worker end: the next two are for it
        for session in sessions:
            if session.header("worker"):
                session.close()
                await session.closed()
        for _ in range(2):
            await conn.session()
        assert [len(worker.sessions) for worker in two] == [4, 2]


@streaming
async def test_hash(nginx, client, workers):
    three = [await workers() for _ in range(3)]
    ngx = nginx(passed(three[0].passed_as("workers")), http=upstream(
        *map(server, three), more="hash $uri consistent;"))
    assert sorted(await counts(ngx, client, three, 6, "/same")) == [0, 0, 6]


@streaming
async def test_max_conns(nginx, client, workers):
    two = [await workers(), await workers()]
    ngx = nginx(passed(two[0].passed_as("workers")), http=upstream(
        server(two[0], "max_conns=2"), server(two[1], "max_conns=1")))
    async with client(ngx) as conn:
        sessions = [await conn.session() for _ in range(3)]
        assert [len(worker.sessions) for worker in two] == [2, 1]
        assert await conn.refused() == 502
        sessions[0].close()
        await sessions[0].closed()
        await conn.ping()
        await conn.session()


@socket_only
async def test_variables_of_the_upstream(nginx, client, worker, socket_dir):
    absent = socket_dir / "absent"
    log = "%DIR%/upstream.log"
    ngx = nginx(passed("workers", f"access_log {log} up;"), http=upstream(
        f"server unix:{absent};", server(worker, "backup"))
        + "log_format up '$upstream_addr|$upstream_status|"
          "$upstream_connect_time|$upstream_header_time|"
          "$upstream_response_time|$upstream_bytes_sent|"
          "$upstream_bytes_received|$webtransport_backend';")
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        stream = session.open_bidi()
        stream.write(bytes(10000), True)
        await backend.read_all(4)
        backend.send(w.data_(4, bytes(20000), True))
        await stream.read_all()
        session.close()
        await backend.end()
    path = ngx.dir / "upstream.log"
    await ngx.until(path.read_text, "the access log")
    fields = path.read_text().strip().split("|")
    address, status, connect, header, response, sent, received, name = fields
    assert address == f"unix:{absent}, {worker.address}"
    assert status == "502, 200"
    assert re.fullmatch(r"-, 0\.\d{3}", connect)
    assert re.fullmatch(r"-, 0\.\d{3}", header)
    assert re.fullmatch(r"0\.000, \d\.\d{3}", response)
    assert 10000 < int(sent.split(", ")[1]) < 11000
    assert 20000 < int(received.split(", ")[1]) < 21000
    assert name == worker.address


async def test_flush_does_not_wait_for_other_sessions(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx, window=5000) as conn:
        session = await conn.session()
        closing = await worker.session()
        other = await conn.session()
        stuck = await worker.session()
        stuck.send(w.open_uni(7, bytes(30000)))     # which nobody reads
        await other.accept_uni()
        closing.send(w.close(1, "bye", flush_ms=60000))
        assert await session.closed() == (1, b"bye")
