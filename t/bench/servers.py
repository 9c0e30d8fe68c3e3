"""The servers that are compared."""

import dataclasses
import subprocess
import tomllib

from bench import nginx
from bench.paths import BIN, BUILD, HERE, NGINX, ROOT
from bench.process import Broken, Process
from lib.nginx import free_port

SERVER_CORE = 0
CLIENT_CORE = 1     # of the load generator, and of workers behind nginx


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a server is.

    title    in tables
    note     the same in a sentence, for docs/benchmarks.md
    library  a peer: a library with which others write a server
    """

    title: str
    note: str
    library: bool = False


KINDS = {
    "wt": Kind(
        "this module",
        "nginx with this module and `webtransport_echo`"),
    "wt-unix": Kind(
        "this module, unix:",
        "nginx with `webtransport_pass unix:`, to `t/bench/go/worker`"),
    "wt-grpc": Kind(
        "this module, grpc:",
        "nginx with `webtransport_pass grpc://unix:`, to the same worker"),
    "webtransport-go": Kind(
        "webtransport-go", "`t/bench/go/echo`", library=True),
    "wtransport": Kind(
        "wtransport", "`wtransport-echo` of `t/bench/rust`", library=True),
    "web-transport-quinn": Kind(
        "web-transport-quinn", "`quinn-echo` of `t/bench/rust`",
        library=True),
    "aioquic": Kind(
        "aioquic", "`t/bench/aioquic_echo.py`", library=True),
    "floor": Kind(
        "floor",
        "UDP echo with AES-128-GCM and no protocol, one packet per system "
        "call"),
    "floor-gso": Kind(
        "floor, GSO", "the same in trains of packets, with GSO and GRO"),
    "nginx": Kind(
        "nginx", "nginx without the module: plain HTTP/3"),
    "nginx-loaded": Kind(
        "nginx, module loaded", "the same with the module loaded, but off"),
    "nginx-on": Kind(
        "nginx, WebTransport on",
        "the same with `webtransport on`; plain HTTP/3 requests"),
}

PEERS = [name for name, kind in KINDS.items() if kind.library]
FLOORS = ["floor", "floor-gso"]

PROGRAMS = {
    "webtransport-go": [BIN / "webtransport-go-echo"],
    "wtransport": [BIN / "wtransport-echo"],
    "web-transport-quinn": [BIN / "quinn-echo"],
    "aioquic": [BUILD / "venv/bin/python", HERE / "aioquic_echo.py"],
    "floor": [BIN / "floor-server"],
    "floor-gso": [BIN / "floor-server", "--gso"],
}

# of which versions are told
CRATES = {
    "wtransport": ["wtransport", "quinn"],
    "web-transport-quinn": ["web-transport-quinn", "quinn"],
}

NGINXES = {
    "wt": {"main": nginx.LOAD, "server": nginx.ECHO},
    "wt-unix": {"main": nginx.LOAD, "server": nginx.PASS},
    "wt-grpc": {"main": nginx.LOAD, "server": nginx.PASS},
    "nginx": {},
    "nginx-loaded": {"main": nginx.LOAD},
    "nginx-on": {"main": nginx.LOAD, "server": nginx.ON},
}


class Server:
    """A server that runs.

    connections   worker_connections, where it is an nginx
    """

    def __init__(self, name, directory, connections=nginx.CONNECTIONS):
        self.name = name
        self.address = f"127.0.0.1:{free_port()}"
        self._nginx = self._worker = self._process = None
        try:
            if name in NGINXES:
                self._start_nginx(directory, connections)
            else:
                self._start_program(directory)
        except Broken:
            self.stop()
            raise

    def _start_nginx(self, directory, connections):
        worker = ""
        if self.name in ("wt-unix", "wt-grpc"):
            scheme = "grpc" if self.name == "wt-grpc" else "unix"
            path = directory / f"{self.name}.sock"
            path.unlink(missing_ok=True)
            self._worker = Process("the worker",
                                   [BIN / "worker", f"{scheme}:{path}"],
                                   CLIENT_CORE)
            worker = f"grpc://unix:{path}" if scheme == "grpc" \
                else f"unix:{path}"
        self._nginx = nginx.Nginx(
            self.name, directory, self.address, SERVER_CORE, worker=worker,
            connections=connections, **NGINXES[self.name])

    def _start_program(self, directory):
        command = [*PROGRAMS[self.name], "--listen", self.address]
        if self.name not in FLOORS:
            command += ["--cert", directory / "certificate.pem",
                        "--key", directory / "key.pem"]
        self._process = Process(self.name, command, SERVER_CORE)

    def pids(self):
        """Of the server itself."""
        if self._nginx:
            return [self._nginx.process.pid, *self._nginx.workers()]
        return [self._process.pid]

    def worker_pids(self):
        return [self._worker.pid] if self._worker else []

    def stop(self):
        complaints = self._nginx.stop() if self._nginx else []
        for process in (self._process, self._worker):
            if process:
                process.stop()
        if complaints:
            raise Broken(f"{self.name}: {complaints[0]}")


# ---- versions ----------------------------------------------------------------

def version(name):
    if name in NGINXES:
        return _nginx_version()
    if name in CRATES:
        return _crates(CRATES[name])
    return _output([*PROGRAMS[name], "--version"])


def _nginx_version():
    lines = subprocess.run([NGINX, "-V"], capture_output=True, text=True,
                           check=True).stderr.splitlines()
    tls = next((line.partition(" with ")[2] for line in lines
                if line.startswith("built with ")), "unknown TLS library")
    return f"{lines[0].rpartition('/')[2]} with {tls}"


def module_version():
    commit = _output(["git", "-C", ROOT, "describe", "--always", "--dirty"])
    return f"commit {commit}"


def _output(command):
    """A version that nobody tells is no reason to lose what was measured."""
    try:
        return subprocess.run(command, capture_output=True, text=True,
                              check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def client_version():
    return _crates(["quinn"])


def _crates(names):
    """What the lock file of the programs in Rust says."""
    locked = tomllib.loads((HERE / "rust/Cargo.lock").read_text())
    return ", ".join(f"{package['name']} {package['version']}"
                     for name in names for package in locked["package"]
                     if package["name"] == name)
