"""The targets, and how far away from them a run was."""

import dataclasses
import statistics

from bench import results

KILOBYTE = 1024


@dataclasses.dataclass(frozen=True)
class Target:
    """A figure of one server that is compared with another one.

    text     of the group of targets, as it was set
    other    a server, "best peer" or "median peer"
    limit    ratio to the other; bytes above it if `above` is set
    """

    text: str
    case: str
    other: str
    limit: float
    server: str = "wt"
    metric: str = "cpu"
    above: bool = False


def _each(text, cases, other, limit, **more):
    return [Target(text, case, other, limit, **more) for case in cases]


SINGLE = ["dgram-100", "dgram-1000", "dgram-100-100s"]
BURSTS = ["dgram-burst-100", "dgram-burst-1000"]
BULK = [f"bulk-{direction}-{streams}" for direction in ("up", "down", "both")
        for streams in (1, 20)]

TARGETS = [
    *_each("datagram echo, CPU ≤ 0.5 × best peer", SINGLE + BURSTS,
           "best peer", 0.5),
    *_each("datagram echo, CPU ≤ 2 × one-packet floor", SINGLE, "floor", 2),
    *_each("datagram bursts, CPU ≤ 3 × GSO floor", BURSTS, "floor-gso", 3),
    *_each("small bidirectional stream, CPU ≤ 0.6 × best peer",
           ["bidi-1", "bidi-100"], "best peer", 0.6),
    *_each("bulk, CPU ≤ 0.8 × best peer", BULK, "best peer", 0.8),
    *_each("bulk, CPU ≤ 1.15 × nginx's own HTTP/3",
           [case for case in BULK if "both" not in case], "nginx", 1.15),
    Target("session set-up, CPU ≤ best peer", "handshake", "best peer", 1),
    Target("idle session, memory ≤ 12 KB above idle HTTP/3", "idle",
           "nginx-on", 12 * KILOBYTE, metric="memory", above=True),
    Target("idle session, memory < median peer", "idle", "median peer", 1,
           metric="memory"),
    *_each("relay to a unix worker, nginx CPU ≤ 1.4 × echo",
           SINGLE + BURSTS + ["bidi-1", "bidi-100"], "wt", 1.4,
           server="wt-unix"),
    *_each("plain HTTP/3, CPU ≤ 1.02 × without the module", ["price"],
           "nginx", 1.02, server="nginx-loaded"),
    *(Target("latency at light load ≤ best peer", "latency-light",
             "best peer", 1, metric=metric) for metric in ("p50", "p99")),
]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a target.

    measured   Summary of ratios, or of bytes above
    against    the server that it was
    """

    target: Target
    measured: results.Summary | None
    against: str | None

    @property
    def met(self):
        return self.measured is not None \
            and self.measured.median <= self.target.limit


def evaluate(cases, targets=TARGETS):
    """cases: name to servers' figures.  Outcomes of the cases that were
    measured."""
    return [_evaluate(target, cases[target.case]) for target in targets
            if target.case in cases]


def _evaluate(target, servers):
    peers = results.peers(servers, target.metric)
    if target.other == "median peer":
        return Outcome(target, _to_median(target, servers, peers),
                       "median peer")
    other = target.other
    if other == "best peer":
        other = peers[0] if peers else None
    if other is None:
        return Outcome(target, None, None)
    if target.above:
        measured = _above(target, servers, other)
    else:
        measured = results.ratio(servers, target.server, other, target.metric)
    return Outcome(target, measured, other)


def _above(target, servers, other):
    return results.summarize(mine - theirs for mine, theirs in results.pairs(
        servers, target.server, other, target.metric))


def _to_median(target, servers, peers):
    if not peers:
        return None
    middle = statistics.median(
        results.summary(servers, name, target.metric).median
        for name in peers)
    return results.summarize(
        value / middle
        for value in results.values(servers, target.server, target.metric))
