"""A UDP proxy that treats packets badly.

    async with UdpProxy(ngx.port, loss=0.05, seed=1) as proxy:
        async with connect(proxy.port, authority=...) as conn:
            ...
            proxy.rebind()

A rule is applied to packets of both directions unless `directions` says
otherwise; "up" is to the server.  All can be changed at any time.
"""

import asyncio
import random
import socket
import struct

# not in Python's socket module
UDP_GRO = 104


class UdpProxy:

    def __init__(self, port, *, loss=0.0, duplicate=0.0, reorder=0.0,
                 delay=0.0, directions=("up", "down"), seed=0, gro=False):
        """loss, duplicate, reorder: probabilities; delay: seconds.  A packet
        that is to be reordered waits for the `hold` packets after it.  With
        gro, what the server sent with one system call is seen as such."""
        self.server = ("127.0.0.1", port)
        self.loss = loss
        self.duplicate = duplicate
        self.reorder = reorder
        self.hold = 3
        self.delay = delay
        self.directions = directions
        self.random = random.Random(seed)

        # packets that came in, and what was done to them
        self.count = {"up": 0, "down": 0}
        self.lost = self.duplicated = self.reordered = 0

        # called with (direction, packet); returns packets to send instead
        self.filter = None

        # with gro: sizes of the packets of each of the server's sends, and
        # addresses they came from
        self.gro = gro
        self.trains = []
        self.senders = set()
        # called with such sizes; True loses them all
        self.lose_train = None

        self.client = None
        self.held = {"up": [], "down": []}

    async def __aenter__(self):
        self.loop = asyncio.get_running_loop()
        self.front = self._socket("up")
        self.back = self._socket("down")
        self.port = self.front.getsockname()[1]
        return self

    async def __aexit__(self, *exc):
        # the client has just sent its goodbye
        self.behave()
        self._readable(self.front, "up")
        for sock in (self.front, self.back):
            self._close(sock)

    def _socket(self, direction):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("127.0.0.1", 0))
        readable = self._readable
        if self.gro and direction == "down":
            sock.setsockopt(socket.SOL_UDP, UDP_GRO, 1)
            readable = self._train_readable
        self.loop.add_reader(sock, readable, sock, direction)
        return sock

    def _close(self, sock):
        self.loop.remove_reader(sock)
        sock.close()

    def _readable(self, sock, direction):
        while True:
            try:
                data, address = sock.recvfrom(65536)
            except (BlockingIOError, ConnectionError):
                return
            if direction == "up":
                self.client = address
            self._packet(direction, data)

    def _train_readable(self, sock, direction):
        while True:
            try:
                data, ancillary, _, address = sock.recvmsg(65536, 64)
            except (BlockingIOError, ConnectionError):
                return
            self.senders.add(address)
            size = len(data)
            for level, kind, value in ancillary:
                if (level, kind) == (socket.SOL_UDP, UDP_GRO):
                    size = struct.unpack("=i", value)[0]
            packets = [data[pos:pos + size]
                       for pos in range(0, len(data), size)]
            sizes = [len(packet) for packet in packets]
            self.trains.append(sizes)
            if self.lose_train and self.lose_train(sizes):
                self.lost += len(packets)
                continue
            for packet in packets:
                self._packet(direction, packet)

    def _packet(self, direction, data):
        self.count[direction] += 1

        if direction not in self.directions:
            self._send(direction, data)
            return

        if self.random.random() < self.loss:
            self.lost += 1
            return

        copies = 1
        if self.random.random() < self.duplicate:
            self.duplicated += 1
            copies = 2

        held = self.held[direction]
        if self.random.random() < self.reorder:
            self.reordered += 1
            held.append([self.hold, [data] * copies])
            # the last packets of a burst must not be held for ever
            self.loop.call_later(0.05, self._release, direction, True)
            return

        for _ in range(copies):
            self._send(direction, data)
        for entry in held:
            entry[0] -= 1
        self._release(direction)

    def _release(self, direction, all=False):
        held, self.held[direction] = self.held[direction], []
        for left, packets in held:
            if left > 0 and not all:
                self.held[direction].append([left, packets])
            else:
                for data in packets:
                    self._send(direction, data)

    def _send(self, direction, data):
        for packet in self.filter(direction, data) if self.filter else [data]:
            if self.delay:
                self.loop.call_later(self.delay, self._write, direction,
                                     packet)
            else:
                self._write(direction, packet)

    def _write(self, direction, data):
        try:
            if direction == "up":
                self.back.sendto(data, self.server)
            elif self.client:
                self.front.sendto(data, self.client)
        except OSError:
            pass

    def rebind(self):
        """The server sees another port from now on, as after a NAT rebinding;
        returns it."""
        old, self.back = self.back, self._socket("down")
        self._close(old)
        return self.back.getsockname()[1]

    def behave(self):
        """Only forwards from now on."""
        self.loss = self.duplicate = self.reorder = self.delay = 0.0
        self.filter = None
