"""Application workers behind nginx: a scripted one, and the examples.

    session = await worker.session()          # accepted already
    data = await session.expect("data")
    session.send(data_(data.stream_id, b"pong", fin=True))
    await session.drain()

A scripted worker does nothing by itself but to accept sessions (unless
worker.accept is None) and to answer pings (unless session.answer_pings is
False), so that each test says what its worker does.

Here are those behind a socket; lib.worker_grpc and lib.worker_http have the
others.  All have the same interface, so that a test runs on any of them.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import deque

import webtransport_pb2 as pb

from lib.certificate import tls_context
from lib.client import TIMEOUT
from lib.nginx import ROOT

UNSENT_LIMIT = 1 << 20


# commands; "data_" because every test has something called "data"

def command(id=0, **kind):
    return pb.Command(id=id, **kind)


def accept(id=0, headers=(), **fields):
    fields["headers"] = [pb.Header(name=k, value=v) for k, v in headers]
    return command(id, accept=pb.Accept(**fields))


def reject(status=403, headers=(), body=b"", id=0):
    return command(id, reject=pb.Reject(
        status=status, body=body,
        headers=[pb.Header(name=k, value=v) for k, v in headers]))


def data_(stream_id, data=b"", fin=False, id=0, **fields):
    return command(id, data=pb.StreamData(stream_id=stream_id, data=data,
                                          fin=fin, **fields))


def open_bidi(stream_id, data=b"", fin=False, id=0, **fields):
    return data_(stream_id, data, fin, id, open=pb.BIDI, **fields)


def open_uni(stream_id, data=b"", fin=False, id=0, **fields):
    return data_(stream_id, data, fin, id, open=pb.UNI, **fields)


def reset(stream_id, code=0, id=0):
    return command(id, reset=pb.StreamAbort(stream_id=stream_id, code=code))


def stop(stream_id, code=0, id=0):
    return command(id, stop=pb.StreamAbort(stream_id=stream_id, code=code))


def datagram(data=b"", ttl_ms=0, id=0):
    return command(id, datagram=pb.Datagram(data=data, ttl_ms=ttl_ms))


def credit(stream_id, bytes, id=0):
    return command(id, credit=pb.Credit(stream_id=stream_id, bytes=bytes))


def close(code=0, reason="", flush_ms=0, id=0):
    return command(id, close=pb.Close(code=code, reason=reason,
                                      flush_ms=flush_ms))


def abort(id=0):
    return command(id, abort=pb.Abort())


def drain(deadline_ms=0, id=0):
    return command(id, drain=pb.Drain(deadline_ms=deadline_ms))


def ping(number, id=0):
    return command(id, ping=pb.Ping(id=number))


def framed(message):
    """A frame on the socket: 4-byte length, then the message."""
    if not isinstance(message, bytes):
        message = message.SerializeToString()
    return len(message).to_bytes(4, "big") + message


def abort_connection(writer):
    """Closes a connection with a reset, if it is not closed yet."""
    with contextlib.suppress(AttributeError):   # TLS, and it is
        writer.transport.abort()


# configurations

def passed(worker, more=""):
    """A location for a worker, or for what webtransport_pass may name."""
    name = getattr(worker, "passed", getattr(worker, "address", worker))
    more = getattr(worker, "directives", "") + more
    return f"location / {{ webtransport_pass {name}; {more} }}"


def upstream(*servers, more=""):
    return f"upstream workers {{ {more} {' '.join(servers)} }}"


def server(worker, options=""):
    return f"server {getattr(worker, 'address', worker)} {options};"


class WorkerSession:
    """A session as its worker sees it, whatever carries the batches."""

    def __init__(self):
        self.id = None
        self.connect = None
        self.answer_pings = True
        self.batches = 0

        # events not yet taken, all kinds
        self.events = deque()
        self.ended = False
        self._arrived = asyncio.Event()
        self._running = asyncio.Event()
        self._running.set()

    def _received(self, message):
        """A batch came."""
        batch = pb.EventBatch.FromString(message)
        self.id = self.id or batch.session_id
        self.batches += 1
        for event in batch.events:
            self._event(event)
        self._arrived.set()

    def _end(self):
        self.ended = True
        self._arrived.set()

    def _event(self, event):
        kind = event.WhichOneof("kind")
        if kind == "connect":
            assert self.connect is None, "a second Connect"
            self.connect = event.connect
        elif kind == "ping" and self.answer_pings:
            self.send(command(pong=pb.Ping(id=event.ping.id)))
        else:
            self.events.append(event)

    # events

    async def _until(self, predicate, timeout, what):
        try:
            async with asyncio.timeout(timeout):
                while not predicate():
                    assert not self.ended, f"connection ended, expected {what}"
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise TimeoutError(f"worker waited {timeout} s for {what}, "
                               f"has {list(self.events)[:5]}") from None

    async def event(self, timeout=TIMEOUT):
        """The next event, whichever it is."""
        await self._until(lambda: self.events, timeout, "an event")
        return self.events.popleft()

    async def expect(self, kind, timeout=TIMEOUT, skip=("credit",)):
        """The next event but for those to skip; must be of that kind."""
        while True:
            event = await self.event(timeout)
            found = event.WhichOneof("kind")
            if found == kind:
                return getattr(event, kind)
            assert found in skip, f"expected {kind}, came {event}"

    async def find(self, kind, timeout=TIMEOUT, **fields):
        """Waits for an event of that kind with these values, takes it and
        leaves the others."""
        def match(event):
            return (event.WhichOneof("kind") == kind
                    and all(getattr(getattr(event, kind), name) == value
                            for name, value in fields.items()))

        await self._until(lambda: any(map(match, self.events)), timeout,
                          f"{kind} {fields}")
        event = next(filter(match, self.events))
        self.events.remove(event)
        return getattr(event, kind)

    async def read_all(self, stream_id, timeout=TIMEOUT):
        """Takes data events of a stream until its FIN."""
        parts = []
        while True:
            event = await self.find("data", timeout, stream_id=stream_id)
            parts.append(event.data)
            if event.fin:
                return b"".join(parts)

    async def accept_stream(self, timeout=TIMEOUT):
        """Waits for the next data event that opens a stream; takes it."""
        event = None
        while event is None or event.open == pb.NONE:
            event = await self.find("data", timeout)
        return event

    async def closed(self, timeout=TIMEOUT):
        """Waits for the Closed event; takes it and all before it."""
        return await self.find("closed", timeout)

    async def end(self, timeout=TIMEOUT):
        """Waits until nginx has closed the connection or ended the call."""
        async with asyncio.timeout(timeout):
            while not self.ended:
                self._arrived.clear()
                await self._arrived.wait()

    # commands

    def send(self, *commands):
        """Sends commands in one batch."""
        self.send_message(
            pb.CommandBatch(commands=commands).SerializeToString())

    def send_message(self, message):
        """Sends a CommandBatch, or what is none."""
        raise NotImplementedError

    async def drain(self, timeout=TIMEOUT):
        """Waits until the transport has room."""
        raise NotImplementedError

    @property
    def unsent(self):
        """Bytes that the transport did not take yet."""
        raise NotImplementedError

    async def call(self, id, **kind):
        """Sends one command and waits for its Result."""
        self.send(command(id, **kind))
        return await self.find("result", id=id)

    async def sync(self, number=1 << 40):
        """Waits until all commands sent so far have run."""
        self.send(ping(number))
        await self.find("pong", id=number)

    # misbehaviour

    def pause(self):
        """Reads nothing from nginx."""
        self._running.clear()

    def resume(self):
        self._running.set()

    def shut(self):
        """Ends the session from this side, in good order."""
        raise NotImplementedError

    def kill(self):
        """Ends it as a crash may do."""
        raise NotImplementedError


class SocketSession(WorkerSession):
    """One connection from nginx, which is one session."""

    def __init__(self, reader, writer):
        super().__init__()
        self.reader = reader
        self.writer = writer

    async def run(self):
        try:
            while True:
                await self._running.wait()
                size = await self.reader.readexactly(4)
                self._received(await self.reader.readexactly(
                    int.from_bytes(size, "big")))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._end()

    def send_message(self, message):
        self.write(framed(message))

    def write(self, data):
        """Sends raw bytes."""
        if not self.writer.is_closing():
            self.writer.write(data)

    async def drain(self, timeout=TIMEOUT):
        async with asyncio.timeout(timeout):
            await self.writer.drain()

    @property
    def unsent(self):
        return self.writer.transport.get_write_buffer_size()

    def pause(self):
        super().pause()
        self.writer.transport.pause_reading()

    def resume(self):
        self.writer.transport.resume_reading()
        super().resume()

    def shut(self):
        """Closes the connection."""
        self.writer.close()

    def kill(self):
        """Closes the connection with a reset."""
        abort_connection(self.writer)


class Listener:
    """Listens, and hands out sessions to the test.

    accept      the first commands to every session, or None to leave it to
                the test
    address     for a server of an upstream
    passed      for webtransport_pass

    path        of a unix socket; None: a port of the loopback interface
    tls         a Certificate, or None
    client_ca   path of the authority whose certificates nginx must have
    """

    scheme = ""
    directives = ""

    def __init__(self, path=None, tls=None, client_ca=None):
        self.path = path
        self.tls = tls
        self.client_ca = client_ca
        self.address = f"unix:{path}" if path else None
        self.accept = [accept()]
        self.sessions = []
        self._new = asyncio.Queue()
        self._tasks = set()

    def passed_as(self, name):
        """For webtransport_pass, if an upstream has a name for it."""
        if self.tls:
            return re.sub(r"(\+unary)?:", r"s\1:", self.scheme) + name
        return self.scheme + name

    @property
    def passed(self):
        return self.passed_as(self.address)

    def _task(self, coroutine):
        """Starts a task that ends with the worker."""
        return self._adopt(asyncio.create_task(coroutine))

    def _adopt(self, task=None):
        task = task or asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _hello(self, session):
        """Accepts a session, and gives it to the test."""
        with contextlib.suppress(AssertionError):
            await session._until(lambda: session.connect, 3600, "Connect")
            if self.accept is not None:
                session.send(*self.accept)
        self._new.put_nowait(session)

    async def session(self, timeout=TIMEOUT):
        """The next session."""
        async with asyncio.timeout(timeout):
            return await self._new.get()

    async def _cancel(self):
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _unlink(self):
        if self.path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


class StreamListener(Listener):
    """One that is an asyncio server.

    context     for TLS, of the ssl module; made of the certificate
    """

    backlog = 1024
    alpn = ()

    def __init__(self, path=None, tls=None, client_ca=None):
        super().__init__(path, tls, client_ca)
        self.context = tls and tls_context(tls, self.alpn, client_ca)
        self.port = 0
        self.server = None

    async def start(self):
        options = {"limit": 1 << 16, "backlog": self.backlog,
                   "ssl": self.context}
        if self.path is not None:
            self.server = await asyncio.start_unix_server(
                self._accepted, self.path, **options)
        else:
            self.server = await asyncio.start_server(
                self._accepted, "127.0.0.1", self.port, **options)
            host, self.port = self.server.sockets[0].getsockname()
            self.address = f"{host}:{self.port}"
        return self

    async def stop(self):
        """Closes the listening socket and all connections."""
        if self.server is None:
            return
        server, self.server = self.server, None
        server.close()
        # connections that are on their way from asyncio to us
        for _ in range(10):
            await asyncio.sleep(0)
        self._abort()
        await self._cancel()
        self._unlink()

    async def _accepted(self, reader, writer):
        if self.server is None:
            abort_connection(writer)
        else:
            await self._connection(reader, writer)


class Worker(StreamListener):
    """Frames on a socket: unix:/path, host:port."""

    async def _connection(self, reader, writer):
        session = SocketSession(reader, writer)
        self.sessions.append(session)
        self._task(session.run())
        await self._hello(session)

    def _abort(self):
        for session in self.sessions:
            session.kill()


class Example:
    """One of the example workers, as a process of its own."""

    PHP = ["php", ROOT / "docs/examples/php/worker.php"]
    PYTHON = [sys.executable, ROOT / "docs/examples/python/worker.py"]

    GO = [ROOT / "build/bin/worker-go"]
    GRPC_PYTHON = [sys.executable, ROOT / "docs/examples/grpc-python/worker.py"]
    NODE = ["node", ROOT / "docs/examples/node/worker.js"]

    GRPC = [GO, GRPC_PYTHON, NODE]

    ENVIRONMENT = {"PYTHONPATH": str(ROOT / "build/py"),
                   "PYTHONUNBUFFERED": "1",
                   "NODE_PATH": str(ROOT / "build/node/node_modules")}

    def __init__(self, command, path, *options):
        self.scheme = "grpc://" if command in self.GRPC else ""
        self.command = [*command, f"unix:{path}", *options]
        self.address = f"unix:{path}"
        self.passed = self.passed_as(self.address)
        self.output = bytearray()

    def passed_as(self, name):
        return self.scheme + name

    async def start(self):
        self.process = await asyncio.create_subprocess_exec(
            *map(str, self.command), start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | self.ENVIRONMENT)
        self._listening = asyncio.Event()
        self._reader = asyncio.create_task(self._read())
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._listening.wait()
        except TimeoutError:
            raise TimeoutError(f"worker does not listen: {self.output}")
        if b"listening on" not in self.output:
            raise RuntimeError(f"worker does not start: {self.output}")
        return self

    async def _read(self):
        while data := await self.process.stdout.read(65536):
            self.output += data
            if b"listening on" in self.output:
                self._listening.set()
        self._listening.set()

    @property
    def pid(self):
        return self.process.pid

    async def stop(self, number=signal.SIGTERM):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        try:
            async with asyncio.timeout(TIMEOUT):
                await self.process.wait()
        except TimeoutError:
            os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()
        self._reader.cancel()
