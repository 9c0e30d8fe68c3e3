"""docs/examples/python/baton.py: Devious Baton, with a client that plays its
part, and with clients that do not."""

import asyncio
import itertools
import signal
import sys
from collections import Counter

import pytest

from lib.nginx import ROOT, free_port
from lib.wire import app_to_h3, read_varint, varint
from lib.worker import Example, passed

PATH = "/webtransport/devious-baton"

DA_YAMN, BRUH, SUS, BORED = 1, 2, 3, 4
IDC, WHATEVER, I_LIED = 1, 2, 3

# the kinds of streams take turns every 6 passes; this is each kind with 0 from
# each side, and the longest one
STARTS = [1, *range(244, 256)]


def message(baton, padding=0, length=None):
    return varint(padding, length) + b"x" * padding + bytes([baton])


def values(data):
    """Padding and baton of a message."""
    padding, pos = read_varint(data)
    assert len(data) == pos + padding + 1
    return padding, data[-1]


def expected(start):
    """What a client sees of a baton: on which kind of stream, and its value.
    An "answer" is on a bidirectional stream of its own."""
    ways = itertools.cycle(["uni", "answer", "bidi"])
    return [(next(ways), value % 256) for value in range(start, 257, 2)]


def expected_datagrams(start):
    """But for that of 0, with which the session ends."""
    return [value for value in range(start + 1, 256, 2) if value % 7 == 0]


class Player:
    """The client's part."""

    def __init__(self, session, count=1, messages=None):
        self.session = session
        self.active = count
        self.messages = itertools.cycle(messages or [message])
        self.seen = []
        self.tasks = []

    async def play(self):
        """To the end; returns code and reason."""
        async with asyncio.TaskGroup() as group:
            def start(coroutine):
                self.tasks.append(group.create_task(coroutine))

            async def accept(streams, serve):
                while True:
                    start(serve(await streams()))

            start(accept(self.session.accept_uni, self.on_uni))
            start(accept(self.session.accept_bidi, self.on_bidi))
            result = await self.session.closed()
            for task in self.tasks:
                task.cancel()
        return result

    async def on_uni(self, stream):
        if baton := await self.receive("uni", stream):
            stream = self.session.open_bidi()
            self.send(stream, baton)
            # after 0 there is nothing to come
            if baton != 255 and (baton := await self.receive("answer",
                                                             stream)):
                self.send(self.session.open_uni(), baton)

    async def on_bidi(self, stream):
        if baton := await self.receive("bidi", stream):
            self.send(stream, baton)

    async def receive(self, way, stream):
        padding, baton = values(await stream.read_all())
        self.seen.append((way, baton))
        if baton % 7 == 1:
            self.session.send_datagram(message(baton))
        if baton == 0:
            self.active -= 1
            if self.active == 0:
                self.session.fin()
        return baton

    def send(self, stream, baton):
        stream.write(next(self.messages)((baton + 1) % 256), True)


PROGRAM = f"""
import sys
sys.path.insert(0, "{ROOT}/docs/examples/python")
import baton, worker
for setting in {{}}.items():
    setattr(baton.DeviousBaton, *setting)
sys.exit(worker.main())
"""


@pytest.fixture
async def launch(socket_dir):
    """Starts the worker; with settings in the place of those of the class, on
    a port if told so."""
    started = []

    async def launch(tcp=False, **settings):
        program = [sys.executable, "-c", PROGRAM.format(settings)]
        command = program if settings else Example.PYTHON
        worker = Example(command, socket_dir / f"baton{len(started)}",
                         "--quiet")
        if tcp:
            worker.passed = f"127.0.0.1:{free_port()}"
            worker.command[len(command)] = worker.passed
        started.append(worker)
        return await worker.start()

    yield launch

    for worker in started:
        await worker.stop()
        assert b"Traceback" not in worker.output, worker.output.decode()


@pytest.fixture
async def ngx(nginx, launch, request):
    return nginx(passed(await launch(tcp=getattr(request, "param", False))))


over_tcp_too = pytest.mark.parametrize("ngx", [False, True],
                                       ids=["unix", "tcp"], indirect=True)


def connect(conn, query=""):
    return conn.session(f"{PATH}?{query}")


async def first(conn, query="baton=1"):
    """A session whose first baton, 1, has come."""
    session = await connect(conn, query)
    stream = await session.accept_uni()
    assert values(await stream.read_all())[1] == 1
    return session


async def ours(conn):
    """A session, and a bidirectional stream of the server that brought 5."""
    session = await first(conn)
    stream = session.open_bidi()
    stream.write(message(2), True)
    assert values(await stream.read_all())[1] == 3
    session.open_uni().write(message(4), True)
    stream = await session.accept_bidi()
    assert values(await stream.read_all())[1] == 5
    return session, stream


async def still_plays(conn):
    player = Player(await connect(conn, "baton=250"))
    assert await player.play() == (0, b"")
    assert player.seen == expected(250)


# ---- games ------------------------------------------------------------------


@over_tcp_too
async def test_baton_goes_round_from_each_start(ngx, client):
    async with client(ngx) as conn:
        for start in STARTS:
            player = Player(await connect(conn, f"version=0&baton={start}"))
            assert await player.play() == (0, b""), start
            assert player.seen == expected(start)
            datagrams = [datagram for datagram in player.session.datagrams
                         if datagram[-1]]
            assert datagrams == [message(value) for value
                                 in expected_datagrams(start)], start


async def test_random_baton_unless_told(ngx, client):
    starts = set()
    async with client(ngx) as conn:
        while len(starts) < 3:
            player = Player(await connect(conn))
            assert await player.play() == (0, b"")
            start = player.seen[0][1]
            assert player.seen == expected(start)
            starts.add(start)


@over_tcp_too
@pytest.mark.parametrize("count, start", [(2, 251), (7, 200), (100, 245),
                                          (100, 246)])
async def test_many_batons_at_once(ngx, client, count, start):
    async with client(ngx) as conn:
        player = Player(await connect(conn, f"count={count}&baton={start}"),
                        count)
        assert await player.play() == (0, b"")
        assert Counter(player.seen) == Counter(expected(start) * count)


async def test_sessions_of_one_connection_do_not_mix(ngx, client):
    async with client(ngx) as conn:
        players = [Player(await connect(conn, f"count=3&baton={start}"), 3)
                   for start in range(246, 256)]
        results = await asyncio.gather(*[player.play() for player in players])
        assert set(results) == {(0, b"")}
        for start, player in enumerate(players, 246):
            assert Counter(player.seen) == Counter(expected(start) * 3)


def padded(padding, length=None):
    return lambda baton: message(baton, padding, length)


@over_tcp_too
async def test_padding_of_any_length(ngx, client):
    """Integers that are longer than they need be, too."""
    lengths = [0, 1, 63, 64, 16383, 16384, 65535, 1 << 20]
    async with client(ngx) as conn:
        player = Player(await connect(conn, "baton=220"), messages=[
            *map(padded, lengths), padded(0, 8), padded(5, 2), padded(64, 4)])
        assert await player.play() == (0, b"")
        assert player.seen == expected(220)


async def test_datagram_has_the_padding_of_the_message_if_it_fits(ngx, client):
    async with client(ngx) as conn:
        player = Player(await connect(conn, "baton=226"), messages=[
            padded(500), padded(5000)])
        assert await player.play() == (0, b"")
        # the 3rd and the 10th message that the client sends, 0 left out
        assert [values(datagram) for datagram in player.session.datagrams
                if datagram[-1]] == [(500, 231), (0, 245)]


async def test_padding_of_the_server_is_of_all_lengths(nginx, client, launch):
    ngx = nginx(passed(await launch(PADDING=(63, 64, 16383, 16384, 300000))))
    seen = set()
    async with client(ngx, window=5000) as conn:
        session = await connect(conn, "count=100&baton=9")
        for _ in range(100):
            stream = await session.accept_uni()
            data = await stream.read_all()
            padding, baton = values(data)
            assert baton == 9
            assert len(data) - padding - 1 == len(varint(padding))
            seen.add(padding)
        assert seen == {63, 64, 16383, 16384, 300000}


async def test_message_byte_by_byte(ngx, client):
    async with client(ngx) as conn:
        session = await first(conn)
        stream = session.open_bidi()
        await stream.write_split(message(2, 70), True)
        assert values(await stream.read_all())[1] == 3


# ---- what was asked for -----------------------------------------------------


@pytest.mark.parametrize("query", [
    "version=1", "version=-1", "version=x", "version=", "version=0x0",
    "version=0&version=0", "version=0.0", "version=%30%0a",
    "baton=0", "baton=256", "baton=-1", "baton=", "baton=1&baton=2",
    "baton=99999999999999999999", "baton=%D9%A1", "baton=%ff",
    "count=0", "count=101", "count=-1", "count=", "count=one",
    "version=0&baton=1&count=0",
])
async def test_wrong_query_is_refused(ngx, client, query):
    async with client(ngx) as conn:
        assert await conn.refused(f"{PATH}?{query}") == 400


@pytest.mark.parametrize("query", [
    "baton=253", "baton=253&version=0", "count=1&baton=%32%353&version=0",
    "baton=253&more=1&more=", "&&baton=0253&",
])
async def test_query_is_understood(ngx, client, query):
    async with client(ngx) as conn:
        player = Player(await connect(conn, query))
        assert await player.play() == (0, b"")
        assert player.seen == expected(253)


# ---- clients that break the rules -------------------------------------------


MALFORMED = [b"", b"\x00", b"\x40", b"\xc0", b"\x01\x02", b"\x40\x02x\x02",
             b"\x00\x02\x00", b"\x00\x02" * 50000,
             varint((1 << 62) - 1) + b"x"]


@pytest.mark.parametrize("data", MALFORMED, ids=lambda data: data[:9].hex())
@pytest.mark.parametrize("opens", ["open_bidi", "open_uni"])
async def test_malformed_message(ngx, client, opens, data):
    async with client(ngx) as conn:
        session = await first(conn)
        getattr(session, opens)().write(data, True)
        assert await session.closed() == (BRUH, b"malformed message")
        await still_plays(conn)


@pytest.mark.parametrize("data", MALFORMED[:4], ids=lambda data: data.hex())
async def test_malformed_answer(ngx, client, data):
    async with client(ngx) as conn:
        session, stream = await ours(conn)
        stream.write(data, True)
        assert await session.closed() == (BRUH, b"malformed message")


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x02x\x01", b"\x00\x01\x02"],
                         ids=bytes.hex)
async def test_malformed_datagram(ngx, client, data):
    async with client(ngx) as conn:
        session = await first(conn)
        session.send_datagram(data)
        assert await session.closed() == (BRUH, b"malformed datagram")
        await still_plays(conn)


@pytest.mark.parametrize("baton", [0, 2, 7, 255])
async def test_datagram_that_no_client_sends(ngx, client, baton):
    async with client(ngx) as conn:
        session = await first(conn)
        session.send_datagram(message(baton))
        assert await session.closed() == (SUS, b"unexpected datagram")


@pytest.mark.parametrize("opens, baton", [
    ("open_bidi", 1), ("open_bidi", 3), ("open_bidi", 0),
    # the right value on the wrong kind of stream
    ("open_uni", 2), ("open_uni", 4)])
async def test_baton_that_is_not_due(ngx, client, opens, baton):
    async with client(ngx) as conn:
        session = await first(conn)
        getattr(session, opens)().write(message(baton), True)
        assert await session.closed() == (SUS, b"unexpected baton")
        await still_plays(conn)


async def test_baton_that_comes_twice(ngx, client):
    async with client(ngx) as conn:
        session = await first(conn, "count=2&baton=1")
        for _ in range(2):
            stream = session.open_bidi()
            stream.write(message(2), True)
            assert values(await stream.read_all())[1] == 3
        session.open_bidi().write(message(2), True)
        assert await session.closed() == (SUS, b"unexpected baton")


@pytest.mark.parametrize("baton", [0, 5, 7])
async def test_answer_that_is_not_due(ngx, client, baton):
    async with client(ngx) as conn:
        session, stream = await ours(conn)
        stream.write(message(baton), True)
        assert await session.closed() == (SUS, b"unexpected baton")


# ---- batons that get lost ---------------------------------------------------


async def lose(stream):
    """Half a message, and a reset that does not overtake it."""
    stream.write(b"\x05x")
    await stream.drain()
    stream.reset(I_LIED)


async def test_reset_is_answered_and_ends_the_only_baton(ngx, client):
    async with client(ngx) as conn:
        session = await first(conn)
        stream = session.open_bidi()
        await lose(stream)
        assert await stream.until_reset() == app_to_h3(WHATEVER)
        assert await session.closed() == (0, b"")


async def test_reset_of_a_unidirectional_stream_ends_the_baton(ngx, client):
    async with client(ngx) as conn:
        session = await first(conn)
        stream = session.open_bidi()
        stream.write(message(2), True)
        assert values(await stream.read_all())[1] == 3
        await lose(session.open_uni())
        assert await session.closed() == (0, b"")


async def test_reset_of_an_answer_ends_the_baton(ngx, client):
    async with client(ngx) as conn:
        session, stream = await ours(conn)
        await lose(stream)
        assert await session.closed() == (0, b"")


async def test_other_batons_outlive_a_reset(ngx, client):
    async with client(ngx) as conn:
        session = await connect(conn, "count=2&baton=247")
        stream = await session.accept_uni()
        assert values(await stream.read_all())[1] == 247
        stream = session.open_bidi()
        await lose(stream)
        assert await stream.until_reset() == app_to_h3(WHATEVER)

        player = Player(session)
        assert await player.play() == (0, b"")
        assert player.seen == expected(247)


async def test_last_baton_of_a_stream_is_not_answered(ngx, client):
    """A FIN would be an empty message, a reset another lost baton."""
    async with client(ngx) as conn:
        session = await connect(conn, "count=3&baton=255")
        last = session.open_bidi()
        last.write(message(0), True)
        await last.drain()

        # which shows that it has been read
        lost = session.open_bidi()
        await lose(lost)
        assert await lost.until_reset() == app_to_h3(WHATEVER)
        await conn.ping()
        assert not last.ended and last.reset_code is None
        session.open_bidi().write(message(0), True)
        assert await session.closed() == (0, b"")


async def test_stopped_while_it_is_sent(nginx, client, launch):
    ngx = nginx(passed(await launch(PADDING=(1 << 20,))))
    async with client(ngx, window=1000) as conn:
        session = await connect(conn, "baton=1")
        stream = await session.accept_uni()
        stream.stop(IDC)
        # nginx's doing, see baton.py
        assert await stream.until_reset() == app_to_h3(IDC)
        assert await session.closed() == (0, b"")


# ---- streams and patience ---------------------------------------------------


async def test_too_few_streams_to_begin(ngx, client):
    async with client(ngx, streams=(100, 10)) as conn:
        session = await connect(conn, "count=20")
        assert await session.closed() == (DA_YAMN, b"no credit for a stream")
        assert len(session.incoming[True]) < 10


async def test_no_bidirectional_stream_to_go_on(ngx, client):
    async with client(ngx, streams=(0, 100)) as conn:
        session = await first(conn)
        stream = session.open_bidi()
        stream.write(message(2), True)
        assert values(await stream.read_all())[1] == 3
        session.open_uni().write(message(4), True)
        assert await session.closed() == (DA_YAMN, b"no credit for a stream")


@pytest.mark.parametrize("behave", [
    lambda session: None,
    lambda session: session.open_bidi(),
    lambda session: session.open_uni().write(b"\x05x"),
    lambda session: session.send_datagram(message(1)),
])
async def test_client_that_hands_nothing_on(nginx, client, launch, behave):
    ngx = nginx(passed(await launch(PATIENCE=0.1)))
    async with client(ngx) as conn:
        session = await connect(conn, "baton=1")
        behave(session)
        assert await session.closed() == (BORED, b"no message")


async def test_client_that_takes_nothing(nginx, client, launch):
    ngx = nginx(passed(await launch(PATIENCE=0.1, PADDING=(1 << 20,))))
    async with client(ngx, window=1000) as conn:
        session = await connect(conn, "baton=1")
        assert await session.closed() == (BORED, b"no message")


async def test_end_is_not_waited_for_without_end(nginx, client, launch):
    """A client that gets the last 0 shall close the session."""
    ngx = nginx(passed(await launch(PATIENCE=2)))
    async with client(ngx) as conn:
        session = await connect(conn, "baton=254")
        stream = await session.accept_uni()
        await stream.read_all()
        stream = session.open_bidi()
        stream.write(message(255), True)
        assert values(await stream.read_all())[1] == 0
        assert await session.closed() == (0, b"")


# ---- unexpected ends --------------------------------------------------------


@pytest.mark.parametrize("leave", [
    lambda session: session.close(77, "enough"),
    lambda session: session.fin(),
    lambda session: session.reset_raw(0x10c),
    lambda session: session.conn.close(0x100),
])
async def test_client_that_leaves_early(ngx, client, leave):
    async with client(ngx) as conn:
        session = await first(conn, "count=10&baton=1")
        session.open_bidi().write(b"\x05x")
        session.open_uni()
        leave(session)
        await asyncio.sleep(0)
    async with client(ngx) as conn:
        await still_plays(conn)


async def test_worker_that_restarts(nginx, client, launch):
    worker = await launch()
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await first(conn)
        await worker.stop(signal.SIGTERM)
        assert await session.closed() == (1001, b"worker restarts")


# ---- Chromium ---------------------------------------------------------------


PLAY = """async ({ path, count }) => {
    const wt = await connect(path);
    const sender = wt.datagrams.writable.getWriter();
    const seen = [], datagrams = [], errors = [];
    let active = count;

    const message = baton => new Uint8Array([0, baton % 256]);

    async function receive(way, readable) {
        const baton = (await readAll(readable)).at(-1);
        seen.push([way, baton]);

        if (baton % 7 === 1) {
            sender.write(message(baton));
        }
        if (baton === 0 && --active === 0) {
            wt.close();
        }
        return baton;
    }

    async function onUni(stream) {
        let baton = await receive("uni", stream);

        if (baton !== 0) {
            const answered = await wt.createBidirectionalStream();
            await write(answered.writable, message(baton + 1));
            baton = baton === 255 ? 0
                : await receive("answer", answered.readable);
        }
        if (baton !== 0) {
            await write(await wt.createUnidirectionalStream(),
                        message(baton + 1));
        }
    }

    async function onBidi(stream) {
        const baton = await receive("bidi", stream.readable);

        if (baton !== 0) {
            await write(stream.writable, message(baton + 1));
        }
    }

    // after a failure nobody closes the session, until the worker is bored
    async function serve(readable, handle) {
        try {
            const reader = readable.getReader();
            for (let item; !(item = await reader.read()).done; ) {
                handle(item.value)?.catch(e => errors.push(`${e}`));
            }
        } catch (e) {
            // the end of the session
        }
    }

    serve(wt.incomingUnidirectionalStreams, onUni);
    serve(wt.incomingBidirectionalStreams, onBidi);
    serve(wt.datagrams.readable,
          data => { datagrams.push(Array.from(data)); });

    const { closeCode, reason } = await wt.closed;
    return { closeCode, reason, seen, datagrams, errors };
}"""


@pytest.mark.parametrize("count, start", [(1, 1), (1, 254), (1, 255),
                                          (10, 201), (10, 202)])
async def test_page_plays(nginx, launch, browser, count, start):
    # Chromium leaves without a word
    ngx = nginx("keepalive_timeout 1s;" + passed(await launch()))
    page = await browser.page(ngx)
    result = await page.evaluate(PLAY, {
        "path": f"{PATH}?count={count}&baton={start}", "count": count})
    assert (result["closeCode"], result["reason"]) == (0, ""), result
    assert Counter(map(tuple, result["seen"])) == Counter(
        expected(start) * count)
    # some may be lost
    known = [[0, value] for value in [*expected_datagrams(start), 0]]
    assert all(datagram in known for datagram in result["datagrams"])
    if len(known) > 10:
        assert result["datagrams"]
