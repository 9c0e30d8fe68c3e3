"""Scripted workers behind gRPC, with grpcio's own server.

GrpcWorker      grpc://, a call per session
UnaryWorker     grpc+unary://, a call per batch

Messages are handed over as bytes, so that tests can send what is no message.
lib.h2_server is for what no gRPC server would do.
"""

import asyncio
import contextlib
import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

from lib.client import TIMEOUT
from lib.worker import Listener, WorkerSession, pb
from lib.worker_batch import BatchListener, Call

SERVICE = "nginx.webtransport.v1.Worker"

CODES = {code.value[0]: code for code in grpc.StatusCode}

OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # a window of 64 KB that nobody guesses larger
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 65535),
]


class GrpcSession(WorkerSession):
    """One call of Worker.Session, which is one session.

    metadata    list of names and values
    """

    def __init__(self, context):
        super().__init__()
        self.context = context
        self.metadata = [(k, v) for k, v in context.invocation_metadata()]
        self.peer = context.peer()
        self._queue = asyncio.Queue()
        self._unsent = 0
        self._room = asyncio.Event()
        self._room.set()
        self._outcome = asyncio.get_running_loop().create_future()

    async def run(self):
        """The call, until it ends by itself or from this side."""
        tasks = [asyncio.create_task(self._read()),
                 asyncio.create_task(self._write())]
        try:
            code, message, trailers = await self._outcome
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._end()
        if code:
            await self.context.abort(CODES[code], message, trailers)
        self.context.set_trailing_metadata(trailers)

    async def _read(self):
        with contextlib.suppress(grpc.aio.UsageError, grpc.RpcError):
            while True:
                await self._running.wait()
                message = await self.context.read()
                if message is grpc.aio.EOF:
                    break
                self._received(message)
        self._end()
        self.shut()

    async def _write(self):
        while True:
            message = await self._queue.get()
            if message is None:
                break
            await self.context.write(message)
            self._unsent -= len(message)
            if self._queue.empty():
                self._room.set()
        self.finish()

    def header(self, name):
        values = [v for k, v in self.metadata if k == name]
        assert len(values) <= 1, f"{name} is repeated: {values}"
        return values[0] if values else None

    def send_message(self, message):
        self._unsent += len(message)
        self._room.clear()
        self._queue.put_nowait(message)

    async def drain(self, timeout=TIMEOUT):
        async with asyncio.timeout(timeout):
            await self._room.wait()

    @property
    def unsent(self):
        return self._unsent

    def shut(self):
        """Ends the call with OK, behind all messages."""
        self._queue.put_nowait(None)

    def finish(self, code=0, message="", trailers=()):
        """Ends the call with a status; what is queued is lost."""
        if not self._outcome.done():
            self._outcome.set_result((code, message, tuple(trailers)))

    def kill(self):
        self.finish(13, "killed")


class GrpcListener(Listener):
    """A grpcio server.

    options     more arguments of grpc core
    """

    def __init__(self, path=None, tls=None, client_ca=None, options=()):
        super().__init__(path, tls, client_ca)
        self.options = [*OPTIONS, *options]
        self.port = 0
        self.server = None

    async def start(self):
        self.server = grpc.aio.server(options=self.options)
        self.server.add_generic_rpc_handlers((
            grpc.method_handlers_generic_handler(SERVICE, self.handlers()),))
        where = self.address or f"127.0.0.1:{self.port}"
        if self.tls:
            credentials = grpc.ssl_server_credentials(
                [(self.tls.key_path.read_bytes(), self.tls.path.read_bytes())],
                self.client_ca and self.client_ca.read_bytes(),
                self.client_ca is not None)
            port = self.server.add_secure_port(where, credentials)
        else:
            port = self.server.add_insecure_port(where)
        if not self.path:
            self.port = port
            self.address = f"127.0.0.1:{port}"
        await self.server.start()
        return self

    async def stop(self):
        """Closes the listening socket and all connections."""
        if self.server is None:
            return
        server, self.server = self.server, None
        for session in self.sessions:
            if isinstance(session, GrpcSession):
                session.finish()
        await server.stop(None)
        await self._cancel()
        self._unlink()


class GrpcWorker(GrpcListener):
    """Worker.Session: grpc://."""

    scheme = "grpc://"

    def handlers(self):
        return {"Session": grpc.stream_stream_rpc_method_handler(
            self._session)}

    async def _session(self, _, context):
        session = GrpcSession(context)
        self.sessions.append(session)
        self._task(self._hello(session))
        await session.run()


class UnaryCall(Call):
    """A call of Worker.Deliver.

    peer        address of nginx
    time_left   seconds until its deadline, when it came; None: it has none
    answer      bytes for nginx, if a fault is to answer
    """

    def __init__(self, message, context):
        super().__init__(
            message, pb.EventBatch.FromString(message),
            [(k, v) for k, v in context.invocation_metadata()])
        self.context = context
        self.time_left = context.time_remaining()
        self.peer = context.peer()
        self.answer = b""

    async def finish(self, code, message="", trailers=()):
        """Ends it with a status."""
        await self.context.abort(CODES[code], message, tuple(trailers))


class UnaryWorker(GrpcListener, BatchListener):
    """Worker.Deliver: grpc+unary://."""

    scheme = "grpc+unary://"

    def __init__(self, path=None, pool=None, **options):
        super().__init__(path, **options)
        self._share(pool)

    def handlers(self):
        return {"Deliver": grpc.unary_unary_rpc_method_handler(self._call)}

    async def _call(self, message, context):
        call = UnaryCall(message, context)
        answer = await self._deliver(call)
        return call.answer if answer is None else answer


def status(code, message="", trailers=()):
    """A fault: the call ends with that status."""
    async def fault(call):
        await call.finish(code, message, trailers)
    return fault


def answer(message):
    """A fault: bytes instead of a CommandBatch."""
    async def fault(call):
        call.answer = message
    return fault


async def silence(call):
    """A fault: no answer at all."""
    await asyncio.Event().wait()
