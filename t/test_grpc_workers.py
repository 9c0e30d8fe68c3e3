"""gRPC servers of others: the example workers in Go, Python and JavaScript
behind nginx."""

import asyncio
import hashlib
import os

import pytest

from lib.sessions import echo_hundred_times
from lib.wire import *
from lib.worker import passed

WORKER_LOST = 8


@pytest.fixture(params=["go_worker", "grpc_python_worker", "node_worker"])
def example(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def unary(example):
    """The same server, a call per batch."""
    example.scheme = "grpc+unary://"
    example.passed = example.passed_as(example.address)
    return example


async def test_hundred_sessions(nginx, client, example):
    ngx = nginx(passed(example), connections=4096)
    await echo_hundred_times(ngx, client)
    await ngx.idle()
    assert "[error]" not in ngx.error_log()


async def test_bytes_are_the_same_on_the_other_side(nginx, client, example,
                                                    build):
    size = (1 if build.sanitized else 4) << 20
    ngx = nginx(passed(example))
    async with client(ngx) as conn:
        session = await conn.session("/echo")

        async def echo(size):
            data = os.urandom(size)
            stream = session.open_bidi()
            _, echoed = await asyncio.gather(stream.send(data, True, 60),
                                             stream.read_all(60))
            assert hashlib.sha256(echoed).digest() == hashlib.sha256(
                data).digest()

        await asyncio.gather(echo(size), echo(size // 4),
                             *[echo(n) for n in (0, 1, 70000)])


async def test_unidirectional_streams_and_datagrams(nginx, client, example):
    ngx = nginx(passed(example))
    async with client(ngx) as conn:
        session = await conn.session("/echo")
        for i in range(20):
            session.open_uni().write(b"%d" % i * 1000, True)
        found = [await (await session.accept_uni()).read_all()
                 for _ in range(20)]
        assert sorted(found) == sorted(b"%d" % i * 1000 for i in range(20))
        assert await session.echo_datagram(b"hi") == b"hi"


async def test_codes_pass_both_ways(nginx, client, example):
    ngx = nginx(passed(example))
    async with client(ngx) as conn:
        session = await conn.session("/echo")
        stream = session.open_bidi()
        stream.write(b"x")
        await stream.read_exactly(1)
        stream.reset(77)
        assert await stream.until_reset() == app_to_h3(77)
        stream = session.open_bidi()
        stream.write(b"x")
        await stream.read_exactly(1)
        stream.stop(78)
        await ngx.until(lambda: stream.reset_code is not None, "the reset")
        stream.write(b"y")      # which the worker cannot send back
        assert await stream.until_stop() == app_to_h3(78)
        assert await session.echo() == b"ping"
        session.close(5, b"bye")
        await session.closed()
    await ngx.logged(status="200", close_by="client", close_code="5")


async def test_unknown_path_is_refused(nginx, client, example):
    ngx = nginx(passed(example))
    async with client(ngx) as conn:
        assert await conn.refused("/nowhere") == 404


async def test_slow_client_among_others(nginx, client, example):
    """They share a connection, but not its windows."""
    ngx = nginx(passed(example))
    async with client(ngx, window=20000) as conn:
        slow = [await conn.session("/echo") for _ in range(5)]
        for session in slow:
            session.open_bidi().write(os.urandom(500000))
        quick = await conn.session("/echo")
        for _ in range(10):
            data = os.urandom(15000)
            assert await quick.echo(data) == data


async def test_killed_process(nginx, client, example):
    ngx = nginx("webtransport_max_sessions 100;" + passed(example),
                connections=4096)
    async with client(ngx) as conn:
        sessions = await asyncio.gather(*[conn.session("/echo")
                                          for _ in range(50)])
        os.kill(example.pid, 9)
        ends = await asyncio.gather(*[session.closed()
                                      for session in sessions])
        assert set(ends) == {(WORKER_LOST, b"worker lost")}
        assert await conn.refused("/echo") == 502
    await ngx.idle()


async def test_unary_sessions(nginx, client, unary):
    ngx = nginx("webtransport_max_sessions 100;" + passed(unary))
    async with client(ngx) as conn:
        sessions = await asyncio.gather(*[conn.session("/echo")
                                          for _ in range(20)])
        answers = await asyncio.gather(*[
            session.echo(b"%d" % i * 1000)
            for i, session in enumerate(sessions)])
        assert answers == [b"%d" % i * 1000 for i in range(20)]
        assert await sessions[0].echo_datagram(b"hi") == b"hi"
        data = os.urandom(300000)
        stream = sessions[0].open_bidi()
        _, echoed = await asyncio.gather(stream.send(data, True),
                                         stream.read_all())
        assert echoed == data
    await ngx.idle()
    assert "[error]" not in ngx.error_log()
