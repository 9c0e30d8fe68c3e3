"""Statistics of what was measured.

Everything that is compared is better if it is less.  A ratio of two servers is
taken round by round, because what disturbs a machine disturbs neighbours alike;
the median of these is the ratio.
"""

import statistics
from typing import NamedTuple

from bench.servers import PEERS


class Summary(NamedTuple):
    median: float
    low: float
    high: float
    runs: int


def summarize(values):
    values = list(values)
    if not values:
        return None
    return Summary(statistics.median(values), min(values), max(values),
                   len(values))


def values(servers, name, key):
    """The figures of a server, a round after the other."""
    rounds = servers.get(name, {}).get("rounds", [])
    return [figures[key] for figures in rounds if key in figures]


def summary(servers, name, key):
    return summarize(values(servers, name, key))


def pairs(servers, name, other, key):
    """The figures of two servers, of the rounds in which both have one."""
    mine, theirs = (
        {figures.get("round", turn): figures[key]
         for turn, figures in enumerate(servers.get(server, {}).get(
             "rounds", [])) if key in figures}
        for server in (name, other))
    return [(mine[turn], theirs[turn]) for turn in mine if turn in theirs]


def ratio(servers, name, other, key):
    """How much more than the other server this one takes."""
    return summarize(mine / theirs for mine, theirs
                     in pairs(servers, name, other, key) if theirs)


def peers(servers, key):
    """Those that have figures, the best one first."""
    medians = {name: summary(servers, name, key) for name in PEERS}
    return sorted((name for name, found in medians.items() if found),
                  key=lambda name: medians[name].median)


def best_peer(servers, key):
    return next(iter(peers(servers, key)), None)
