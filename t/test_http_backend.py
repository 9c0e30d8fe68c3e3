"""HTTP/1.1 and JSON to a worker: requests, connections, every form of a
response, and servers that misbehave.  What all batches have in common is in
test_unary.py."""

import asyncio
import base64
import contextlib
import json
import os
import random
import re
import signal
import time

import pytest
from google.protobuf import json_format

from lib import worker as w
from lib.client import TIMEOUT
from lib.sessions import echoed, opened
from lib.wire import *
from lib.worker import passed, pb, server, upstream
from lib.worker_http import JSON, PROTOBUF, raw, reply

WORKER_LOST, PROTOCOL = 8, 10

pytestmark = pytest.mark.kinds("http_backend")


def quiet(session):
    session.poll = False
    return session


def body_of(*commands):
    return json_format.MessageToJson(
        pb.CommandBatch(commands=commands), indent=None).encode()


ACCEPT = body_of(w.accept(headers=[("x-seen", b"1")]))


async def accepted(nginx, client, worker, fault, more=""):
    """The answer to Connect is made by `fault`, and is good."""
    worker.accept = None
    worker.faults.append(fault)
    ngx = nginx(passed(worker, more))
    async with client(ngx) as conn:
        session = await conn.session()
        assert session.header("x-seen") == "1"
    return ngx


async def not_accepted(nginx, client, worker, fault, more=""):
    """It is not good; the log says why."""
    worker.accept = None
    worker.faults.append(fault)
    ngx = nginx(passed(worker, "webtransport_read_timeout 400ms;"
                               "webtransport_next_upstream off;" + more))
    async with client(ngx) as conn:
        session = conn.connect()
        status = await session.outcome(TIMEOUT)
        assert status in (502, 504), status
    line = await ngx.logged(status=str(status))
    return await ngx.wait_log(
        rf"\[error\].*webtransport session {re.escape(line['session_id'])}: "
        r"(.*)")


def response(*headers, body=b"", start="HTTP/1.1 200 OK", type=JSON):
    headers = [f"Content-Type: {type}", *headers] if type else headers
    return "\r\n".join([start, *headers, "", ""]).encode() + body


def sized(body=ACCEPT, *headers, **kwargs):
    return response(f"Content-Length: {len(body)}", *headers, body=body,
                    **kwargs)


def chunked(body=ACCEPT, size=7, extension="", trailer=""):
    chunks = [body[i:i + size] for i in range(0, len(body), size)]
    return b"".join(f"{len(c):x}{extension}\r\n".encode() + c + b"\r\n"
                    for c in chunks) + f"0\r\n{trailer}\r\n".encode()


# ---- the request ------------------------------------------------------------


@pytest.mark.parametrize("uri, line", [
    ("/wt", "/wt"), ("", "/"), ("/", "/"), ("/a/b.php?x=1&y", "/a/b.php?x=1&y")
])
@pytest.mark.parametrize("tcp", [False, True], ids=["local", "port"])
async def test_request(nginx, client, workers, uri, line, tcp):
    worker = await workers(tcp=tcp, uri=uri)
    async with opened(nginx, client, worker) as (_, backend):
        call = backend.calls[0]
        assert call.line == f"POST {line} HTTP/1.1"
        assert call.header("host") == (worker.address if tcp else "localhost")
        assert call.header("content-type") == JSON
        assert call.header("connection") in (None, "keep-alive")
        assert call.header("transfer-encoding") is None
        assert call.header("accept") in (None, JSON)
        assert call.header("user-agent").startswith("nginx-webtransport/")


async def test_host_is_the_name_of_the_upstream(nginx, client, worker):
    ngx = nginx(passed(worker.passed_as("workers")),
                http=upstream(server(worker)))
    async with client(ngx) as conn:
        await conn.session()
        backend = await worker.session()
        assert backend.calls[0].header("host") == "workers"
        assert backend.calls[0].line == "POST /wt HTTP/1.1"


async def test_headers_are_set(nginx, client, worker):
    more = """webtransport_set_header X-User $arg_user;
        webtransport_set_header Authorization "Bearer t";
        webtransport_set_header X-None "";"""
    ngx = nginx(passed(worker, more))
    async with client(ngx) as conn:
        session = await conn.session("/?user=me", headers=[("x-none", "1")])
        backend = await worker.session()
        await echoed(session, backend)
        for call in backend.calls:
            assert call.header("x-user") == "me"
            assert call.header("authorization") == "Bearer t"
            assert call.header("x-none") is None


async def test_host_may_be_set(nginx, client, worker):
    more = "webtransport_set_header Host app.example;"
    async with opened(nginx, client, worker, more) as (_, backend):
        assert backend.calls[0].header("host") == "app.example"


async def test_headers_do_not_break_the_request(nginx, client, worker):
    more = """webtransport_set_header Content-Length 1;
        webtransport_set_header Content-Type text/plain;
        webtransport_set_header Transfer-Encoding chunked;
        webtransport_set_header Connection close;
        webtransport_set_header Expect 100-continue;
        webtransport_set_header X-Value "$http_value";"""
    ngx = nginx(passed(worker, more))
    async with client(ngx) as conn:
        session = await conn.session(headers=[("value", b"\xe4\xff")])
        backend = await worker.session()
        await echoed(session, backend)
        call = backend.calls[0]
        assert call.header("content-type") == JSON
        assert call.header("transfer-encoding") is None
        assert call.header("expect") is None


@pytest.mark.parametrize("format", ["json", "protobuf"])
async def test_formats(nginx, client, workers, format):
    worker = await workers(format=format)
    async with opened(nginx, client, worker) as (session, backend):
        data = bytes(range(256)) * 20
        await echoed(session, backend, data)
        backend.send(w.datagram(bytes(range(256))))
        assert await session.datagram() == bytes(range(256))
        assert {call.header("content-type") for call in backend.calls} == {
            JSON if format == "json" else PROTOBUF}


async def test_json_is_that_of_protobuf(nginx, client, worker):
    """Names, numbers, bytes and enumerations as the official mapping has
    them."""
    more = """webtransport_param text $arg_text;
        webtransport_user "\\"$arg_text\\\\";"""
    ngx = nginx(passed(worker, more))
    async with client(ngx) as conn:
        session = await conn.session("/?text=%22%C3%A4", headers=[
            ("x", b"\x7f\xff\"\\/")])
        backend = await worker.session()
        stream = session.open_uni()
        stream.write(b"\0\xff<>&\n", True)
        await backend.read_all(6)
        session.send_datagram(b"")
        await backend.find("datagram")
        stream = session.open_bidi()
        stream.write(b"x")
        await backend.accept_stream()
        stream.reset(0)
        assert (await backend.find("reset")).code == 0
        session.close(1, "\"\\\n\u00e4\U0001f600".encode())
        closed = await backend.closed()
        assert closed.reason == "\"\\\n\u00e4\U0001f600"
        for call in backend.calls:
            official = json_format.MessageToDict(call.batch)
            written = json.loads(call.body)
            assert without_defaults(written) == without_defaults(official)


def without_defaults(value):
    if isinstance(value, dict):
        found = {k: without_defaults(v) for k, v in value.items()}
        return {k: v for k, v in found.items()
                if v not in (0, "", "0", False, [], None)}
    if isinstance(value, list):
        return [without_defaults(v) for v in value]
    return value


# ---- connections ------------------------------------------------------------


@pytest.fixture(params=["address", "upstream", "directive"])
def kept(request, nginx):
    """Factory of nginx with connections that are kept: by the module, or by
    nginx's directive."""

    def kept(worker, more=""):
        if request.param == "address":
            return nginx(passed(worker, more))
        keepalive = "keepalive 8;" if request.param == "directive" else ""
        return nginx(passed(worker.passed_as("workers"), more),
                     http=upstream(server(worker), keepalive))

    return kept


async def rest(conn, *backends):
    """Waits until they have no calls, and their connections are kept."""
    for backend in backends:
        quiet(backend)
        await backend.sync()
        await conn.ping()
        await backend.settle()
    await conn.ping()


async def once_more(worker, session):
    """One batch; returns its call."""
    before = len(worker.calls)
    session.open_uni().write(b"x")
    return (await worker.next_calls(before + 1))[before]


async def test_connections_are_kept(client, worker, kept):
    async with client(kept(worker)) as conn:
        session = await conn.session()
        backend = await worker.session()
        for _ in range(10):
            await echoed(session, backend)
        assert worker.connections <= 2
        assert len(backend.calls) > 10


async def test_sessions_take_turns(client, worker, kept):
    async with client(kept(worker)) as conn:
        sessions, backends = [], []
        for _ in range(2):
            sessions.append(await conn.session())
            backends.append(await worker.session())
            await rest(conn, *backends)
        before = len(worker.calls)
        for _ in range(3):
            for session, backend in zip(sessions, backends):
                await echoed(session, backend)
                await rest(conn, *backends)
        calls = worker.calls[before:]
        assert len({call.batch.session_id for call in calls}) == 2
        assert len({call.connection for call in calls}) == 1


async def test_locations_share_connections(nginx, client, workers):
    """A worker is known by its address, however that is written."""
    worker = await workers(tcp=True)
    other = passed(worker.passed_as("workers")).replace("/", "/other", 1)
    ngx = nginx(passed(worker) + other, http=upstream(server(worker)))
    async with client(ngx) as conn:
        for path in ("/", "/other", "/"):
            session = await conn.session(path)
            backend = await worker.session()
            await echoed(session, backend)
            session.close()
            await backend.closed()
            await ngx.logged(uri=path)
    assert worker.connections <= 2


async def test_workers_do_not_share_connections(nginx, client, workers):
    first, second = await workers(), await workers()
    ngx = nginx(passed(first) + passed(second).replace("/", "/second", 1))
    async with client(ngx) as conn:
        for _ in range(2):
            for path, worker in (("/", first), ("/second", second)):
                session = await conn.session(path)
                backend = await worker.session()
                await echoed(session, backend)
                session.close()
                await backend.closed()
    assert len(first.sessions) == len(second.sessions) == 2


@pytest.mark.parametrize("count", [1, 2])
async def test_worker_closes_connections(client, worker, kept, count):
    worker.keep_alive = count
    ngx = kept(worker)
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        for _ in range(10):
            await echoed(session, backend)
        assert worker.connections >= len(backend.calls) // count
    assert "[error]" not in ngx.error_log()


@pytest.mark.parametrize("how, good", [
    (sized(b"{}"), True),
    (sized(b"{}", "Connection: keep-alive"), True),
    (sized(b"{}", start="HTTP/1.0 200 OK"), False),
    (sized(b"{}", "Connection: keep-alive", start="HTTP/1.0 200 OK"), True),
    (sized(b"{}", "Connection: close"), False),
    (sized(b"{}", "Connection: x, Close"), False),
    (sized(b"{}") + b"more", False)],
    ids=["1.1", "keep-alive", "1.0", "1.0 keep-alive", "close", "list",
         "more"])
async def test_worker_announces_the_end(client, worker, kept, how, good):
    """It does not close the connection, but nginx does."""
    async with client(kept(worker)) as conn:
        session = await conn.session()
        await rest(conn, await worker.session())
        worker.faults.append(raw(how, close=False))
        first = await once_more(worker, session)
        second = await once_more(worker, session)
        assert (first.connection == second.connection) == good


@pytest.mark.parametrize("how", ["close", "abort", "say something"])
async def test_worker_closes_idle_connections(client, worker, kept, how):
    """Not a failure, and not a second delivery."""
    ngx = kept(worker)
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        await rest(conn, backend)
        assert worker.open
        for writer in list(worker.open):
            if how == "say something":
                # and closes behind it, some servers do
                writer.write(b"HTTP/1.1 408 Request Timeout\r\n"
                             b"Connection: close\r\n\r\n")
                await writer.drain()
                writer.close()
            elif how == "close":
                writer.close()
            else:
                writer.transport.abort()
        await conn.ping()
        await echoed(session, backend)
        seqs = [call.seq for call in backend.calls]
        assert len(seqs) == len(set(seqs))
    assert "[error]" not in ngx.error_log()


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_datagrams_do_not_go_into_a_dead_connection(nginx, client,
                                                          worker, how):
    """They are not retried: the end of an idle connection is noticed even if
    nginx is told of it after the datagram."""
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        await rest(conn, backend)
        for pid in ngx.workers():
            os.kill(pid, signal.SIGSTOP)
        session.send_datagram(b"ok")
        conn.transmit()
        for writer in list(worker.open):
            getattr(writer if how == "close" else writer.transport, how)()
        await ngx.until(lambda: not worker.open, "connections to be closed")
        for pid in ngx.workers():
            os.kill(pid, signal.SIGCONT)
        assert (await backend.find("datagram")).data == b"ok"


async def test_connection_dies_as_the_request_comes(client, worker, kept):
    """A kept connection that was closed at the same time: another one is
    taken, at once."""
    ngx = kept(worker)
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()

        async def die(call):
            call.abort()

        worker.faults.append(die)
        before = len(worker.calls)
        await echoed(session, backend)
        calls = worker.calls[before:]
        assert calls[0].seq == calls[1].seq
        assert calls[0].connection != calls[1].connection
    assert "[error]" not in ngx.error_log()


async def test_connection_dies_as_a_session_begins(client, worker, kept):
    """Which is accepted all the same: nobody would try a second time."""
    async with client(kept(worker)) as conn:
        await conn.session()
        await rest(conn, await worker.session())

        async def die(call):
            call.abort()

        worker.faults.append(die)
        session = await conn.session()
        await echoed(session, await worker.session())


async def many_kept(nginx, client, worker, stack, count, **kwargs):
    """nginx after so many sessions have called at the same time."""
    come = asyncio.Event()

    async def together(call):
        if len(worker.calls) == count:
            come.set()
        await come.wait()
        call.reply(200, ACCEPT, type=JSON)

    worker.accept = None
    worker.faults.extend([together] * count)
    ngx = nginx("webtransport_max_sessions 100;" + passed(worker), **kwargs)
    conn = await stack.enter_async_context(client(ngx))
    await asyncio.gather(*[conn.session() for _ in range(count)])
    assert worker.connections == count
    return ngx


@pytest.mark.parametrize("count", [31, 32, 33, 50])
async def test_number_of_connections_kept(nginx, client, worker, count):
    async with contextlib.AsyncExitStack() as stack:
        ngx = await many_kept(nginx, client, worker, stack, count)
        await ngx.until(lambda: len(worker.open) == min(count, 32),
                        "connections to be closed")


async def test_kept_connections_make_room_for_others(nginx, client, worker):
    async with contextlib.AsyncExitStack() as stack:
        ngx = await many_kept(nginx, client, worker, stack, 32,
                              connections=110)
        assert len(worker.open) == 32
        for _ in range(50):
            _, writer = await asyncio.open_connection("127.0.0.1", ngx.port)
            stack.callback(writer.close)
        await ngx.until(lambda: len(worker.open) < 32,
                        "connections to be closed")


async def test_requests_of_a_connection(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        await rest(session.conn, backend)
        count = 1010 - len(worker.calls)
        worker.faults.extend([reply(200, body_of(w.ping(1)))] * count)
        session.open_uni().write(b"x")
        calls = await worker.next_calls(1010)
        assert [call.connection for call in calls[:1010]] == (
            [1] * 1000 + [2] * 10)


async def test_limits_of_the_directive(nginx, client, worker):
    """What it does not want any more is not kept by the module either."""
    ngx = nginx(passed(worker.passed_as("workers")), http=upstream(
        server(worker), "keepalive 8; keepalive_requests 3;"))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        for _ in range(10):
            await echoed(session, backend)
        used = [call.connection for call in backend.calls]
        assert max(map(used.count, used)) == 3


async def test_idle_connections_do_not_outlive_nginx(client, worker, kept):
    ngx = kept(worker)
    async with client(ngx) as conn:
        session = await conn.session()
        await echoed(session, await worker.session())
        session.close()
        await session.closed()
    assert worker.open
    start = time.monotonic()
    await asyncio.to_thread(ngx.stop)
    assert time.monotonic() - start < TIMEOUT / 2
    await ngx.until(lambda: not worker.open, "connections to be closed")


# ---- responses that are good ------------------------------------------------

GOOD = {
    "sized": sized(),
    "closed": response(body=ACCEPT),
    "http 1.0": response(body=ACCEPT, start="HTTP/1.0 200 OK"),
    "no reason": sized(start="HTTP/1.1 200"),
    "chunked": response("Transfer-Encoding: chunked", body=chunked()),
    "one chunk": response("Transfer-Encoding: chunked", body=chunked(size=99)),
    "capitals": response("TRANSFER-ENCODING: Chunked",
                         body=chunked(size=10)),
    "chunk extensions": response("Transfer-Encoding: chunked", body=chunked(
        extension=";a=b")),
    "trailers": response("Transfer-Encoding: chunked", body=chunked(
        trailer="X-A: b\r\n")),
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n" + sized(),
    "hints": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + sized(),
    "many headers": sized(ACCEPT, *[f"X-{i}: {'y' * 50}" for i in range(50)]),
    "charset": sized(type="application/json; charset=utf-8"),
    "type in capitals": sized(type="Application/JSON"),
}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("split", [False, True], ids=["at once", "in bytes"])
async def test_good_responses(nginx, client, worker, data, split):
    async def fault(call):
        for i in range(0, len(data), 1 if split else len(data)):
            call.write(data[i:i + 1] if split else data)
            await call.writer.drain()
            await asyncio.sleep(0)
        call.close()

    ngx = await accepted(nginx, client, worker, fault)
    assert "[error]" not in ngx.error_log()


@pytest.mark.parametrize("type", [
    "application/proto", "application/protobuf", "application/x-protobuf"])
async def test_content_types_of_protobuf(nginx, client, workers, type):
    worker = await workers(format="protobuf")
    body = pb.CommandBatch(commands=[w.accept(
        headers=[("x-seen", b"1")])]).SerializeToString()
    await accepted(nginx, client, worker, raw(sized(body, type=type)))


@pytest.mark.parametrize("empty", [
    reply(204), reply(200, b""), reply(200, b"", type=None),
    reply(200, b"{}"), reply(200, b"[]"), reply(200, b" \r\n"),
    reply(202, b"")],
    ids=["204", "200", "200 without type", "no commands", "empty array",
         "blank", "202"])
async def test_answers_without_commands(nginx, client, worker, empty):
    async with opened(nginx, client, worker) as (session, backend):
        quiet(backend)
        await backend.sync()
        before = len(worker.calls)
        worker.faults.append(empty)
        session.open_uni().write(b"x")
        await worker.next_calls(before + 1)
        await echoed(session, backend)
        assert len({call.seq for call in worker.calls}) == len(worker.calls)


async def test_connection_of_a_good_response_is_kept(client, worker, kept):
    """However its end is told."""
    async with client(kept(worker)) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()
        for data in (response("Transfer-Encoding: chunked",
                              body=chunked(b"{}", trailer="A: b\r\n")),
                     sized(b"{}"), b"HTTP/1.1 204 No Content\r\n\r\n"):
            worker.faults.append(raw(data, close=False))
            await once_more(worker, session)
            await echoed(session, backend)
        assert len({call.connection for call in backend.calls}) == 1


# ---- responses that are not -------------------------------------------------

BAD = {
    "garbage": b"garbage\r\n\r\n",
    "http 0.9": ACCEPT,
    "http 2": b"\0\0\x06\4\0\0\0\0\0\0\3\0\0\0\x80",
    "version": sized(start="HTTP/2.0 200 OK"),
    "status": sized(start="HTTP/1.1 2000 OK"),
    "status 0": sized(start="HTTP/1.1 000 OK"),
    "only interim": b"HTTP/1.1 100 Continue\r\n\r\n",
    "field": response("X-A\0: b", "Content-Length: 0"),
    "length": response("Content-Length: x", body=ACCEPT),
    "negative length": response("Content-Length: -1", body=ACCEPT),
    "huge length": response("Content-Length: 99999999999999999999",
                            body=ACCEPT),
    "two lengths": response("Content-Length: 10", "Content-Length: 20",
                            body=ACCEPT),
    "length and chunks": response("Content-Length: 10",
                                  "Transfer-Encoding: chunked",
                                  body=chunked()),
    "unknown coding": response("Transfer-Encoding: gzip", body=ACCEPT),
    "compressed": sized(ACCEPT, "Content-Encoding: gzip"),
    "chunk": response("Transfer-Encoding: chunked", body=b"x\r\n\r\n"),
    "huge chunk": response("Transfer-Encoding: chunked",
                           body=b"ffffffffffffffff\r\nx"),
    "chunk end": response("Transfer-Encoding: chunked",
                          body=b"2\r\n{}}\r\n0\r\n\r\n"),
    "truncated": response(f"Content-Length: {len(ACCEPT) + 1}", body=ACCEPT),
    "truncated chunk": response("Transfer-Encoding: chunked",
                                body=chunked()[:-20]),
    "no last chunk": response("Transfer-Encoding: chunked",
                              body=chunked()[:-5]),
    "truncated head": sized()[:30],
    "nothing": b"",
    "endless header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200000,
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50000,
    "html": sized(b"<html>", type="text/html"),
    "no type": sized(type=None),
    "text": sized(type="text/plain"),
    "type like json": sized(type="application/jsonp"),
    "upgrade": response("Upgrade: h2c", "Connection: upgrade",
                        start="HTTP/1.1 101 Switching Protocols"),
    "too long": response("Content-Length: 1000000", body=b" " * 1000000),
    "too long, in chunks": response("Transfer-Encoding: chunked", body=chunked(
        b" " * 1000000, size=1000)),
    "too long, to the end": response(body=b" " * 1000000),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
async def test_bad_responses(nginx, client, worker, data):
    reason = (await not_accepted(nginx, client, worker, raw(data)))[1]
    assert reason


async def test_bytes_behind_a_response(client, worker, kept):
    """The answer counts, but this connection is not used again."""
    async with client(kept(worker)) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()
        worker.faults.append(raw(sized(body_of(w.datagram(b"ok")))
                                 + b"HTTP/1.1 200 OK\r\n", close=False))
        session.open_uni().write(b"x")
        assert await session.datagram() == b"ok"
        used = worker.calls[-1].connection
        await echoed(session, backend)
        assert used not in {call.connection for call in backend.calls[-1:]}


async def test_response_before_the_request_is_complete(nginx, client,
                                                       workers):
    """A server that refuses what it has not read."""
    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response("Content-Length: 0", "Connection: close",
                              start="HTTP/1.1 413 Too Large"))

    bad = await workers(kind="raw", script=script, scheme="http://")
    ngx = nginx(passed(bad), http="large_client_header_buffers 64 8k;")
    async with client(ngx) as conn:
        assert await conn.refused(headers=[
            (f"x-{i}", "y" * 3000) for i in range(30)]) >= 400
    await ngx.idle()


@pytest.mark.parametrize("part", [
    b"", b"HTTP/1.1 200 OK\r\nCont", response("Content-Length: 100"),
    response("Transfer-Encoding: chunked", body=b"64\r\n{")],
    ids=["nothing", "head", "length", "chunk"])
async def test_server_that_stops_in_the_middle(nginx, client, worker, part):
    reason = await not_accepted(nginx, client, worker, raw(part, close=False))
    assert re.search("time", reason[1])


async def test_slow_response(nginx, client, worker):
    """Slow is all right; the limit is for the whole answer."""
    data = sized()

    async def slowly(call):
        for i in range(0, len(data), 20):
            call.write(data[i:i + 20])
            await asyncio.sleep(0.02)

    await accepted(nginx, client, worker, slowly)


@pytest.mark.parametrize("seed", range(3))
async def test_random_responses(nginx, client, worker, seed):
    rng = random.Random(seed)
    pieces = [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 503 x\r\n", b"\r\n", b"\n",
              b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
              b"Content-Type: application/json\r\n", b"\r\n\r\n", b"5\r\n",
              b"{}", b'{"commands":[{"accept":{}}]}', b"0\r\n\r\n", b"\0",
              b"Connection: close\r\n", b"HTTP/1.1 100 C\r\n\r\n"]
    ngx = nginx("webtransport_max_sessions 100;" + passed(
        worker, "webtransport_read_timeout 100ms;"
                "webtransport_unary_timeout 200ms;"))
    async with client(ngx) as conn:
        for _ in range(60):
            data = b"".join(rng.choices(pieces, k=rng.randrange(12)))
            if rng.random() < 0.3:
                data += rng.randbytes(rng.randrange(50))
            worker.faults.append(raw(data))
            assert await conn.connect().outcome() in (200, 400, 502, 503, 504)
    worker.faults.clear()
    await ngx.idle()


# ---- failures and retries ---------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 501,
                                    502, 503, 504, 301, 418])
async def test_status_before_accept(nginx, client, worker, status):
    worker.faults.append(reply(status, b"no"))
    ngx = nginx(passed(worker, "webtransport_next_upstream off;"))
    async with client(ngx) as conn:
        got = await conn.refused()
        assert got == status
    line = await ngx.logged(status=str(got), close_by="worker"
                            if status < 500 else "worker_lost")
    await ngx.wait_log(rf"\[error\].*{re.escape(line['session_id'])}: .*"
                       rf"\b{status}\b")


async def test_retry_after(nginx, client, worker):
    async with opened(nginx, client, worker) as (session, backend):
        quiet(backend)
        await backend.sync()
        worker.faults.append(reply(503, headers=[("Retry-After", "1")]))
        before = len(worker.calls)
        await echoed(session, backend)
        first, second = worker.calls[before:before + 2]
        assert first.seq == second.seq
        assert 0.95 < second.time - first.time < 3


@pytest.mark.parametrize("value", [
    "-1", "x", "", "99999999999999999999", "Fri, 31 Dec 1999 23:59:59 GMT"])
async def test_strange_retry_after(nginx, client, worker, value):
    """As if it were not there, or as long as there is time."""
    ngx = nginx(passed(worker, "webtransport_unary_timeout 1s;"))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()
        worker.faults.append(reply(503, headers=[("Retry-After", value)]))
        before = len(worker.calls)
        session.open_uni().write(b"x")
        calls = (await worker.next_calls(before + 2))[before:]
        assert calls[0].seq == calls[1].seq
        if value.isdigit():     # one last time, at the end of all patience
            assert calls[1].time - calls[0].time > 0.9


# ---- JSON that is good ------------------------------------------------------

B64 = base64.b64encode(b"\xfb\xff\xfe").decode()        # +//+
URL = base64.urlsafe_b64encode(b"\xfb\xff\xfe").decode()

SPELLINGS = {
    "as in the mapping": '{"commands":[{"id":"5","datagram":{"data":"%s"}}]}'
                         % B64,
    "number for 64 bits": '{"commands":[{"id":5,"datagram":{"data":"%s"}}]}'
                          % B64,
    "url-safe": '{"commands":[{"id":5,"datagram":{"data":"%s"}}]}' % URL,
    "escaped": '{"\\u0063ommands":[{"id":5,"datagram":{"data":"\\u002b\\/\\/+"'
               '}}]}',
    "spaces": ' \t\r\n{ "commands" : [ { "id" : 5 , "datagram" : { "data" : '
              '"%s" } } ] } \n' % B64,
    "nulls": '{"sessionId":null,"seq":null,"commands":[{"id":5,"accept":null,'
             '"datagram":{"data":"%s","ttlMs":null}}]}' % B64,
    "unknown": '{"x":{"y":[1,2,{"z":null}]},"commands":[{"id":5,"a":"b",'
               '"datagram":{"data":"%s","c":-1.5e3}}],"d":true}' % B64,
    "defaults": '{"sessionId":"","seq":"0","commands":[{"id":5,"datagram":'
                '{"data":"%s","ttlMs":0}}]}' % B64,
    "exponent": '{"commands":[{"id":5,"datagram":{"data":"%s","ttlMs":1e3}}]}'
                % B64,
    "fraction": '{"commands":[{"id":5.0,"datagram":{"data":"%s"}}]}' % B64,
    "number in a string": '{"commands":[{"id":5,"datagram":{"data":"%s",'
                          '"ttlMs":"1000"}}]}' % B64,
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
async def test_spellings_of_json(nginx, client, worker, text):
    async with opened(nginx, client, worker) as (session, backend):
        quiet(backend)
        await backend.sync()
        worker.faults.append(reply(200, text.encode()))
        session.open_uni().write(b"x")
        assert await session.datagram() == b"\xfb\xff\xfe"
        assert (await backend.find("result")).id == 5


async def test_names_and_enums(nginx, client, worker):
    """lowerCamelCase or as in the schema; enums as names or numbers."""
    async with opened(nginx, client, worker) as (session, backend):
        quiet(backend)
        await backend.sync()
        commands = [
            {"data": {"streamId": "5", "open": "BIDI", "data": "YQ=="}},
            {"data": {"stream_id": 9, "open": 1, "data": "Yg"}},
            {"data": {"streamId": 7, "open": "UNI", "data": "Yw==",
                      "fin": True}},
        ]
        worker.faults.append(reply(200, json.dumps(
            {"commands": commands}).encode()))
        session.open_uni().write(b"x")
        assert await (await session.accept_bidi()).read_exactly(1) == b"a"
        assert await (await session.accept_bidi()).read_exactly(1) == b"b"
        assert await (await session.accept_uni()).read_all() == b"c"


@pytest.mark.parametrize("notify", [["STREAM_CREDIT"], [3], ["LIMITS", 3]])
async def test_accept_in_json(nginx, client, worker, notify):
    answer = {"commands": [{"accept": {
        "headers": [{"name": "x-seen", "value": "MQ=="}],
        "streamWindow": 100000, "framing": "LINES", "overflow": "CLOSE",
        "notify": notify,
        "session": {"userId": "\u00e4", "meta": {"k": "\U0001f600"}}}}]}
    worker.accept = None
    worker.faults.append(reply(200, json.dumps(answer).encode()))
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        assert session.header("x-seen") == "1"
        stream = session.open_uni()
        stream.write(b"one\ntwo\n", True)
        await ngx.until(lambda: len(worker.calls) > 1, "a batch")
        batch = worker.calls[1].batch
        assert batch.context.user_id == "\u00e4"
        assert batch.context.meta == {"k": "\U0001f600"}
        assert batch.events[0].data.data == b"one"


async def test_reject_in_json(nginx, client, worker):
    worker.accept = None
    worker.faults.append(reply(200, json.dumps({"commands": [{"reject": {
        "status": 404, "body": "bm8=",
        "headers": [{"name": "x-why", "value": "eA=="}]}}]}).encode()))
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.connect().complete()
        assert (session.status, session.body) == (404, b"no")
        assert session.header("x-why") == "x"


# ---- JSON that is not -------------------------------------------------------

WRONG = {
    "a string": '"commands"',
    "truncated": '{"commands":[{"accept":{}}',
    "more": '{"commands":[]} {}',
    "comma": '{"commands":[],}',
    "quotes": "{'commands':[]}",
    "comment": '{"commands":[]} // x',
    "nan": '{"commands":[{"id":NaN}]}',
    "control character": '{"commands":[],"x":"\n"}',
    "utf-8": b'{"commands":[],"x":"\xff"}',
    "surrogate": '{"sessionId":"\\ud800"}',
    "commands": '{"commands":{}}',
    "command": '{"commands":[5]}',
    "null command": '{"commands":[null]}',
    "two kinds": '{"commands":[{"accept":{},"reject":{}}]}',
    "number": '{"commands":[{"id":"x"}]}',
    "negative": '{"commands":[{"id":-1}]}',
    "fraction": '{"commands":[{"id":1.5}]}',
    "64 bits": '{"commands":[{"id":"18446744073709551616"}]}',
    "32 bits": '{"commands":[{"reject":{"status":4294967296}}]}',
    "bool": '{"commands":[{"data":{"streamId":5,"fin":1}}]}',
    "base64": '{"commands":[{"datagram":{"data":"a*=="}}]}',
    "enum": '{"commands":[{"data":{"open":"SIDEWAYS"}}]}',
    "string": '{"commands":[{"close":{"reason":5}}]}',
    "deep": '{"x":' + "[" * 10000 + "]" * 10000 + "}",
    "deep objects": '{"x":' * 5000 + "1" + "}" * 5000,
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
async def test_wrong_json(nginx, client, worker, text):
    data = text if isinstance(text, bytes) else text.encode()
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = quiet(await worker.session())
        await backend.sync()
        worker.faults.append(reply(200, data))
        session.open_uni().write(b"x")
        assert (await session.closed())[0] in (WORKER_LOST, PROTOCOL)
        await ngx.wait_log(rf"\[error\].*{re.escape(backend.id)}: ")
        await backend.closed()
    await ngx.idle()


# ---- messages ---------------------------------------------------------------


@pytest.mark.parametrize("framing", ["length", "lines", "whole"])
async def test_json_messages_however_they_are_split(nginx, client, worker,
                                                    framing):
    """A worker without a memory gets whole messages."""
    messages = [json.dumps({"n": i, "text": "\u00e4\"\\" * i}).encode()
                for i in range(3)]
    if framing == "length":
        wire = b"".join(len(m).to_bytes(4) + m for m in messages)
    elif framing == "lines":
        wire = b"".join(m + b"\n" for m in messages)
    else:
        messages, wire = messages[-1:], messages[-1]
    more = f"webtransport_framing {framing};"
    async with opened(nginx, client, worker, more) as (session, backend):
        for cut in range(len(wire)):
            stream = session.open_uni()
            stream.write(wire[:cut])
            await stream.drain()
            stream.write(wire[cut:], True)
            got = []
            while len(got) < len(messages):
                event = await backend.find("data", stream_id=6 + 4 * cut)
                got.append(event.data)
            assert got == messages
            for message in got:
                json.loads(message)
