"""Checks that an echo worker keeps to the contract; see README.md."""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from peer import Lost, Peer, Stream, pb

MEGABYTE = 1 << 20

# How long to wait for something that must not come.
QUIET = 0.3

Check = Callable[["Worker"], Awaitable[None]]
CHECKS: list[Check] = []


class Skip(Exception):
    """The check does not apply to this worker."""


class Worker:
    """The worker under test."""

    def __init__(self, address: str, path: str) -> None:
        self.address = address
        self.path = path

    @asynccontextmanager
    async def session(
        self, *, may_be_lost: bool = False, **options: Any
    ) -> AsyncIterator[Peer]:
        """An accepted session that must end without a violation."""
        peer = await Peer.open(self.address, **options)

        try:
            peer.connect(self.path)
            await peer.wait(lambda: peer.accept or peer.reject)
            assert peer.accept is not None, "session rejected"
            yield peer
            assert not peer.violations, peer.violations[0]

            if not may_be_lost:
                assert not peer.lost, "the worker ended the connection"
                peer.closed()
                await peer.wait_lost()
                assert not peer.violations, peer.violations[0]
        finally:
            await peer.disconnect()

    @property
    def has_frames(self) -> bool:
        return not self.address.startswith("grpc://")

    def needs_frames(self) -> None:
        if not self.has_frames:
            raise Skip("gRPC frames its messages itself")

    async def works(self) -> None:
        """Fails if the worker does not serve others at the moment."""
        async with self.session() as peer:
            await echo(peer, b"still there?")


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


async def echo(peer: Peer, data: bytes) -> None:
    stream = peer.open_stream(data, fin=True)
    await peer.wait(lambda: stream.fin)
    same(stream.data, data)


def same(have: bytes | bytearray, want: bytes) -> None:
    if have != want:
        size = next(
            (
                i
                for i, (a, b) in enumerate(zip(have, want, strict=False))
                if a != b
            ),
            min(len(have), len(want)),
        )
        raise AssertionError(
            f"{len(have)} bytes for {len(want)}, different from byte {size}"
        )


def opened_by_worker(peer: Peer) -> list[Stream]:
    return [stream for stream in peer.streams.values() if stream.ours]


# ---- the session ------------------------------------------------------------


@check
async def session_is_accepted(worker: Worker) -> None:
    async with worker.session() as peer:
        assert peer.close is None


@check
async def nothing_is_sent_unasked(worker: Worker) -> None:
    async with worker.session() as peer:
        await asyncio.sleep(QUIET)
        assert not peer.streams and not peer.datagrams and not peer.close


@check
async def connection_is_closed_after_closed_event(worker: Worker) -> None:
    async with worker.session(may_be_lost=True) as peer:
        peer.closed(7, "bye")
        await peer.wait_lost()


@check
async def connection_is_closed_when_nginx_goes(worker: Worker) -> None:
    async with worker.session(may_be_lost=True) as peer:
        peer.open_stream(b"unfinished")
        peer.end_of_file()
        await peer.wait_lost()


@check
async def ping_is_answered(worker: Worker) -> None:
    async with worker.session() as peer:
        ids = [0, 1, 2**32, 2**63, 2**64 - 1]

        for ping_id in ids:
            peer.ping(ping_id)

        await peer.wait(lambda: len(peer.pongs) >= len(ids))
        assert peer.pongs == ids, f"{peer.pongs}"


# ---- streams ----------------------------------------------------------------


@check
async def stream_is_echoed_with_its_fin(worker: Worker) -> None:
    async with worker.session() as peer:
        await echo(peer, b"hello")
        await echo(peer, bytes(range(256)))


@check
async def fin_is_echoed_only_when_it_comes(worker: Worker) -> None:
    async with worker.session() as peer:
        stream = peer.open_stream(b"one ")
        await peer.wait(lambda: stream.data == b"one ")
        await peer.write(stream, b"two")
        await peer.wait(lambda: stream.data == b"one two")
        await asyncio.sleep(QUIET)
        assert not stream.fin
        await peer.write(stream, b"", fin=True)
        await peer.wait(lambda: stream.fin)
        same(stream.data, b"one two")


@check
async def empty_stream_is_echoed(worker: Worker) -> None:
    async with worker.session() as peer:
        await echo(peer, b"")


@check
async def events_without_bytes_do_no_harm(worker: Worker) -> None:
    async with worker.session() as peer:
        stream = peer.open_stream(b"")
        empty = pb.Event(data=pb.StreamData(stream_id=stream.id))
        peer.send(empty, empty, empty)
        await peer.write(stream, b"x", fin=True)
        await peer.wait(lambda: stream.fin)
        same(stream.data, b"x")


@check
async def uni_stream_is_echoed_on_a_new_one(worker: Worker) -> None:
    async with worker.session() as peer:
        stream = peer.open_stream(b"one ", uni=True)
        await peer.write(stream, b"way", fin=True)
        await peer.wait(lambda: any(s.fin for s in opened_by_worker(peer)))
        [back] = opened_by_worker(peer)
        assert back.uni
        same(back.data, b"one way")


@check
async def uni_streams_wait_for_stream_credit(worker: Worker) -> None:
    async with worker.session(streams=2) as peer:
        sent = {b"%d" % number for number in range(300)}

        for data in sent:
            peer.open_stream(data, uni=True, fin=True)

        await peer.wait(lambda: len(opened_by_worker(peer)) == 2)
        await asyncio.sleep(QUIET)
        assert len(opened_by_worker(peer)) == 2

        for _ in range(149):
            peer.credit(uni=2)

        await peer.wait(
            lambda: sum(s.fin for s in opened_by_worker(peer)) == 300
        )
        assert {bytes(s.data) for s in opened_by_worker(peer)} == sent


@check
async def reset_is_answered_by_a_reset(worker: Worker) -> None:
    async with worker.session() as peer:
        stream = peer.open_stream(b"never mind")
        other = peer.open_stream(b"but ")
        peer.reset(stream, 4711)
        await peer.wait(lambda: stream.reset is not None)
        assert stream.reset == 4711, f"code {stream.reset}"
        await peer.write(other, b"this", fin=True)
        await peer.wait(lambda: other.fin)
        same(other.data, b"but this")


@check
async def reset_without_a_code_is_no_error(worker: Worker) -> None:
    async with worker.session() as peer:
        stream = peer.open_stream(b"never mind")
        peer.reset(stream, None)
        await peer.wait(lambda: stream.reset is not None)
        assert stream.reset == 0, f"code {stream.reset}"


@check
async def reset_of_a_uni_stream_resets_its_echo(worker: Worker) -> None:
    async with worker.session() as peer:
        stream = peer.open_stream(b"never mind", uni=True)
        await peer.wait(lambda: opened_by_worker(peer))
        [back] = opened_by_worker(peer)
        peer.reset(stream, 2**32 - 1)
        await peer.wait(lambda: back.reset is not None)
        assert back.reset == 2**32 - 1, f"code {back.reset}"


@check
async def stop_is_answered_by_a_stop(worker: Worker) -> None:
    async with worker.session() as peer:
        stream = peer.open_stream(b"do you ")
        await peer.wait(lambda: stream.data)
        peer.stop(stream, 11)
        # A worker may notice only when it sends again.
        await peer.write(stream, b"hear me?")
        await peer.wait(lambda: stream.stop is not None)
        assert stream.stop == 11, f"code {stream.stop}"
        assert stream.data == b"do you "
        await echo(peer, b"other streams work on")


@check
async def stop_of_an_echo_stops_its_uni_stream(worker: Worker) -> None:
    async with worker.session() as peer:
        stream = peer.open_stream(b"do you ", uni=True)
        await peer.wait(lambda: opened_by_worker(peer))
        [back] = opened_by_worker(peer)
        peer.stop(back, 12)
        await peer.write(stream, b"hear me?")
        await peer.wait(lambda: stream.stop is not None)
        assert stream.stop == 12, f"code {stream.stop}"


@check
async def stop_frees_a_stream_without_credit(worker: Worker) -> None:
    async with worker.session(window=10, auto_credit=False) as peer:
        stream = peer.open_stream(bytes(1000))
        peer.stop(stream, 1)
        await echo(peer, b"next")


# ---- flow control -----------------------------------------------------------


@check
async def megabyte_is_echoed(worker: Worker) -> None:
    async with worker.session() as peer:
        data = os.urandom(MEGABYTE)
        stream = peer.open_stream(b"")
        await peer.write(stream, data, fin=True)
        await peer.wait(lambda: stream.fin, timeout=30)
        same(stream.data, data)


@check
async def credit_is_never_exceeded(worker: Worker) -> None:
    async with worker.session(window=1000, auto_credit=False) as peer:
        if not peer.counts_bytes:
            raise Skip("no STREAM_CREDIT in Accept.notify")

        data = os.urandom(20000)
        stream = peer.open_stream(data, fin=True)
        total = 1000

        for more in (0, 1, 999, 5000):
            if more:
                peer.credit(stream, bytes=more)

            total += more
            await peer.wait(lambda: len(stream.data) >= total)
            await asyncio.sleep(QUIET)
            same(stream.data, data[:total])

        peer.credit(stream, bytes=20000)
        await peer.wait(lambda: stream.fin)
        same(stream.data, data)


@check
async def megabyte_is_echoed_in_small_credits(worker: Worker) -> None:
    async with worker.session(window=777, auto_credit=True) as peer:
        data = os.urandom(MEGABYTE)
        stream = peer.open_stream(b"")
        await peer.write(stream, data, fin=True)
        await peer.wait(lambda: stream.fin, timeout=60)
        same(stream.data, data)


@check
async def stream_without_credit_blocks_no_other(worker: Worker) -> None:
    async with worker.session(window=1000, auto_credit=False) as peer:
        blocked = peer.open_stream(bytes(60000))
        await peer.wait(lambda: len(blocked.data) >= 1000)
        await echo(peer, b"another stream")
        peer.datagram(b"a datagram")
        await peer.wait(lambda: peer.datagrams)


@check
async def frames_are_no_longer_than_max_command(worker: Worker) -> None:
    async with worker.session(max_command=4096) as peer:
        data = os.urandom(60000)
        await echo(peer, data)


# ---- datagrams --------------------------------------------------------------


@check
async def datagrams_are_echoed(worker: Worker) -> None:
    async with worker.session() as peer:
        sent = [b"datagram", b"", bytes(1200), *(b"%d" % i for i in range(99))]

        for data in sent:
            peer.datagram(data)

        await peer.wait(lambda: len(peer.datagrams) >= len(sent))
        assert sorted(peer.datagrams) == sorted(sent)


# ---- frames -----------------------------------------------------------------


@check
async def batch_of_many_events_is_handled(worker: Worker) -> None:
    async with worker.session() as peer:
        events = []

        for number in range(10):
            events.append(peer.open_event(b"%d" % number, fin=True))
            events.append(pb.Event(datagram=pb.Datagram(data=b"d")))

        peer.send(*events)
        await peer.wait(lambda: all(s.fin for s in peer.streams.values()))
        await peer.wait(lambda: len(peer.datagrams) == 10)


@check
async def frame_may_arrive_byte_by_byte(worker: Worker) -> None:
    worker.needs_frames()

    async with worker.session() as peer:
        stream = peer.open_stream(b"")
        batch = pb.EventBatch()
        batch.events.add(
            data=pb.StreamData(stream_id=stream.id, data=b"slow", fin=True)
        )
        message = batch.SerializeToString()

        for byte in len(message).to_bytes(4, "big") + message:
            peer.send_bytes(bytes([byte]))
            await asyncio.sleep(0.002)

        await peer.wait(lambda: stream.fin)
        same(stream.data, b"slow")


@check
async def frames_may_be_cut_anywhere(worker: Worker) -> None:
    worker.needs_frames()

    # Credit would be a frame of its own, in the middle of these.
    async with worker.session(auto_credit=False) as peer:
        stream = peer.open_stream(b"")
        want = b"".join(b"frame %d " % number for number in range(100))
        frames = bytearray()

        for number in range(100):
            batch = pb.EventBatch()
            batch.events.add(
                data=pb.StreamData(
                    stream_id=stream.id, data=b"frame %d " % number
                )
            )
            message = batch.SerializeToString()
            frames += len(message).to_bytes(4, "big") + message

        for at in range(0, len(frames), 101):
            peer.send_bytes(frames[at : at + 101])
            await asyncio.sleep(0.002)

        await peer.wait(lambda: len(stream.data) >= len(want))
        same(stream.data, want)


@check
async def long_varints_are_understood(worker: Worker) -> None:
    def varint(value: int, size: int) -> bytes:
        groups = [value >> 7 * i & 0x7F for i in range(size)]
        return bytes([g | 0x80 for g in groups[:-1]] + groups[-1:])

    def message(tag: int, body: bytes) -> bytes:
        return bytes([tag]) + varint(len(body), 3) + body

    async with worker.session() as peer:
        stream = peer.streams[peer.open_event(b"").data.stream_id]
        data = (
            (b"\x08" + varint(stream.id, 9))  # stream_id
            + message(0x12, b"long")  # data
            + (b"\x18" + varint(1, 9))  # fin
            + (b"\x20" + varint(pb.BIDI, 9))  # open
        )
        peer.send_frame(message(0x22, message(0x12, data)))
        await peer.wait(lambda: stream.fin)
        same(stream.data, b"long")


@check
async def fields_may_come_in_any_order(worker: Worker) -> None:
    async with worker.session() as peer:
        stream = peer.streams[peer.open_event(b"").data.stream_id]
        data = pb.StreamData(open=pb.BIDI).SerializeToString()
        data += pb.StreamData(fin=True).SerializeToString()
        data += pb.StreamData(data=b"any").SerializeToString()
        data += pb.StreamData(stream_id=stream.id).SerializeToString()
        event = b"\x12" + bytes([len(data)]) + data
        peer.send_frame(b"\x22" + bytes([len(event)]) + event)
        await peer.wait(lambda: stream.fin)
        same(stream.data, b"any")


@check
async def unknown_things_are_ignored(worker: Worker) -> None:
    # Field 1000: a number, 8 bytes, a string and 4 bytes.
    unknown = (
        b"\xc0\x3e\x07"
        + (b"\xc1\x3e" + bytes(8))
        + (b"\xc2\x3e\x03abc")
        + (b"\xc5\x3e" + bytes(4))
    )

    async with worker.session() as peer:
        stream = peer.open_stream(b"")
        data = pb.StreamData(stream_id=stream.id, data=b"known", fin=True)
        body = data.SerializeToString() + unknown
        event = b"\x12" + bytes([len(body)]) + body + unknown
        peer.send(
            pb.Event.FromString(unknown),
            pb.Event(result=pb.Result(id=99, status=3, message="what?")),
            pb.Event(limits=pb.Limits(max_datagram=1000)),
            pb.Event(drain=pb.Drain(by=pb.Drain.NGINX, deadline_ms=60000)),
        )
        peer.send_frame(b"\x22" + bytes([len(event)]) + event + unknown)
        await peer.wait(lambda: stream.fin)
        same(stream.data, b"known")


# ---- many sessions ----------------------------------------------------------


@check
async def hundred_sessions_at_once(worker: Worker) -> None:
    async def one(number: int) -> None:
        async with worker.session() as peer:
            await echo(peer, b"session %d" % number * 100)
            peer.datagram(b"%d" % number)
            await peer.wait(lambda: peer.datagrams == [b"%d" % number])

    await asyncio.gather(*(one(number) for number in range(100)))


@check
async def session_that_is_not_read_blocks_no_other(worker: Worker) -> None:
    async with worker.session(may_be_lost=True) as stuck:
        stream = stuck.open_stream(b"")
        stuck.pause()

        async def flood() -> None:
            event = pb.Event(datagram=pb.Datagram(data=bytes(1000)))

            while True:
                stuck.send(*[event] * 32)
                await stuck.drain()

        flooding = asyncio.create_task(flood())

        try:
            for _ in range(10):
                start = time.monotonic()
                await worker.works()
                assert time.monotonic() - start < 2, "others are delayed"
                await asyncio.sleep(0.1)
        finally:
            flooding.cancel()

        assert stream.id == 4


@check
async def garbage_ends_only_its_own_session(worker: Worker) -> None:
    garbage = [
        partial(Peer.send_frame, message=message)
        for message in (
            b"\x22\x7f\x00\x00",  # an event longer than that
            b"\x22\x80",  # a varint without its end
            b"\x08" + b"\xff" * 10,  # a varint without end
            b"\x27",  # a type that does not exist
        )
    ]

    if worker.has_frames:
        garbage += [
            partial(Peer.send_bytes, data=b"\xff\xff\xff\xff"),
            partial(Peer.send_bytes, data=b"GET / HTTP/1.1\r\n\r\n"),
        ]

    async with worker.session() as good:
        for send in garbage:
            bad = await Peer.open(worker.address)
            send(bad)
            await bad.wait_lost()
            await bad.disconnect()

            async with worker.session(may_be_lost=True) as bad:
                send(bad)
                await bad.wait_lost()

            await echo(good, b"good")


# ---- all of them ------------------------------------------------------------


def explain(error: Exception) -> str:
    """What went wrong, and in which line of this file."""
    frames = traceback.extract_tb(error.__traceback__)
    here = [frame for frame in frames if frame.filename == __file__][-1]
    what = "timeout" if isinstance(error, TimeoutError) else str(error)

    return f"{what}, in line {here.lineno}: {here.line}"


async def run(address: str, path: str) -> bool:
    """Runs all checks and prints what became of them, as TAP."""
    worker = Worker(address, path)
    passed = True
    print(f"1..{len(CHECKS)}", flush=True)

    for number, function in enumerate(CHECKS, 1):
        name = function.__name__.replace("_", " ")

        try:
            async with asyncio.timeout(90):
                await function(worker)
        except Skip as skip:
            print(f"ok {number} - {name} # SKIP {skip}", flush=True)
        except (AssertionError, Lost, OSError, ValueError) as error:
            passed = False
            print(f"not ok {number} - {name}", flush=True)
            print(f"# {explain(error)}", flush=True)
        else:
            print(f"ok {number} - {name}", flush=True)

    return passed
