"""The load generator: one run of it, as figures per operation."""

import json
import os
import re
import select
import subprocess

from bench.paths import BIN
from bench.process import Broken, Process, TooSlow
from bench.servers import CLIENT_CORE

GRACE_SECONDS = 60


def pin():
    os.sched_setaffinity(0, {CLIENT_CORE})


def command(arguments, address, pids):
    """The words of a command line."""
    words = [BIN / "load", *arguments, "--connect", address]
    for pid in pids:
        words += ["--cpu", pid]
    return [str(word) for word in words]


def run(arguments, server, per_byte=False, address=None):
    """Runs a case against a server; returns figures.

    per_byte   an operation is a byte, whatever the client counts
    address    something between client and server

    Keys: cpu, worker, client (ns per operation), rate (per second), p50, p99
    (microseconds), lost (part of all).
    """
    pids = server.pids(), server.worker_pids()
    done = subprocess.run(
        command(arguments, address or server.address, sum(pids, [])),
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
        preexec_fn=pin, timeout=GRACE_SECONDS)
    if done.returncode:
        trouble = last_line(done.stderr) or f"status {done.returncode}"
        # In a closed loop nothing is lost, however slow a server is.
        if "--rate" in arguments and re.search(r"\d+ of \d+ are lost", trouble):
            raise TooSlow(trouble)
        raise Broken(trouble)
    return figures(json.loads(done.stdout), *pids, per_byte)


def figures(result, server_pids, worker_pids, per_byte=False):
    count = result["bytes" if per_byte else "ops"]
    if not count:
        raise Broken("nothing was done")
    used = {int(pid): ns for pid, ns in result["cpu_ns"].items()}
    found = {
        "cpu": sum(used[pid] for pid in server_pids) / count,
        "client": result.get("client_cpu_ns", 0) / count,
        "rate": count / result["seconds"],
        "ops": count,
        "seconds": result["seconds"],
    }
    if worker_pids:
        found["worker"] = sum(used[pid] for pid in worker_pids) / count
    for name, value in (result.get("latency_us") or {}).items():
        if name in ("p50", "p99") and value:
            found[name] = value
    if result.get("lost"):
        found["lost"] = result["lost"] / (result["lost"] + result["ops"])
    return found


def last_line(text):
    return next((line for line in reversed(text.splitlines())
                 if line.strip()), "")


class Held:
    """Idle sessions, from the time when all of them are there."""

    def __init__(self, arguments, server, seconds):
        self._child = subprocess.Popen(
            command(arguments, server.address, server.pids()),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, preexec_fn=pin)
        try:
            self.count = self._wait(seconds)
        except BaseException:
            self._child.kill()
            self._child.wait()
            raise

    def _wait(self, seconds):
        readable, _, _ = select.select([self._child.stdout], [], [], seconds)
        if not readable:
            raise Broken(f"no idle sessions after {seconds} s")
        line = self._child.stdout.readline()
        if not line:
            raise Broken(last_line(self._child.stderr.read()))
        return json.loads(line)["ready"]

    def release(self):
        """Fails if a session was lost meanwhile."""
        _, stderr = self._child.communicate(timeout=GRACE_SECONDS)
        if self._child.returncode:
            raise Broken(last_line(stderr))


class Impair:
    """A link with delay and loss in front of a server."""

    def __init__(self, server, address, delay_ms, loss_percent):
        self.address = address
        self._process = Process(
            "impair", [BIN / "impair", "--listen", address, "--connect",
                       server.address, "--delay", str(delay_ms), "--loss",
                       str(loss_percent)], CLIENT_CORE)

    def stop(self):
        self._process.stop()
