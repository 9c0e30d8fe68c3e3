"""What tests of workers do with sessions."""

import asyncio
import contextlib
import re

from lib.worker import data_, passed


@contextlib.asynccontextmanager
async def opened(nginx, client, worker, more="", accept=None, **kwargs):
    """A client's session and the worker's."""
    if accept is not None:
        worker.accept = [accept]
    ngx = nginx(passed(worker, more))
    async with client(ngx, **kwargs) as conn:
        session = await conn.session()
        yield session, await worker.session()


async def take(stream, size):
    """Reads so many bytes, and lets the server send as many in their place;
    read_exactly() would wait for all of them first."""
    data = bytearray()
    while len(data) < size:
        part = await stream.read(size - len(data))
        assert part, f"{stream} ended after {len(data)} bytes"
        data += part
    return bytes(data)


async def refused(ngx, client, status, reason):
    """The session is refused, and the log has the reason with its id."""
    async with client(ngx) as conn:
        assert await conn.refused() == status
    line = await ngx.logged(status=str(status))
    await ngx.wait_log(rf"\[error\].*webtransport session "
                       rf"{re.escape(line['session_id'])}: {reason}")
    await ngx.idle()
    return line


async def unreachable(ngx, client, status, reason):
    """The session is refused because there is no worker; the log has the
    reason, though perhaps without an id: connections may be shared."""
    line = await refused(ngx, client, status, ".*no worker could be reached")
    await ngx.wait_log(rf"\[error\].*{reason}")
    return line


async def ended(ngx, session, code, reason, by):
    """The session ends like that for the client and in both logs."""
    got = await session.closed()
    assert got[0] == code
    assert re.search(reason, got[1].decode()), got
    line = await ngx.logged(status="200", close_by=by, close_code=str(code))
    await ngx.wait_log(rf"\[error\].*webtransport session "
                       rf"{re.escape(line['session_id'])}: .*{reason}")
    return line


async def echoed(session, backend, data=b"still works"):
    """Bytes go both ways: the session is alive."""
    stream = session.open_bidi()
    stream.write(data, True)
    event = await backend.accept_stream()
    received = event.data
    if not event.fin:
        received += await backend.read_all(event.stream_id)
    assert received == data
    for pos in range(0, len(data), 50000):
        backend.send(data_(event.stream_id, data[pos:pos + 50000]))
    backend.send(data_(event.stream_id, fin=True))
    assert await stream.read_all() == data


async def echo_hundred_times(ngx, client):
    """A hundred sessions at once, of an example's echo."""
    async with contextlib.AsyncExitStack() as stack:
        conns = [await stack.enter_async_context(client(ngx))
                 for _ in range(10)]
        sessions = await asyncio.gather(*[
            conn.session("/echo") for conn in conns for _ in range(10)])
        answers = await asyncio.gather(*[
            session.echo(b"%d" % i * 1000) for i, session
            in enumerate(sessions)])
        assert answers == [b"%d" % i * 1000 for i in range(100)]
