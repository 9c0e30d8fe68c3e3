"""Child processes, each on one core."""

import contextlib
import os
import pathlib
import re
import select
import subprocess
import tempfile
import time

START_SECONDS = 20
STOP_SECONDS = 10


class Broken(Exception):
    """A server or the client does not do what it should."""


class TooSlow(Exception):
    """A server cannot do what it was asked to do in a second."""


class Process:
    """A child on one core, from its line "ready" to its end.

    ready   False: it says nothing; who starts it knows what to wait for
    """

    def __init__(self, name, command, core, *, ready=True):
        self.name = name
        self._stderr = tempfile.TemporaryFile()
        try:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=self._stderr,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        except OSError as error:
            raise Broken(f"{name} does not start: {error}") from error
        self.pid = self._child.pid
        if ready:
            self._wait_ready()

    def _wait_ready(self):
        readable, _, _ = select.select([self._child.stdout], [], [],
                                       START_SECONDS)
        line = self._child.stdout.readline() if readable else b""
        if line.strip() != b"ready":
            self.stop()
            raise Broken(f"{self.name} does not start: {self.complaint()}")

    @property
    def running(self):
        return self._child.poll() is None

    def complaint(self):
        """The last line of what it has said, after its end."""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()),
                    f"exit status {self._child.returncode}")

    def stop(self):
        if self.running:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(STOP_SECONDS)
        if self.running:
            self._child.kill()
            self._child.wait()


# ---- what the kernel knows of a process --------------------------------------

def children(pid):
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


def cpu_ns(pids):
    """Time on a CPU, of all their threads."""
    return sum(int(file.read_text().split()[0]) for pid in pids
               for file in pathlib.Path(f"/proc/{pid}/task").glob(
                   "*/schedstat"))


def rss(pids):
    """Resident memory in bytes."""
    return sum(1024 * int(re.search(
        r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])
        for pid in pids)


def wait_until(condition, what, seconds=START_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Broken(f"waited {seconds} s for {what}")
        time.sleep(0.01)
