"""A UDP proxy that sends clients' packets as trains: many in one system call,
as network adapters and other hosts deliver them (UDP_SEGMENT).

    async with TrainProxy(ngx.port) as proxy:
        async with connect(proxy.port, authority="localhost") as conn:
            with proxy.holding() as held:
                conn.send_datagram(...)
                conn.transmit()
                ...
                await proxy.collected(10)
                held.sort(...)
            # all left

To the server all clients have the same address.  Answers find their client by
the connection id that it began with.
"""

import asyncio
import contextlib
import socket

from lib.client import TIMEOUT

SOL_UDP = 17
UDP_SEGMENT = 103

# of one system call
MAX_SEGMENTS = 64
MAX_BYTES = 65000

CID_LENGTH = 8


def is_initial(packet):
    return packet[0] & 0xf0 == 0xc0


def is_short(packet):
    return packet[0] & 0x80 == 0


class TrainProxy:

    def __init__(self, port, *, host="127.0.0.1", single=False):
        """single: every packet leaves by itself, as if there were no trains"""
        self.server = (host, port)
        self.single = single
        self.held = None
        self.clients = {}

        # what has been sent, and what came of no client's connection
        self.trains = []
        self.stray = []
        self._changed = asyncio.Event()

    async def __aenter__(self):
        self.loop = asyncio.get_running_loop()
        self.front = self._socket("127.0.0.1", self._from_client)
        local = "::1" if ":" in self.server[0] else "127.0.0.1"
        self.back = self._socket(local, self._from_server)
        self.port = self.front.getsockname()[1]
        return self

    async def __aexit__(self, *exc):
        # the clients have just sent their goodbyes
        self._from_client()
        for sock in (self.front, self.back):
            self.loop.remove_reader(sock)
            sock.close()

    def _socket(self, local, reader):
        family = socket.AF_INET6 if ":" in local else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        sock.bind((local, 0))
        self.loop.add_reader(sock, reader)
        return sock

    # to the server

    def _from_client(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                packet, address = self.front.recvfrom(65536)
                if packet[0] & 0x80:
                    scid = 6 + packet[5]
                    self.clients[packet[scid + 1:][:packet[scid]]] = address
                if self.held is None:
                    self.send([packet])
                else:
                    self.held.append(packet)
                    self._changed.set()

    @contextlib.contextmanager
    def holding(self):
        """Keeps packets in a list that can be changed, and then sends it."""
        self.held = held = []
        try:
            yield held
        finally:
            self.held = None
            self.send(held)

    async def collected(self, count, match=None, timeout=TIMEOUT):
        """Waits for so many packets, of those that match."""
        async with asyncio.timeout(timeout):
            while len(list(filter(match, self.held))) < count:
                self._changed.clear()
                await self._changed.wait()

    def send(self, packets):
        """In as few trains as possible: of all segments only the last one may
        be shorter."""
        train = []
        for packet in packets:
            if train and (self.single or len(packet) > len(train[0])
                          or len(train[-1]) < len(train[0])
                          or len(train) == MAX_SEGMENTS
                          or len(train[0]) * (len(train) + 1) > MAX_BYTES):
                self._send(train)
                train = []
            train.append(packet)
        if train:
            self._send(train)

    def _send(self, train):
        self.trains.append(train)
        size = len(train[0]).to_bytes(2, "little")
        control = [(SOL_UDP, UDP_SEGMENT, size)] if len(train) > 1 else []
        self.back.sendmsg([b"".join(train)], control, 0, self.server)

    def sent(self, count):
        """How many trains the last `count` packets took."""
        trains = 0
        while count > 0:
            trains += 1
            count -= len(self.trains[-trains])
        return trains

    def rebind(self):
        """The server sees another port from now on."""
        old = self.back
        self.back = self._socket(old.getsockname()[0], self._from_server)
        self.loop.remove_reader(old)
        old.close()

    # from the server

    def _from_server(self):
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                packet = self.back.recv(65536)
                pos = 6 if packet[0] & 0x80 else 1
                client = self.clients.get(packet[pos:pos + CID_LENGTH])
                if client is None and len(self.clients) == 1:
                    # another id, for another path
                    [client] = self.clients.values()
                if client:
                    self.front.sendto(packet, client)
                else:
                    self.stray.append(packet)
                    self._changed.set()

    async def answer(self, timeout=TIMEOUT):
        """The next packet that belongs to no connection."""
        async with asyncio.timeout(timeout):
            while not self.stray:
                self._changed.clear()
                await self._changed.wait()
        return self.stray.pop(0)
