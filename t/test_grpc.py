"""gRPC and HTTP/2: what a call looks like, who shares a connection, and peers
that misbehave.  What sessions do over gRPC is in test_backend*.py."""

import asyncio
import contextlib
import os
import random
import re
import resource
import signal

import pytest

from lib import worker as w
from lib.h2_server import (
    CANCEL, ENHANCE_YOUR_CALM, HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE,
    INTERNAL_ERROR, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, NO_ERROR,
    REFUSED_STREAM, SESSION, prefixed)
from lib.sessions import echoed, ended, opened, unreachable
from lib.wire import *
from lib.worker import passed, pb, server, upstream

LIMIT, TIMEOUT_CODE, WORKER_LOST, PROTOCOL = 6, 4, 8, 10

NO_ANSWER = "webtransport_accept_timeout 300ms;"

pytestmark = pytest.mark.kinds("h2")


def by_status(*, ok, other):
    """gRPC status codes, and what becomes of them."""
    return [(code, ok.get(code, other)) for code in range(17)]


# ---- the call ---------------------------------------------------------------


@pytest.mark.parametrize("tcp", [False, True], ids=["local", "port"])
async def test_request(nginx, client, workers, tcp):
    worker = await workers(tcp=tcp)
    async with opened(nginx, client, worker) as (_, call):
        assert call.header(":method") == "POST"
        assert call.header(":scheme") == "http"
        assert call.header(":path") == SESSION
        assert call.header(":authority") == (worker.address if tcp
                                             else "localhost")
        assert call.header("content-type") == "application/grpc"
        assert call.header("te") == "trailers"
        assert re.fullmatch(r"nginx-webtransport/[\w.]+",
                            call.header("user-agent"))
        assert call.header("grpc-encoding") is None
        assert call.header("grpc-accept-encoding") in (None, "identity")
        assert call.header("grpc-timeout") is None
        names = [name for name, _ in call.headers]
        regular = [name for name in names if not name.startswith(":")]
        assert names == names[:len(names) - len(regular)] + regular
        assert "host" not in names and "content-length" not in names


async def test_authority_is_the_name_of_the_upstream(nginx, client, worker):
    ngx = nginx(passed(worker.passed_as("workers")),
                http=upstream(server(worker)))
    async with client(ngx) as conn:
        await conn.session()
        assert (await worker.session()).header(":authority") == "workers"


async def test_headers_are_metadata(nginx, client, worker):
    more = """webtransport_set_header X-User $http_x_name;
        webtransport_set_header X-None $http_none;
        webtransport_set_header Authorization "Bearer $arg_token";"""
    ngx = nginx(passed(worker, more))
    async with client(ngx) as conn:
        await conn.session("/?token=t", headers=[("x-name", "me"),
                                                 ("x-other", "1")])
        call = await worker.session()
        assert call.header("x-user") == "me"
        assert call.header("authorization") == "Bearer t"
        assert call.header("x-none") is None
        assert call.header("x-other") is None
        fields = {h.name: h.value for h in call.connect.headers}
        assert fields["x-user"] == b"me"
        assert fields["x-other"] == b"1"


async def test_headers_do_not_break_the_call(nginx, client, worker):
    """Names that HTTP/2 or gRPC reserve, and values that a client chose."""
    more = """webtransport_set_header Content-Type text/html;
        webtransport_set_header Connection close;
        webtransport_set_header TE gzip;
        webtransport_set_header grpc-encoding gzip;
        webtransport_set_header X-Bytes "$http_bytes";"""
    ngx = nginx(passed(worker, more))
    async with client(ngx) as conn:
        session = await conn.session(headers=[("bytes", b"a\xff\xc3z")])
        call = await worker.session()
        assert call.header("content-type") == "application/grpc"
        assert call.header("te") == "trailers"
        assert call.header("connection") is None
        assert call.header("grpc-encoding") is None
        await echoed(session, call)
    assert not worker.errors


async def test_call_ends_behind_closed(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        session.close(3, "bye")
        closed = await call.closed()
        assert (closed.by, closed.code, closed.reason) == (
            pb.Closed.CLIENT, 3, "bye")
        await call.end()
        assert call.reset_code is None and not call.body
        assert not call.events
    await ngx.idle()


async def test_call_is_cancelled_for_a_worker_that_does_not_end_it(
        nginx, client, worker):
    ngx = nginx(passed(worker, "webtransport_send_timeout 300ms;"))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        call.polite = False
        session.close()
        await call.closed()
        await ngx.until(lambda: call.reset_code is not None, "RST_STREAM")
    assert len(worker.open) == 1


async def test_seq_is_absent(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, call):
        stream = session.open_bidi()
        stream.write(b"x", True)
        await call.read_all(4)
        batches = [pb.EventBatch.FromString(m) for m in call.messages]
        assert batches[0].session_id == call.id
        assert {batch.seq for batch in batches} == {0}


# ---- messages and frames ----------------------------------------------------


async def test_message_in_frames_of_one_byte(nginx, client, worker):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        call = await worker.session()
        call.piece = 1
        call.send(w.accept(), w.open_uni(7, b"one"))
        call.send()
        call.send(w.data_(7, b"two", True))
        await session.response()
        assert await (await session.accept_uni()).read_all() == b"onetwo"


async def test_messages_in_one_frame(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, call):
        def message(*commands):
            return prefixed(pb.CommandBatch(
                commands=commands).SerializeToString())

        call.write(message(w.open_uni(7, b"one"))
                   + b"".join(message(w.data_(7, b"%3d" % i))
                              for i in range(500))
                   + message() + message(w.data_(7, b"end", True)))
        assert await (await session.accept_uni()).read_all() == (
            b"one" + b"".join(b"%3d" % i for i in range(500)) + b"end")


async def test_empty_frames_and_padding(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, call):
        message = prefixed(pb.CommandBatch(
            commands=[w.open_uni(7, b"padded", True)]).SerializeToString())
        for i, byte in enumerate(message):
            call.conn.h2.send_data(call.stream_id, bytes([byte]),
                                   pad_length=i)
            call.conn.h2.send_data(call.stream_id, b"")
        call.conn.flush()
        assert await (await session.accept_uni()).read_all() == b"padded"


async def test_frames_of_unknown_types_are_ignored(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, call):
        call.conn.write(bytes.fromhex("000003 ba 00 00000000 010203"))
        call.conn.write(b"\0\0\1\xbb\xff" + call.stream_id.to_bytes(4) + b"x")
        await echoed(session, call)


async def test_longest_message(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, call):
        empty = len(pb.CommandBatch(commands=[w.open_bidi(5, bytes(65000))])
                    .SerializeToString()) - 65000
        call.send(w.open_bidi(5, bytes(65536 - empty)))
        stream = await session.accept_bidi()
        await stream.read_exactly(65536 - empty)


@pytest.mark.parametrize("size", [65537, (1 << 32) - 1])
async def test_message_above_the_limit(nginx, client, worker, size):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session, other = await conn.session(), await conn.session()
        call, survivor = await worker.session(), await worker.session()
        call.write(b"\0" + size.to_bytes(4, "big"))
        await ended(ngx, session, PROTOCOL,
                    f"worker sent a message of {size} bytes, more than 65536",
                    "protocol")
        await echoed(other, survivor)


async def test_message_above_the_limit_before_accept(nginx, client, worker):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        (await worker.session()).write(b"\0\0\1\0\1")
        assert await session.outcome() == 502


@pytest.mark.parametrize("flag", [1, 2, 255])
async def test_compressed_message_is_refused(nginx, client, worker, flag):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session, other = await conn.session(), await conn.session()
        call, survivor = await worker.session(), await worker.session()
        call.send_message(pb.CommandBatch(
            commands=[w.datagram(b"x")]).SerializeToString(), flag)
        await ended(ngx, session, PROTOCOL, "compressed", "protocol")
        await echoed(other, survivor)


async def test_call_that_ends_inside_a_message(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        call.write(prefixed(bytes(100))[:50])
        call.finish()
        assert (await session.closed())[0] in (WORKER_LOST, PROTOCOL)
    await ngx.idle()


async def test_long_response_headers(nginx, client, worker):
    """In CONTINUATION frames."""
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        call = await worker.session()
        call.respond([(f"x-{i}", os.urandom(500).hex()) for i in range(30)])
        call.send(w.accept())
        assert await session.outcome() == 200
        await echoed(session, call)


@pytest.mark.parametrize("count, size", [(1, 70000), (3000, 10)])
async def test_response_headers_that_are_too_long(nginx, client, worker,
                                                  count, size):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session, other = conn.connect("/bad"), conn.connect("/good")
        calls = [await worker.session(), await worker.session()]
        bad, good = sorted(calls, key=lambda call: call.connect.path)
        bad.respond([(f"x-{i}", "y" * size) for i in range(count)])
        assert await session.outcome() == 502
        await ngx.wait_log(r"\[error\].*too large header")
        good.send(w.accept())
        assert await other.outcome() == 200
        await echoed(other, good)


async def test_interim_responses_are_skipped(nginx, client, worker):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        call = await worker.session()
        call.conn.headers(call.stream_id, [(":status", "103"),
                                           ("link", "</x>")])
        call.send(w.accept())
        assert await session.outcome() == 200
        await echoed(session, call)


async def test_no_dynamic_table(nginx, client, workers):
    worker = await workers(settings={HEADER_TABLE_SIZE: 0})
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        for _ in range(3):
            session = await conn.session()
            await echoed(session, await worker.session())
    assert not worker.errors


# ---- how calls end ----------------------------------------------------------

REFUSALS = by_status(other=502, ok={
    3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400,
    12: 501, 14: 503, 16: 401})


@pytest.mark.parametrize("headers", [False, True],
                         ids=["trailers only", "headers first"])
@pytest.mark.parametrize("code, status", REFUSALS)
async def test_status_before_accept(nginx, client, worker, code, status,
                                    headers):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        call = await worker.session()
        if headers:
            call.respond()
        call.finish(code, "because of it")
        assert await session.outcome() == status
    line = await ngx.logged(status=str(status))
    assert line["close_by"] == ("worker" if status < 500 else "worker_lost")
    await ngx.wait_log(rf"\[error\].*{re.escape(line['session_id'])}: "
                       rf".*status {code} [A-Z_]+: because of it")
    await ngx.idle()


@pytest.mark.parametrize("code, end", by_status(other=WORKER_LOST, ok={
    0: 0, 4: TIMEOUT_CODE, 8: LIMIT}))
async def test_status_after_accept(nginx, client, worker, code, end):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session, other = await conn.session(), await conn.session()
        call, survivor = await worker.session(), await worker.session()
        call.finish(code, "because of it")
        got, reason = await session.closed()
        assert got == end
        line = await ngx.logged(status="200", close_code=str(end))
        assert line["close_by"] == {
            0: "worker", 4: "timeout", 8: "limit"}.get(code, "worker_lost")
        if code:
            await ngx.wait_log(rf"\[error\].*{re.escape(line['session_id'])}: "
                               rf".*status {code} [A-Z_]+: because of it")
        else:
            assert "[error]" not in ngx.error_log()
        await echoed(other, survivor)


@pytest.mark.parametrize("fields", [
    [("grpc-status", "17")], [("grpc-status", "99999999999999999999")],
    [("grpc-status", "-1")], [("grpc-status", "x")], [("grpc-status", "")],
    [("x-other", "1")],
], ids=lambda fields: " ".join(fields[0]))
async def test_strange_trailers(nginx, client, worker, fields):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        call._trailers = fields
        call.pump()
        assert (await session.closed())[0] == WORKER_LOST

        worker.accept = None
        session = conn.connect()
        (await worker.session()).respond(fields, end=True)
        assert await session.outcome() == 502


async def test_message_of_the_status_is_for_the_log(nginx, client, worker):
    """It is decoded, but nothing in it can forge a line."""
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        call.finish(13, "a%20b%0Aforged%C3%A4%1B%ZZ%" + "x" * 5000)
        await session.closed()
        await ngx.wait_log(r"\[error\].*worker lost.*: "
                           r"a b\?forged\?\?\?%ZZ%xxx")
    assert not re.search(r"^forged", ngx.error_log(), re.M)
    assert max(map(len, ngx.error_log().splitlines())) < 2048


async def test_end_without_trailers(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        (await worker.session()).fin()
        await ended(ngx, session, WORKER_LOST, "worker lost", "worker_lost")


@pytest.mark.parametrize("status, type", [
    (200, "text/html"), (200, None), (200, "application/grpcx"),
    (302, "text/html"), (400, "text/html"), (401, "text/html"),
    (403, None), (404, "text/html"), (500, "text/html"), (502, None),
    (503, "application/grpc")])
@pytest.mark.parametrize("end", [True, False], ids=["end", "open"])
async def test_response_of_no_grpc_server(nginx, client, worker, status, type,
                                          end):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        call = await worker.session()
        call.respond(status=status, type=type, end=end)
        if not end:
            call.write(b"<html>")
        assert await session.outcome() in (401, 403, 501, 502, 503)
    line = await ngx.logged(close_by="worker_lost")
    await ngx.wait_log(rf"\[error\].*{re.escape(line['session_id'])}: .*"
                       + (str(status) if status != 200 else "content"))
    await ngx.idle()


@pytest.mark.parametrize("type", ["application/grpc+proto",
                                  "application/grpc;charset=utf-8"])
async def test_content_types_of_grpc(nginx, client, worker, type):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        call = await worker.session()
        call.respond(type=type)
        call.send(w.accept())
        assert await session.outcome() == 200


@pytest.mark.parametrize("code", [NO_ERROR, CANCEL, INTERNAL_ERROR,
                                  REFUSED_STREAM, ENHANCE_YOUR_CALM])
async def test_reset_of_a_call(nginx, client, worker, code):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session, other = await conn.session(), await conn.session()
        call, survivor = await worker.session(), await worker.session()
        call.reset(code)
        if code == ENHANCE_YOUR_CALM:
            await ended(ngx, session, LIMIT, "limit", "limit")
        else:
            await ended(ngx, session, WORKER_LOST, "worker lost",
                        "worker_lost")
        await echoed(other, survivor)
        assert len(worker.connections) == 1
        await ngx.wait_log(rf"call (refused|reset with code {int(code)})")


@pytest.mark.parametrize("code", [CANCEL, INTERNAL_ERROR, ENHANCE_YOUR_CALM])
async def test_reset_before_accept(nginx, client, worker, code):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        (await worker.session()).reset(code)
        assert await session.outcome() == (429 if code == ENHANCE_YOUR_CALM
                                           else 502)
    await ngx.idle()


async def test_early_end_of_the_worker_with_reset(nginx, client, worker):
    """Trailers, then RST_STREAM NO_ERROR: it wants nothing more."""
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        call.send(w.open_uni(7, b"last", True), w.close(5, "bye"))
        call.finish()
        call.reset(NO_ERROR)
        assert await session.closed() == (5, b"bye")


async def test_client_leaves_while_a_call_is_new(nginx, client, worker):
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        for _ in range(10):
            session = conn.connect()
            call = await worker.session()
            session.reset_raw(H3_REQUEST_CANCELLED)
            session.stop_raw(H3_REQUEST_CANCELLED)
            await call.end()
    await ngx.idle()
    assert len(worker.connections) == 1


# ---- connections ------------------------------------------------------------


async def sessions_of(worker, conn, count):
    """(session, call) of so many sessions."""
    sessions = await asyncio.gather(*[conn.session(f"/{i}")
                                      for i in range(count)])
    calls = {}
    for _ in sessions:
        call = await worker.session()
        calls[call.connect.path] = call
    return [(session, calls[b"/%d" % i])
            for i, session in enumerate(sessions)]


async def test_sessions_share_a_connection(nginx, client, worker):
    ngx = nginx("webtransport_max_sessions 100;" + passed(worker))
    async with client(ngx) as conn:
        pairs = await sessions_of(worker, conn, 50)
        await asyncio.gather(*[echoed(*pair) for pair in pairs])
        assert len(worker.connections) == 1
    await ngx.idle()


async def test_as_many_connections_as_the_worker_asks_for(nginx, client,
                                                          workers):
    worker = await workers(settings={MAX_CONCURRENT_STREAMS: 3})
    ngx = nginx("webtransport_max_sessions 100;" + passed(worker))
    async with client(ngx) as conn:
        # the first one tells how many
        pairs = await sessions_of(worker, conn, 1)
        await ngx.until(lambda: worker.connections[0].settings_acked,
                        "SETTINGS")
        pairs += await sessions_of(worker, conn, 10)
        await asyncio.gather(*[echoed(*pair) for pair in pairs])
        assert len(worker.connections) == 4
        assert sorted(len(c.calls) for c in worker.connections) == [2, 3, 3, 3]

        # those that end make room
        for session, call in pairs[:6]:
            session.close()
            await call.end()
        await conn.ping()
        await sessions_of(worker, conn, 6)
        assert len(worker.connections) == 4
    assert not worker.errors
    assert "[error]" not in ngx.error_log()


async def test_sessions_at_once_on_a_new_connection(nginx, client, workers):
    """What SETTINGS say is not known when the first calls begin."""
    worker = await workers(settings={MAX_CONCURRENT_STREAMS: 3})
    ngx = nginx("webtransport_max_sessions 100;" + passed(worker))
    async with client(ngx) as conn:
        pairs = await sessions_of(worker, conn, 20)
        await asyncio.gather(*[echoed(*pair) for pair in pairs])
    assert not worker.errors
    assert max(len(c.calls) for c in worker.connections) == 3


async def test_no_stream_is_allowed(nginx, client, workers):
    worker = await workers(settings={MAX_CONCURRENT_STREAMS: 0})
    ngx = nginx(passed(worker, "webtransport_connect_timeout 300ms;"
                               + NO_ANSWER))
    async with client(ngx) as conn:
        assert await conn.refused() in (502, 504)
    await ngx.idle()
    assert not worker.calls and not worker.errors


async def test_limit_is_lowered(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        pairs = await sessions_of(worker, conn, 3)
        first = worker.connections[0]
        first.settings_acked = False
        first.h2.update_settings({MAX_CONCURRENT_STREAMS: 1})
        first.flush()
        await ngx.until(lambda: first.settings_acked, "SETTINGS")
        pairs += await sessions_of(worker, conn, 1)
        assert len(worker.connections) == 2
        await asyncio.gather(*[echoed(*pair) for pair in pairs])


async def test_idle_connection_is_kept_and_closed(nginx, client, worker):
    ngx = nginx(passed(worker, "webtransport_grpc_keepalive 500ms;"))
    async with client(ngx) as conn:
        for _ in range(3):
            session = await conn.session()
            call = await worker.session()
            session.close()
            await call.end()
        assert len(worker.connections) == 1
        await ngx.until(lambda: worker.connections[0].lost, "the end")
        assert worker.connections[0].goaway_code in (None, NO_ERROR)

        # a connection with sessions is not idle
        session = await conn.session()
        call = await worker.session()
        await asyncio.sleep(1)
        await echoed(session, call)
        assert len(worker.connections) == 2
    assert "[error]" not in ngx.error_log()


async def test_worker_closes_an_idle_connection(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        for how in ("close", "abort", "goaway"):
            session = await conn.session()
            call = await worker.session()
            session.close()
            await call.end()
            await conn.ping()
            getattr(call.conn, how)()
            await ngx.until(lambda: call.conn.lost, "the end")
    assert len(worker.connections) == 3
    assert "[error]" not in ngx.error_log()


async def test_ping_is_answered(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, call):
        call.conn.ping()
        await echoed(session, call)
        assert call.conn.acks == 1


@pytest.mark.parametrize("refuse", [False, True], ids=["graceful", "error"])
async def test_goaway_under_load(nginx, client, worker, refuse):
    """Sessions go on; new ones go elsewhere."""
    ngx = nginx("webtransport_max_sessions 100;" + passed(worker))
    async with client(ngx) as conn:
        pairs = await sessions_of(worker, conn, 20)
        loads = [asyncio.create_task(echoed(*pair, os.urandom(200000)))
                 for pair in pairs]
        first = worker.connections[0]
        first.goaway(code=ENHANCE_YOUR_CALM if refuse else NO_ERROR)
        later = await sessions_of(worker, conn, 5)
        await asyncio.gather(*loads, *[echoed(*pair) for pair in later])
        await asyncio.gather(*[echoed(*pair) for pair in pairs])
        assert len(worker.connections) == 2
        assert {call.conn for _, call in later} == {worker.connections[1]}
        assert not first.lost
        for session, call in pairs:
            session.close()
            await call.end()
        await ngx.until(lambda: first.lost, "the end of the first connection")
        assert not worker.connections[1].lost
    assert ("[error]" in ngx.error_log()) == refuse


async def test_goaway_before_the_answer(nginx, client, worker):
    """The worker did not handle this call: another connection is tried."""
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        call = await worker.session()
        call.conn.goaway(last=0)
        second = await worker.session()
        assert second.conn is not call.conn
        second.send(w.accept())
        assert await session.outcome() == 200
        await echoed(session, second)


async def test_refused_call_is_tried_elsewhere(nginx, client, workers):
    async def refuse(call):
        call.reset(REFUSED_STREAM)

    main, other = await workers(script=refuse), await workers()
    ngx = nginx(passed(main.passed_as("workers")), http=upstream(
        server(main), server(other, "backup")))
    async with client(ngx) as conn:
        session = await conn.session()
        await echoed(session, await other.session())
    assert 1 <= len(main.calls) <= 2


async def test_goaway_above_a_session(nginx, client, worker):
    """A worker that disowns a session that it accepted."""
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        pairs = await sessions_of(worker, conn, 2)
        pairs.sort(key=lambda pair: pair[1].stream_id)
        worker.connections[0].goaway(last=pairs[0][1].stream_id)
        await ended(ngx, pairs[1][0], WORKER_LOST, "worker lost",
                    "worker_lost")
        await echoed(*pairs[0])


@pytest.mark.parametrize("how", ["close", "abort", "garbage", "error"])
async def test_loss_of_a_connection(nginx, client, workers, how):
    """Its sessions end, those on another connection go on."""
    worker = await workers(settings={MAX_CONCURRENT_STREAMS: 2})
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        pairs = await sessions_of(worker, conn, 4)
        first = pairs[0][1].conn
        lost = [session for session, call in pairs if call.conn is first]
        rest = [pair for pair in pairs if pair[1].conn is not first]
        assert len(rest) >= 1
        if how == "garbage":
            first.write(random.Random(1).randbytes(1000))
        elif how == "error":
            # WINDOW_UPDATE of 0 for the connection
            first.write(bytes.fromhex("000004 08 00 00000000 00000000"))
        else:
            getattr(first, how)()
        for session in lost:
            assert (await session.closed())[0] == WORKER_LOST
        await ngx.wait_log(r"\[error\].*webtransport session .*worker lost")
        for pair in rest:
            await echoed(*pair)
        await sessions_of(worker, conn, 1)


async def test_loss_of_200_sessions(nginx, client, workers):
    worker = await workers(settings={MAX_CONCURRENT_STREAMS: 101})
    ngx = nginx("webtransport_max_sessions 100;" + passed(worker),
                connections=4096)
    async with contextlib.AsyncExitStack() as stack:
        conns = [await stack.enter_async_context(client(ngx))
                 for _ in range(10)]
        await conns[0].session()
        await worker.session()
        sessions = await asyncio.gather(*[
            conn.session() for conn in conns for _ in range(20)])
        assert len(worker.connections) == 2
        await worker.stop()
        ends = await asyncio.gather(*[session.closed()
                                      for session in sessions])
        assert {code for code, _ in ends} == {WORKER_LOST}
        assert await conns[0].refused() == 502
        await worker.start()
        await conns[0].session()
    await ngx.idle()


async def test_one_more_connection_is_not_to_be_had(nginx, client, workers):
    """Sessions wait for a stream on those that there are."""
    worker = await workers(settings={MAX_CONCURRENT_STREAMS: 1})
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        os.unlink(worker.path)
        second = conn.connect()
        await ngx.wait_log(r"\[error\].*connect\(\) to unix:.* failed")
        session.close()
        assert await second.outcome() == 200
        await call.end()
        await echoed(second, await worker.session())
        assert len(worker.connections) == 1
    await ngx.idle()


async def test_no_sockets_are_no_failure_of_the_worker(nginx, client,
                                                       workers):
    one, two = await workers(), await workers()
    ngx = nginx(passed(one.passed_as("workers")), http=upstream(
        server(one), server(two)))
    ngx.allow("Too many open files")
    pid, = ngx.workers()
    async with client(ngx) as conn:
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 20000))
        for _ in range(3):
            assert await conn.refused() == 500
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        await conn.session()
        await conn.session()
        assert one.calls and two.calls
    await ngx.wait_log(r"\[error\].*webtransport session .*no sockets")


async def test_headers_that_are_never_sent(nginx, client, worker):
    """The worker takes back the stream that it had promised."""
    ngx = nginx(passed(worker, "webtransport_send_timeout 3s;"))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        call.conn.grant(1 << 20)
        call.conn.grant(1 << 20, call.stream_id)
        await echoed(session, call)
        call.conn.reader._transport.pause_reading()
        session.open_uni().write(bytes(1000000), True)
        await call.conn.filled()
        second = conn.connect()
        await conn.ping()
        call.conn.write(bytes.fromhex("000006 04 00 00000000 000300000000"))
        await call.conn.writer.drain()
        for _ in range(3):      # turns of nginx's event loop
            await conn.ping()
        call.conn.reader._transport.resume_reading()
        assert await second.outcome() == 504
        assert len(await call.read_all(6)) == 1000000
    assert len(worker.calls) == 1
    await ngx.wait_log(r"\[error\].*it does not read")


async def test_shutdown_timeout_ends_calls(nginx, client, worker):
    """Also those that outlive their sessions."""
    ngx = nginx(passed(worker), main="worker_shutdown_timeout 300ms;")
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        call.polite = False
        session.close()
        await call.closed()
        ngx.signal(signal.SIGQUIT)
        await ngx.until(lambda: ngx.process.poll() is not None, "the exit")
        await ngx.until(lambda: call.conn.lost, "the end of the connection")
    assert call.reset_code is None


# ---- connections that hang --------------------------------------------------


async def test_hung_connection_gets_no_more_sessions(nginx, client, worker):
    ngx = nginx(passed(worker, NO_ANSWER
                               + "webtransport_connect_timeout 1s;"))
    async with client(ngx) as conn:
        session = await conn.session()
        hung = (await worker.session()).conn
        hung.hang()
        assert await conn.refused() == 504
        for _ in range(3):
            await echoed(await conn.session(), await worker.session())
        assert len(worker.connections) == 2

        # nor is the PING answered
        await ended(ngx, session, WORKER_LOST, "worker lost", "worker_lost")
        await ngx.wait_log(r"\[error\].*fallen silent")
    await ngx.idle()


async def test_connection_that_hung_for_a_while(nginx, client, worker):
    ngx = nginx(passed(worker, NO_ANSWER))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        call.conn.hang()
        assert await conn.refused() == 504
        assert call.conn.pings == 0
        call.conn.recover()
        await echoed(session, call)
        assert call.conn.pings == 1
        await conn.session()
        assert len(worker.connections) == 1


async def test_worker_is_not_pinged_to_death(nginx, client, worker):
    """gRPC servers allow two PINGs until they have answered a call."""
    ngx = nginx(passed(worker, NO_ANSWER))
    async with client(ngx) as conn:
        await conn.session()
        hung = (await worker.session()).conn
        hung.mute = True
        for pings in (1, 2, 2, 2):
            assert await conn.refused() == 504
            await ngx.until(lambda: hung.pings == pings, "PING")
            hung.write(bytes.fromhex("000008 06 01 00000000") + bytes(8))
            await hung.writer.drain()
            await conn.ping()
        assert hung.pings == 2
        assert len(worker.connections) == 1


# ---- flow control -----------------------------------------------------------


async def test_window_of_one_byte(nginx, client, workers):
    worker = await workers(settings={INITIAL_WINDOW_SIZE: 1})
    async with opened(nginx, client, worker) as (session, call):
        await echoed(session, call, os.urandom(300))
        assert max(call.frames) == 1


async def test_window_that_opens_late(nginx, client, workers):
    worker = await workers(settings={INITIAL_WINDOW_SIZE: 0})
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        await ngx.until(lambda: worker.calls, "HEADERS")
        call = worker.calls[0]
        await conn.ping()
        assert not call.frames
        call.conn.grant(1 << 16, call.stream_id)
        assert await session.outcome() == 200
        await echoed(session, await worker.session())


async def test_window_that_shrinks(nginx, client, worker):
    """It becomes negative, then large again."""
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        call.pause()
        stream = session.open_uni()
        data = os.urandom(300000)
        sender = asyncio.create_task(stream.send(data, True))
        await asyncio.sleep(0.1)
        for size in (10, 50000):
            call.conn.settings_acked = False
            call.conn.h2.update_settings({INITIAL_WINDOW_SIZE: size})
            call.conn.flush()
            await ngx.until(lambda: call.conn.settings_acked, "SETTINGS")
        call.resume()
        await sender
        assert await call.read_all(6) == data
        assert not worker.errors


async def test_larger_frames(nginx, client, workers):
    worker = await workers(settings={MAX_FRAME_SIZE: 1 << 20,
                                     INITIAL_WINDOW_SIZE: 1 << 24})
    async with opened(nginx, client, worker) as (session, call):
        await echoed(session, call, os.urandom(500000))
        assert not worker.errors


async def test_worker_that_exceeds_the_window(nginx, client, worker):
    """nginx gives so much window and no more: a flow control error."""
    ngx = nginx(passed(worker, "webtransport_send_timeout 300ms;"))
    async with client(ngx, window=1000) as conn:
        session = await conn.session()
        call = await worker.session()
        call.send(w.open_bidi(5))
        for _ in range(40):
            call.send(w.data_(5, bytes(60000)))
        await session.accept_bidi()
        await asyncio.sleep(0.2)
        assert call.unsent
        frame = bytes(16384)
        head = len(frame).to_bytes(3) + b"\0\0" + call.stream_id.to_bytes(4)
        for _ in range(100):
            call.conn.write(head + frame)
        assert (await session.closed())[0] == WORKER_LOST
    await ngx.idle()


async def test_slow_sessions_do_not_slow_others(nginx, client, worker):
    """Neither workers that do not read, nor clients that do not."""
    ngx = nginx(passed(worker))
    async with client(ngx, window=20000) as conn:
        pairs = await sessions_of(worker, conn, 12)
        for session, call in pairs[:5]:
            call.pause()
            session.open_uni().write(bytes(500000))
        for session, call in pairs[5:10]:
            call.send(w.open_uni(7, bytes(60000)))
            for _ in range(10):
                call.send(w.data_(7, bytes(60000)))
            await session.accept_uni()
        for _ in range(5):
            for pair in pairs[10:]:
                await echoed(*pair, os.urandom(15000))
        assert len(worker.connections) == 1
        for session, call in pairs[5:10]:
            assert call.unsent > 300000


# ---- peers that are none ----------------------------------------------------


async def test_peer_never_speaks(nginx, client, workers):
    worker = await workers(mute=True)
    ngx = nginx(passed(worker, "webtransport_connect_timeout 300ms;"))
    line = await unreachable(ngx, client, 504, "worker does not answer")
    assert float(line["time"]) < 3


async def test_peer_never_answers(nginx, client, worker):
    """It speaks HTTP/2, and other sessions go on."""
    ngx = nginx(passed(worker, NO_ANSWER))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        worker.accept = None
        assert await conn.refused() == 504
        silent = await worker.session()
        assert (await silent.closed()).by == pb.Closed.WORKER_LOST
        await silent.end()
        await echoed(session, call)
    await ngx.wait_log(r"\[error\].*worker did not answer in time")


GARBAGE = {
    "http1": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "random": random.Random(7).randbytes(2000),
    "zeros": bytes(1000),
    "tls": bytes.fromhex("15030100020228"),
    "nothing": b"",
    "half": bytes.fromhex("00000604000000000000"),
    "long": bytes.fromhex("ffffff040000000000") + bytes(1000),
    "no settings": bytes.fromhex("000008060000000000") + bytes(8),
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_instead_of_http2(nginx, client, workers, worker, data):
    async def script(reader, writer):
        await reader.readexactly(24)
        writer.write(data)
        await writer.drain()

    bad = await workers(kind="raw", script=script)
    ngx = nginx(passed(worker) + passed(bad).replace("/", "/bad", 1))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        assert await conn.refused("/bad") == 502
        await ngx.wait_log(r"\[error\].*webtransport session ")
        await echoed(session, call)
    await ngx.idle()


async def test_garbage_after_settings(nginx, client, workers):
    async def script(reader, writer):
        await reader.readexactly(24)
        writer.write(bytes.fromhex("000000040000000000"))
        await reader.read(100)
        writer.write(bytes.fromhex("ffffffffffffffffff") * 100)
        await writer.drain()
        await reader.read()

    bad = await workers(kind="raw", script=script)
    ngx = nginx(passed(bad))
    async with client(ngx) as conn:
        assert await conn.refused() == 502
    await ngx.idle()


@pytest.mark.parametrize("frame", [
    "000004 05 04 {id} 00000002",                   # PUSH_PROMISE
    "000004 08 00 {id} 7fffffff",                   # window overflow
    "000004 08 00 {id} 00000000",                   # WINDOW_UPDATE of 0
    "000001 01 05 {id} ff",                         # HPACK
    "000005 00 08 {id} ff00000000",                 # padding
    "000001 00 00 00000000 00",                     # DATA on stream 0
    "000004 03 00 7fffffff 00000008",               # RST_STREAM, idle stream
], ids=["push", "window", "window 0", "hpack", "padding", "stream 0", "idle"])
async def test_frame_that_breaks_the_rules(nginx, client, worker, frame):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        call.conn.write(bytes.fromhex(frame.format(
            id=f"{call.stream_id:08x}")))
        assert (await session.closed())[0] == WORKER_LOST
        await ngx.wait_log(r"\[error\].*worker lost")

        # there may be a new connection
        session = await conn.session()
        await echoed(session, await worker.session())
    await ngx.idle()


async def test_push_promise_before_the_settings_are_acknowledged(
        nginx, client, workers):
    """A promise is answered by a RST_STREAM, which nobody reads."""
    async def script(reader, writer):
        await reader.readexactly(24)
        writer.write(bytes.fromhex("000000040000000000"))
        data = b""
        while b"\x01\x04\x00\x00\x00\x01" not in data:
            data += await reader.read(1000)
        reader._transport.pause_reading()
        writer.write(b"".join(
            bytes.fromhex("000004050400000001") + (2 * i).to_bytes(4, "big")
            for i in range(1, 10000)))
        await writer.drain()
        reader._transport.resume_reading()
        await reader.read()

    bad = await workers(kind="raw", script=script)
    ngx = nginx(passed(bad))
    async with client(ngx) as conn:
        assert await conn.refused() == 502
    await ngx.wait_log(r"\[error\].*invalid HTTP/2: PUSH_PROMISE")
    await ngx.idle()


async def test_frames_do_not_fill_the_log(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        for _ in range(100):
            call.conn.goaway(code=INTERNAL_ERROR)
        await echoed(session, call)
        assert ngx.error_log().count("GOAWAY") == 2
        call.conn.write(100 * bytes.fromhex(
            f"000004 08 00 {call.stream_id:08x} 7fffffff"))
        assert (await session.closed())[0] == WORKER_LOST
        assert ngx.error_log().count("invalid frame") == 1


@pytest.mark.parametrize("seed", range(4))
async def test_random_bytes(nginx, client, worker, seed):
    """In frames that look right: nothing breaks nginx."""
    rng = random.Random(seed)
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        for _ in range(15):
            session = conn.connect()
            call = await worker.session()
            if await session.outcome() != 200:
                continue
            for _ in range(rng.randrange(1, 20)):
                payload = rng.randbytes(int(rng.expovariate(1 / 20)))
                stream_id = rng.choice([call.stream_id, 0, 2, 101])
                call.conn.write(
                    len(payload).to_bytes(3)
                    + bytes([rng.randrange(12), rng.randrange(256)])
                    + stream_id.to_bytes(4) + payload)
            with contextlib.suppress(ConnectionError):
                await call.conn.writer.drain()
            call.conn.abort()
            await session.finished()
    await ngx.idle()


# ---- other workers ----------------------------------------------------------


@pytest.mark.parametrize("how", ["unavailable", "close", "garbage"])
async def test_next_worker_before_any_answer(nginx, client, workers, how):
    """webtransport_next_upstream off: the first one's failure is it."""
    async def script(reader, writer):
        await reader.readexactly(24)
        if how == "garbage":
            writer.write(b"garbage" * 10)

    async def unavailable(call):
        call.finish(14, "overloaded")

    if how == "unavailable":
        bad = await workers(script=unavailable)
    else:
        bad = await workers(kind="raw", script=script)
    good = await workers()
    http = upstream(server(bad, "max_fails=0"), server(good, "backup"))
    ngx = nginx(passed(good.passed_as("workers")) + passed(
        good.passed_as("workers"), "webtransport_next_upstream off;").replace(
            "/", "/off", 1), http=http)
    async with client(ngx) as conn:
        session = await conn.session()
        await echoed(session, await good.session())
        assert await conn.refused("/off") == (503 if how == "unavailable"
                                              else 502)


async def test_failures_do_not_try_others(nginx, client, workers):
    """An answer is an answer."""
    main, other = await workers(), await workers()
    main.accept = None
    ngx = nginx(passed(main.passed_as("workers")), http=upstream(
        server(main, "max_fails=0"), server(other, "backup")))
    async with client(ngx) as conn:
        for code, status in REFUSALS:
            if code != 14:
                session = conn.connect()
                (await main.session()).finish(code)
                assert await session.outcome() == status
    assert not other.calls


async def test_number_of_tries(nginx, client, workers):
    async def unavailable(call):
        call.finish(14, "overloaded")

    bad = [await workers(script=unavailable) for _ in range(4)]
    ngx = nginx(passed(bad[0].passed_as("workers"),
                       "webtransport_next_upstream_tries 2;"),
                http=upstream(*[server(b, "max_fails=0") for b in bad]))
    async with client(ngx) as conn:
        assert await conn.refused() == 503
    assert sum(len(b.calls) for b in bad) == 2


# ---- grpcio's own server ----------------------------------------------------


@pytest.mark.kinds("grpc")
async def test_metadata_reach_grpcio(nginx, client, worker):
    more = 'webtransport_set_header X-User "$arg_user";'
    ngx = nginx(passed(worker, more))
    async with client(ngx) as conn:
        await conn.session("/?user=me")
        assert (await worker.session()).header("x-user") == "me"


@pytest.mark.kinds("grpc")
async def test_grpcio_keepalive_pings(nginx, client, workers):
    worker = await workers(options=[
        ("grpc.keepalive_time_ms", 200), ("grpc.keepalive_timeout_ms", 500)])
    async with opened(nginx, client, worker) as (session, backend):
        await asyncio.sleep(1.5)
        await echoed(session, backend)


@pytest.mark.kinds("grpc")
async def test_grpcio_with_an_age_limit_of_connections(nginx, client, workers):
    """It sends GOAWAY, waits and cuts off what is left."""
    worker = await workers(options=[
        ("grpc.max_connection_age_ms", 300),
        ("grpc.max_connection_age_grace_ms", 1000)])
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        await asyncio.sleep(0.8)
        await echoed(session, backend)
        await conn.session()
        assert (await session.closed())[0] == WORKER_LOST
    await ngx.idle()
