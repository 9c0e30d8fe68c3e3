"""What is measured."""

import dataclasses

from bench.servers import FLOORS, PEERS

OURS = ["wt", "wt-unix", "wt-grpc"]

# For servers that are an order of magnitude slower than the others: so much
# less of the same, where the amount is fixed.
SLOW = {"aioquic": 20}

MEGABYTE = 1_000_000

# Of a request to nginx.  Above this, the time that nginx takes for a body in
# memory grows with the square of its size; below, requests cost more than they
# bring.
UPLOAD = 250_000


@dataclasses.dataclass(frozen=True)
class Unit:
    """Of an operation.

    name    what is counted
    cpu     the unit in which its CPU time is given, and nanoseconds in one
    rate    what is counted in a second, and operations in one
    """

    name: str
    cpu: tuple = ("µs", 1000)
    rate: tuple = ("/s", 1)


DATAGRAM = Unit("datagram")
STREAM = Unit("stream")
SESSION = Unit("session")
REQUEST = Unit("request")
GIGABYTE = Unit("GB", ("s", 1), ("MB/s", MEGABYTE))     # counted in bytes


@dataclasses.dataclass(frozen=True)
class Case:
    """A case.

    load      arguments for the load generator
    special   the same for single servers
    way       how it is measured, see measure.py
    metrics   what is compared: cpu, p50, p99, memory, rest
    rounds    at least so many, if not --quick
    longer    times as long as other cases
    against   the server with which the others are compared, if it is not the
              best peer
    """

    name: str
    title: str
    unit: Unit
    servers: list
    load: list = ()
    special: dict = dataclasses.field(default_factory=dict)
    way: str = "plain"
    metrics: tuple = ("cpu",)
    rounds: int = 0
    longer: int = 1
    against: str = ""
    note: str = ""

    def arguments(self, server):
        return list(self.special.get(server, self.load))

    @property
    def per_byte(self):
        return self.unit is GIGABYTE


def _datagrams(name, title, size, sessions=1, inflight=64, burst=1):
    load = ["datagram", "--size", size, "--sessions", sessions,
            "--inflight", inflight, "--burst", burst]
    floor = ["floor", "--size", size, "--inflight", inflight * sessions]
    return Case(name, title, DATAGRAM, [*OURS, *PEERS, *FLOORS], load,
                {"floor": floor, "floor-gso": [*floor, "--gso"]})


def _streams(name, title, load, special=None, **more):
    return Case(name, title, STREAM, [*OURS, *PEERS], load, special or {},
                **more)


def _bulk(direction, streams, title, amount, reference, servers=("wt",)):
    load = ["bulk", "--direction", direction, "--streams", streams, "--bytes"]
    special = {name: [*load, amount // part] for name, part in SLOW.items()}
    if reference:
        special["nginx"] = reference
    return Case(f"bulk-{direction}-{streams}", title, GIGABYTE,
                [*servers, *PEERS, *(["nginx"] if reference else [])],
                [*load, amount], special,
                note=f"{amount // MEGABYTE} MB each time; aioquic: "
                     f"{amount // SLOW['aioquic'] // MEGABYTE} MB.")


def _price(title, path, inflight):
    return Case(
        "price", title, REQUEST, ["nginx", "nginx-loaded", "nginx-on"],
        ["http", "--path", path, "--inflight", inflight], rounds=12,
        against="nginx",
        note="What plain HTTP/3 pays for the module; ratios are to nginx "
             "without it.")


def cases(bulk=160 * MEGABYTE, lossy=2 * MEGABYTE, sessions=10_000):
    """All of them.

    bulk, lossy   bytes that are moved
    sessions      that are idle
    """
    down = ["http", "--path", "/16m", "--ops", max(1, bulk // 16_000_000),
            "--inflight"]
    up = ["http", "--path", "/sink", "--upload", UPLOAD, "--ops",
          max(20, bulk // UPLOAD), "--inflight"]
    return [
        _datagrams("dgram-100", "datagram echo, 100 B", 100),
        _datagrams("dgram-1000", "datagram echo, 1000 B", 1000),
        _datagrams("dgram-100-100s",
                   "datagram echo, 100 B, 100 sessions of 2 in flight", 100,
                   sessions=100, inflight=2),
        _datagrams("dgram-burst-100", "datagram echo, 100 B, bursts of 16",
                   100, inflight=16, burst=16),
        _datagrams("dgram-burst-1000", "datagram echo, 1000 B, bursts of 16",
                   1000, inflight=16, burst=16),
        _streams("bidi-1", "bidirectional streams of 100 B, one at a time",
                 ["bidi", "--size", 100, "--inflight", 1]),
        _streams("bidi-100", "bidirectional streams of 100 B, 100 in flight",
                 ["bidi", "--size", 100, "--inflight", 100]),
        _streams("uni-5000", "unidirectional streams of 100 B, 5,000 a second "
                 "each way", ["uni", "--size", 100, "--rate", 5000],
                 {"aioquic": ["uni", "--size", 100, "--rate", 250]},
                 note="aioquic: 250 a second."),
        _bulk("up", 1, "upload, 1 stream", bulk, [*up, 1]),
        _bulk("down", 1, "download, 1 stream", bulk, [*down, 1]),
        _bulk("both", 1, "echo, 1 stream", bulk // 2, None, OURS),
        _bulk("up", 20, "upload, 20 streams", bulk, [*up, 20]),
        _bulk("down", 20, "download, 20 streams", bulk, [*down, 20]),
        _bulk("both", 20, "echo, 20 streams", bulk // 2, None, OURS),
        Case("handshake", "full handshakes with a session, 8 at a time",
             SESSION, [*OURS, *PEERS], ["handshake", "--inflight", 8]),
        Case("idle", f"{sessions:,} idle sessions", SESSION,
             ["wt", "nginx-on", *PEERS], ["idle", "--sessions", sessions],
             {"nginx-on": ["idle", "--plain", "--path", "/1k", "--sessions",
                           sessions],
              "aioquic": ["idle", "--sessions", sessions // 20]},
             way="idle", metrics=("memory", "rest"),
             note="“nginx, WebTransport on” here: as many idle HTTP/3 "
                  f"connections. aioquic: {sessions // 20:,} sessions."),
        Case("latency-light", "echo latency, 1,000 datagrams of 100 B a "
             "second", DATAGRAM, [*OURS, *PEERS],
             ["datagram", "--size", 100, "--rate", 1000],
             metrics=("p50", "p99"), longer=2),
        Case("latency-70", "echo latency, datagrams of 100 B at 70 % of the "
             "server's own maximum", DATAGRAM, [*OURS, *PEERS],
             ["datagram", "--size", 100, "--rate"], way="rate",
             metrics=("p50", "p99"), longer=2,
             note="The maximum is what the same client got from the same "
                  "server in a closed loop just before."),
        Case("loss-up", "upload, 1 stream, 1 % loss, 20 ms round trip",
             GIGABYTE, ["wt", *PEERS],
             ["bulk", "--direction", "up", "--streams", 1, "--bytes", lossy],
             way="loss"),
        Case("loss-down", "download, 1 stream, 1 % loss, 20 ms round trip",
             GIGABYTE, ["wt", *PEERS],
             ["bulk", "--direction", "down", "--streams", 1, "--bytes",
              lossy], way="loss"),
        _price("plain HTTP/3, GET of 1 kB, 8 at a time", "/1k", 8),
    ]


QUICK_SERVERS = ["wt", "wt-unix", "floor", "nginx", "nginx-loaded",
                 "nginx-on"]


def quick_cases():
    """The same, with little of everything, and no peers."""
    return [dataclasses.replace(
        case, rounds=0,
        servers=[name for name in case.servers if name in QUICK_SERVERS])
        for case in cases(bulk=16 * MEGABYTE, lossy=MEGABYTE // 10,
                          sessions=200)]
