"""Chromium: sessions, streams and datagrams through the JavaScript API."""

import asyncio
import hashlib
import json

import pytest

from lib import worker as w
from lib.browser import Browser
from lib.worker import pb

# of streams; a page in Chromium cannot send more than a byte
CODES = [0, 1, 0x1d, 0x1e, 42, 255]
LONG_CODES = [256, 0x10000, 0xdeadbeef, 0xffffffff]

ECHO = "webtransport_echo;"

MORE_HELPERS = """
    // bytes that are all over the place, but known
    function pattern(size) {
        return Uint8Array.from({ length: size }, (_, i) => i * 7 + (i >> 8));
    }

    async function sha256(bytes) {
        const hash = await crypto.subtle.digest("SHA-256", bytes);
        return Array.from(new Uint8Array(hash),
                          byte => byte.toString(16).padStart(2, "0")).join("");
    }
"""


def passed(worker):
    return f"webtransport_pass {worker.passed};"


@pytest.fixture
def serve(nginx, browser):
    """Starts nginx with something in "location /", and opens a page."""

    async def serve(location, server="", browser=browser, **kwargs):
        # Chromium leaves without a word, so that nginx learns of it only by a
        # timeout
        ngx = nginx(f"""
            keepalive_timeout 1s;
            location / {{ {location} }}
            {server}
        """, **kwargs)
        page = await browser.page(ngx)
        await page.add_script_tag(content=MORE_HELPERS)
        return ngx, page

    return serve


async def connect(page, path="/"):
    """Leaves a session in the page's variable "wt"."""
    await page.evaluate(
        "async path => { globalThis.wt = await connect(path); }", path)


async def closed(page):
    return await page.evaluate("outcome(wt.closed)")


def error(code, source="stream"):
    return {"error": "WebTransportError", "source": source,
            "streamErrorCode": code}


def pattern(size):
    """The same bytes as pattern() of the pages."""
    return bytes((i * 7 + (i >> 8)) & 0xff for i in range(size))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


# ---- sessions ---------------------------------------------------------------


async def test_session_opens_with_the_hash_of_the_certificate(serve):
    ngx, page = await serve(ECHO)
    await connect(page, "/some/path?query=1")
    assert await page.evaluate("wt.datagrams.maxDatagramSize") > 1000
    await page.evaluate("wt.close()")
    line = await ngx.logged(status="200")
    assert line["uri"] == "/some/path?query=1"
    assert (line["method"], line["draft"]) == ("CONNECT", "02")


async def test_worker_learns_who_connects(serve, worker, browser):
    ngx, page = await serve(passed(worker))
    await connect(page, "/chat?name=ann")
    hello = (await worker.session()).connect
    assert (hello.path, hello.query) == (b"/chat", b"name=ann")
    assert hello.authority == f"localhost:{ngx.port}".encode()
    assert hello.server_name == "localhost"
    assert pb.Header(name="origin",
                     value=browser.origin.encode()) in hello.headers
    assert hello.remote_addr == "127.0.0.1"
    assert hello.draft == "02"


async def test_protocol_is_negotiated(serve, worker):
    worker.accept = [w.accept(protocol="chat-v2")]
    ngx, page = await serve(passed(worker))
    assert await page.evaluate("""async () => {
        const wt = await connect("/", { protocols: ["chat-v1", "chat-v2"] });
        return wt.protocol;
    }""") == "chat-v2"
    hello = (await worker.session()).connect
    assert list(hello.protocols) == ["chat-v1", "chat-v2"]


REFUSE = """async path => {
    const wt = transport(path);
    return [await outcome(wt.ready), await outcome(wt.closed)];
}"""


def refused(outcomes):
    return all(error(None, "session").items() <= outcome.items()
               for outcome in outcomes)


@pytest.mark.parametrize("path, status", [
    ("/nothing", 404),
    ("/page", 405),
    ("/forbidden", 403),
    ("/elsewhere", 302),
    ("/static", 405),
])
async def test_ready_rejects_where_nginx_refuses(serve, path, status):
    ngx, page = await serve(ECHO, """
        location = /nothing { return 404; }
        location = /page { return 200 "page"; }
        location = /forbidden { deny all; webtransport_echo; }
        location = /elsewhere { return 302 /; }
        location = /static { }
    """)
    assert refused(await page.evaluate(REFUSE, path))
    line = await ngx.logged(status=str(status), uri=path)
    assert line["session_id"] == "-"


async def test_ready_rejects_another_origin(nginx, browser):
    ngx = nginx("""
        keepalive_timeout 1s;
        location / { webtransport_echo; }
        location /all { webtransport_origins *; webtransport_echo; }
    """)
    page = await browser.page(
        ngx, url=browser.origin.replace("localhost", "127.0.0.1"))
    assert refused(await page.evaluate(REFUSE, "/"))
    await ngx.logged(status="403")
    await connect(page, "/all")


@pytest.mark.parametrize("status", [300, 403, 404, 503])
async def test_ready_rejects_when_the_worker_refuses(serve, worker, status):
    worker.accept = [w.reject(status, [("x-why", b"because")], b"no")]
    ngx, page = await serve(passed(worker))
    assert refused(await page.evaluate(REFUSE, "/"))
    assert (await (await worker.session()).closed()).by == pb.Closed.WORKER
    await ngx.logged(status=str(status))


async def test_ready_rejects_without_a_worker(serve, socket_dir):
    ngx, page = await serve(f"webtransport_pass unix:{socket_dir}/none;")
    assert refused(await page.evaluate(REFUSE, "/"))
    await ngx.logged(status="502")


async def test_ready_rejects_a_worker_that_does_not_answer(serve, worker):
    worker.accept = None
    ngx, page = await serve(passed(worker)
                            + "webtransport_accept_timeout 200ms;")
    assert refused(await page.evaluate(REFUSE, "/"))
    await ngx.logged(status="504")


async def test_another_certificate_is_refused(serve):
    ngx, page = await serve(ECHO)
    assert refused(await page.evaluate("""async () => {
        const wt = transport("/", { serverCertificateHashes: [
            { algorithm: "sha-256", value: new Uint8Array(32) }] });
        return [await outcome(wt.ready), await outcome(wt.closed)];
    }"""))
    assert ngx.access_log() == []


async def test_many_sessions_of_one_page(serve):
    ngx, page = await serve(ECHO)
    answers = await page.evaluate("""async () => {
        const numbers = [...Array(30).keys()];
        globalThis.sessions = await Promise.all(
            numbers.map(i => connect(`/${i}`)));
        return Promise.all(sessions.map(async (wt, i) => {
            const { readable, writable } =
                await wt.createBidirectionalStream();
            write(writable, `session ${i}`);
            const answer = await readText(readable);
            wt.close({ closeCode: i, reason: answer });
            return answer;
        }));
    }""")
    assert answers == [f"session {i}" for i in range(30)]
    for i in range(30):
        line = await ngx.logged(uri=f"/{i}")
        assert (line["close_code"], line["bytes_in"]) == (str(i),
                                                          str(8 + len(str(i))))


async def test_sessions_one_after_the_other(serve, php_worker):
    ngx, page = await serve(passed(php_worker))
    await page.evaluate("""async () => {
        for (let i = 0; i < 30; i++) {
            const wt = await connect("/echo");
            wt.close();
            await wt.closed;
        }
    }""")
    await ngx.logged(count=30, status="200", close_by="client")


# ---- streams ----------------------------------------------------------------


async def test_echo_has_all_kinds(serve):
    ngx, page = await serve(ECHO)
    assert await page.evaluate("""async () => {
        const wt = await connect("/");
        const bidi = await wt.createBidirectionalStream();
        write(bidi.writable, "bidi");
        const uni = await wt.createUnidirectionalStream();
        write(uni, "uni");
        write(wt.datagrams.writable, "datagram", false);
        return Promise.all([
            readText(bidi.readable),
            readText(await next(wt.incomingUnidirectionalStreams)),
            next(wt.datagrams.readable).then(text),
        ]);
    }""") == ["bidi", "uni", "datagram"]


async def test_streams_of_the_page_with_their_ends(serve, worker):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    await page.evaluate("""async () => {
        globalThis.bidi = await wt.createBidirectionalStream();
        globalThis.uni = await wt.createUnidirectionalStream();
        await write(bidi.writable, "one", false);
        await write(uni, "two", false);
    }""")
    for _ in range(2):
        event = await session.accept_stream()
        data = event.data
        while len(data) < 3:
            more = await session.find("data", stream_id=event.stream_id)
            data += more.data
        assert data == {pb.BIDI: b"one", pb.UNI: b"two"}[event.open]
        assert not event.fin
        if event.open == pb.BIDI:
            bidi = event.stream_id
        else:
            uni = event.stream_id

    # one direction ends, the other one goes on
    await page.evaluate(
        "Promise.all([write(bidi.writable, ''), write(uni, '')])")
    assert await session.read_all(bidi) == b""
    assert await session.read_all(uni) == b""
    session.send(w.data_(bidi, b"answer"), w.data_(bidi, b"s", True))
    assert await page.evaluate("readText(bidi.readable)") == "answers"


async def test_streams_of_the_worker_with_their_ends(serve, worker):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    session.send(w.open_bidi(5, b"one"), w.open_uni(7, b"two"),
                 w.data_(5, b" three", True), w.data_(7, b" four", True))
    assert await page.evaluate("""async () => {
        globalThis.bidi = await next(wt.incomingBidirectionalStreams);
        const uni = await next(wt.incomingUnidirectionalStreams);
        return [await readText(bidi.readable), await readText(uni)];
    }""") == ["one three", "two four"]

    # the page's direction is still open
    await page.evaluate("write(bidi.writable, 'answer')")
    assert await session.read_all(5) == b"answer"


async def test_streams_without_a_byte(serve, worker):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    session.send(w.open_bidi(5, fin=True), w.open_uni(7, fin=True))
    assert await page.evaluate("""async () => {
        const bidi = await next(wt.incomingBidirectionalStreams);
        const uni = await next(wt.incomingUnidirectionalStreams);
        await bidi.writable.close();
        await (await wt.createUnidirectionalStream()).close();
        await (await wt.createBidirectionalStream()).writable.close();
        return [await readText(bidi.readable), await readText(uni)];
    }""") == ["", ""]
    assert await session.read_all(5) == b""
    assert await session.read_all(4) == b""
    assert await session.read_all(6) == b""


async def test_streams_while_the_page_opens_none(serve, worker):
    """More than Chromium allows at once."""
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    contents = [f"stream {i}".encode() for i in range(300)]
    reading = asyncio.create_task(page.evaluate("""async count => {
        const found = [];
        const reader = wt.incomingUnidirectionalStreams.getReader();
        while (found.length < count) {
            const { value } = await reader.read();
            found.push(readText(value));
        }
        return Promise.all(found);
    }""", len(contents)))

    credit = session.connect.streams_uni
    for i, content in enumerate(contents):
        while credit == 0:
            credit += (await session.expect("credit", skip=())).uni
        session.send(w.open_uni(7 + 4 * i, content, True))
        credit -= 1
    assert sorted(await reading) == sorted(map(bytes.decode, contents))


async def test_as_many_streams_as_the_limit_again_and_again(serve):
    """Where Chromium has no credit, it refuses at once.  It allows us more
    streams when none is open."""
    ngx, page = await serve(ECHO, "webtransport_max_streams 10 10;")
    await page.evaluate("""async () => {
        const wt = await connect("/");
        const uni = wt.incomingUnidirectionalStreams.getReader();

        // a limit counts the session's own stream, too
        for (let round = 0; round < 10; round++) {
            const streams = [];
            const deadline = Date.now() + 5000;
            while (streams.length < 19 && Date.now() < deadline) {
                const { value, message } = await outcome(
                    streams.length < 9 ? wt.createBidirectionalStream() :
                                         wt.createUnidirectionalStream());
                if (value) {
                    streams.push(value);
                } else if (!message.startsWith("Failed to create")) {
                    throw new Error(message);
                } else {
                    // each try is a frame; hundreds end the connection
                    await new Promise(done => setTimeout(done, 5));
                }
            }

            const more = await Promise.all([
                outcome(wt.createBidirectionalStream()),
                outcome(wt.createUnidirectionalStream()),
            ]);
            if (streams.length != 19 || more.some(({ value }) => value)) {
                throw new Error(`${streams.length} streams, then ${more}`);
            }

            await Promise.all(streams.map(async (stream, i) => {
                await write(stream.writable ?? stream, `${i}`);
                const readable = stream.readable ?? (await uni.read()).value;
                const answer = await readText(readable);
                if (stream.readable && answer != i) {
                    throw new Error(`${i} was answered with ${answer}`);
                }
            }));
        }
    }""")


# ---- codes ------------------------------------------------------------------

ABORT = """async ([kind, code]) => {
    const stream = kind === "uni" ? await wt.createUnidirectionalStream()
                 : (await wt.createBidirectionalStream()).writable;
    const writer = stream.getWriter();
    await writer.write(new Uint8Array(1));
    await arrived();
    await writer.abort(code === null ? undefined :
                       new WebTransportError({ streamErrorCode: code }));
}"""


@pytest.mark.parametrize("direction", ["bidi", "uni"])
@pytest.mark.parametrize("code", [*CODES, None])
async def test_abort_of_the_page_is_a_reset(serve, worker, direction, code):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    opened = asyncio.Event()
    await page.expose_function("arrived", opened.wait)
    aborting = asyncio.create_task(page.evaluate(ABORT, [direction, code]))
    event = await session.accept_stream()
    opened.set()
    await aborting
    reset = await session.find("reset", stream_id=event.stream_id)
    assert reset.code == (code or 0)
    assert reset.HasField("code")


@pytest.mark.parametrize("code", [*CODES, None])
async def test_cancel_of_the_page_is_a_stop(serve, worker, code):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    session.send(w.open_bidi(5, b"x"), w.open_uni(7, b"x"))
    await page.evaluate("""async code => {
        const why = code === null ? undefined :
                    new WebTransportError({ streamErrorCode: code });
        const bidi = await next(wt.incomingBidirectionalStreams);
        await next(bidi.readable);
        await bidi.readable.cancel(why);
        const uni = await next(wt.incomingUnidirectionalStreams);
        await next(uni);
        await uni.cancel(why);

        // the other direction is not affected
        await write(bidi.writable, "still here");
    }""", code)
    for stream_id in (5, 7):
        stop = await session.find("stop", stream_id=stream_id)
        assert stop.code == (code or 0)
        assert stop.HasField("code")
    assert await session.read_all(5) == b"still here"


@pytest.mark.parametrize("code", CODES + LONG_CODES)
async def test_reset_of_the_worker_is_an_error_of_the_reader(serve, worker,
                                                             code):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    session.send(w.open_bidi(5, b"x"), w.open_uni(7, b"x"))
    await page.evaluate("""async () => {
        globalThis.bidi = await next(wt.incomingBidirectionalStreams);
        globalThis.uni = await next(wt.incomingUnidirectionalStreams);
        await next(bidi.readable);
        await next(uni);
    }""")
    session.send(w.reset(5, code), w.reset(7, code))
    for outcome in await page.evaluate("""Promise.all(
        [outcome(next(bidi.readable)), outcome(next(uni))])"""):
        assert error(code).items() <= outcome.items()

    # the other direction is not affected
    await page.evaluate("write(bidi.writable, 'still here')")
    assert await session.read_all(5) == b"still here"


@pytest.mark.parametrize("code", CODES + LONG_CODES)
async def test_stop_of_the_worker_is_an_error_of_the_writer(serve, worker,
                                                            code):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    right = error(code).items()

    # A stop reaches the page on two ways; if the one without the code is
    # faster, the error is another one
    for _ in range(20):
        await page.evaluate("""async () => {
            globalThis.bidi = await wt.createBidirectionalStream();
            await write(bidi.writable, "x", false);
        }""")
        stream_id = (await session.accept_stream()).stream_id
        session.send(w.stop(stream_id, code))
        outcome = await page.evaluate(
            "outcome(bidi.writable.getWriter().closed)")

        # the other direction is not affected
        session.send(w.data_(stream_id, b"still here", True))
        assert await page.evaluate("readText(bidi.readable)") == "still here"

        if right <= outcome.items():
            return
        assert outcome["error"] == "NetworkError"

    pytest.fail("the code never reached the page")


async def test_echo_passes_a_reset_on(serve, php_worker):
    ngx, page = await serve(passed(php_worker))
    await connect(page, "/echo")
    outcome = await page.evaluate("""async () => {
        const { readable, writable } = await wt.createBidirectionalStream();
        await write(writable, "begun", false);
        await next(readable);
        await writable.abort(new WebTransportError({ streamErrorCode: 11 }));
        return outcome(next(readable));
    }""")
    assert error(11).items() <= outcome.items()


# ---- datagrams --------------------------------------------------------------


async def test_datagrams_both_ways(serve, worker):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    for size in (1, 100, 1000, session.connect.limits.max_datagram):
        session.send(w.datagram(pattern(size)))
        assert await page.evaluate(
            "next(wt.datagrams.readable).then(data => [...data])"
        ) == list(pattern(size))
        await page.evaluate(
            "data => write(wt.datagrams.writable, new Uint8Array(data), false)",
            list(pattern(size)))
        assert (await session.expect("datagram")).data == pattern(size)


async def test_empty_datagram_of_the_page(serve, worker):
    """Chromium cannot read one, though."""
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    await page.evaluate(
        "write(wt.datagrams.writable, new Uint8Array(0), false)")
    assert (await session.expect("datagram")).data == b""


async def test_datagrams_as_large_as_chromium_says(serve, worker):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    size = await page.evaluate("wt.datagrams.maxDatagramSize")
    await page.evaluate("""async size => {
        for (const each of [size, size + 1, 10]) {
            await write(wt.datagrams.writable, new Uint8Array(each), false);
        }
    }""", size)
    assert len((await session.expect("datagram")).data) == size
    assert len((await session.expect("datagram")).data) == 10


async def test_many_datagrams(serve):
    ngx, page = await serve(ECHO)
    found = await page.evaluate("""async () => {
        const wt = await connect("/");
        const found = [];
        let arrived = () => {};

        async function read() {
            for await (const data of wt.datagrams.readable) {
                found.push(new DataView(data.buffer, data.byteOffset)
                               .getUint32(0));
                arrived();
            }
        }

        const reading = outcome(read());
        const writer = wt.datagrams.writable.getWriter();
        for (let i = 0; i < 2000; i++) {
            const data = new Uint8Array(200);
            new DataView(data.buffer).setUint32(0, i);
            await writer.write(data);

            // bursts, but none that overflows a queue
            const limit = Date.now() + 500;
            while (i % 50 == 49 && found.at(-1) !== i && Date.now() < limit) {
                await new Promise(resolve => {
                    arrived = resolve;
                    setTimeout(resolve, 500);
                });
            }
        }
        wt.close();
        await reading;
        return found;
    }""")
    assert found == sorted(set(found))
    assert len(found) >= 1900


# ---- greetings --------------------------------------------------------------

GREETING = [w.accept(), w.open_uni(7, b"welcome", True),
            w.open_bidi(5, b"question"), w.datagram(b"quick")]


async def test_greeting_of_the_worker_arrives(serve, worker):
    worker.accept = GREETING
    ngx, page = await serve(passed(worker))
    for _ in range(20):
        assert await page.evaluate("""async () => {
            const wt = await connect("/");
            const uni = await next(wt.incomingUnidirectionalStreams);
            const bidi = await next(wt.incomingBidirectionalStreams);
            const found = [
                await readText(uni),
                text(await next(bidi.readable)),
                text(await next(wt.datagrams.readable)),
            ];
            wt.close();
            return found;
        }""") == ["welcome", "question", "quick"]


async def test_greeting_and_close_at_once(serve, worker):
    worker.accept = [*GREETING, w.close(3, "that was all", flush_ms=5000)]
    ngx, page = await serve(passed(worker))
    for _ in range(10):
        assert await page.evaluate("""async () => {
            const wt = transport("/");
            await wt.ready;
            const uni = await next(wt.incomingUnidirectionalStreams);
            return [await readText(uni), await wt.closed];
        }""") == ["welcome", {"closeCode": 3, "reason": "that was all"}]


# ---- transfers --------------------------------------------------------------

SIZES = [16 << 10, (1 << 20) + 1, 5 << 20]


@pytest.mark.parametrize("size", SIZES)
async def test_echo_of_much(serve, php_worker, size):
    ngx, page = await serve(passed(php_worker))
    await connect(page, "/echo")
    assert await page.evaluate("""async size => {
        const { readable, writable } = await wt.createBidirectionalStream();
        write(writable, pattern(size));
        return sha256(await readAll(readable));
    }""", size) == sha256(pattern(size))


@pytest.mark.parametrize("size", SIZES)
async def test_upload(serve, worker, size):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    writing = asyncio.create_task(page.evaluate("""async size =>
        write(await wt.createUnidirectionalStream(), pattern(size))""", size))
    assert sha256(await session.read_all(6)) == sha256(pattern(size))
    await writing


@pytest.mark.parametrize("size", SIZES)
async def test_download(serve, worker, size):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    reading = asyncio.create_task(page.evaluate("""async () =>
        sha256(await readAll(await next(wt.incomingUnidirectionalStreams)))
    """))
    session.send(w.open_uni(7))
    data = pattern(size)
    for i in range(0, size, 32768):
        session.send(w.data_(7, data[i:i + 32768], i + 32768 >= size))
        await session.drain()
    assert await reading == sha256(data)


async def test_transfers_side_by_side(serve, php_worker):
    ngx, page = await serve(passed(php_worker))
    await connect(page, "/echo")
    sizes = [(i + 1) * 50000 + i for i in range(20)]
    assert await page.evaluate("""async sizes => {
        const reader = wt.incomingUnidirectionalStreams.getReader();

        async function bidi(size) {
            const { readable, writable } =
                await wt.createBidirectionalStream();
            write(writable, pattern(size));
            return readAll(readable);
        }

        async function uni(size) {
            write(await wt.createUnidirectionalStream(), pattern(size));
            const { value } = await reader.read();
            return readAll(value);
        }

        const all = await Promise.all(sizes.map(
            (size, i) => i % 2 ? bidi(size) : uni(size)));
        all.sort((a, b) => a.length - b.length);
        return Promise.all(all.map(sha256));
    }""", sizes) == [sha256(pattern(size)) for size in sizes]


async def test_stream_that_is_not_read_holds_up_no_other(serve, worker):
    size = 12 << 20
    worker.accept = [w.accept(notify=[pb.Accept.STREAM_CREDIT])]
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    sent = 0

    async def send():
        nonlocal sent
        credit = session.connect.stream_window
        data = pattern(size)
        session.send(w.open_uni(7))
        while sent < size:
            while credit == 0:
                credit += (await session.find("credit", stream_id=7)).bytes
            piece = data[sent:sent + min(credit, 32768)]
            sent += len(piece)
            credit -= len(piece)
            session.send(w.data_(7, piece, sent == size))

    sending = asyncio.create_task(send())
    await page.evaluate("""async () => {
        globalThis.unread = await next(wt.incomingUnidirectionalStreams);
    }""")

    # until the client's window is full
    before = None
    while sent != before:
        before = sent
        await asyncio.sleep(0.3)
    assert sent < size

    session.send(w.open_uni(11, b"other", True), w.datagram(b"datagram"))
    assert await page.evaluate("""async () => [
        await readText(await next(wt.incomingUnidirectionalStreams)),
        text(await next(wt.datagrams.readable)),
    ]""") == ["other", "datagram"]

    assert await page.evaluate(
        "readAll(unread).then(sha256)") == sha256(pattern(size))
    await sending


# ---- ends -------------------------------------------------------------------

ENDS = [
    (0, ""),
    (42, "bye"),
    (0xffffffff, "all ones"),
    (7, "\u00e4\u20ac\U0001f600"),
    (9, "x" * 1024),
]

ends = pytest.mark.parametrize("code, reason", ENDS,
                               ids=lambda value: str(value)[:12])


@ends
async def test_close_of_the_page(serve, worker, code, reason):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    info = {"closeCode": code, "reason": reason}
    assert await page.evaluate("""info => {
        wt.close(info);
        return wt.closed;
    }""", info) == info
    end = await session.closed()
    assert (end.by, end.code, end.reason) == (pb.Closed.CLIENT, code, reason)
    line = await ngx.logged(status="200")
    assert (line["close_by"], line["close_code"]) == ("client", str(code))


@ends
async def test_close_of_the_worker(serve, worker, code, reason):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    session.send(w.close(code, reason))
    assert await closed(page) == {
        "value": {"closeCode": code, "reason": reason}}
    line = await ngx.logged(status="200")
    assert (line["close_by"], line["close_code"]) == ("worker", str(code))


async def test_close_of_the_worker_ends_streams(serve, worker):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    session.send(w.open_bidi(5, b"x"))
    await page.evaluate("""async () => {
        globalThis.theirs = await next(wt.incomingBidirectionalStreams);
        await next(theirs.readable);
        globalThis.ours = await wt.createBidirectionalStream();
        await write(ours.writable, "x", false);
    }""")
    await session.accept_stream()
    session.send(w.close(5, "enough"))
    await closed(page)
    *outcomes, late = await page.evaluate("""Promise.all([
        outcome(next(theirs.readable)),
        outcome(theirs.writable.getWriter().closed),
        outcome(next(ours.readable)),
        outcome(ours.writable.getWriter().closed),
        outcome(wt.createBidirectionalStream()),
    ])""")
    for outcome in outcomes:
        assert error(None, "session").items() <= outcome.items()
    assert late["error"] == "InvalidStateError"


async def test_accept_and_close_at_once(serve, worker):
    """The way to tell a page why it may not stay."""
    worker.accept = [w.accept(), w.close(401, "who are you?")]
    ngx, page = await serve(passed(worker))
    for _ in range(20):
        assert await page.evaluate("""async () => {
            const wt = transport("/");
            return [await outcome(wt.ready), await wt.closed];
        }""") == [{"value": None},
                  {"closeCode": 401, "reason": "who are you?"}]


@pytest.mark.parametrize("how", ["shut", "kill"])
async def test_death_of_the_worker_has_a_code(serve, worker, how):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    getattr(session, how)()
    outcome = await closed(page)
    assert outcome["value"]["closeCode"] == 8
    assert "worker" in outcome["value"]["reason"]
    line = await ngx.logged(status="200")
    assert (line["close_by"], line["close_code"]) == ("worker_lost", "8")


async def test_restart_of_the_example_worker_has_a_code(serve, php_worker):
    ngx, page = await serve(passed(php_worker))
    await connect(page, "/echo")
    await php_worker.stop()
    assert await closed(page) == {
        "value": {"closeCode": 1001, "reason": "worker restarts"}}


async def test_abort_of_the_worker_is_an_error(serve, worker):
    ngx, page = await serve(passed(worker))
    await connect(page)
    (await worker.session()).send(w.abort())
    assert error(None, "session").items() <= (await closed(page)).items()


@pytest.mark.parametrize("leave", [
    "page.reload()", "page.goto('about:blank')", "page.close()"])
async def test_page_that_is_left_ends_its_session(serve, worker, leave):
    ngx, page = await serve(passed(worker))
    await connect(page)
    session = await worker.session()
    await eval(leave)
    end = await session.closed()
    assert (end.by, end.code, end.reason) == (pb.Closed.CLIENT, 0, "")


async def test_browser_that_is_killed_ends_its_session(serve, worker):
    browser = await Browser().start()
    try:
        ngx, page = await serve(passed(worker), browser=browser)
        await connect(page)
        session = await worker.session()
    finally:
        await browser.stop()
    end = await session.closed()
    assert end.by in (pb.Closed.CLIENT, pb.Closed.LOST)


async def test_drain_of_the_worker_reaches_the_page(serve, worker):
    browser = await Browser().start(
        "--enable-blink-features=WebTransportDraining")
    try:
        ngx, page = await serve(passed(worker), browser=browser)
        await connect(page)
        session = await worker.session()
        if not await page.evaluate("'draining' in wt"):
            pytest.skip("this Chromium has no WebTransport.draining")
        session.send(w.drain())
        await page.evaluate("wt.draining")

        # it is no more than a request
        await page.evaluate("""async () =>
            write(await wt.createUnidirectionalStream(), "still here")""")
        assert await session.read_all(6) == b"still here"
    finally:
        await browser.stop()


# ---- the example workers ----------------------------------------------------


@pytest.fixture(params=["php_worker", "python_worker", "go_worker",
                        "grpc_python_worker", "node_worker"])
def example(request):
    return request.getfixturevalue(request.param)


ENTER = """async name => {
    globalThis.wt = await connect(`/chat?name=${name}`);
    globalThis.chat = await wt.createBidirectionalStream();
    globalThis.lines = chat.readable.pipeThrough(new TextDecoderStream());
    await write(chat.writable, "", false);
}"""

UNTIL = """async what => {
    globalThis.heard ??= "";
    const reader = lines.getReader();
    while (!heard.includes(what)) {
        const { value, done } = await reader.read();
        if (done) {
            break;
        }
        heard += value;
    }
    reader.releaseLock();
    return heard;
}"""


async def test_chat_of_two_pages(serve, browser, example):
    ngx, ann = await serve(passed(example))
    bob = await browser.page(ngx)

    await ann.evaluate(ENTER, "ann")
    await ann.evaluate(UNTIL, "* ann joined\n")
    await bob.evaluate(ENTER, "bob")
    await ann.evaluate(UNTIL, "* bob joined\n")

    await ann.evaluate("write(chat.writable, 'hello\\n', false)")
    await bob.evaluate(UNTIL, "ann: hello\n")
    await bob.evaluate("write(chat.writable, 'h\u00e9llo, ann\\n', false)")
    await ann.evaluate(UNTIL, "bob: h\u00e9llo, ann\n")

    await bob.close()
    assert await ann.evaluate(UNTIL, "* bob left\n") == (
        "* ann joined\n* bob joined\nann: hello\nbob: h\u00e9llo, ann\n"
        "* bob left\n")


async def test_cursors_of_two_pages(serve, browser, example):
    ngx, ann = await serve(passed(example))
    bob = await browser.page(ngx)
    for page in (ann, bob):
        await connect(page, "/cursors")

    # datagrams may be lost
    moving = asyncio.create_task(ann.evaluate("""async () => {
        const writer = wt.datagrams.writable.getWriter();
        while (!globalThis.enough) {
            writer.write(new TextEncoder().encode('{"x": 0.5, "y": 0.25}'));
            await new Promise(resolve => setTimeout(resolve, 20));
        }
        wt.close();
    }"""))
    seen = await bob.evaluate("next(wt.datagrams.readable).then(text)")
    assert json.loads(seen) == {"id": 1, "x": 0.5, "y": 0.25}
    await ann.evaluate("globalThis.enough = true")
    await moving
    assert await bob.evaluate("""async () => {
        while (!text(await next(wt.datagrams.readable)).includes("gone")) {}
        return true;
    }""")
