"""Packets with datagrams: what is in them, and how they leave."""

import asyncio
import errno
import random

import pytest

import test_datagram
from lib import worker as w
from lib.nginx import free_port
from lib.sendmsg import Sendmsg
from lib.udp_proxy import UdpProxy
from test_datagram import passed, stream_of_datagrams

GSO = "quic_gso on;"
ECHO = GSO + "location / { webtransport_echo; }"

# all packets that have arrived are handled in one turn of the event loop
AT_ONCE = "multi_accept on;"


@pytest.fixture
def faults(tmp_path):
    return Sendmsg(tmp_path)


def filled(sizes):
    """Datagrams of such sizes, all different, and no zero in them."""
    return [(b"%06d" % i + b"\xff" * size)[:max(size, 6)]
            for i, size in enumerate(sizes)]


async def sent_by_worker(session, backend, datagrams):
    """They arrive, all of them and in order."""
    backend.send(*[w.datagram(data) for data in datagrams])
    assert [await session.datagram() for _ in datagrams] == datagrams


# ---- everything else works with trains as without ---------------------------


@pytest.mark.parametrize("test", [
    test_datagram.test_10000_datagrams_arrive_once_and_in_order,
    test_datagram.test_many_datagrams_do_not_look_like_a_flood,
    test_datagram.test_datagrams_and_streams_at_once,
    test_datagram.test_many_datagrams_in_one_packet_of_the_client,
    test_datagram.test_datagrams_grow_with_the_path,
    test_datagram.test_delay_loses_nothing,
    test_datagram.test_key_updates,
    test_datagram.test_port_rebinding_in_mid_session,
], ids=lambda test: test.__name__)
async def test_echo_in_trains(nginx, client, test):
    await test(lambda conf: nginx(GSO + conf, events=AT_ONCE), client)


@pytest.mark.parametrize("test", [
    test_datagram.test_worker_may_greet_with_a_datagram,
    test_datagram.test_burst_of_the_worker_shares_packets,
    test_datagram.test_burst_beyond_the_queue_is_sent_if_the_network_takes_it,
    test_datagram.test_full_queue_drops_the_oldest,
    test_datagram.test_old_datagrams_are_not_sent,
    test_datagram.test_rebinding_while_the_worker_sends,
    test_datagram.test_datagrams_do_not_starve_streams,
], ids=lambda test: test.__name__)
async def test_worker_in_trains(nginx, client, worker, test):
    await test(lambda conf: nginx(GSO + conf, events=AT_ONCE), client, worker)


async def test_bad_network_in_trains(nginx, client, bad_network):
    await test_datagram.test_loss_and_reordering_deliver_the_rest_once(
        lambda conf: nginx(GSO + conf, events=AT_ONCE), client, bad_network)


# ---- trains -----------------------------------------------------------------


@pytest.mark.parametrize("size, count, segments", [
    (6, 1000, 5), (100, 300, 20), (600, 64, 50), (1000, 50, 50),
    (1100, 50, 50)])
async def test_burst_leaves_in_trains(nginx, client, worker, size, count,
                                      segments):
    ngx = nginx(GSO + passed(worker, "webtransport_datagram_queue 1000;"))
    async with UdpProxy(ngx.port, gro=True) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        backend = await worker.session()
        await conn.ping()
        for _ in range(5):
            await sent_by_worker(session, backend, filled([size] * count))
        assert max(map(len, proxy.trains)) >= segments
        assert max(packet.padding for packet in conn.quic.packets
                   if packet.datagrams) <= 1200 // 8


async def test_no_trains_without_quic_gso(nginx, client, worker):
    ngx = nginx(passed(worker))
    async with UdpProxy(ngx.port, gro=True) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        backend = await worker.session()
        await sent_by_worker(session, backend, filled([1000] * 64))
        assert {len(train) for train in proxy.trains} == {1}
        assert not any(packet.padding for packet in conn.quic.packets
                       if packet.datagrams)


@pytest.mark.parametrize("seed", range(4))
async def test_sizes_may_differ_within_a_burst(nginx, client, worker, seed):
    """A train is longer than its padding is worth, or ends."""
    dice = random.Random(seed)
    ngx = nginx(GSO + passed(worker))
    async with UdpProxy(ngx.port, gro=True) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        backend = await worker.session()
        for _ in range(10):
            most = dice.choice([50, 300, 1100])
            await sent_by_worker(session, backend, filled(
                [dice.randint(6, most) for _ in range(60)]))

        assert any(len(set(train)) == 2 for train in proxy.trains)
        for packet in conn.quic.packets:
            if packet.datagrams:
                assert packet.padding <= 1200 // 8


@pytest.mark.parametrize("gso", ["", GSO])
async def test_trains_come_from_the_address_that_was_asked(nginx, client, gso):
    port = free_port()
    ngx = nginx(http=f"""server {{
        listen {port} quic; http3 on; server_name localhost; webtransport on;
        {gso} location / {{ webtransport_echo; }}
    }}""", events=AT_ONCE)
    async with UdpProxy(port, gro=True) as proxy:
        proxy.server = ("127.0.0.2", port)
        async with client(proxy, authority="localhost", pacing=False) as conn:
            session = await conn.session()
            numbers = await stream_of_datagrams(session, 2000, size=1000)
            assert numbers == list(range(2000))
        assert proxy.senders == {proxy.server}
        assert (max(map(len, proxy.trains)) > 1) == bool(gso)


async def test_large_datagram_behind_small_ones(nginx, client, worker):
    """It does not fit into the train, but is not dropped for that."""
    ngx = nginx(GSO + passed(worker))
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        most = backend.connect.limits.max_datagram
        for _ in range(20):
            await sent_by_worker(session, backend, filled(
                [700, 700, most, 700, most, most - 1, 10, most]))


async def test_sessions_share_a_train(nginx, client):
    ngx = nginx(ECHO, events=AT_ONCE)
    async with client(ngx) as conn:
        sessions = [await conn.session() for _ in range(5)]
        for i in range(200):
            for session in sessions:
                session.send_datagram(b"%d" % i + bytes(300))
        for session in sessions:
            assert [await session.datagram() for _ in range(200)] == [
                b"%d" % i + bytes(300) for i in range(200)]


async def test_trains_heed_the_congestion_window(nginx, client, worker):
    """What may be in flight is nginx's window, 128 KB at first, and as much
    as the packet that fills it."""
    ngx = nginx(GSO + passed(worker, "webtransport_datagram_queue 1000;"))
    async with UdpProxy(ngx.port, gro=True) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        backend = await worker.session()
        await conn.ping()

        proxy.trains.clear()
        proxy.lose_train = lambda sizes: True
        for i in range(0, 500, 50):
            backend.send(*[w.datagram(b"%06d" % n + bytes(1000))
                           for n in range(i, i + 50)])
        await backend.sync()
        await ngx.until(lambda: sum(map(sum, proxy.trains)) > 120_000,
                        "the window to be filled")
        assert max(map(len, proxy.trains)) > 20
        proxy.lose_train = None

        numbers = [int((await session.datagram())[:6])]
        while numbers[-1] != 499:
            numbers.append(int((await session.datagram())[:6]))
        assert numbers == list(range(numbers[0], 500))
        assert 100 < numbers[0] < 160


async def test_loss_of_trains(nginx, client):
    """nginx notices, goes slower, and recovers."""
    ngx = nginx(ECHO, events=AT_ONCE)
    async with UdpProxy(ngx.port, gro=True) as proxy, client(
            proxy, authority="localhost", pacing=False) as conn:
        session = await conn.session()
        dice = random.Random(1)
        proxy.lose_train = lambda sizes: dice.random() < 0.1
        numbers = await stream_of_datagrams(session, 2000, size=1000)
        assert proxy.lost
        assert numbers == sorted(set(numbers))

        proxy.lose_train = None
        assert await session.echo(bytes(100_000)) == bytes(100_000)
        numbers = await stream_of_datagrams(session, 2000, size=1000)
        assert numbers == list(range(2000))


# ---- acknowledgements -------------------------------------------------------


def lonely(conn):
    """Packets with an ACK frame only."""
    return [packet for packet in conn.quic.packets
            if packet.acked is not None and not packet.ack_eliciting]


@pytest.mark.parametrize("gso", ["", GSO])
async def test_acknowledgements_go_along(nginx, client, gso):
    ngx = nginx(gso + "location / { webtransport_echo; }")
    async with client(ngx) as conn:
        session = await conn.session()
        await conn.ping()
        conn.quic.packets.clear()

        for i in range(200):
            assert await session.echo_datagram(b"%d" % i) == b"%d" % i
        along = [packet for packet in conn.quic.packets
                 if packet.datagrams and packet.acked is not None]
        assert len(along) > 190
        assert len(lonely(conn)) < 10

        await stream_of_datagrams(session, 2000, size=1000)
        assert len(lonely(conn)) < 100


@pytest.mark.parametrize("gso", ["", GSO])
async def test_acknowledgement_has_no_room_beside_large_datagrams(
        nginx, client, worker, gso):
    """They fill the window all the time, and must not hold it back."""
    ngx = nginx(gso + passed(worker))
    async with UdpProxy(ngx.port, delay=0.02) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        backend = await worker.session()
        most = backend.connect.limits.max_datagram
        sending = True

        async def flood():
            while sending:
                backend.send(*[w.datagram(bytes(most)) for _ in range(40)])
                await backend.sync()
                await asyncio.sleep(0.005)

        task = asyncio.create_task(flood())
        await session.datagram()
        for _ in range(10):
            for _ in range(5):
                session.send_datagram(bytes(1000))
            await conn.ping()
        sending = False
        await task


async def test_acknowledged_ranges_are_forgotten(nginx, client):
    """The server learns from our acknowledgements what it need not repeat."""
    ngx = nginx(ECHO)
    async with UdpProxy(ngx.port, loss=0.02, directions=["up"]) as proxy:
        async with client(proxy, authority="localhost") as conn:
            session = await conn.session()
            await stream_of_datagrams(session, 20_000)
            proxy.behave()
            conn.quic.packets.clear()
            await stream_of_datagrams(session, 1000)

    acks = [packet.acked for packet in conn.quic.packets
            if packet.acked is not None]
    last = acks[-1][-1].stop
    assert last > 500
    assert min(ack[0].start for ack in acks[len(acks) // 2:]) > last - 1000
    assert max(map(len, acks[len(acks) // 2:])) <= 2


async def test_loss_of_acknowledgements(nginx, client):
    """A lost ACK frame makes nginx send another one."""
    ngx = nginx(ECHO)
    async with UdpProxy(ngx.port, loss=0.3, directions=["down"]) as proxy:
        async with client(proxy, authority="localhost") as conn:
            session = await conn.session()
            for i in range(300):
                session.send_datagram(b"%d" % i)
                if i % 10 == 0:
                    await conn.ping()
            stream = session.open_bidi()
            stream.write(bytes(20_000), True)
            assert await stream.read_all() == bytes(20_000)
            await stream.drain()


# ---- sends that fail --------------------------------------------------------


@pytest.mark.parametrize("error", [errno.EIO, errno.EINVAL])
async def test_trains_that_fail_leave_packet_by_packet(
        nginx, client, worker, faults, error):
    ngx = nginx(GSO + passed(worker), env=faults.env)
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        await sent_by_worker(session, backend, filled([1000] * 64))
        assert faults.trains > 0
        faults.gso_error = error
        trains = faults.trains
        for _ in range(5):
            await sent_by_worker(session, backend, filled([1000] * 64))
        assert faults.trains == trains
        assert faults.refused == 1, "it should not have been tried again"
        await ngx.wait_log("without UDP_SEGMENT")


@pytest.mark.parametrize("gso", ["", GSO])
async def test_full_socket_loses_nothing(nginx, client, worker, faults, gso):
    ngx = nginx(gso + passed(worker), env=faults.env)
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        await conn.ping()
        for full in (1, 3):
            faults.full = full
            await sent_by_worker(session, backend, filled([1000] * 64))
            assert faults.full == 0
        assert faults.refused >= 4
        session.close()
        await session.closed()
    line = await ngx.logged(status="200")
    assert line["datagrams_out"] == "128"
    assert line["datagrams_dropped"] == "0"


async def full_with_packets(ngx, faults, backend):
    """The socket is full, and packets wait for it."""
    faults.full = -1
    backend.send(*[w.datagram(data) for data in filled([1000] * 64)])
    await ngx.until(lambda: faults.refused, "a send that fails")


async def test_full_socket_and_a_new_path(nginx, client, worker, faults):
    """What waited for the old path is not sent on the new one."""
    ngx = nginx(GSO + passed(worker), env=faults.env)
    async with UdpProxy(ngx.port) as proxy, client(
            proxy, authority="localhost") as conn:
        session = await conn.session()
        backend = await worker.session()
        await conn.ping()
        await full_with_packets(ngx, faults, backend)
        proxy.rebind()
        stream = session.open_bidi()
        stream.write(b"from another port", True)
        assert (await backend.accept_stream()).data == b"from another port"
        faults.full = 0
        await conn.ping()
        backend.send(w.datagram(b"new path"))
        while await session.datagram() != b"new path":
            pass


async def test_connection_ends_while_the_socket_is_full(nginx, client, worker,
                                                        faults):
    ngx = nginx(GSO + passed(worker), env=faults.env)
    async with client(ngx) as conn:
        await conn.session()
        backend = await worker.session()
        await full_with_packets(ngx, faults, backend)
    await backend.closed()
    faults.full = 0
    await ngx.idle()


@pytest.mark.parametrize("gso", ["", GSO])
async def test_path_that_becomes_narrower(nginx, client, worker, faults, gso):
    """The kernel refuses what is too long: the network could have lost it.
    What is short enough arrives, and trains are not given up."""
    ngx = nginx(gso + passed(worker), env=faults.env)
    async with client(ngx) as conn:
        session = await conn.session()
        backend = await worker.session()
        await sent_by_worker(session, backend, filled([1000] * 10))

        faults.mtu = 700
        backend.send(*[w.datagram(data) for data in filled([1000] * 10)])
        await backend.sync()
        await ngx.until(lambda: faults.refused >= 10, "sends that fail")
        backend.send(w.datagram(b"short"))
        assert await session.datagram() == b"short"

        faults.mtu = 0
        trains = faults.trains
        await sent_by_worker(session, backend, filled([1000] * 64))
        assert (faults.trains > trains) == bool(gso)
