"""What only gRPC's calls have: metadata, a Connect that may be sent again, ends
that wait behind commands, one message per unary call."""

import base64
import contextlib
import os

import pytest

from lib import worker as w
from lib.client import StreamReset
from lib.h2_server import (
    CANCEL, DELIVER, INITIAL_WINDOW_SIZE, REFUSED_STREAM, prefixed)
from lib.sessions import echoed, ended
from lib.wire import *
from lib.worker import passed, pb, server, upstream

PROTOCOL, WORKER_LOST = 10, 8

pytestmark = pytest.mark.kinds("h2")


# ---- metadata ---------------------------------------------------------------


async def test_binary_metadata(nginx, client, worker):
    ngx = nginx(passed(worker, """
        webtransport_set_header X-One-Bin $http_one;
        webtransport_set_header X-Two-Bin $http_two;
        webtransport_set_header X-Bin-X $http_one;
        webtransport_set_header -bin ab;"""))
    async with client(ngx) as conn:
        await conn.session(headers=[("one", b"\xff\0x".replace(b"\0", b"\x01")),
                                    ("two", b"\x80\x81")])
        call = await worker.session()
    assert base64.b64decode(call.header("x-one-bin")) == b"\xff\x01x"
    assert call.header("x-two-bin") == "gIE"
    assert call.header("x-bin-x") is None
    assert call.header("-bin") == "ab"


async def test_metadata_without_spaces_around(nginx, client, worker):
    ngx = nginx(passed(worker, """
        webtransport_set_header X-Spaces "  a  b ";
        webtransport_set_header X-Nothing "   ";
        webtransport_set_header X-Edges " ~ ";"""))
    async with client(ngx) as conn:
        await conn.session()
        call = await worker.session()
    assert call.header("x-spaces") == "a  b"
    assert call.header("x-nothing") is None
    assert call.header("x-edges") == "~"


@pytest.mark.parametrize("name", [
    "User-Agent", "Host", "Content-Length", "Upgrade", "Keep-Alive",
    "Proxy-Connection", "Transfer-Encoding", "Grpc-Timeout", "Grpc-X"])
async def test_reserved_names_are_no_metadata(nginx, client, worker, name):
    ngx = nginx(passed(worker, f"webtransport_set_header {name} mine;"))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()
        assert "mine" not in [value for _, value in call.headers]
        fields = {h.name: h.value for h in call.connect.headers}
        assert fields[name.lower()] == b"mine"
        await echoed(session, call)


# ---- Connect once more ------------------------------------------------------


async def test_refused_once_is_tried_again(nginx, client, workers):
    """At the same worker, and with the same Connect."""
    connects = []

    async def script(call):
        connects.append(await call.message())
        if len(connects) == 1:
            call.reset(REFUSED_STREAM)
        else:
            call.send(w.accept(), w.open_uni(7, b"here", True))

    worker = await workers(script=script)
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session("/same?one=1")
        assert await (await session.accept_uni()).read_all() == b"here"
        session.close(3)
        assert (await worker.calls[1].closed()).code == 3
    assert connects[0] == connects[1]
    assert len(worker.calls) == len(worker.calls[0].messages) + 1 == 2
    line = await ngx.logged(status="200")
    assert line["backend"] == worker.address


async def test_refused_twice_is_502(nginx, client, workers):
    async def script(call):
        call.reset(REFUSED_STREAM)

    worker = await workers(script=script)
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        assert await conn.refused() == 502
    assert len(worker.calls) == 2
    await ngx.wait_log(r"\[error\].*webtransport session .*: worker "
                       r"unix:.*: call refused")
    await ngx.idle()


async def test_long_connect_is_sent_again(nginx, client, workers):
    """Longer than the buffer, and in part refused before it was sent."""
    async def script(call):
        if len(worker.calls) == 1:
            call.reset(REFUSED_STREAM)
        else:
            call.conn.grant(1 << 20)
            call.conn.grant(1 << 20, call.stream_id)
            await call.message()
            call.send(w.accept())
            worker.sessions.append(call)

    worker = await workers(script=script, settings={INITIAL_WINDOW_SIZE: 9})
    ngx = nginx(passed(worker, "webtransport_buffer_size 4k;"))
    async with client(ngx) as conn:
        session = await conn.session(headers=[("x-long", "y" * 5000)])
        call = worker.calls[1]
        fields = {h.name: h.value for h in call.connect.headers}
        assert fields["x-long"] == b"y" * 5000
        await echoed(session, call)
        session.close(1)
        await call.closed()
        assert not call.body


async def test_worker_that_has_spoken_keeps_its_session(nginx, client,
                                                        workers):
    """Its Pong was asked for: Connect does not go to another one."""
    one, two = await workers(), await workers()
    one.accept = None
    ngx = nginx(passed(one.passed_as("workers")), http=upstream(
        server(one), server(two, "backup")))
    async with client(ngx) as conn:
        session = conn.connect()
        call = await one.session()
        call.send(w.ping(4))
        assert (await call.expect("pong")).id == 4
        call.reset(REFUSED_STREAM)
        assert await session.outcome() == 503
    assert not two.calls


async def test_lost_with_connect_is_not_repeated(nginx, client, workers):
    """It may have run."""
    async def script(call):
        await call.message()
        call.conn.abort()

    one, two = await workers(script=script), await workers()
    ngx = nginx(passed(one.passed_as("workers")), http=upstream(
        server(one), server(two, "backup")))
    async with client(ngx) as conn:
        assert await conn.refused() == 502
    assert len(one.calls) == 1 and not two.calls
    await ngx.wait_log(r"\[error\].*: worker lost")


async def test_lost_without_connect_goes_elsewhere(nginx, client, workers):
    """It had the headers of the call, and no byte of an event."""
    async def script(call):
        call.conn.abort()

    one = await workers(script=script, settings={INITIAL_WINDOW_SIZE: 0})
    two = await workers()
    ngx = nginx(passed(one.passed_as("workers")), http=upstream(
        server(one), server(two, "backup")))
    async with client(ngx) as conn:
        session = await conn.session()
        await echoed(session, await two.session())
    assert not one.calls[0].frames


async def test_client_leaves_before_connect_was_read(nginx, client, workers):
    """Connect and Closed come once each, when the worker reads again."""
    worker = await workers(settings={INITIAL_WINDOW_SIZE: 50})
    worker.accept = None
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = conn.connect()
        await ngx.until(lambda: worker.calls and worker.calls[0].frames,
                        "a part of Connect")
        call = worker.calls[0]
        call.pause()
        session.reset_raw(H3_REQUEST_CANCELLED)
        session.stop_raw(H3_REQUEST_CANCELLED)
        await ngx.logged(status="499")
        call.resume()
        call.conn.grant(1 << 16, call.stream_id)
        assert (await call.closed()).by in (pb.Closed.LOST, pb.Closed.CLIENT)
        await call.end()
    events = [event.WhichOneof("kind") for message in call.messages
              for event in pb.EventBatch.FromString(message).events]
    assert events == ["connect", "closed"] and not call.body


# ---- whose fault it is ------------------------------------------------------

LARGE = [f"webtransport_set_header X-{i} $http_x;" for i in range(5)]


@pytest.mark.parametrize("unary", [False, True], ids=["call", "unary"])
async def test_too_much_metadata(nginx, client, workers, unary):
    """No worker is to blame: all the others are served."""
    script = answered() if unary else accepted
    one, two = [await workers(script=script, polite=False) for _ in range(2)]
    name = one.passed_as("workers")
    if unary:
        name = name.replace("grpc:", "grpc+unary:")
    ngx = nginx(passed(name, "".join(LARGE)),
                http="large_client_header_buffers 4 32k;"
                     + upstream(server(one), server(two)))
    async with client(ngx) as conn:
        await conn.session(headers=[("x", "y" * 6000)])
        for size in (7000, 15000):
            for _ in range(2):
                assert await conn.refused(
                    headers=[("x", "y" * size)]) == 500
        await conn.session()
        await conn.session()
    assert one.calls and two.calls
    await ngx.wait_log(r"\[error\].*headers of a call to webtransport worker "
                       r"have 35\d\d\d bytes, more than 32768")
    await ngx.wait_log(r"\[error\].*webtransport session .*: too much meta")


async def accepted(call):
    await call.message()
    call.send(w.accept())


@pytest.mark.parametrize("headers", [False, True],
                         ids=["trailers only", "headers first"])
async def test_status_is_no_failure_of_the_worker(nginx, client, workers,
                                                  headers):
    """With max_fails=1 a worker that has failed gets nothing for a while.
    UNAVAILABLE is a failure."""
    async def script(call):
        await call.message()
        if headers:
            call.respond()
        call.finish(*codes)

    one, two = await workers(script=script), await workers(script=script)
    ngx = nginx(passed(one.passed_as("workers"),
                       "webtransport_next_upstream off;"),
                http=upstream(server(one), server(two)))
    async with client(ngx) as conn:
        count = 0
        for code in [*range(1, 14), 15, 16, 14]:
            codes = [code]
            for _ in range(2):
                assert await conn.refused() >= 400
                count += 1
                assert len(one.calls) + len(two.calls) == count
        assert await conn.refused() == 502
        assert len(one.calls) + len(two.calls) == count
    await ngx.wait_log(r"\[error\].*no live workers")


# ---- the end, behind commands -----------------------------------------------


@pytest.mark.parametrize("code", [0, 13])
async def test_end_waits_for_a_slow_client(nginx, client, worker, code):
    """Close stands behind what the client has no window for yet."""
    ngx = nginx(passed(worker))
    async with client(ngx, window=5000) as conn:
        session = await conn.session()
        call = await worker.session()
        call.send(w.open_uni(7))
        for i in range(6):
            call.send(w.data_(7, b"%d" % i * 30000, i == 5))
        call.send(w.close(5, "bye"))
        call.finish(code)
        await ngx.until(lambda: not call.unsent, "all commands")
        await conn.ping()
        assert not session.ended
        got = bytearray()
        stream = await session.accept_uni()
        with contextlib.suppress(StreamReset):
            while part := await stream.read():
                got += part
        assert b"".join(b"%d" % i * 30000 for i in range(6)).startswith(got)
        assert await session.closed() == (5, b"bye")
    assert "[error]" not in ngx.error_log()


async def test_end_does_not_wait_for_ever(nginx, client, worker):
    ngx = nginx(passed(worker, "webtransport_send_timeout 400ms;"))
    async with client(ngx, window=5000) as conn:
        session = await conn.session()
        call = await worker.session()
        call.send(w.open_uni(7))
        for i in range(6):
            call.send(w.data_(7, bytes(30000)))
        call.finish()
        await ended(ngx, session, WORKER_LOST, "worker lost", "worker_lost")
    await ngx.idle()


async def test_reset_does_not_wait(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx, window=5000) as conn:
        session = await conn.session()
        call = await worker.session()
        call.send(w.open_uni(7))
        for i in range(20):
            call.send(w.data_(7, bytes(30000)))
        await session.accept_uni()
        call.reset(CANCEL)
        await ended(ngx, session, WORKER_LOST, "worker lost", "worker_lost")
    await ngx.idle()


async def test_client_leaves_behind_the_end(nginx, client, worker):
    """The call is over, its commands wait, and so does the session."""
    ngx = nginx(passed(worker))
    async with client(ngx, window=5000) as conn:
        session = await conn.session()
        call = await worker.session()
        call.send(w.open_uni(7))
        for i in range(6):
            call.send(w.data_(7, bytes(30000)))
        call.finish()
        await ngx.until(lambda: not call.unsent, "all commands")
        await session.accept_uni()
        session.open_uni().write(bytes(1000))
        session.close(1)
        await ngx.logged(status="200", close_by="client")
    await ngx.idle()


async def test_commands_behind_a_close_are_dropped(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        call = await worker.session()

        def message(*commands):
            return prefixed(pb.CommandBatch(
                commands=commands).SerializeToString())

        call.write(message(w.open_uni(7, b"x")) + message(w.close(5, "bye"))
                   + message(w.data_(9, b"never was")) + b"\1\xff\xff\xff\xff")
        assert await session.closed() == (5, b"bye")
        await call.end()
    assert "[error]" not in ngx.error_log()


# ---- unary ------------------------------------------------------------------


def unary(workers, script, window=100):
    """A worker; the window is small so that a script has begun when the
    request ends."""
    return workers(script=script, settings={INITIAL_WINDOW_SIZE: window})


def delivered(worker):
    return passed(worker.passed_as(worker.address)
                  .replace("grpc://", "grpc+unary://"),
                  "webtransport_next_upstream off;")


def answered(message=None, pieces=1 << 14):
    """A script: Accept, or that message, to a Connect; then nothing more."""
    async def script(call):
        call.polite = False
        assert call.header(":path") == DELIVER
        batch = pb.EventBatch.FromString(await call.message())
        await call.end()
        call.piece = pieces
        kinds = [event.WhichOneof("kind") for event in batch.events]
        if "connect" in kinds:
            call.write(prefixed(pb.CommandBatch(
                commands=[w.accept()]).SerializeToString())
                if message is None else message)
        call.finish()

    return script


@pytest.mark.parametrize("window", [1, 4, 5, 6, 7, 100])
async def test_unary_request_in_pieces(nginx, client, workers, window):
    worker = await unary(workers, answered(pieces=1), window)
    ngx = nginx(delivered(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        stream = session.open_uni()
        stream.write(os.urandom(300), True)
        await ngx.until(lambda: len(worker.calls) > 1 and
                        worker.calls[1].messages, "the second batch")
    for call in worker.calls[:2]:
        assert len(call.messages) == 1 and not call.body
        assert max(call.frames) <= window
        assert call.header("te") == "trailers"
        assert call.header("grpc-timeout")


@pytest.mark.parametrize("answer, reason", [
    (prefixed(b"") + prefixed(b""), "second message"),
    (prefixed(b"")[:3], "ended within a message"),
    (prefixed(bytes(100))[:50], "ended within a message"),
    (b"\0\xff\xff\xff\xff", "message of 4294967295 bytes, more than"),
    (prefixed(b"x", 1), "compressed message"),
], ids=lambda value: value if isinstance(value, str) else "")
async def test_bad_unary_answer(nginx, client, workers, answer, reason):
    worker = await unary(workers, answered(answer))
    ngx = nginx(delivered(worker))
    async with client(ngx) as conn:
        assert await conn.refused() == 502
        await ngx.wait_log(rf"\[error\].*webtransport session .*{reason}")
    await ngx.idle()


async def test_unary_call_is_refused_once(nginx, client, workers):
    async def script(call):
        if len(worker.calls) == 1:
            call.reset(REFUSED_STREAM)
        else:
            await answered()(call)

    worker = await unary(workers, script)
    ngx = nginx(delivered(worker))
    async with client(ngx) as conn:
        await conn.session()
    assert len(worker.calls) >= 2


async def test_unary_call_is_cancelled(nginx, client, workers):
    """The worker does not answer in time."""
    async def script(call):
        call.polite = False

    worker = await unary(workers, script)
    ngx = nginx(delivered(worker).replace(
        "{", "{ webtransport_read_timeout 300ms;", 1))
    async with client(ngx) as conn:
        assert await conn.refused() == 504
        call = worker.calls[0]
        await ngx.until(lambda: call.reset_code == CANCEL, "RST_STREAM")
        assert call.header("grpc-timeout") == "300m"


def connects(worker):
    """How many of its calls brought a Connect."""
    return sum(event.WhichOneof("kind") == "connect" for call in worker.calls
               for event in pb.EventBatch.FromString(call.messages[0]).events)


def first_and_backup(one, two):
    """A location with batches for one worker, or else for the other."""
    return passed(one.passed_as("workers").replace(
        "grpc://", "grpc+unary://")), upstream(server(one),
                                               server(two, "backup"))


@pytest.mark.parametrize("how", ["abort", "silence"])
async def test_unary_call_that_was_lost_is_not_for_others(nginx, client,
                                                          workers, how):
    """It may have run, or be what the worker died of."""
    async def script(call):
        await call.message()
        if how == "abort":
            call.conn.abort()

    one = await workers(script=script, polite=False)
    two = await workers(script=answered(), polite=False)
    location, http = first_and_backup(one, two)
    ngx = nginx(location.replace("{", "{ webtransport_read_timeout 300ms;"),
                http=http)
    async with client(ngx) as conn:
        for _ in range(3):
            assert await conn.refused() == (502 if how == "abort" else 504)
    assert connects(one) and not two.calls


async def test_unary_call_that_was_not_read_is_for_others(nginx, client,
                                                          workers):
    async def script(call):
        call.conn.abort()

    one = await workers(script=script, settings={INITIAL_WINDOW_SIZE: 0},
                        polite=False)
    two = await workers(script=answered(), polite=False)
    location, http = first_and_backup(one, two)
    ngx = nginx(location, http=http)
    async with client(ngx) as conn:
        await conn.session()
        await conn.session()
    assert len(one.calls) == 1


@pytest.mark.parametrize("code", [2, 4, 10, 13])
async def test_unary_status_is_no_failure_of_the_worker(nginx, client,
                                                        workers, code):
    async def script(call):
        await call.message()
        call.finish(code)

    one = await workers(script=script, polite=False)
    two = await workers(script=answered(), polite=False)
    location, http = first_and_backup(one, two)
    ngx = nginx(location, http=http)
    async with client(ngx) as conn:
        for i in range(1, 4):
            assert await conn.refused() >= 400
            assert connects(one) == i
    assert not two.calls


@pytest.mark.parametrize("how", ["unavailable", "refused"])
async def test_unary_call_that_was_not_taken_is_for_others(nginx, client,
                                                           workers, how):
    async def script(call):
        await call.message()
        if how == "refused":
            call.reset(REFUSED_STREAM)
        else:
            call.finish(14)

    one = await workers(script=script, polite=False)
    two = await workers(script=answered(), polite=False)
    location, http = first_and_backup(one, two)
    ngx = nginx(location, http=http)
    async with client(ngx) as conn:
        await conn.session()
        await conn.session()
    assert connects(one) == (2 if how == "refused" else 1)
