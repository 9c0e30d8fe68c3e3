"""Batches that fail: whom it must not hurt, and what must not happen twice."""

import asyncio
import os
import signal
import time

import pytest

from lib import worker as w
from lib import worker_grpc, worker_http
from lib.client import TIMEOUT
from lib.sessions import echoed
from lib.worker import passed, pb, server, upstream

pytestmark = pytest.mark.kinds("http_backend", "unary")

SEVERAL = "webtransport_read_timeout 300ms;"


def overridden(worker, deliver):
    """Answers calls with deliver(call, the worker's own way)."""
    real = worker._deliver

    async def wrapper(call):
        return await deliver(call, real)

    worker._deliver = wrapper


def status(kind, number):
    """An answer with an HTTP status, or the like of it in gRPC."""
    if kind == "unary":
        return worker_grpc.status({500: 13, 503: 14}[number], "x")
    return worker_http.reply(number, b"")


def fault(kind, name):
    """Faults after a worker has certainly got the batch."""
    if kind == "unary":
        return {"lost": worker_grpc.status(13, "gone"),
                "silence": worker_grpc.silence}[name]
    return {"lost": worker_http.lost, "silence": worker_http.silence}[name]


@pytest.mark.parametrize("name", ["lost", "silence"])
async def test_connect_goes_to_one_worker(nginx, client, workers, kind, name):
    """What has seen a session decides on it, even if it says nothing."""
    pool = [await workers(), await workers()]
    for worker in pool:
        worker.accept = None
        worker.faults.extend([fault(kind, name)] * 3)
    ngx = nginx(passed(pool[0].passed_as("workers"), SEVERAL),
                http=upstream(*map(server, pool)))
    async with client(ngx) as conn:
        assert await conn.refused() in (502, 504)
    await ngx.logged(status="504" if name == "silence" else "502")
    connects = [call for worker in pool for call in worker.calls
                if "connect" in call.kinds]
    assert len(connects) == 1


async def test_slow_batch_does_not_disable_workers(nginx, client, workers):
    """One that no worker answers is not the workers' fault."""
    first = await workers()
    pool = [first, await workers(pool=first)]
    ngx = nginx(passed(first.passed_as("workers"), SEVERAL),
                http=upstream(*map(server, pool)))
    attempts = 0

    async def deliver(call, real):
        nonlocal attempts
        if any(event.data.data == b"slow" for event in call.batch.events):
            attempts += 1
            await asyncio.Event().wait()
        return await real(call)

    for worker in pool:
        overridden(worker, deliver)
    async with client(ngx) as conn, client(ngx) as other:
        session = await conn.session()
        await first.session()
        session.open_bidi().write(b"slow")
        await ngx.until(lambda: attempts >= 3, "three attempts")
        for _ in range(2):
            await echoed(await other.session(), await first.session())
    assert "no live workers" not in ngx.error_log()


@pytest.mark.parametrize("batch", [
    pb.CommandBatch(seq=77, commands=[w.accept()]),
    pb.CommandBatch(session_id="x", commands=[w.accept()])])
async def test_first_answer_to_another_batch_is_502(nginx, client, worker,
                                                    kind, batch):
    worker.accept = None
    if kind == "unary":
        worker.faults.append(worker_grpc.answer(batch.SerializeToString()))
    else:
        worker.faults.append(worker_http.reply(body=worker.encode(
            batch.SerializeToString())))
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        assert await conn.refused() == 502
    line = await ngx.logged(status="502")
    assert line["close_by"] == "worker_lost"


async def test_end_of_a_session_while_datagrams_pause(nginx, client, worker,
                                                      kind):
    """Both timers expire in one turn of the event loop."""
    ngx = nginx(passed(worker))
    failed = 0

    async def deliver(call, real):
        nonlocal failed
        if "datagram" in call.kinds:
            failed += 1
            worker.faults.appendleft(status(kind, 500))
        return await real(call)

    overridden(worker, deliver)
    async with client(ngx, window=1000) as conn:
        session = await conn.session()
        backend = await worker.session()
        for count in range(1, 5):
            session.send_datagram(b"x")
            await ngx.until(lambda: failed >= count, "a batch of datagrams")
        backend.send(w.open_uni(7, bytes(20000), True),
                     w.close(7, "done", flush_ms=500))
        await session.accept_uni()
        for pid in ngx.workers():
            os.kill(pid, signal.SIGSTOP)
        time.sleep(1)
        for pid in ngx.workers():
            os.kill(pid, signal.SIGCONT)
        assert (await session.closed())[0] == 7


async def test_last_batches_are_limited(nginx, client, worker):
    """A client that comes and goes cannot use up nginx's connections while
    the worker takes its time with Closed."""
    connections = 64
    ngx = nginx(passed(worker), connections=connections)
    release = asyncio.Event()
    waiting = 0

    async def deliver(call, real):
        nonlocal waiting
        if "closed" in call.kinds:
            waiting += 1
            await release.wait()
        return await real(call)

    overridden(worker, deliver)
    async with client(ngx) as conn:
        for _ in range(connections // 4 + 4):
            session = await conn.session()
            session.close()
            await session.closed()
        await ngx.wait_log("Closed could not be delivered: the last batches of "
                           f"{connections // 4 + 1} sessions")
        assert waiting <= connections // 4 + 1
        release.set()
