"""Measures a case: all its servers, in rounds.

In each round every server has its turn, and each round begins with another one,
so that what changes with time on the machine meets all of them alike.  Servers
run through all rounds of a case; while it is not their turn, they are idle.
"""

import contextlib
import dataclasses
import functools
import subprocess
import time

from bench import load, nginx
from bench.process import Broken, TooSlow, cpu_ns, rss
from bench.servers import KINDS, Server
from lib.nginx import free_port

DELAY_MS = 10           # each way
LOSS_PERCENT = 1

LOAD_OF_MAXIMUM = 0.7

HOLD_SECONDS = 240      # to open all idle sessions
SETTLE_SECONDS = 1


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long is measured.

    amounts   operations, by unit, in place of a time: then even the slowest
              machine does something
    """

    rounds: int = 5
    seconds: float = 1.0
    warmup: float = 0.3
    rest: float = 5.0       # idle sessions are watched for so long
    more_rounds: bool = True
    amounts: dict | None = None

    def of(self, case):
        if case.way == "idle":
            return 1
        return max(self.rounds, case.rounds if self.more_rounds else 0)


QUICK = Effort(rounds=1, warmup=0.1, rest=0.5, more_rounds=False,
               amounts={"datagram": 3000, "stream": 1000, "session": 100,
                        "request": 1000})


def measure(case, effort, directory, say):
    """Returns for each server: {"rounds": [figures...], "error": text, "slow":
    text}; the last one tells why figures are missing although nothing is
    broken."""
    turns = {name: WAYS[case.way](name, case, effort, directory)
             for name in case.servers}
    found = {name: {"rounds": [], "error": None, "slow": None}
             for name in case.servers}

    def attempt(name, what):
        try:
            return what()
        except TooSlow as trouble:
            found[name]["slow"] = str(trouble)
        except (Broken, subprocess.TimeoutExpired) as error:
            if not found[name]["error"]:
                found[name]["error"] = str(error)
                say(f"{case.name}: {name}: {error}")
        return None

    with contextlib.ExitStack() as stack:
        for name, turn in turns.items():
            stack.callback(attempt, name, turn.stop)
            attempt(name, turn.start)
        for number in range(effort.of(case)):
            start = number % len(case.servers)
            for name in case.servers[start:] + case.servers[:start]:
                if not found[name]["error"]:
                    run = turns[name].run
                    if KINDS[name].library:
                        run = functools.partial(twice, run)
                    figures = attempt(name, run)
                    if figures:
                        found[name]["rounds"].append(
                            {"round": number} | figures)
    return found


def twice(run):
    """Gives a peer a second chance: its faults are not what is looked for, and
    must not spoil half an hour's work."""
    try:
        return run()
    except Broken:
        return run()


class Plain:
    """One server of a case, with the client right at it."""

    def __init__(self, name, case, effort, directory):
        self.name = name
        self.case = case
        self.effort = effort
        self.directory = directory
        self.server = None

    def start(self):
        self.server = Server(self.name, self.directory)

    def run(self):
        return self.load(self.case.arguments(self.name))

    def load(self, arguments, **more):
        if {"--ops", "--bytes"} & set(arguments):
            # nothing but this amount may be under way
            arguments = [*arguments, "--warmup", 0]
        elif self.effort.amounts:
            arguments = [*arguments, "--warmup", self.effort.warmup, "--ops",
                         self.effort.amounts[self.case.unit.name]]
        else:
            arguments = [*arguments, "--warmup", self.effort.warmup,
                         "--seconds", self.effort.seconds * self.case.longer]
        return load.run(arguments, self.server, self.case.per_byte, **more)

    def stop(self):
        if self.server:
            self.server.stop()


class Lossy(Plain):
    """Behind a link with loss and delay."""

    link = None

    def start(self):
        super().start()
        self.link = load.Impair(self.server, f"127.0.0.1:{free_port()}",
                                DELAY_MS, LOSS_PERCENT)

    def run(self):
        return self.load(self.case.arguments(self.name),
                         address=self.link.address)

    def stop(self):
        if self.link:
            self.link.stop()
        super().stop()


class Rated(Plain):
    """At a part of the rate that the server can do."""

    rate = 0

    def start(self):
        super().start()
        closed = [word for word in self.case.arguments(self.name)
                  if word != "--rate"]
        self.rate = int(LOAD_OF_MAXIMUM * self.load(closed)["rate"])

    def run(self):
        return self.load([*self.case.arguments(self.name), self.rate])


class Idle(Plain):
    """Sessions that do nothing, on a server of their own."""

    def start(self):
        """Only in its turn, so that it has all of the machine's memory."""

    def run(self):
        self.server = Server(self.name, self.directory,
                             nginx.CONNECTIONS_IDLE)
        pids = self.server.pids()
        before = rss(pids)
        held = load.Held(self.case.arguments(self.name), self.server,
                         HOLD_SECONDS)
        try:
            time.sleep(SETTLE_SECONDS)
            memory = rss(pids) - before
            cpu = cpu_ns(pids)
            time.sleep(self.effort.rest)
            cpu = cpu_ns(pids) - cpu
        finally:
            held.release()
        self.stop()
        self.server = None
        return {"sessions": held.count, "memory": memory / held.count,
                "rest": cpu / self.effort.rest / held.count}


WAYS = {"plain": Plain, "loss": Lossy, "rate": Rated, "idle": Idle}
