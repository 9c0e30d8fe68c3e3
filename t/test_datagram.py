"""Datagrams: sizes, errors, order, and what a network does to them."""

import asyncio
import os
import signal
import struct

import pytest

from lib import worker as w
from lib.client import TIMEOUT, Session
from lib.udp_proxy import UdpProxy
from lib.wire import *
from lib.worker import pb

ECHO = "location / { webtransport_echo; }"

# type and length of the frame and the quarter stream id of stream 0
OVERHEAD = 1 + 2 + 1


def passed(worker, more=""):
    return f"location / {{ webtransport_pass {worker.address}; {more} }}"


# ---- sizes ------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 63, 64, 1000])
async def test_datagram_is_echoed(nginx, client, size):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        assert await session.echo_datagram(bytes(size)) == bytes(size)


async def test_datagrams_pass_through_the_worker(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        for data in (b"", b"up", bytes(1000)):
            session.send_datagram(data)
            assert (await backend.expect("datagram")).data == data
        for data in (b"", b"down", bytes(1000)):
            backend.send(w.datagram(data))
            assert await session.datagram() == data


async def test_datagram_of_the_advertised_size_is_accepted(nginx, client,
                                                           worker):
    ngx = nginx("webtransport_max_datagram_size 500;" + passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        data = bytes(500 - OVERHEAD)
        session.send_datagram(data)
        assert (await backend.expect("datagram")).data == data


async def test_datagram_above_the_advertised_size_closes_the_connection(
        nginx, client):
    ngx = nginx("webtransport_max_datagram_size 500;" + ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        session.send_datagram(bytes(500 - OVERHEAD + 1))
        assert await conn.closed() == QUIC_PROTOCOL_VIOLATION


@pytest.mark.parametrize("mtu", [1200, 1400, 1500])
async def test_largest_datagram_of_the_path(nginx, client, worker, mtu):
    ngx = nginx(passed(worker))

    # max_udp_payload_size stops nginx's search for a larger MTU
    parameters = {0x03: varint(mtu)}
    async with client(ngx, parameters=parameters) as conn:
        session = await conn.session()
        backend = await worker.session()
        size = backend.connect.limits.max_datagram
        assert 1100 < size <= mtu

        result = await backend.call(1, datagram=pb.Datagram(data=bytes(size)))
        assert result.status == 0
        assert len(await session.datagram()) == size

        # it cannot have grown only if there is no room to grow
        size = size if mtu == 1200 else mtu
        result = await backend.call(2, datagram=pb.Datagram(
            data=bytes(size + 1)))
        assert result.status == 11
        backend.send(w.datagram(b"after"))
        assert await session.datagram() == b"after"


@pytest.mark.parametrize("limit, size", [
    (60, 60 - 3), (65, 65 - 3), (66, 66 - 4), (100, 100 - 4),
    (1000, 1000 - 4)])
async def test_largest_datagram_of_the_client(nginx, client, worker, limit,
                                              size):
    """Type, length and quarter stream id count."""
    ngx = nginx(passed(worker))
    async with client(ngx, max_datagram=limit) as conn:
        session = await conn.session()
        backend = await worker.session()
        assert backend.connect.limits.max_datagram == size
        for length, status in ((size - 1, 0), (size, 0), (size + 1, 11)):
            result = await backend.call(length + 1, datagram=pb.Datagram(
                data=bytes(length)))
            assert result.status == status
            if status == 0:
                assert len(await session.datagram()) == length


async def test_echo_of_a_datagram_that_is_too_large_is_dropped(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx, max_datagram=200) as conn:
        session = await conn.session()
        session.send_datagram(bytes(500))
        assert await session.echo_datagram(b"next") == b"next"
        session.close()
        await session.closed()
    line = await ngx.logged(status="200")
    assert line["datagrams_dropped"] == "1"


async def test_datagrams_grow_with_the_path(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx, mtu=1500) as conn:
        session = await conn.session()
        # nginx finds the MTU by and by, from 1200 bytes
        async with asyncio.timeout(TIMEOUT):
            while not session.datagrams:
                session.send_datagram(bytes(1400))
                await asyncio.sleep(0.05)
        assert len(await session.datagram()) == 1400


# ---- errors -----------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"\x40", b"\xc0\0\0\0\0\0\0",
                                     varint((1 << 60) + 1), b"\xff" * 8],
                         ids=["empty", "1 of 2", "7 of 8", "2^60+1", "ff"])
async def test_datagram_without_a_valid_id_closes_the_connection(
        nginx, client, payload):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        await conn.session()
        conn.send_datagram(payload)
        assert await conn.closed() == H3_DATAGRAM_ERROR


@pytest.mark.parametrize("length", [1, 2, 4, 8])
async def test_quarter_stream_id_may_have_any_length(nginx, client, length):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        conn.send_datagram(varint(0, length) + b"x")
        assert await session.datagram() == b"x"


async def test_datagram_frame_without_length(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        for data in (b"to the end of the packet", b"again"):
            conn.send_frame(0x30, varint(session.id // 4) + data)
            assert await session.datagram() == data


async def test_datagram_that_is_longer_than_its_packet(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        await conn.session()
        conn.send_frame(0x31, varint(1000) + b"\0short")
        assert await conn.closed() == QUIC_FRAME_ENCODING_ERROR


async def test_datagram_of_an_unknown_session_is_dropped(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        for number in (1, 5, 15):
            conn.send_datagram(varint(number) + b"who?")
        assert await session.echo_datagram() == b"ping"
        assert not conn.stray_datagrams


async def test_datagram_beyond_the_stream_limit(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        await conn.session()
        conn.send_datagram(varint(1 << 40) + b"who?")
        assert await conn.closed() == H3_ID_ERROR


async def test_datagram_of_an_ordinary_request_is_dropped(nginx, client):
    ngx = nginx("location /wt { webtransport_echo; }")
    async with client(ngx) as conn:
        session = await conn.session("/wt")
        request = conn.start_request("GET", "/")
        conn.send_datagram(varint(request.id // 4) + b"?")
        assert (await request.complete()).status == 200
        conn.send_datagram(varint(request.id // 4) + b"?")
        assert await session.echo_datagram() == b"ping"


async def test_datagram_after_the_close_is_dropped(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session, other = await conn.session(), await conn.session()
        session.close()
        for _ in range(50):
            session.send_datagram(b"late")
        await session.closed()
        for _ in range(50):
            session.send_datagram(b"later")
        assert await other.echo_datagram() == b"ping"


async def test_datagram_on_a_server_without_webtransport(nginx, client):
    """Nothing was advertised: RFC 9221, 3 wants PROTOCOL_VIOLATION; nginx
    does not know the frame at all."""
    ngx = nginx(webtransport=False)
    async with client(ngx) as conn:
        conn.send_datagram(b"\0?")
        assert await conn.closed() in (QUIC_PROTOCOL_VIOLATION,
                                       QUIC_FRAME_ENCODING_ERROR)


async def test_datagrams_without_any_session(nginx, client):
    ngx = nginx("location /wt { webtransport_echo; }")
    async with client(ngx) as conn:
        for _ in range(20):
            conn.send_datagram(b"\0too early or too late")
        assert (await conn.request("GET", "/")).status == 200


# ---- before the session -----------------------------------------------------


async def test_datagram_before_its_connect_waits(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = conn.new_stream(Session)
        for i in range(5):
            session.send_datagram(b"%d" % i)
        await conn.ping()
        session.write(frame(FRAME_HEADERS, conn.encoder.section(
            conn.connect_headers())))
        assert await session.outcome() == 200
        for i in range(5):
            assert await session.datagram() == b"%d" % i


async def test_datagram_in_the_packet_of_its_connect(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        await conn.settings()
        await conn.ping()
        session = conn.connect()
        session.send_datagram(b"same packet")
        assert await session.datagram() == b"same packet"
        assert session.status == 200


async def test_early_datagrams_are_bounded(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = conn.new_stream(Session)
        for i in range(2000):
            session.send_datagram(b"%06d" % i + bytes(1000))
        await conn.ping()
        session.write(frame(FRAME_HEADERS, conn.encoder.section(
            conn.connect_headers())))
        assert await session.outcome() == 200
        session.send_datagram(b"last")
        while await session.datagram() != b"last":
            pass
        session.close()
        await session.closed()
    line = await ngx.logged(status="200")
    assert int(line["datagrams_in"]) < 100


async def test_worker_may_greet_with_a_datagram(nginx, client, worker):
    worker.accept = [w.accept(), w.datagram(b"welcome"),
                     w.open_uni(7, b"hello", True)]
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        assert await session.datagram() == b"welcome"
        assert await (await session.accept_uni()).read_all() == b"hello"
        assert not conn.stray_datagrams, "a datagram overtook the 200"


# ---- many -------------------------------------------------------------------


async def stream_of_datagrams(session, count, window=64, size=100):
    """Sends numbered datagrams, some ahead of their echoes; returns the
    numbers that came back, in order of arrival."""
    numbers, sent = [], 0
    while len(numbers) < count:
        while sent < count and sent - len(numbers) < window:
            session.send_datagram(struct.pack("!I", sent) + bytes(size))
            sent += 1
        try:
            data = await session.datagram(timeout=2)
        except TimeoutError:
            # those in the window are lost, go on behind them
            if sent == count:
                break
            count -= sent - len(numbers)
            window += sent - len(numbers)
            continue
        numbers.append(struct.unpack("!I", data[:4])[0])
        assert data[4:] == bytes(size)
    return numbers


async def test_10000_datagrams_arrive_once_and_in_order(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        numbers = await stream_of_datagrams(session, 10_000)
        assert numbers == list(range(10_000))


async def test_many_datagrams_do_not_look_like_a_flood(nginx, client):
    """nginx closes connections of which few bytes belong to streams."""
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        numbers = await stream_of_datagrams(session, 6000, size=1000)
        assert len(numbers) == 6000
        assert await session.echo() == b"ping"


async def test_datagrams_and_streams_at_once(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()

        async def streams():
            for i in range(20):
                data = bytes([i]) * 50_000
                assert await session.echo(data) == data

        numbers, _ = await asyncio.gather(
            stream_of_datagrams(session, 3000, window=16), streams())
        assert len(numbers) == len(set(numbers)) == 3000


async def test_burst_of_the_worker_shares_packets(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(*[w.datagram(b"%03d" % i) for i in range(100)])
        assert [await session.datagram() for _ in range(100)] == [
            b"%03d" % i for i in range(100)]
        assert max(conn.quic.datagram_packets) > 10
        assert len(conn.quic.datagram_packets) < 50


async def test_burst_beyond_the_queue_is_sent_if_the_network_takes_it(
        nginx, client, worker):
    ngx = nginx(passed(worker, "webtransport_datagram_queue 16;"))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(*[w.datagram(b"%04d" % i) for i in range(1000)])
        assert [await session.datagram() for _ in range(1000)] == [
            b"%04d" % i for i in range(1000)]


async def test_many_datagrams_in_one_packet_of_the_client(nginx, client):
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        stream = session.open_bidi()
        stream.write(b"in the same packet", True)
        for i in range(100):
            session.send_datagram(b"%03d" % i)
        assert [await session.datagram() for _ in range(100)] == [
            b"%03d" % i for i in range(100)]
        assert await stream.read_all() == b"in the same packet"


async def test_full_queue_drops_the_oldest(nginx, client, worker):
    """A client that acknowledges nothing, so that nothing more is sent."""
    ngx = nginx(passed(worker, "webtransport_datagram_queue 16;"))
    async with UdpProxy(ngx.port) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        backend = await worker.session()
        await conn.ping()

        proxy.filter = lambda direction, data: []
        # nginx's first congestion window holds 128 KB
        for i in range(0, 500, 10):
            backend.send(*[w.datagram(b"%06d" % n + bytes(1000))
                           for n in range(i, i + 10)])
            await backend.sync()
        proxy.behave()

        numbers = [int((await session.datagram())[:6])]
        while numbers[-1] != 499:
            numbers.append(int((await session.datagram())[:6]))
        assert numbers[-16:] == list(range(484, 500))
        assert len(numbers) < 200

        session.close()
        dropped = (await backend.closed()).counters.datagrams_dropped
        assert dropped > 300


async def test_old_datagrams_are_not_sent(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with UdpProxy(ngx.port) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        backend = await worker.session()
        await conn.ping()

        proxy.filter = lambda direction, data: []
        # the congestion window is full long before the last ones
        for _ in range(20):
            backend.send(*[w.datagram(bytes(1100)) for _ in range(10)])
            await backend.sync()
        backend.send(*[w.datagram(b"old %d" % i, ttl_ms=50)
                       for i in range(20)])
        await backend.sync()
        await asyncio.sleep(0.2)    # they grow old
        backend.send(w.datagram(b"fresh", ttl_ms=5000))
        await backend.sync()
        proxy.behave()

        seen = []
        while not seen or seen[-1] != b"fresh":
            seen.append(await session.datagram())
        assert not [data for data in seen if data.startswith(b"old")]


# ---- networks ---------------------------------------------------------------


async def test_duplicated_packets_deliver_once(nginx, client):
    ngx = nginx(ECHO)
    async with UdpProxy(ngx.port, duplicate=1.0, directions=["up"]) as proxy:
        async with client(proxy, authority="localhost") as conn:
            session = await conn.session()
            numbers = await stream_of_datagrams(session, 2000)
            assert numbers == list(range(2000))
            await conn.ping()
            assert not session.datagrams
            session.close()
            await session.closed()
    line = await ngx.logged(status="200")
    assert line["datagrams_in"] == "2000"


async def test_late_duplicates_deliver_once(nginx, client):
    """A copy of every packet comes again after 50 others."""
    ngx = nginx(ECHO)
    old = []

    def again(direction, data):
        if direction == "down":
            return [data]
        old.append(data)
        return [data, old.pop(0)] if len(old) > 50 else [data]

    async with UdpProxy(ngx.port) as proxy, client(
            proxy, authority="localhost") as conn:
        proxy.filter = again
        session = await conn.session()
        numbers = await stream_of_datagrams(session, 1000)
        assert numbers == list(range(1000))


async def test_loss_and_reordering_deliver_the_rest_once(nginx, client,
                                                         bad_network):
    ngx = nginx(ECHO)
    async with bad_network(ngx) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        numbers = await stream_of_datagrams(session, 2000)
        assert len(numbers) == len(set(numbers))
        assert 1500 < len(numbers) <= 2000
        assert proxy.lost and proxy.duplicated and proxy.reordered
        proxy.behave()
        assert await session.echo() == b"ping"


async def test_delay_loses_nothing(nginx, client):
    ngx = nginx(ECHO)
    async with UdpProxy(ngx.port, delay=0.05) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        numbers = await stream_of_datagrams(session, 300)
        assert numbers == list(range(300))


async def test_key_updates(nginx, client):
    """nginx answers each update of the client with its own."""
    ngx = nginx(ECHO)
    async with client(ngx) as conn:
        session = await conn.session()
        held = session.open_bidi()
        for i in range(10):
            assert await session.echo_datagram(b"%d" % i) == b"%d" % i
            held.write(b"%d" % i)
            assert await held.read() == b"%d" % i
            await conn.ping()
            conn.quic.request_key_update()
        numbers = await stream_of_datagrams(session, 500)
        assert numbers == list(range(500))


async def test_port_rebinding_in_mid_session(nginx, client):
    """Once: nginx 1.26 takes two connection ids of a client, no more."""
    ngx = nginx(ECHO)
    async with UdpProxy(ngx.port) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        stream = session.open_bidi()
        stream.write(b"begin")
        assert await stream.read() == b"begin"
        assert await session.echo_datagram() == b"ping"

        proxy.rebind()
        await conn.ping()
        # a few may be lost while nginx validates the new path
        numbers = await stream_of_datagrams(session, 200)
        assert len(numbers) > 150
        stream.write(b"end", True)
        assert await stream.read_all() == b"end"


async def test_rebinding_while_the_worker_sends(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with UdpProxy(ngx.port) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        backend = await worker.session()
        backend.send(w.open_uni(7))
        stream = await session.accept_uni()
        for i in range(20):
            backend.send(w.data_(7, bytes(20_000)), w.datagram(b"x"))
            if i == 10:
                proxy.rebind()
                await conn.ping()
        backend.send(w.data_(7, fin=True))
        assert len(await stream.read_all()) == 400_000


async def test_old_early_datagrams_are_dropped(nginx, client, worker):
    ngx = nginx(passed(worker))
    worker.accept = None
    async with client(ngx) as conn:
        session = conn.connect()
        session.send_datagram(b"too old")
        backend = await worker.session()
        await asyncio.sleep(6)
        session.send_datagram(b"early")
        await conn.ping()
        backend.send(w.accept())
        assert (await backend.find("datagram")).data == b"early"


async def test_datagrams_do_not_starve_streams(nginx, client, worker):
    """More datagrams than the path takes, and a stream beside them."""
    ngx = nginx(passed(worker))
    async with UdpProxy(ngx.port, delay=0.02) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        backend = await worker.session()
        sending = True

        async def flood():
            while sending:
                backend.send(*[w.datagram(bytes(1000)) for _ in range(40)])
                await backend.sync()
                await asyncio.sleep(0.005)

        task = asyncio.create_task(flood())
        await session.datagram()
        backend.send(w.open_uni(7, bytes(60000), True))
        stream = await session.accept_uni()
        assert await stream.read_all() == bytes(60000)
        sending = False
        await task


@pytest.mark.parametrize("events", ["", "multi_accept on;"])
async def test_error_keeps_its_code_among_other_packets(
        nginx, client, events):
    ngx = nginx(ECHO, events=events)
    async with client(ngx, pacing=False) as conn:
        await conn.session()
        await conn.ping()
        for pid in ngx.workers():
            os.kill(pid, signal.SIGSTOP)
        conn.send_datagram(b"\x40")     # half of a varint
        conn.transmit()
        for _ in range(8):
            conn.send_datagram(varint(0) + bytes(1000))
        conn.transmit()
        for pid in ngx.workers():
            os.kill(pid, signal.SIGCONT)
        assert await conn.closed() == H3_DATAGRAM_ERROR
