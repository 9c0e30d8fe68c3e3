"""Batches, over gRPC and over HTTP: their order, what is tried again and what
is not, and what a worker without a memory is told.  What sessions do over
batches is in test_backend*.py."""

import asyncio
import os
import re
import time

import pytest

from lib import worker as w
from lib import worker_grpc, worker_http
from lib.client import TIMEOUT
from lib.sessions import echoed, ended, opened
from lib.wire import *
from lib.worker import passed, pb, server, upstream
from lib.worker_batch import POLL

WORKER_LOST, PROTOCOL = 8, 10

OK, INVALID, EXHAUSTED, RANGE = 0, 3, 8, 11

pytestmark = pytest.mark.kinds("unary", "http_backend")

SOON = "webtransport_read_timeout 400ms; "

# what a worker may do instead of an answer: by kind of worker

UNAVAILABLE = {"unary": worker_grpc.status(14, "down"),
               "http_backend": worker_http.reply(503, b"down")}
INTERNAL = {"unary": worker_grpc.status(13, "bug"),
            "http_backend": worker_http.reply(500, b"bug")}
SILENCE = {"unary": worker_grpc.silence,
           "http_backend": worker_http.silence}
GARBAGE = {"unary": worker_grpc.answer(b"\x1a\x7f"),
           "http_backend": worker_http.reply(200, b'{"commands": [{')}


def quiet(session):
    """No polls: calls are what the client makes of them."""
    session.poll = False
    return session


def kinds(call):
    """The kinds of events in a batch, without those that polls cause."""
    return [event.WhichOneof("kind") for event in call.batch.events
            if event.pong.id != POLL]


# ---- the batch --------------------------------------------------------------


async def test_every_batch_tells_its_session(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        await echoed(session, backend)
        session.send_datagram(b"x")
        await backend.find("datagram")
        session.close(1, "bye")
        await backend.closed()
        calls = backend.calls
        assert {call.batch.session_id for call in calls} == {backend.id}
        assert sorted(call.seq for call in calls) == list(
            range(1, len(calls) + 1))
        assert calls[0].kinds == ["connect"]
        assert calls[-1].kinds[-1] == "closed"


async def test_context_of_a_session(nginx, client, worker):
    worker.accept = [w.accept(session=pb.UpdateRequest(
        user_id="u1", meta={"room": "7", "role": "admin"}))]
    more = 'webtransport_user "$arg_user"; webtransport_node n1;'
    ngx = nginx(passed(worker, more))
    async with client(ngx) as conn:
        session = await conn.session("/?user=u0")
        backend = quiet(await worker.session())
        context = backend.calls[0].batch.context
        assert (context.user_id, dict(context.meta)) == ("u0", {})
        assert (context.location, context.node) == ("/", "n1")

        stream = session.open_bidi()
        stream.write(b"1")
        await backend.accept_stream()
        context = backend.calls[-1].batch.context
        assert context.user_id == "u1"
        assert dict(context.meta) == {"room": "7", "role": "admin"}

        backend.send(w.command(5, update=pb.UpdateRequest(
            user_id="u2", meta={"room": "", "role": "", "color": "red"})))
        assert (await backend.find("result", id=5)).status == OK
        context = backend.calls[-1].batch.context
        assert context.user_id == "u2"
        assert dict(context.meta) == {"color": "red"}

        session.send_datagram(b"x")
        await backend.find("datagram")
        session.close()
        await backend.closed()
        for call in backend.calls[-2:]:
            assert call.batch.context == pb.Context(
                user_id="u2", meta={"color": "red"}, location="/", node="n1")


async def test_update_keeps_what_it_does_not_name(nginx, client, worker):
    worker.accept = [w.accept(session=pb.UpdateRequest(
        user_id="u1", meta={"a": "1", "b": "2"}))]
    async with opened(nginx, client, worker) as (session, backend):
        backend.send(w.command(5, update=pb.UpdateRequest(meta={"b": "3"})))
        await backend.find("result", id=5)
        context = backend.calls[-1].batch.context
        assert (context.user_id, dict(context.meta)) == (
            "u1", {"a": "1", "b": "3"})


async def test_meta_has_a_limit(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        def update(id, **meta):
            return w.command(id, update=pb.UpdateRequest(meta=meta))

        backend.send(update(5, a="x" * 4000), update(6, b="y" * 200))
        assert (await backend.find("result", id=5)).status == OK
        assert (await backend.find("result", id=6)).status in (
            EXHAUSTED, RANGE, INVALID)
        assert dict(backend.calls[-1].batch.context.meta) == {"a": "x" * 4000}
        backend.send(update(7, a="", b="y" * 200))
        assert (await backend.find("result", id=7)).status == OK
        assert dict(backend.calls[-1].batch.context.meta) == {"b": "y" * 200}


@pytest.mark.parametrize("path, name", [
    ("/chat/1", "/chat/"), ("/exact", "/exact"), ("/x.wt", r"\.wt$")])
async def test_location_in_the_context(nginx, client, worker, path, name):
    more = passed(worker).removeprefix("location / ")
    ngx = nginx(f"location /chat/ {more} location = /exact {more} "
                rf"location ~ \.wt$ {more}")
    async with client(ngx) as conn:
        await conn.session(path)
        backend = await worker.session()
        assert backend.calls[0].batch.context.location == name


async def test_node_is_the_host_by_default(nginx, client, worker):
    async with opened(nginx, client, worker) as (_, backend):
        assert backend.calls[0].batch.context.node == os.uname().nodename


# ---- order ------------------------------------------------------------------


async def test_one_call_at_a_time(nginx, client, worker):
    """What comes meanwhile goes into the next batch."""
    async with opened(nginx, client, worker) as (session, backend):
        quiet(backend).hold = True
        first = session.open_uni()
        first.write(b"a")
        await backend.accept_stream()
        count = len(backend.calls)
        first.write(b"b", True)
        second = session.open_bidi()
        second.write(b"c", True)
        for _ in range(5):
            await session.conn.ping()
        assert len(backend.calls) == count
        backend.send(w.datagram(b"answer"))
        assert await session.datagram() == b"answer"
        await backend.find("data", data=b"b", fin=True)
        await backend.find("data", data=b"c", fin=True)
        assert len(backend.calls) == count + 1


async def test_datagrams_have_a_call_of_their_own(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        quiet(backend).hold = True
        session.open_uni().write(b"a")
        await backend.accept_stream()
        count = len(backend.calls)
        for i in range(3):
            session.send_datagram(b"%d" % i)
            assert (await backend.find("datagram")).data == b"%d" % i
        assert [call.kinds for call in backend.calls[count:]] == [
            ["datagram"]] * 3


async def test_one_call_of_datagrams_at_a_time(nginx, client, worker):
    """The oldest make room while the worker thinks."""
    more = "webtransport_datagram_queue 16; webtransport_buffer_size 8k;"
    async with opened(nginx, client, worker, more) as (session, backend):
        backend.pause()
        for i in range(500):
            session.send_datagram(b"%04d" % i + bytes(996))
            if i % 20 == 0:
                await session.conn.ping()
        await session.conn.ping()
        backend.resume()
        numbers = []
        while not numbers or numbers[-1] != 499:
            numbers.append(int((await backend.find("datagram")).data[:4]))
        assert numbers == sorted(set(numbers))
        assert len(numbers) < 200
        session.close()
        closed = await backend.closed()
        assert closed.counters.datagrams_dropped == 500 - len(numbers)


async def test_worker_that_thinks_stops_the_client(nginx, client, worker,
                                                   build):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.pause()
        before = ngx.rss()
        stream = session.open_uni()
        data = os.urandom(2 << 20)
        sender = asyncio.create_task(stream.send(data, True))
        await asyncio.sleep(0.5)
        assert not sender.done()
        if not build.sanitized:
            assert ngx.rss() - before < 2 << 20
        backend.resume()
        assert await backend.read_all(6, TIMEOUT * 3) == data
        await sender


async def test_session_without_events_makes_no_calls(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        quiet(backend)
        await backend.sync()
        count = len(backend.calls)
        await asyncio.sleep(0.5)
        assert len(backend.calls) == count


async def test_client_leaves_while_the_worker_thinks(nginx, client, worker):
    """Closed is the last batch, and the answer to the one before is void."""
    async with opened(nginx, client, worker) as (session, backend):
        quiet(backend).hold = True
        stream = session.open_bidi()
        stream.write(b"a")
        await backend.accept_stream()
        session.close(3, "bye")
        await session.closed()
        await session.conn.ping()
        backend.send(w.data_(4, b"too late"), w.close(9))
        closed = await backend.closed()
        assert (closed.by, closed.code) == (pb.Closed.CLIENT, 3)
        await backend.end()
        seqs = [call.seq for call in backend.calls]
        assert seqs == list(range(1, len(seqs) + 1))


async def test_answers_need_no_address(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        backend.address = False
        await echoed(session, backend)


@pytest.mark.parametrize("address", [
    pb.CommandBatch(seq=7777), pb.CommandBatch(session_id="x" * 22)],
    ids=["seq", "session"])
async def test_answer_to_another_batch_is_refused(nginx, client, worker,
                                                  address):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        backend.address = False
        backend.send_message(address.SerializeToString())
        session.open_uni().write(b"x")
        assert (await session.closed())[0] in (WORKER_LOST, PROTOCOL)
    await ngx.wait_log(r"\[error\].*webtransport session")


# ---- tried again ------------------------------------------------------------

RETRIED = {
    "unavailable": UNAVAILABLE,
    "silent": SILENCE,
    "aborted": {"unary": worker_grpc.status(10)},
    "cancelled": {"unary": worker_grpc.status(1)},
    "deadline": {"unary": worker_grpc.status(4)},
    "429": {"http_backend": worker_http.reply(429)},
    "502": {"http_backend": worker_http.reply(502)},
    "504": {"http_backend": worker_http.reply(504)},
    "reset": {"http_backend": worker_http.lost},
    "closed": {"http_backend": worker_http.raw()},
    "half a head": {"http_backend": worker_http.raw(b"HTTP/1.1 200 OK\r\nCo")},
    "half a body": {"http_backend": worker_http.raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{}")},
    "half a chunk": {"http_backend": worker_http.raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}")},
}

NOT_RETRIED = {
    **{f"status {code}": {"unary": worker_grpc.status(code)}
       for code in (2, 3, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16)},
    **{f"{code}": {"http_backend": worker_http.reply(code)}
       for code in (301, 400, 401, 403, 404, 405, 409, 413, 500, 501, 505)},
    "malformed": GARBAGE,
    "too long": {"unary": worker_grpc.answer(bytes(70000)),
                 "http_backend": worker_http.reply(200, b" " * 600000)},
}


def faults(table):
    return pytest.mark.parametrize(
        "kind, fault", [pytest.param(kind, table[name][kind],
                                     id=f"{kind}-{name}")
                        for name in table for kind in table[name]])


@faults(RETRIED)
async def test_failures_that_are_retried(nginx, client, worker, fault):
    """The same batch, later; the client notices nothing."""
    ngx = nginx(passed(worker, SOON))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()
        await conn.ping()
        before = len(worker.calls)
        worker.faults.extend([fault, fault])
        stream = session.open_bidi()
        stream.write(b"once", True)
        await worker.next_calls(before + 1)
        backend.send(w.data_(4, b"only", True))
        assert await stream.read_all() == b"only"
        assert await backend.read_all(4) == b"once"
        calls = worker.calls[before:]
        assert len({call.seq for call in calls[:3]}) == 1
        assert calls[0].message == calls[1].message == calls[2].message
        assert calls[2].time - calls[0].time > 0.01    # one may be at once
        assert not session.ended
    await ngx.idle()


@faults(RETRIED)
async def test_failures_before_accept_are_told(nginx, client, worker, fault,
                                               kind):
    """At once: the client may try again by itself."""
    ngx = nginx(passed(worker, SOON + "webtransport_next_upstream off;"))
    async with client(ngx) as conn:
        worker.faults.append(fault)
        assert await conn.refused() in (409, 429, 502, 503, 504)
        assert all("closed" in call.kinds for call in worker.calls[1:])
        session = await conn.session()
        await echoed(session, await worker.session())
    await ngx.wait_log(r"\[error\].*webtransport session ")


@faults(NOT_RETRIED)
async def test_failures_that_end_the_session(nginx, client, worker, fault):
    ngx = nginx(passed(worker, SOON))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        other = await conn.session()
        survivor = quiet(await worker.session())
        await backend.sync()
        await survivor.sync()
        before = len(worker.calls)
        worker.faults.append(fault)
        session.open_bidi().write(b"x")
        failed = (await worker.next_calls(before + 1))[before]
        await ended(ngx, session, WORKER_LOST, "", "worker_lost")

        # the worker is told of the end, and not again of that batch
        assert (await backend.closed()).by == pb.Closed.WORKER_LOST
        assert failed.seq not in {call.seq for call in backend.calls}
        await echoed(other, survivor)
    await ngx.idle()


@faults(NOT_RETRIED)
async def test_failures_that_a_session_survives(nginx, client, worker, fault):
    ngx = nginx(passed(worker, SOON + "webtransport_unary_error continue;"))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()
        worker.faults.append(fault)
        lost = session.open_uni()
        lost.write(b"lost", True)
        await ngx.wait_log(rf"\[error\].*{re.escape(backend.id)}: ")
        seq = worker.calls[-1].seq
        await echoed(session, backend)
        assert not [e for e in backend.events if e.data.data == b"lost"]
        assert seq not in {call.seq for call in backend.calls}
        assert seq + 1 in {call.seq for call in backend.calls}


@pytest.mark.parametrize("unary_error", ["close", "continue"])
async def test_retries_have_an_end(nginx, client, worker, kind, unary_error):
    more = f"""webtransport_unary_timeout 1s;
        webtransport_unary_error {unary_error};"""
    ngx = nginx(passed(worker, more))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()
        before = len(worker.calls)
        worker.faults.extend([UNAVAILABLE[kind]] * 100)
        start = time.monotonic()
        session.open_uni().write(b"x", True)
        await ngx.wait_log(rf"\[error\].*{re.escape(backend.id)}: .*given up")
        assert 0.5 < time.monotonic() - start < 5
        tries = [call for call in worker.calls[before:]
                 if call.seq == worker.calls[before].seq]
        worker.faults.clear()
        assert 2 <= len(tries) < 30
        gaps = [b.time - a.time for a, b in zip(tries, tries[1:])]
        assert max(gaps) >= 2 * gaps[0]
        if unary_error == "close":
            assert (await session.closed())[0] == WORKER_LOST
        else:
            await echoed(session, backend)


async def test_commands_of_a_batch_run_once(nginx, client, worker, kind):
    """The answer was lost on its way; the worker gives it again."""
    ngx = nginx(passed(worker, SOON))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()

        async def late(call):
            await worker.answer(call)
            await SILENCE[kind](call)

        worker.faults.append(late)
        before = len(worker.calls)
        stream = session.open_bidi()
        stream.write(b"x")
        await worker.next_calls(before + 1)
        backend.send(w.data_(4, b"once"), w.datagram(b"once"))
        assert await session.datagram() == b"once"
        backend.send(w.data_(4, b"!", True))
        stream.write(b"y")
        assert await stream.read_all() == b"once!"
        assert not session.datagrams
        seqs = [call.seq for call in worker.calls]
        assert len(seqs) == len(set(seqs)) + 1
        await backend.find("data", data=b"y")
        assert [e.data.data for e in backend.events] == [b"x"]


async def test_events_meanwhile_are_not_part_of_a_retry(nginx, client, worker,
                                                        kind):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()
        worker.faults.extend([UNAVAILABLE[kind]] * 2)
        before = len(worker.calls)
        stream = session.open_uni()
        stream.write(b"first")
        await worker.next_calls(before + 1)
        stream.write(b"second", True)
        assert (await backend.accept_stream()).data == b"first"
        event = await backend.find("data")
        assert (event.data, event.fin) == (b"second", True)


@pytest.mark.parametrize("cause", ["unavailable", "internal", "silent",
                                   "garbage"])
async def test_datagrams_are_not_tried_again(nginx, client, worker, kind,
                                             cause):
    fault = {"unavailable": UNAVAILABLE, "internal": INTERNAL,
             "silent": SILENCE, "garbage": GARBAGE}[cause][kind]
    ngx = nginx(passed(worker, SOON))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()
        worker.faults.append(fault)
        before = len(worker.calls)
        session.send_datagram(b"lost")
        await worker.next_calls(before + 1)
        await echoed(session, backend)
        if cause == "silent":
            await asyncio.sleep(0.5)
        session.send_datagram(b"next")
        assert (await backend.find("datagram")).data == b"next"
        assert not [e for e in backend.events
                    if e.WhichOneof("kind") == "datagram"]


# ---- Closed -----------------------------------------------------------------


async def test_closed_waits_for_a_worker_that_is_down(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()
        await worker.stop()
        session.close(3, "bye")
        await session.closed()
        await ngx.wait_log(r"connect\(\) to .* failed")
        await worker.start()
        closed = await backend.closed()
        assert (closed.by, closed.code) == (pb.Closed.CLIENT, 3)
    await ngx.idle()


async def test_closed_is_repeated_until_it_is_answered(nginx, client, worker,
                                                       kind):
    ngx = nginx(passed(worker, SOON))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()
        worker.faults.extend([UNAVAILABLE[kind], SILENCE[kind]])
        before = len(worker.calls)
        session.close(3, "bye")
        assert (await backend.closed()).reason == "bye"
        await backend.end()
        calls = worker.calls[before:]
        assert len(calls) == 3
        assert {call.message for call in calls} == {calls[0].message}


async def test_closed_is_given_up(nginx, client, worker):
    ngx = nginx(passed(worker, "webtransport_unary_timeout 500ms;"))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()
        await worker.stop()
        session.close(3, "bye")
        await session.closed()
        await ngx.wait_log(rf"\[error\].*{re.escape(backend.id)}: .*Closed.*"
                           r"given up")
    await ngx.idle()


async def test_exit_while_closed_waits(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()
        await worker.stop()
        session.close()
        await session.closed()
        await ngx.wait_log(r"connect\(\) to .* failed")
    # the fixture stops nginx and looks for what is left in its log
    start = time.monotonic()
    ngx.stop()
    assert time.monotonic() - start < TIMEOUT


async def test_no_closed_for_a_session_without_connect(nginx, client, worker):
    await worker.stop()
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        assert await conn.refused() == 502
        await worker.start()
        session = await conn.session()
        await echoed(session, await worker.session())
    assert {call.batch.session_id for call in worker.calls} == {
        worker.sessions[0].id}


# ---- many workers -----------------------------------------------------------


async def test_any_worker_gets_any_batch(nginx, client, workers):
    one = await workers()
    two = await workers(pool=one)
    ngx = nginx(passed(one.passed_as("workers")), http=upstream(
        server(one), server(two)))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await one.session()
        for _ in range(5):
            await echoed(session, backend)
        assert len(one.calls) > 3 and len(two.calls) > 3
        assert sorted(call.seq for call in one.calls + two.calls) == list(
            range(1, len(one.calls + two.calls) + 1))


async def test_worker_of_a_pool_dies(nginx, client, workers):
    one = await workers()
    two = await workers(pool=one)
    ngx = nginx(passed(one.passed_as("workers")), http=upstream(
        server(one, "max_fails=0"), server(two, "max_fails=0")))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await one.session()
        await echoed(session, backend)
        await backend.settle()
        await two.stop()
        for _ in range(5):
            await echoed(session, backend)
        await two.start()
        await backend.settle()
        await one.stop()
        for _ in range(5):
            await echoed(session, backend)


async def test_next_worker_for_the_first_batch(nginx, client, workers, kind):
    one, two = await workers(), await workers()
    one.faults.extend([UNAVAILABLE[kind]] * 2)
    off = passed(one.passed_as("workers"), "webtransport_next_upstream off;")
    ngx = nginx(passed(one.passed_as("workers")) + off.replace("/", "/off", 1),
                http=upstream(server(one, "max_fails=0"),
                              server(two, "backup")))
    async with client(ngx) as conn:
        session = await conn.session()
        await two.session()
        assert len(one.calls) == 1
        session.close()
        await session.closed()
        one.faults.clear()
        one.faults.extend([UNAVAILABLE[kind]] * 100)
        assert await conn.refused("/off") == 503


async def test_sessions_at_once(nginx, client, worker):
    ngx = nginx("webtransport_max_sessions 100;" + passed(worker))
    async with client(ngx) as conn:
        sessions = await asyncio.gather(*[conn.session() for _ in range(20)])

        async def echo(backend):
            event = await backend.accept_stream()
            data = event.data
            if not event.fin:
                data += await backend.read_all(event.stream_id)
            backend.send(w.data_(event.stream_id, data, True))

        backends = [await worker.session() for _ in sessions]
        tasks = [asyncio.create_task(echo(backend)) for backend in backends]
        answers = await asyncio.gather(*[
            session.echo(b"%d" % i * 1000)
            for i, session in enumerate(sessions)])
        assert answers == [b"%d" % i * 1000 for i in range(20)]
        await asyncio.gather(*tasks)
    await ngx.idle()


# ---- gRPC -------------------------------------------------------------------


@pytest.mark.kinds("unary")
async def test_metadata_of_a_call(nginx, client, worker):
    more = """webtransport_set_header X-User $arg_user;
        webtransport_read_timeout 7s;"""
    ngx = nginx(passed(worker, more))
    async with client(ngx) as conn:
        session = await conn.session("/?user=me")
        backend = await worker.session()
        await echoed(session, backend)
        for call in backend.calls:
            assert call.header("x-user") == "me"
            assert call.header("user-agent").startswith("nginx-webtransport/")
            assert 0 < call.time_left <= 7


@pytest.mark.kinds("unary")
async def test_calls_share_a_connection(nginx, client, workers):
    worker = await workers(tcp=True)    # with ports, to tell connections
    ngx = nginx("webtransport_max_sessions 100;" + passed(worker))
    async with client(ngx) as conn:
        for _ in range(10):
            session = await conn.session()
            await echoed(session, await worker.session())
        assert len({call.peer for call in worker.calls}) == 1


@pytest.mark.kinds("unary")
@pytest.mark.parametrize("code, status", [
    (1, 502), (2, 502), (3, 400), (4, 504), (5, 404), (6, 409), (7, 403),
    (8, 429), (9, 400), (10, 409), (11, 400), (12, 501), (13, 502), (14, 503),
    (15, 502), (16, 401)])
async def test_status_before_accept(nginx, client, worker, code, status):
    worker.faults.append(worker_grpc.status(code, "because"))
    ngx = nginx(passed(worker, "webtransport_next_upstream off;"))
    async with client(ngx) as conn:
        assert await conn.refused() == status
    line = await ngx.logged(status=str(status))
    assert line["close_by"] == ("worker" if status < 500 else "worker_lost")
    await ngx.wait_log(rf"\[error\].*{re.escape(line['session_id'])}: "
                       rf".*\b{code}\b.*because")
