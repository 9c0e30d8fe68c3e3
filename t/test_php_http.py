"""docs/examples/php-http: PHP behind HTTP and unary gRPC, in PHP's own server,
PHP-FPM and RoadRunner."""

import asyncio
import itertools
import json
import os
import signal
import struct
import subprocess
import zlib

import pytest

from lib.client import StreamReset
from lib.php import PhpFpm, PhpServer, RoadRunner, RoadRunnerGrpc, pb
from lib.wire import h3_to_app

HTTP = [pytest.param(server, id=f"http_backend-{name}") for name, server in [
    ("php_server", PhpServer), ("php_fpm", PhpFpm),
    ("roadrunner", RoadRunner)]]
UNARY = [pytest.param(RoadRunnerGrpc, id="unary-roadrunner_grpc")]

everywhere = pytest.mark.parametrize("php_app", HTTP + UNARY, indirect=True)
http = pytest.mark.parametrize("php_app", HTTP, indirect=True)


# ---- without WebTransport ---------------------------------------------------


@pytest.fixture
def php(nginx, php_app):
    """The application, to be asked directly; PHP-FPM needs an nginx."""
    if php_app.http:
        nginx(http=php_app.http)
    return php_app


class Asker:
    """Plays nginx for one session: numbers the batches and keeps the
    context."""

    def __init__(self, server, format="json", session_id="s" * 22):
        self.server = server
        self.format = format
        self.id = session_id
        self.seq = 0
        self.context = pb.Context(location="/", node="here")

    async def ask(self, *events, seq=None):
        """The commands, without updates of the context."""
        self.seq += seq is None
        batch = pb.EventBatch(session_id=self.id, seq=seq or self.seq,
                              context=self.context, events=events)
        answer = await self.server.deliver(batch, self.format)
        assert answer.session_id in ("", self.id)
        assert answer.seq in (0, batch.seq)
        return [command for command in answer.commands
                if not self.update(command)]

    def update(self, command):
        kind = command.WhichOneof("kind")
        if kind not in ("accept", "update"):
            return False
        update = (command.update if kind == "update"
                  else command.accept.session)
        for key, value in update.meta.items():
            if value:
                self.context.meta[key] = value
            else:
                self.context.meta.pop(key, None)
        return kind == "update"

    async def connect(self, path, query=b""):
        return await self.ask(pb.Event(connect=pb.Connect(
            version=1, path=path, query=query, remote_addr="127.0.0.1",
            headers=[pb.Header(name="x", value=b"\xff")])))


def data(stream_id, data=b"", fin=False, open=pb.NONE):
    return pb.Event(data=pb.StreamData(stream_id=stream_id, data=data,
                                       fin=fin, open=open))


def question(stream_id, **message):
    return data(stream_id, json.dumps(message).encode(), True, pb.BIDI)


def answers(commands):
    """What is said on streams."""
    return [json.loads(command.data.data) for command in commands]


def formats(server):
    return ["proto"] if isinstance(server, RoadRunnerGrpc) else ["json",
                                                                 "proto"]


@everywhere
async def test_answer_in_the_format_of_the_question(php):
    payload = bytes(range(256))
    for i, format in enumerate(formats(php)):
        asker = Asker(php, format, f"session-{i}")
        [accept] = await asker.connect(b"/echo")
        assert accept.accept.overflow == pb.Accept.BLOCK
        commands = await asker.ask(
            data(4, payload, open=pb.BIDI), data(4, fin=True),
            data(6, payload, True, pb.UNI),
            pb.Event(reset=pb.StreamAbort(stream_id=8, code=0xffffffff)),
            pb.Event(stop=pb.StreamAbort(stream_id=7, code=5)))
        assert commands == [
            pb.Command(data=pb.StreamData(stream_id=4, data=payload)),
            pb.Command(data=pb.StreamData(stream_id=4, fin=True)),
            pb.Command(data=pb.StreamData(stream_id=7, data=payload, fin=True,
                                          open=pb.UNI)),
            pb.Command(reset=pb.StreamAbort(stream_id=8, code=0xffffffff)),
            pb.Command(stop=pb.StreamAbort(stream_id=6, code=5))]
        datagram = pb.Datagram(data=payload)
        assert await asker.ask(pb.Event(datagram=datagram)) == [
            pb.Command(datagram=datagram)]
        assert await asker.ask(pb.Event(closed=pb.Closed(
            by=pb.Closed.CLIENT, code=1))) == []


@everywhere
async def test_repeated_batch_is_answered_but_not_done_again(php):
    asker = Asker(php)
    await asker.connect(b"/counter")
    first = await asker.ask(question(4, add=5))
    assert answers(first) == [{"total": 5}]
    assert await asker.ask(question(4, add=5), seq=asker.seq) == first
    assert answers(await asker.ask(question(8, add=1))) == [{"total": 6}]
    # it comes late, from a connection that nginx has given up
    assert await asker.ask(question(4, add=5), seq=asker.seq - 1) == []
    assert answers(await asker.ask(question(12, add=1))) == [{"total": 7}]


@everywhere
async def test_repeated_batch_says_a_line_once(php):
    ann = Asker(php, session_id="ann")
    await ann.connect(b"/chat", b"name=ann")
    await ann.ask(data(4, open=pb.BIDI))
    for _ in range(3):
        [said] = await ann.ask(data(4, b"hi\n"), seq=10)
        assert said.data.data == b"ann: hi\n"
    ann.seq = 10
    assert await ann.ask(data(4, b"more")) == []
    [said] = await ann.ask(data(4, b" of it\nand"))
    assert said.data.data == b"ann: more of it\n"


@everywhere
async def test_two_attempts_at_once_are_one(php):
    asker = Asker(php)
    await asker.connect(b"/counter")
    got = await asyncio.gather(*(asker.ask(question(4, add=5), seq=2)
                                 for _ in range(6)))
    assert all(commands == got[0] for commands in got)
    asker.seq = 2
    assert answers(await asker.ask(question(8, add=1))) == [{"total": 6}]


@http
async def test_nonsense_is_refused(php):
    for kind, body, status in [
            ("application/json", b"", 400),
            ("application/json", b"{", 400),
            ("application/json", b"[]x", 400),
            ("application/json", b'{"events": 5}', 400),
            ("application/json", b'{"events": [{"connect": []}, 3]}', 400),
            ("application/json", b'{"events": [{"data": {"data": "%"}}]}',
             400),
            ("application/json", b'{"seq": {}}', 400),
            ("application/proto", b"\xff", 400),
            ("application/proto", b"\x22\x7f", 400),
            ("text/plain", b"hello", 415),
            ("application/json; charset=utf-8", b"{}", 200)]:
        got, _, answer = await asyncio.to_thread(php.post, kind, body)
        assert got == status, (kind, body, answer)
    got, *_ = await asyncio.to_thread(php.post, "application/json", None,
                                      "GET")
    assert got == 405


# The plugin of later releases of RoadRunner has another format; here its part
# is played by the test.


def frame(flags, *options, payload=b""):
    head = struct.pack("<BBI", 1 << 4 | 3 + len(options), flags, len(payload))
    return struct.pack(f"<6sIH{len(options)}I", head, zlib.crc32(head), 0,
                       *options) + payload


async def read_frame(stream):
    """Flags, options and payload."""
    head = await stream.readexactly(12)
    first, flags, size, crc = struct.unpack_from("<BBII", head)
    assert (first >> 4, crc) == (1, zlib.crc32(head[:6]))
    words = (first & 15) - 3
    options = struct.unpack(f"<{words}I", await stream.readexactly(4 * words))
    return flags, options, await stream.readexactly(size)


def field(number, value):
    """Of protobuf: a string, or a message of these fields."""
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


async def test_http_backend_worker_of_a_later_roadrunner(socket_dir):
    control, json_, proto = 0x01, 0x08, 0x80
    process = await asyncio.create_subprocess_exec(
        "php", "worker-http.php", cwd=RoadRunner.folder,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=os.environ | {"WEBTRANSPORT_STATE": str(socket_dir)})
    process.stdin.write(frame(control | json_, payload=b'{"pid": 1}'))
    flags, _, payload = await read_frame(process.stdout)
    assert flags == control | json_
    assert json.loads(payload) == {"pid": process.pid}

    kind = b"application/json"
    header = field(1, b"Content-Type") + field(2, field(1, kind))
    context = (field(2, b"HTTP/1.1") + field(3, b"POST") + field(5, header)
               + field(5, field(1, b"Host") + field(2, field(1, b"a"))))
    body = (b'{"sessionId": "a", "seq": "1",'
            b' "events": [{"connect": {"path": "L2VjaG8="}}]}')
    process.stdin.write(frame(proto, len(context), payload=context + body))
    flags, [size], payload = await read_frame(process.stdout)
    assert flags == proto
    assert payload[:size] == b"\x08\xc8\x01" + field(2, header)
    assert "accept" in json.loads(payload[size:])["commands"][0]

    process.stdin.write(frame(control | json_, payload=b'{"stop": true}'))
    assert await process.wait() == 0


# ---- through nginx ----------------------------------------------------------


@pytest.fixture
def serve(nginx, php_app):
    """An nginx before the application."""

    def serve(more="", server="", **kwargs):
        ngx = nginx(f"""
            {server}
            location / {{ webtransport_pass {php_app.passed}; {more} }}
        """, http=php_app.http, **kwargs)
        # stopped after the test, before it could be told of the end
        ngx.allow(r"connect\(\) to unix:\S+/fpm failed")
        return ngx

    return serve


async def ask(session, **message):
    stream = session.open_bidi()
    stream.write(json.dumps(message).encode(), True)
    return json.loads(await stream.read_all())


@everywhere
async def test_streams_and_datagrams_are_echoed(serve, client):
    async with client(serve()) as conn:
        session = await conn.session("/echo")
        assert await session.echo(b"bidi") == b"bidi"
        sent = []
        for i in range(5):
            stream = session.open_uni()
            sent.append(b"uni %d" % i)
            stream.write(sent[-1], True)
        got = [await (await session.accept_uni()).read_all() for _ in sent]
        assert sorted(got) == sent
        assert await session.echo_datagram(b"datagram") == b"datagram"


@everywhere
async def test_many_bytes_are_echoed(serve, client):
    payload = bytes(i * 7 & 0xff for i in range(1 << 19))
    async with client(serve()) as conn:
        session = await conn.session("/echo")
        stream = session.open_bidi()
        sending = asyncio.create_task(stream.send(payload, True))
        got = bytearray()
        while part := await stream.read():
            got += part
        await sending
        assert bytes(got) == payload


@everywhere
async def test_streams_end_as_the_client_ended_theirs(serve, client):
    async with client(serve()) as conn:
        session = await conn.session("/echo")
        stream = session.open_bidi()
        stream.write(b"begun")
        assert await stream.read_exactly(5) == b"begun"
        stream.reset(7)
        with pytest.raises(StreamReset) as reset:
            await stream.read_all()
        assert h3_to_app(reset.value.code) == 7
        stream = session.open_bidi()
        stream.write(b"begun")
        assert await stream.read_exactly(5) == b"begun"
        stream.stop(9)
        assert h3_to_app(await stream.until_stop()) == 9


@everywhere
async def test_server_opens_a_stream_and_knows_the_context(serve, client):
    ngx = serve("webtransport_user $http_x_name; webtransport_node n1;")
    async with client(ngx) as conn:
        session = await conn.session("/counter", headers=[("x-name", "ann")])
        hello = json.loads(await (await session.accept_uni()).read_all())
        assert (hello["user"], hello["location"], hello["node"]) == (
            "ann", "/", "n1")
        session.close()
    assert (await ngx.logged())["session_id"] == hello["session"]


@everywhere
async def test_whole_messages_however_they_are_split(serve, client):
    async with client(serve()) as conn:
        session = await conn.session("/counter")
        message = b'{"add": 1, "note": "\xc3\xa4\xe2\x82\xac"}'
        for i, size in enumerate([1, 2, 3, 7, len(message)], 1):
            stream = session.open_bidi()
            await stream.write_split(message, True, size)
            assert json.loads(await stream.read_all()) == {"total": i}
        stream = session.open_uni()
        stream.write(message, True)
        [total] = [answer for answer in [
            json.loads(await (await session.accept_uni()).read_all())
            for _ in range(2)] if "total" in answer]
        assert total == {"total": 6}


@everywhere
async def test_lines_however_they_are_split(serve, client):
    async with client(serve()) as conn:
        session = await conn.session("/counter?framing=lines")
        lines = b"".join(b'{"add": %d}\n' % i for i in range(1, 6))
        totals = [{"total": t} for t in itertools.accumulate(range(1, 6))]
        for size in (1, 5, 11, len(lines)):
            stream = session.open_bidi()
            await stream.write_split(lines, True, size)
            got = (await stream.read_all()).decode().splitlines()
            assert [json.loads(line) for line in got] == totals
            totals = [{"total": t["total"] + 15} for t in totals]


@everywhere
async def test_events_while_a_call_is_on_its_way_are_all_handled(serve,
                                                                 client):
    async with client(serve()) as conn:
        session = await conn.session("/counter")
        totals = await asyncio.gather(*(ask(session, add=1)
                                        for _ in range(50)))
        assert sorted(t["total"] for t in totals) == list(range(1, 51))


@everywhere
async def test_php_closes_the_session(serve, client):
    ngx = serve()
    async with client(ngx) as conn:
        session = await conn.session("/counter")
        stream = session.open_bidi()
        stream.write(b'{"close": 4711, "reason": "enough"}', True)
        assert await session.closed() == (4711, b"enough")
    await ngx.logged(close_by="worker", close_code="4711")


@everywhere
async def test_php_learns_that_the_client_closed(serve, client):
    ngx = serve()
    async with client(ngx) as conn:
        ann = await conn.session("/chat?name=ann")
        bob = await conn.session("/chat?name=bob")
        hears = ann.open_bidi()
        hears.write(b"")
        await hears.read_exactly(len(b"* ann joined\n"))
        speaks = bob.open_bidi()
        speaks.write(b"hello, ")
        speaks.write("wörld\n".encode())
        expected = "* bob joined\nbob: hello, wörld\n".encode()
        assert await hears.read_exactly(len(expected)) == expected
        bob.close(7, b"bye")
        assert await hears.read_exactly(11) == b"* bob left\n"
        await ngx.logged(close_by="client", close_code="7")
        hears.write(b"x" * 1001)
        assert await ann.closed() == (2, b"line too long")


@everywhere
async def test_cursors_reach_other_sessions(serve, client):
    async with client(serve()) as conn:
        ann = await conn.session("/cursors")
        bob = await conn.session("/cursors")
        ann.send_datagram(b'{"x": 2, "y": 0}')
        ann.send_datagram(b'{"x": 0.125, "y": 0.5}')
        move = json.loads(await bob.datagram())
        assert (move["x"], move["y"]) == (0.125, 0.5)
        ann.close()
        assert json.loads(await bob.datagram()) == {"id": move["id"],
                                                    "gone": True}


@everywhere
async def test_unknown_path_is_refused(serve, client):
    async with client(serve()) as conn:
        assert await conn.refused("/nothing") == 404


@everywhere
async def test_session_outlives_the_processes_of_php(serve, client, php_app):
    async with client(serve()) as conn:
        session = await conn.session("/counter")
        assert await ask(session, add=1) == {"total": 1}
        await php_app.stop(signal.SIGKILL)
        answer = asyncio.create_task(ask(session, add=1))
        await php_app.start()
        assert await answer == {"total": 2}


@http
async def test_protobuf_instead_of_json(serve, client):
    async with client(serve("webtransport_format protobuf;")) as conn:
        session = await conn.session("/echo")
        assert await session.echo(bytes(range(256))) == bytes(range(256))
        assert await session.echo_datagram(b"\0\xff") == b"\0\xff"


# ---- from a browser ---------------------------------------------------------


@everywhere
async def test_browser_to_php_and_back(serve, browser, php_app):
    # Chromium leaves without a word
    ngx = serve(server="keepalive_timeout 1s;")
    page = await browser.page(ngx)
    assert await page.evaluate("""async () => {
        const wt = await connect("/echo");
        const { readable, writable } = await wt.createBidirectionalStream();
        write(writable, "bidi");
        const bidi = await readText(readable);

        write(await wt.createUnidirectionalStream(), "uni");
        const uni = await readText(await next(
            wt.incomingUnidirectionalStreams));

        write(wt.datagrams.writable, "datagram", false);
        const datagram = text(await next(wt.datagrams.readable));

        wt.close({ closeCode: 42, reason: "done" });
        await wt.closed;
        return [bidi, uni, datagram];
    }""") == ["bidi", "uni", "datagram"]
    await ngx.logged(uri="/echo", close_by="client", close_code="42")

    assert await page.evaluate("""async () => {
        const wt = await connect("/counter");
        const hello = JSON.parse(await readText(await next(
            wt.incomingUnidirectionalStreams)));
        const ask = async question => {
            const { readable, writable } =
                await wt.createBidirectionalStream();
            write(writable, JSON.stringify(question));
            return JSON.parse(await readText(readable));
        };
        const totals = [await ask({ add: 2 }), await ask({ add: 3 })];
        ask({ close: 1000, reason: "enough" }).catch(() => {});
        const { closeCode, reason } = await wt.closed;
        return [hello.location, totals, closeCode, reason];
    }""") == ["/", [{"total": 2}, {"total": 5}], 1000, "enough"]
