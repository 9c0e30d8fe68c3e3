"""Packets that arrive together: trains of one client and of several, new
connections among them, and what happens to the listening socket."""

import asyncio
import contextlib
import ctypes
import os
import pathlib
import re
import signal
import socket

import pytest

from lib.client import connect
from lib.nginx import free_port
from lib.train_proxy import SOL_UDP, TrainProxy, is_initial, is_short
from lib.wire import *
from lib.worker import passed

UDP_GRO = 104

ECHO = "location /wt { webtransport_echo; }"

# turns of one packet, of few and of more than a train has; nothing joined;
# nginx's own loop, which the trains must not reach
BATCHES = ["1", "8", "", "1024", "32 gro=off", "off"]

batches = pytest.mark.parametrize("batch", BATCHES)


def directive(batch):
    return f"webtransport_receive_batch {batch};" if batch else ""


def send_each(session, *datagrams):
    """Each in a packet of its own."""
    for data in datagrams:
        session.send_datagram(data)
        session.conn.transmit()


async def answers(session, count):
    return [await session.datagram() for _ in range(count)]


@contextlib.asynccontextmanager
async def opened(proxy, **kwargs):
    async with connect(proxy.port, authority="localhost", pacing=False,
                       **kwargs) as conn:
        session = await conn.session("/wt")
        # nothing else has to be sent for a while
        await conn.ping()
        yield session


def sockets(pid, port):
    """The QUIC listening sockets of a process, as copies."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    found = []
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        if not os.readlink(link).startswith("socket:"):
            continue
        fd = libc.syscall(438, pidfd, int(link.name), 0)    # pidfd_getfd
        assert fd >= 0, os.strerror(ctypes.get_errno())
        sock = socket.socket(fileno=fd)
        if (sock.type == socket.SOCK_DGRAM
                and sock.family in (socket.AF_INET, socket.AF_INET6)
                and sock.getsockname()[1] == port):
            found.append(sock)
        else:
            sock.close()
    os.close(pidfd)
    return found


def joined(ngx, port=None):
    """Whether UDP_GRO is on, for each socket of the first worker."""
    values = []
    for sock in sockets(ngx.workers()[0], port or ngx.port):
        with sock:
            values.append(sock.getsockopt(SOL_UDP, UDP_GRO))
    assert values
    return values


# ---- trains -----------------------------------------------------------------


ENDS = {
    "capsule": lambda session: session.close(7, b"bye"),
    "fin": lambda session: session.fin(),
    "reset": lambda session: session.reset_raw(H3_REQUEST_CANCELLED),
    "connection": lambda session: session.conn.close(H3_NO_ERROR),
}


@batches
@pytest.mark.parametrize("end", ENDS)
async def test_last_words_in_front_of_the_end(nginx, worker, batch, end):
    """The worker gets what came before the end, in whatever turn that came."""
    ngx = nginx(passed(worker), http=directive(batch))
    async with TrainProxy(ngx.port) as proxy, opened(proxy) as session:
        backend = await worker.session()
        stream = session.open_uni()
        stream.write(b"first")
        assert (await backend.expect("data")).data == b"first"
        await session.conn.ping()
        with proxy.holding() as held:
            stream.write(b"last words" * 30, True)
            session.conn.transmit()
            await proxy.collected(1, lambda packet: len(packet) > 300)
            count = len(held)
            ENDS[end](session)
            session.conn.transmit()
            await proxy.collected(count + 1)
        data = await backend.expect("data")
        assert (data.data, data.fin) == (b"last words" * 30, True)
        await backend.closed()


@batches
@pytest.mark.parametrize("single", [False, True], ids=["train", "packets"])
async def test_datagrams_of_a_train(nginx, batch, single):
    ngx = nginx(ECHO, http=directive(batch))
    async with TrainProxy(ngx.port, single=single) as proxy, \
            opened(proxy) as session:
        numbers = [b"%03d" % i for i in range(60)]
        for _ in range(3):
            with proxy.holding():
                send_each(session, *numbers)
                await proxy.collected(60)
            assert proxy.sent(60) == 60 if single else proxy.sent(60) < 5
            assert await answers(session, 60) == numbers


@batches
async def test_stream_in_trains(nginx, batch):
    ngx = nginx(ECHO, http=directive(batch))
    data = bytes(i % 251 for i in range(300_000))
    async with TrainProxy(ngx.port) as proxy, opened(proxy) as session:
        session.conn.quic._loss._cc.congestion_window = 1 << 20
        stream = session.open_bidi()
        with proxy.holding():
            stream.write(data[:60_000])
            session.conn.transmit()
            await proxy.collected(50)
        assert proxy.sent(50) < 5
        stream.write(data[60_000:], True)
        assert await stream.read_all() == data


@pytest.mark.parametrize("batch", ["1", "", "off"])
async def test_many_datagrams_in_a_packet_are_not_dropped(nginx, batch):
    """A turn takes fewer packets then: the queue of a session has 128."""
    ngx = nginx(ECHO, http=directive(batch))
    async with TrainProxy(ngx.port) as proxy, opened(proxy) as session:
        session.conn.quic._loss._cc.congestion_window = 1 << 20
        numbers = [b"%03d" % i + bytes(20) for i in range(900)]
        with proxy.holding():
            for data in numbers:
                session.send_datagram(data)
            session.conn.transmit()
            await proxy.collected(20)
        assert await answers(session, 900) == numbers
        session.close()
        await session.closed()
    await ngx.logged(status="200", datagrams_dropped="0")


@batches
async def test_two_connections_in_a_train(nginx, batch):
    ngx = nginx(ECHO, http=directive(batch))
    async with TrainProxy(ngx.port) as proxy, opened(proxy) as one, \
            opened(proxy) as two:
        with proxy.holding() as held:
            send_each(one, *[b"one %02d" % i for i in range(20)])
            await proxy.collected(20)
            send_each(two, *[b"two %02d" % i for i in range(20)])
            await proxy.collected(40)
            held[:] = [held[i % 2 * 20 + i // 2] for i in range(40)]
        assert proxy.sent(40) < 5
        assert await answers(one, 20) == [b"one %02d" % i for i in range(20)]
        assert await answers(two, 20) == [b"two %02d" % i for i in range(20)]


@batches
async def test_new_connections_in_a_train_of_another(nginx, batch):
    ngx = nginx(ECHO, http=directive(batch))
    async with contextlib.AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(TrainProxy(ngx.port))
        session = await stack.enter_async_context(opened(proxy))
        with proxy.holding() as held:
            conns = [await stack.enter_async_context(connect(
                proxy.port, authority="localhost", wait=False, settings=None))
                for _ in range(6)]
            await proxy.collected(6, is_initial)
            for i in range(6):
                # padding, to make it as long as an Initial packet
                session.conn.send_frame(0, bytes(1130))
                session.send_datagram(b"%d" % i)
                session.conn.transmit()
            await proxy.collected(6, is_short)
            initials = list(filter(is_initial, held))
            others = list(filter(is_short, held))
            held[:] = [packet for pair in zip(initials, others)
                       for packet in pair] + others[6:]
        assert proxy.sent(len(held)) < len(held)
        assert await answers(session, 6) == [b"%d" % i for i in range(6)]
        for conn in conns:
            await conn.until(lambda: conn.handshake, "ack")


@batches
async def test_connection_that_ends_in_the_middle_of_a_train(nginx, batch):
    ngx = nginx(ECHO, http=directive(batch))
    async with TrainProxy(ngx.port) as proxy, opened(proxy) as other:
        async with opened(proxy) as session:
            with proxy.holding() as held:
                send_each(session, *[bytes(50)] * 10)
                await proxy.collected(10)
                send_each(other, *[bytes(50)] * 10)
                await proxy.collected(20)
                session.conn.close(H3_NO_ERROR)
                session.conn.transmit()
                await proxy.collected(21)
                goodbye = held.pop()
                held[5:5] = [goodbye]
                held[12:12] = [goodbye]
            assert await answers(other, 10) == [bytes(50)] * 10
            session.conn.vanish()
        await ngx.until(lambda: ngx.connections() == 2, "the end of one")


@pytest.mark.parametrize("batch", ["1", "", "off"])
async def test_error_keeps_its_code_in_a_train(nginx, batch):
    ngx = nginx(ECHO, http=directive(batch))
    async with TrainProxy(ngx.port) as proxy, opened(proxy) as session:
        with proxy.holding() as held:
            send_each(session, *[b"1"] * 3)
            await proxy.collected(3)
            session.conn.send_datagram(b"\x40")     # half of a varint
            session.conn.transmit()
            await proxy.collected(4)
            held.insert(1, held.pop())
        assert await session.conn.closed() == H3_DATAGRAM_ERROR


@batches
async def test_key_update_and_older_packets_in_a_train(nginx, batch):
    """nginx makes its next keys in an event: until then there are none."""
    ngx = nginx(ECHO, http=directive(batch))
    async with TrainProxy(ngx.port) as proxy, opened(proxy) as session:
        for _ in range(3):
            with proxy.holding() as held:
                send_each(session, b"old", b"old")
                await proxy.collected(2)
                session.conn.quic.request_key_update()
                send_each(session, b"new", b"new")
                await proxy.collected(4)
                held[:] = held[2:] + held[:2]
            assert await answers(session, 2) == [b"new"] * 2
            await session.conn.ping()
            session.datagrams.clear()
            assert await session.echo() == b"ping"


@batches
async def test_other_port(nginx, batch):
    ngx = nginx(ECHO, http=directive(batch))
    async with TrainProxy(ngx.port) as proxy, opened(proxy) as session:
        proxy.rebind()
        await session.conn.ping()
        assert await session.echo() == b"ping"
        with proxy.holding():
            send_each(session, *[b"%02d" % i for i in range(20)])
            await proxy.collected(20)
        assert await answers(session, 20) == [b"%02d" % i for i in range(20)]


# ---- packets of no connection -----------------------------------------------


@batches
async def test_garbage_in_a_train(nginx, batch):
    ngx = nginx(ECHO, http=directive(batch))
    async with TrainProxy(ngx.port) as proxy, opened(proxy) as session:
        for size in (1, 5, 20, 21, 22, 38):
            short = [bytes([first]) + bytes([0xff]) * (size - 1)
                     for first in (0x00, 0x40, 0x80, 0xc0, 0xff)]
            proxy.send(short * 5)
        with proxy.holding() as held:
            send_each(session, *[b"%02d" % i for i in range(10)])
            await proxy.collected(10)
            size = len(held[0])
            for first in (0x00, 0x40, 0x80, 0xc0, 0xff):
                held.insert(3, bytes([first]) * size)
                held.insert(5, bytes([first]) + bytes(size - 1))
            # the last one of a train is shorter
            held.append(held[0][:20])
        assert proxy.sent(21) < 5
        assert await answers(session, 10) == [b"%02d" % i for i in range(10)]
    await ngx.idle()


@batches
async def test_empty_packets(nginx, batch):
    ngx = nginx(ECHO, http=directive(batch))
    async with TrainProxy(ngx.port) as proxy, opened(proxy) as session:
        for _ in range(5):
            proxy.back.sendto(b"", proxy.server)
        send_each(session, *[b"a", b"b"])
        proxy.back.sendto(b"", proxy.server)
        assert await answers(session, 2) == [b"a", b"b"]


@batches
async def test_long_packets(nginx, batch):
    """Longer than any path allows, but not than UDP does."""
    ngx = nginx(ECHO, http=directive(batch))
    async with TrainProxy(ngx.port) as proxy, opened(proxy) as session:
        for size in (1500, 9000, 65507):
            proxy.back.sendto(b"\x40" + bytes(size - 1), proxy.server)
            proxy.back.sendto(b"\xc0" + bytes(size - 1), proxy.server)
        assert await session.echo_datagram() == b"ping"


@batches
async def test_version_negotiation_in_a_train(nginx, batch):
    ngx = nginx(ECHO, http=directive(batch))
    async with TrainProxy(ngx.port) as proxy:
        unknown = [b"\xc0\x1a\x2a\x3a\x4a" + b"\x08" + bytes([i]) * 8
                   + b"\x08" + b"client%02d" % i + bytes(1176)
                   for i in range(5)]
        proxy.send(unknown)
        assert len(proxy.trains) == 1
        for i in range(5):
            packet = await proxy.answer()
            assert packet[1:14] == bytes(4) + b"\x08client%02d" % i
    await ngx.idle()


@batches
async def test_stateless_resets_in_a_train(nginx, batch):
    ngx = nginx(ECHO, http=directive(batch))
    async with TrainProxy(ngx.port) as proxy:
        proxy.send([b"\x40" + bytes([i]) * 99 for i in range(5)])
        for i in range(5):
            packet = await proxy.answer()
            assert packet[0] & 0xc0 == 0x40 and len(packet) >= 21
    await ngx.idle()


@batches
async def test_retry_in_a_train(nginx, batch):
    ngx = nginx("quic_retry on;" + ECHO, http=directive(batch))
    async with contextlib.AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(TrainProxy(ngx.port))
        with proxy.holding():
            conns = [await stack.enter_async_context(connect(
                proxy.port, authority="localhost", wait=False, settings=None))
                for _ in range(5)]
            await proxy.collected(5)
        for conn in conns:
            await conn.until(lambda: conn.handshake, "ack")
            conn.open_control(CLIENT_SETTINGS)
            session = await conn.session("/wt")
            assert await session.echo() == b"ping"


@batches
async def test_no_free_connections(nginx, batch):
    """The others go on, and so does the rest of the train."""
    ngx = nginx("webtransport_max_streams 4 4;" + ECHO, connections=40,
                http=directive(batch))
    ngx.allow("worker_connections are not enough")
    ngx.allow("webtransport: a single client can take")
    async with contextlib.AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(TrainProxy(ngx.port))
        session = await stack.enter_async_context(opened(proxy))
        with proxy.holding() as held:
            for _ in range(60):
                # more than there are slots
                await stack.enter_async_context(connect(
                    proxy.port, authority="localhost", wait=False,
                    settings=None))
            await proxy.collected(60, is_initial)
            send_each(session, *[b"%d" % i for i in range(4)])
            await proxy.collected(4, is_short)
            # no repetitions: they might not fit into the socket
            initials = list(filter(is_initial, held))[:60]
            others = list(filter(is_short, held))
            held[:] = initials[:50] + others + initials[50:]
        await ngx.wait_log("worker_connections are not enough")
        assert await answers(session, 4) == [b"%d" % i for i in range(4)]
        assert await session.echo_datagram() == b"ping"


# ---- listening sockets ------------------------------------------------------


LISTENS = {
    "0.0.0.0:%d": ["127.0.0.1", "127.0.0.2"],
    "127.0.0.1:%d": ["127.0.0.1"],
    "[::1]:%d": ["::1"],
    "[::]:%d": ["::1"],
    "[::]:%d ipv6only=off": ["127.0.0.1", "::1"],
}


@pytest.mark.parametrize("batch", ["", "off"])
@pytest.mark.parametrize("listen", LISTENS)
async def test_addresses(nginx, listen, batch):
    port = free_port()
    server = f"""{directive(batch)} server {{
        listen {listen % port} quic; server_name localhost;
        webtransport on; {ECHO} }}"""
    ngx = nginx(http=server)
    for host in LISTENS[listen]:
        async with TrainProxy(port, host=host) as proxy, \
                opened(proxy) as session:
            with proxy.holding():
                send_each(session, *[b"%02d" % i for i in range(20)])
                await proxy.collected(20)
            assert await answers(session, 20) == [b"%02d" % i
                                                  for i in range(20)]
            assert await session.echo() == b"ping"
    assert joined(ngx, port) == [batch == ""]


@pytest.mark.parametrize("batch", ["", "off"])
@pytest.mark.parametrize("events", ["", "accept_mutex on;",
                                    "multi_accept on;"])
async def test_several_workers(nginx, batch, events):
    ngx = nginx(ECHO, workers=3, reuseport=True, events=events,
                http=directive(batch))

    async def one(i):
        async with TrainProxy(ngx.port) as proxy, opened(proxy) as session:
            for _ in range(5):
                with proxy.holding():
                    send_each(session, *[b"%02d" % i for i in range(20)])
                    await proxy.collected(20)
                assert await answers(session, 20) == [b"%02d" % i
                                                      for i in range(20)]

    await asyncio.gather(*map(one, range(10)))


@batches
async def test_plain_http3(nginx, batch):
    ngx = nginx(ECHO + "location /big { alias %DIR%/html/big; }",
                http=directive(batch))
    data = bytes(i % 253 for i in range(500_000))
    (ngx.dir / "html/big").write_bytes(data)
    async with TrainProxy(ngx.port) as proxy, connect(
            proxy.port, authority="localhost") as conn:
        assert (await conn.request()).body == b"hello\n"
        assert (await conn.request("GET", "/big")).body == data
        request = await conn.request("POST", "/wt", body=data)
        assert request.status == 405


async def test_joining_is_on_only_where_it_is_wanted(nginx):
    port = free_port()
    other = f"""server {{ listen 127.0.0.1:{port} quic;
                          server_name localhost; }}"""
    ngx = nginx(ECHO, http=other)
    assert joined(ngx) == [1]
    assert joined(ngx, port) == [0]
    assert joined(nginx(ECHO, http=directive("32 gro=off"))) == [0]
    assert joined(nginx(ECHO, http=directive("off"))) == [0]
    assert joined(nginx("", webtransport=False)) == [0]
    assert joined(nginx(ECHO, workers=2, reuseport=True)) == [1, 1]


async def reload(ngx, change):
    """A new configuration; waits until only its worker is left."""
    ngx.conf = change(ngx.conf)
    (ngx.dir / "nginx.conf").write_text(ngx.conf)
    before = ngx.workers()
    ngx.signal(signal.SIGHUP)
    await ngx.until(lambda: len(ngx.workers()) == 1
                    and ngx.workers() != before, "the new worker")


async def train(ngx):
    async with TrainProxy(ngx.port) as proxy, opened(proxy) as session:
        with proxy.holding():
            send_each(session, *[b"%02d" % i for i in range(20)])
            await proxy.collected(20)
        assert await answers(session, 20) == [b"%02d" % i for i in range(20)]


async def test_reloads(nginx):
    ngx = nginx(ECHO, http="webtransport_receive_batch 32;")
    for old, new, expected in [
            ("batch 32;", "batch 8;", 1),
            ("batch 8;", "batch 8 gro=off;", 0),
            # the worker before may still have been reading
            ("batch 8 gro=off;", "batch 32;", 0),
            ("batch 32;", "batch off;", 0)]:
        await reload(ngx, lambda conf: conf.replace(old, new))
        assert joined(ngx) == [expected]
        await train(ngx)
        await ngx.idle()
    assert len(re.findall(r"\[notice\].*until nginx is restarted",
                          ngx.error_log())) == 1


@pytest.mark.parametrize("what", ["webtransport", "module"])
async def test_reload_without_webtransport(nginx, what):
    """Old sockets must not get trains that nothing expects any more."""
    ngx = nginx(ECHO)
    assert joined(ngx) == [1]
    await train(ngx)
    await ngx.idle()

    def change(conf):
        conf = (conf.replace("webtransport on;", "")
                .replace("webtransport_echo;", ""))
        if what == "module":
            conf = re.sub(r"load_module .*|(?s:log_format .*?;)", "", conf)
            conf = re.sub(r"access_log \S+ wt;", "access_log off;", conf)
        return conf

    await reload(ngx, change)
    assert joined(ngx) == [0]
    async with TrainProxy(ngx.port) as proxy, connect(
            proxy.port, authority="localhost") as conn:
        assert (await conn.request()).body == b"hello\n"


async def test_respawned_worker_has_it_too(nginx):
    ngx = nginx(ECHO)
    ngx.allow("exited on signal 9")
    await train(ngx)
    before = ngx.workers()
    os.kill(before[0], signal.SIGKILL)
    await ngx.until(lambda: ngx.workers() not in ([], before), "a new worker")
    assert joined(ngx) == [1]
    await train(ngx)


# ---- configuration ----------------------------------------------------------


@pytest.mark.parametrize("arguments", ["1", "1024", "off", "16 gro=on",
                                       "16 gro=off"])
def test_directive_is_accepted(nginx, arguments):
    status, output = nginx.check(ECHO, http=directive(arguments))
    assert status == 0, output


@pytest.mark.parametrize("text, message", [
    ("webtransport_receive_batch 0;", 'invalid number of packets "0"'),
    ("webtransport_receive_batch 1025;", 'invalid number of packets "1025"'),
    ("webtransport_receive_batch many;", 'invalid number of packets "many"'),
    ("webtransport_receive_batch 16 gso=on;", 'invalid parameter "gso=on"'),
    ("webtransport_receive_batch off gro=on;", '"off" excludes'),
    ("webtransport_receive_batch 1; webtransport_receive_batch 2;",
     '"webtransport_receive_batch" directive is duplicate'),
])
def test_directive_is_refused(nginx, text, message):
    status, output = nginx.check(ECHO, http=text)
    assert status != 0 and message in output, output
