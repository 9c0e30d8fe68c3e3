"""A connection to nginx: frames in, commands out."""

from __future__ import annotations

import asyncio

try:
    from google.protobuf.message import DecodeError

    import webtransport_pb2 as pb
except ModuleNotFoundError as error:
    raise SystemExit(
        f"{error}\n"
        "webtransport_pb2 is made from webtransport.proto, see README.md; its "
        "folder has to be in PYTHONPATH, and protobuf has to be installed."
    ) from None

__all__ = ["Connection", "ProtocolError", "pb"]

# nginx keeps to 64 KB unless webtransport_framing is set, and then to
# webtransport_max_message_size.
MAX_FRAME = 1 << 20

# Above this many bytes that nginx has not taken, datagrams are dropped.
MAX_OUTPUT = 262144


class ProtocolError(Exception):
    """The peer sent what nginx never sends; its connection ends."""


class Connection:
    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.max_batch = 65536

        self._reader = reader
        self._writer = writer
        self._batch = pb.CommandBatch()
        self._batch_size = 0

    async def read(self) -> pb.EventBatch:
        """The next frame; IncompleteReadError if there is none."""
        length = int.from_bytes(await self._reader.readexactly(4), "big")

        if length > MAX_FRAME:
            raise ProtocolError(f"frame of {length} bytes")

        try:
            return pb.EventBatch.FromString(
                await self._reader.readexactly(length)
            )
        except DecodeError as error:
            raise ProtocolError(str(error)) from None

    def send(self, command: pb.Command) -> None:
        """Adds a command to the batch that is being made."""
        # Tag and length in front of it take at most 6 bytes.
        size = command.ByteSize() + 6

        if self._batch_size + size > self.max_batch:
            self.flush()

        # What one turn of the event loop sends travels together.
        if self._batch_size == 0:
            asyncio.get_running_loop().call_soon(self.flush)

        self._batch.commands.append(command)
        self._batch_size += size

    def flush(self) -> None:
        """Ends the batch, and hands it to the socket as one frame."""
        if self._batch_size > 0 and not self._writer.is_closing():
            message = self._batch.SerializeToString()
            self._writer.write(len(message).to_bytes(4, "big") + message)

        self._batch = pb.CommandBatch()
        self._batch_size = 0

    async def drain(self) -> None:
        """Waits while nginx does not take what was sent."""
        await self._writer.drain()

    def is_full(self) -> bool:
        buffered = self._writer.transport.get_write_buffer_size()

        return buffered + self._batch_size > MAX_OUTPUT

    def close(self) -> None:
        self.flush()
        self._writer.close()
