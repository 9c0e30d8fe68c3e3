"""Clients of other libraries: the scenario that all of them go through.

A client is a program (Program) or a page in a browser (lib.interop_browser).
It gets the address of an nginx, the hash of its certificate and names of
features, and returns a result for each:

    ok
    partly: what is missing
    unsupported: why the client cannot do it
    failed: what

For each feature it opens a session of that name, "/bidi-out".  The Server here
is the worker behind nginx, plays the other part and has results of its own:
where both sides have one, both must be good.  Whoever sees the last of a
feature closes the session.
"""

import asyncio
import dataclasses
import json
import re

from lib import worker as w
from lib.client import TIMEOUT
from lib.nginx import ROOT
from lib.worker import pb

# in the order of the table in docs/interop.md; "out" is from the client

FEATURES = {
    "session": "CONNECT is answered with 200",
    "reject": "403 is an error for the client",
    "protocol": "the worker chooses the second of two application protocols",
    "bidi-out": "bidirectional stream of the client, with an answer",
    "uni-out": "unidirectional stream of the client",
    "bidi-in": "bidirectional stream of the worker, with an answer",
    "uni-in": "unidirectional stream of the worker",
    "datagram-out": "datagram of the client",
    "datagram-in": "datagram of the worker",
    "bulk": "a megabyte there and back on one stream",
    "streams": "100 streams one after the other, where 20 may be open",
    "reset-out": "the client resets streams, with codes up to 0xffffffff",
    "reset-in": "the worker does",
    "stop-out": "the client stops streams, with codes up to 0xffffffff",
    "stop-in": "the worker does",
    "close-out": "the client closes with 0xffffffff and a reason",
    "close-in": "the worker closes with 0xfffffffe and a reason",
    "drain-out": "the client sends DRAIN",
    "drain-in": "the worker does",
    "pooling": "three sessions on one connection",
}

CODES = [0, 42, 255, 256, 0xffffffff]
BULK = 1 << 20
STREAMS = 100

CONFIGURATION = """
    webtransport_max_streams 20 20;
    keepalive_timeout 1s;
    location /reject { return 403; }
    location / {
        webtransport_origins *;
        webtransport_pass %s;
    }
"""


class Program:
    """A client that is a program; see the beginning of this file."""

    def __init__(self, *command, env=None):
        self.command = [str(part) for part in command]
        self.env = env

    async def run(self, url, certificate, features):
        process = await asyncio.create_subprocess_exec(
            *self.command, url, certificate.sha256.hex(), *features,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=self.env)
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()[-3000:]
        return json.loads(output.splitlines()[-1])


async def run(client, ngx, worker, features=FEATURES):
    """All features; returns a dictionary of results."""
    server = Server(worker)
    serving = asyncio.create_task(server.serve())
    try:
        claimed = await client.run(f"https://127.0.0.1:{ngx.port}",
                                   ngx.certificate, list(features))
        return {feature: await server.judge(feature, claimed[feature])
                for feature in features}
    finally:
        serving.cancel()


class Server:
    """The worker's part."""

    def __init__(self, worker):
        worker.accept = None
        self.worker = worker
        self.parts = {}
        self.pool = []

    async def serve(self):
        async with asyncio.TaskGroup() as group:
            while True:
                session = await self.worker.session(3600)
                feature = session.connect.path.decode().strip("/")
                self.parts.setdefault(feature, []).append(
                    group.create_task(self.result(feature, session)))

    async def judge(self, feature, claimed):
        """The result of both sides."""
        there = [await task for task in self.parts.get(feature, ())]
        if feature == "pooling" and claimed == "ok":
            ports = {session.connect.remote_port for session in self.pool}
            if len(ports) != 1:
                return f"failed: {len(ports)} connections"
        bad = [result for result in there if result != "ok"]
        if claimed.startswith(("unsupported", "failed")):
            return claimed if not bad else f"{claimed}; worker: {bad[0]}"
        if not there and feature != "reject":
            return f"failed: {claimed}, but no session has come"
        return bad[0] if bad else claimed

    async def result(self, feature, session):
        try:
            # a client that has failed leaves its session
            return await PARTS[feature](self, session) or "ok"
        except Exception as error:
            return f"failed: {error!r}"

    # all of them

    async def accept(self, session, protocol=""):
        session.send(w.accept(protocol=protocol))

    async def left_by_client(self, session):
        """The client has seen the last, and goes."""
        await session.closed(TIMEOUT)

    async def finished(self, session):
        """The worker has seen the last."""
        session.send(w.close())
        await session.closed()

    async def open(self, session):
        await self.accept(session)
        await self.left_by_client(session)

    async def protocol(self, session):
        offered = list(session.connect.protocols)
        if offered != ["interop-1", "interop-2"]:
            session.send(w.accept())
            await self.finished(session)
            return f"failed: {offered} were offered"
        await self.accept(session, "interop-2")
        await self.left_by_client(session)

    # streams and datagrams

    async def read(self, session, event):
        if event.fin:
            return event.data
        return event.data + await session.read_all(event.stream_id)

    async def bidi_out(self, session):
        await self.accept(session)
        event = await session.accept_stream()
        expect(event.open, pb.BIDI)
        expect(await self.read(session, event), b"ping")
        session.send(w.data_(event.stream_id, b"pong", True))
        await self.left_by_client(session)

    async def uni_out(self, session):
        await self.accept(session)
        event = await session.accept_stream()
        expect(event.open, pb.UNI)
        expect(await self.read(session, event), b"ping")
        await self.finished(session)

    async def bidi_in(self, session):
        await self.accept(session)
        session.send(w.open_bidi(5, b"ping", True))
        expect(await session.read_all(5), b"pong")
        await self.finished(session)

    async def uni_in(self, session):
        await self.accept(session)
        session.send(w.open_uni(7, b"ping", True))
        await self.left_by_client(session)

    async def datagram_out(self, session):
        await self.accept(session)
        expect((await session.find("datagram")).data, b"ping")
        await self.finished(session)

    async def datagram_in(self, session):
        await self.accept(session)
        session.send(w.datagram(b"ping"))
        await self.left_by_client(session)

    async def echo(self, session, size=None, count=1):
        """Sends back what comes on so many streams, one after the other."""
        await self.accept(session)
        for _ in range(count):
            event = await session.accept_stream()
            data, fin = event.data, event.fin
            total = 0
            while True:
                total += len(data)
                session.send(w.data_(event.stream_id, data, fin))
                await session.drain()
                if fin:
                    break
                more = await session.find("data", stream_id=event.stream_id)
                data, fin = more.data, more.fin
            if size:
                expect(total, size)
        await self.left_by_client(session)

    async def bulk(self, session):
        await self.echo(session, BULK)

    async def streams(self, session):
        await self.echo(session, 4, STREAMS)

    async def pooled(self, session):
        self.pool.append(session)
        await self.echo(session)

    # codes

    async def codes_out(self, session, kind):
        """The client aborts some streams, and says at last with which codes;
        there are clients that do not have all of them."""
        await self.accept(session)
        found = []
        while True:
            event = await session.accept_stream()
            while not event.data:
                event = await session.find("data", stream_id=event.stream_id)
            if event.data != b"x":
                break
            session.send(w.data_(event.stream_id, b"x"))
            abort = await session.find(kind, stream_id=event.stream_id)
            assert abort.HasField("code"), f"{found}, then none"
            found.append(abort.code)
            if kind == "reset":
                session.send(w.data_(event.stream_id, fin=True))
        said = (await self.read(session, event)).decode()
        expect(found, [int(code) for code in said.split(",")])
        await self.finished(session)
        if found != CODES:
            return f"partly: codes up to {max(found)}"

    async def reset_out(self, session):
        return await self.codes_out(session, "reset")

    async def stop_out(self, session):
        return await self.codes_out(session, "stop")

    async def codes_in(self, session, command):
        """The client says on each stream with which code it wants it
        aborted, and a newline."""
        await self.accept(session)
        for _ in CODES:
            event = await session.accept_stream()
            data = event.data
            while b"\n" not in data:
                data += (await session.find(
                    "data", stream_id=event.stream_id)).data
            session.send(command(event.stream_id,
                                 int(data.partition(b"\n")[0])))
        await self.left_by_client(session)

    async def reset_in(self, session):
        await self.codes_in(session, w.reset)

    async def stop_in(self, session):
        await self.codes_in(session, w.stop)

    # ends

    async def close_out(self, session):
        await self.accept(session)
        closed = await session.closed()
        expect((closed.by, closed.code, closed.reason),
               (pb.Closed.CLIENT, 0xffffffff, "bye ä"))

    async def close_in(self, session):
        await self.accept(session)
        session.send(w.close(0xfffffffe, "ende ü"))
        await session.closed()

    async def drain_out(self, session):
        await self.accept(session)
        await session.find("drain")
        await self.finished(session)

    async def drain_in(self, session):
        await self.accept(session)
        session.send(w.drain())
        await self.left_by_client(session)


PARTS = {feature: getattr(Server, {"session": "open", "pooling": "pooled"}.get(
    feature, feature.replace("-", "_")), None) for feature in FEATURES}


def expect(found, wanted):
    assert found == wanted, f"{found} instead of {wanted}"


# ---- expectations and docs/interop.md ---------------------------------------


@dataclasses.dataclass
class Limit:
    """What a client is expected not to do.

    result   pattern of its result
    why      for the documentation
    sign     how the table shows it
    """

    result: str
    why: str
    sign: str = "–"


class Gap(Limit):
    """It would, but for us."""

    def __init__(self, result, why):
        super().__init__(result, why, "**no**")


def unexpected(results, limits):
    """Features whose result is another one: to what it is."""
    def good(feature):
        limit = limits.get(feature, limits.get("all"))
        pattern = limit.result if limit else "ok"
        return re.match(f"(?:{pattern})$", results[feature], re.S)

    return {feature: result for feature, result in results.items()
            if not good(feature)}


DOCS = ROOT / "docs/interop.md"
MARKS = ("<!-- made by t/test_interop.py -->\n", "<!-- end -->\n")


def table(expected, versions=None):
    """Markdown: features and clients, and below why what is not there is
    not.  expected: client to feature to Limit; "all" is for all others."""
    notes = []

    def cell(feature, limits):
        limit = limits.get(feature, limits.get("all"))
        if limit is None:
            return "yes"
        if limit.why not in notes:
            notes.append(limit.why)
        return f"{limit.sign} [{notes.index(limit.why) + 1}]"

    lines = ["| | " + " | ".join(expected) + " |",
             "|---" * (len(expected) + 1) + "|"]
    if versions:
        lines += ["| version | " + " | ".join(
            versions[name] for name in expected) + " |"]
    lines += [f"| {feature} | " + " | ".join(
        cell(feature, limits) for limits in expected.values()) + " |"
        for feature in FEATURES]
    lines += [""] + [f"{i}. {note}" for i, note in enumerate(notes, 1)]
    lines += ["", "| feature | |", "|---|---|"]
    lines += [f"| {feature} | {what} |" for feature, what in FEATURES.items()]
    return "\n".join(lines) + "\n"


def written_table():
    """The one in the documentation, but for the versions."""
    text = DOCS.read_text().split(MARKS[0])[1].split(MARKS[1])[0]
    return re.sub(r"^\| version .*\n", "", text, flags=re.M)


def write_table(text):
    before, rest = DOCS.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    DOCS.write_text(before + MARKS[0] + text + MARKS[1] + after)
