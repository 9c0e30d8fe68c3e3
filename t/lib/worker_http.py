"""A scripted worker behind HTTP/1.1: http://.

The server is written here, so that it can misbehave in every way: a fault (see
BatchListener) gets the call and may write anything, or nothing, or close.
"""

import asyncio
import contextlib

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from lib.worker import StreamListener, abort_connection, pb
from lib.worker_batch import BatchListener, Call

JSON = "application/json"
PROTOBUF = "application/proto"

REASONS = {200: "OK", 204: "No Content", 429: "Too Many Requests",
           503: "Service Unavailable"}


class HttpCall(Call):
    """A request.

    line        the request line
    connection  number of its connection
    """

    def __init__(self, line, headers, body, writer, connection):
        self.line = line
        self.body = body
        self.writer = writer
        self.connection = connection
        self.keep = True
        fields = dict(headers)
        if fields.get("content-type") == JSON:
            batch = json_format.Parse(body, pb.EventBatch())
            message = batch.SerializeToString()
        else:
            batch, message = pb.EventBatch.FromString(body), body
        super().__init__(message, batch, headers)

    def write(self, data):
        """Sends raw bytes."""
        if not self.writer.is_closing():
            self.writer.write(data)

    def head(self, status=200, headers=()):
        """Sends a status line and header fields."""
        reason = REASONS.get(status, "Whatever")
        lines = [f"HTTP/1.1 {status} {reason}",
                 *(f"{name}: {value}" for name, value in headers)]
        self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def reply(self, status=200, body=b"", headers=(), type=None):
        """Sends a whole response."""
        headers = [*headers]
        if type:
            headers.append(("Content-Type", type))
        if status != 204:
            headers.append(("Content-Length", len(body)))
        self.head(status, headers)
        self.write(body)

    def close(self):
        """Closes the connection, behind what was sent."""
        self.keep = False
        self.writer.close()

    def abort(self):
        """Closes it with a reset."""
        self.keep = False
        abort_connection(self.writer)


class HttpWorker(StreamListener, BatchListener):
    """Batches as POST.

    format      of requests and answers, "json" or "protobuf"
    uri         behind the address
    keep_alive  requests per connection; 0: any number
    connections how many there were
    """

    scheme = "http://"
    alpn = ("http/1.1",)

    def __init__(self, path=None, pool=None, format="json", uri="/wt",
                 **options):
        super().__init__(path, **options)
        self._share(pool)
        self.format = format
        self.uri = uri
        self.keep_alive = 0
        self.connections = 0
        self.open = set()
        if format != "json":
            self.directives = f"webtransport_format {format};"

    def passed_as(self, name):
        colon = ":" if name.startswith("unix:") and self.uri else ""
        return super().passed_as(f"{name}{colon}{self.uri}")

    async def _connection(self, reader, writer):
        self.connections += 1
        number = self.connections
        self.open.add(writer)
        self._adopt()
        with contextlib.suppress(asyncio.IncompleteReadError,
                                 ConnectionError):
            served = 0
            while not writer.is_closing():
                call = await self._request(reader, writer, number)
                served += 1
                last = served == self.keep_alive
                await self._respond(call, last)
                if last or not call.keep:
                    break
        self.open.discard(writer)
        writer.close()

    async def _request(self, reader, writer, number):
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")[:-2]
        headers = []
        for field in fields:
            name, _, value = field.partition(":")
            headers.append((name.lower(), value.strip()))
        size = int(dict(headers)["content-length"])
        body = await reader.readexactly(size)
        return HttpCall(line, headers, body, writer, number)

    async def _respond(self, call, last):
        answer = await self._deliver(call)
        if answer is None:
            return
        headers = [("Connection", "close")] if last else []
        if not answer:
            call.reply(204, headers=headers)
        else:
            call.reply(200, self.encode(answer), headers, self.type)

    @property
    def type(self):
        return JSON if self.format == "json" else PROTOBUF

    def encode(self, message):
        """A CommandBatch as a body."""
        if self.format != "json":
            return message
        with contextlib.suppress(DecodeError):
            message = json_format.MessageToJson(
                pb.CommandBatch.FromString(message), indent=None).encode()
        return message

    def size(self, message):
        """JSON may be twice as long as protobuf, but no longer."""
        return max(len(message), (len(self.encode(message)) + 1) // 2)

    def _abort(self):
        for writer in self.open:
            abort_connection(writer)


def reply(status=200, body=b"", headers=(), type=JSON):
    """A fault: this response."""
    async def fault(call):
        call.reply(status, body, headers, type)
    return fault


def raw(*parts, close=True):
    """A fault: these bytes, and the end of the connection."""
    async def fault(call):
        for part in parts:
            call.write(part)
            await call.writer.drain()
        if close:
            call.close()
    return fault


async def lost(call):
    """A fault: a reset instead of an answer."""
    call.abort()


async def silence(call):
    """A fault: no answer at all."""
    await asyncio.Event().wait()
