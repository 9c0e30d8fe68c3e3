"""How batches travel: as frames on a socket, or as messages of a call."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

METHOD = "/nginx.webtransport.v1.Worker/Session"

# Messages that gRPC has not taken yet, before drain() waits.
MAX_QUEUED = 16


class Frames:
    """A connection to "unix:/path" or "host:port"."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ended = False

    @classmethod
    async def open(cls, address: str) -> Frames:
        if address.startswith("unix:"):
            streams = await asyncio.open_unix_connection(address[5:])
        else:
            host, _, port = address.rpartition(":")
            streams = await asyncio.open_connection(host.strip("[]"), port)

        return cls(*streams)

    async def receive(self) -> bytes:
        """The next message; ConnectionError if there is none."""
        try:
            head = await self._reader.readexactly(4)
            return await self._reader.readexactly(int.from_bytes(head, "big"))
        except asyncio.IncompleteReadError:
            raise ConnectionResetError("the connection was closed") from None

    def send(self, message: bytes) -> None:
        self.send_bytes(len(message).to_bytes(4, "big") + message)

    def send_bytes(self, data: bytes | bytearray) -> None:
        if not self._ended:
            self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    def end(self) -> None:
        """Sends no more."""
        self._ended = True
        self._writer.write_eof()

    def trouble(self) -> str | None:
        """What was wrong with the way in which the worker ended it."""
        return None

    async def close(self) -> None:
        self._writer.close()


class Call:
    """A call of Worker.Session, at "grpc://host:port" or "grpc://unix:/path".

    All calls to an address share a connection, as with nginx.
    """

    def __init__(self, target: str) -> None:
        # The others do without this package.
        import grpc

        self._grpc = grpc
        self._channel = grpc.aio.insecure_channel(target)
        # Without functions for it, messages are bytes.
        self._call: Any = self._channel.stream_stream(METHOD)()
        self._messages: deque[bytes | None] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._over = False
        self._status = "nothing"
        self._writer = asyncio.create_task(self._write())

    @classmethod
    async def open(cls, address: str) -> Call:
        call = cls(address.removeprefix("grpc://"))

        try:
            await call._call.wait_for_connection()
        except call._grpc.RpcError as error:
            await call.close()
            raise ConnectionError(error.details()) from None

        return call

    async def receive(self) -> bytes:
        try:
            message = await self._call.read()
        except self._grpc.RpcError as error:
            self._end(f"{error.code().name}, {error.details()!r}")
        else:
            if message is not self._grpc.aio.EOF:
                return message

            self._end((await self._call.code()).name)

        raise ConnectionResetError(f"the call ended with {self._status}")

    def send(self, message: bytes) -> None:
        self._put(message)

    def end(self) -> None:
        self._put(None)

    async def drain(self) -> None:
        while len(self._messages) > MAX_QUEUED and not self._over:
            self._room.clear()
            await self._room.wait()

    def trouble(self) -> str | None:
        if self._status == "OK":
            return None

        return f"the call ended with {self._status}"

    async def close(self) -> None:
        self._writer.cancel()
        self._call.cancel()
        await self._channel.close()

    def _put(self, message: bytes | None) -> None:
        self._messages.append(message)
        self._filled.set()

    def _end(self, status: str) -> None:
        self._over = True
        self._status = status
        self._room.set()

    async def _write(self) -> None:
        try:
            while True:
                while self._messages:
                    message = self._messages.popleft()
                    self._room.set()

                    if message is None:
                        await self._call.done_writing()
                        return

                    await self._call.write(message)

                self._filled.clear()
                await self._filled.wait()
        except (self._grpc.RpcError, asyncio.InvalidStateError):
            pass  # receive() tells
