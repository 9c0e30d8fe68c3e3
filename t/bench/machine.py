"""The machine: what it is, and its limits while the benchmark runs."""

import contextlib
import os
import pathlib
import platform
import re
import resource

from bench.servers import CLIENT_CORE, SERVER_CORE

FILES = 65536
SOCKET_BUFFER = 8 << 20

# Sockets of all programs alike.  Some ask for large buffers, and others do not:
# who loses packets in the kernel is not what is compared.
SYSCTLS = ["rmem_max", "wmem_max", "rmem_default", "wmem_default"]


def describe():
    cpu = re.search(r"^model name\s*:\s*(.*)$",
                    pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"MemTotal:\s*(\d+)",
                       pathlib.Path("/proc/meminfo").read_text())
    return {
        "CPU": cpu[1] if cpu else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory[1]) / (1 << 20):.0f} GB",
        "kernel": platform.release(),
        "system": _system(),
    }


def _system():
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    return platform.system()


def check():
    """Tells what is missing, if anything is."""
    needed = {SERVER_CORE, CLIENT_CORE}
    if not needed <= os.sched_getaffinity(0):
        return "needs cores 0 and 1"
    return None


def raise_file_limit():
    """Of this process and its children: idle sessions take many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE,
                           (max(hard, FILES), max(hard, FILES)))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def socket_buffers():
    """Large ones while this lasts, as far as we may.  Yields what they are."""
    before = {}
    try:
        for name in SYSCTLS:
            path = pathlib.Path("/proc/sys/net/core") / name
            with contextlib.suppress(OSError):
                value = path.read_text()
                if int(value) < SOCKET_BUFFER:
                    path.write_text(str(SOCKET_BUFFER))
                    before[path] = value
        yield _buffer()
    finally:
        for path, value in before.items():
            path.write_text(value)


def _buffer():
    path = pathlib.Path("/proc/sys/net/core/rmem_default")
    with contextlib.suppress(OSError):
        return f"{int(path.read_text()) >> 10} KB"
    return "unknown"
