"""A call that is a session: what ../python/connection.py is for a socket."""

from __future__ import annotations

import asyncio
from collections import deque

import grpc
from google.protobuf.message import DecodeError

from connection import MAX_OUTPUT, ProtocolError, pb


class Call:
    """Reads batches of events, and sends commands in batches."""

    def __init__(self, context: grpc.aio.ServicerContext) -> None:
        self.max_batch = 65536

        # Whether nginx has sent the last event.
        self.complete = False

        self._context = context
        self._commands: deque[tuple[pb.Command, int]] = deque()
        self._size = 0  # of commands, and of the batch that is being sent
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False
        self._writer = asyncio.create_task(self._write())

    async def read(self) -> pb.EventBatch:
        """The next batch; ConnectionError if there is none."""
        try:
            batch = await self._context.read()
        except DecodeError as error:
            raise ProtocolError(str(error)) from None

        if batch is grpc.aio.EOF:
            raise ConnectionResetError("nginx ended the call")

        self.complete = any(e.HasField("closed") for e in batch.events)

        return batch

    def send(self, command: pb.Command) -> None:
        # Tag and length in front of it take at most 6 bytes.
        size = command.ByteSize() + 6
        self._commands.append((command, size))
        self._size += size
        self._filled.set()

    async def drain(self) -> None:
        """Waits while nginx does not take what was sent."""
        while self.is_full() and not self._closed:
            self._room.clear()
            await self._room.wait()

    def is_full(self) -> bool:
        return self._size > MAX_OUTPUT

    def close(self) -> None:
        """Sends no more; what was not sent is dropped."""
        self._closed = True
        self._room.set()
        self._filled.set()

    async def wait_closed(self) -> None:
        """Waits until the last message has left.

        gRPC cannot send a status, and end the call, while it sends a message.
        """
        await asyncio.wait({self._writer})

    # ---- sending ------------------------------------------------------------

    async def _write(self) -> None:
        """A call takes one message at a time, and each waits for nginx."""
        try:
            while not self._closed:
                if self._commands:
                    batch, size = self._take()
                    await self._context.write(batch)
                    self._size -= size
                    self._room.set()
                else:
                    self._filled.clear()
                    await self._filled.wait()
        except Exception:
            # gRPC has many names for a call that is over; read() tells, too.
            pass
        finally:
            self.close()

    def _take(self) -> tuple[pb.CommandBatch, int]:
        """What has come together meanwhile, if nginx takes it in one."""
        batch = pb.CommandBatch()
        total = 0

        while self._commands:
            command, size = self._commands[0]

            if total > 0 and total + size > self.max_batch:
                break

            self._commands.popleft()
            batch.commands.append(command)
            total += size

        return batch, total
