"""Runs nginx with a configuration made for one test."""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from lib.client import TIMEOUT

ROOT = pathlib.Path(__file__).resolve().parents[2]

VARIABLES = """session_id protocol draft streams_in streams_out bytes_in
    bytes_out datagrams_in datagrams_out datagrams_dropped close_code close_by
    backend duration""".split()

LOG_FORMAT = "\\t".join([
    "status=$status", "method=$request_method", "uri=$request_uri",
    "host=$host", "http=$server_protocol", "remote=$remote_addr",
    "size=$body_bytes_sent", "time=$request_time",
] + [f"{name}=$webtransport_{name}" for name in VARIABLES])

BAD = re.compile(r"\[(alert|emerg|crit)\]"
                 r"|process \d+ exited (on signal|with (fatal )?code (?!0\b))")

# the undefined behaviour of nginx itself is none of our business

OURS = re.compile(r"ngx_http_wt|ngx_http_webtransport"
                  r"|/src/(glue|proto|session|backend|hub)/")


@dataclasses.dataclass
class Build:
    """The binaries of one build, "release" or "asan"."""

    name: str

    @property
    def nginx(self):
        return ROOT / "build" / self.name / "nginx"

    @property
    def module(self):
        return ROOT / "build" / self.name / "ngx_http_webtransport_module.so"

    @property
    def sanitized(self):
        return self.name == "asan"

    def make(self):
        if not (self.nginx.exists() and self.module.exists()):
            subprocess.run([ROOT / "t/setup"], check=True)


class Nginx:
    """One nginx.

    server     body of a server block for "localhost"
    http       more for the http block, before that server: maps, upstreams,
               other servers
    main, events   the same for these contexts
    workers    worker processes
    connections    worker_connections
    webtransport   False: no "webtransport on;" in the server for "localhost"
    reuseport  sockets of their own for all workers
    env        environment variables

    In all of them %LISTEN% stands for the listen directives of a server,
    %PORT% for the port, and %DIR% for a folder for sockets and files.
    """

    def __init__(self, build, certificate, server="", *, http="", main="",
                 events="", workers=1, connections=1024, webtransport=True,
                 reuseport=False, env=None):
        self.build = build
        self.certificate = certificate
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="wt-"))
        self.port = free_port()
        self.process = None
        self.allowed = []
        self.env = env or {}

        (self.dir / "html").mkdir()
        (self.dir / "html/index.html").write_text("hello\n")

        on = "webtransport on;" if webtransport else ""
        level = "debug" if os.environ.get("WT_DEBUG") else "info"
        user = "user root;" if os.getuid() == 0 else ""

        self.conf = self.fill(f"""
daemon off;
{user}
worker_processes {workers};
pid %DIR%/nginx.pid;
error_log %DIR%/error.log {level};
load_module {build.module};
{main}

events {{
    worker_connections {connections};
    {events}
}}

http {{
    log_format wt "{LOG_FORMAT}";
    access_log %DIR%/access.log wt;
    root %DIR%/html;

    ssl_certificate {certificate.path};
    ssl_certificate_key {certificate.key_path};

    {http}

    server {{
        %LISTEN%
        server_name localhost;
        {on}
        {server}
    }}

    server {{
        listen unix:%DIR%/status;
        access_log off;
        stub_status;
    }}
}}
""", reuseport)

    def fill(self, text, reuseport=False):
        address = f"127.0.0.1:{self.port}"
        listen = (f"listen {address} quic; listen {address} ssl; "
                  "http2 on; http3 on;")
        if reuseport:
            text = text.replace("%LISTEN%", listen.replace(
                "quic;", "quic reuseport;", 1), 1)
        return (text.replace("%LISTEN%", listen)
                .replace("%DIR%", str(self.dir))
                .replace("%PORT%", str(self.port)))

    # starting and stopping

    def _command(self, *arguments):
        (self.dir / "nginx.conf").write_text(self.conf)
        env = os.environ | {
            # both have one log file; the last one of these decides which
            "ASAN_OPTIONS": f"log_path={self.dir}/sanitizer:"
                            "verify_asan_link_order=0",
            "UBSAN_OPTIONS": f"log_path={self.dir}/sanitizer",
        } | self.env
        return [self.build.nginx, "-p", self.dir, "-e", self.dir / "error.log",
                "-c", self.dir / "nginx.conf", *arguments], env

    def test(self):
        """nginx -t; returns the exit status and what was printed."""
        command, env = self._command("-t")
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        return done.returncode, done.stderr

    def start(self):
        command, env = self._command()
        with open(self.dir / "stderr", "wb") as stderr:
            self.process = subprocess.Popen(command, env=env, stderr=stderr)
        deadline = time.monotonic() + TIMEOUT
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("nginx does not start:\n"
                                   + (self.dir / "stderr").read_text())
            time.sleep(0.01)
        return self

    def _answers(self):
        with contextlib.suppress(OSError):
            return "Active" in self._status()

    def _status(self):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(TIMEOUT)
            sock.connect(str(self.dir / "status"))
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return sock.makefile().read()

    def stop(self):
        """Graceful, as in production; what is left over then is a leak."""
        if self.process is None or self.process.poll() is not None:
            return
        for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGKILL):
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(TIMEOUT)
                break
        if number != signal.SIGQUIT:
            with open(self.dir / "error.log", "a") as log:
                log.write(f"[alert] had to be stopped with {number!r}\n")

    def signal(self, number):
        self.process.send_signal(number)

    def allow(self, pattern):
        """Lines of the error log that are all right in this test."""
        self.allowed.append(re.compile(pattern))

    def complaints(self):
        """What must not be found after a test."""
        found = [line for line in self.error_log().splitlines()
                 if BAD.search(line)
                 and not any(p.search(line) for p in self.allowed)]
        if self.process and self.process.returncode:
            found.append(f"nginx exited with {self.process.returncode}")
        return found + self.sanitizer_reports()

    def sanitizer_reports(self):
        files = [*self.dir.glob("sanitizer*"), *self.dir.glob("stderr")]
        output = "".join(file.read_text(errors="replace") for file in files)
        reports = re.split(r"^(?==+\n==\d+==ERROR: |.*: runtime error: )",
                           output, flags=re.M)[1:]
        return [report[:8000] for report in reports
                if "==ERROR: " in report or OURS.search(report)]

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    # looking inside

    def error_log(self):
        path = self.dir / "error.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def access_log(self):
        """The lines as dictionaries, see LOG_FORMAT."""
        path = self.dir / "access.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [dict(field.split("=", 1) for field in line.split("\t"))
                for line in lines]

    async def until(self, predicate, what, timeout=TIMEOUT):
        deadline = time.monotonic() + timeout
        while not (value := predicate()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {timeout} s for {what}")
            await asyncio.sleep(0.01)
        return value

    async def wait_log(self, pattern, timeout=TIMEOUT):
        """Waits for a line of the error log; returns the match."""
        return await self.until(lambda: re.search(pattern, self.error_log()),
                                f"error log: {pattern}", timeout)

    async def logged(self, count=1, timeout=TIMEOUT, **fields):
        """Waits for so many lines of the access log that have these values;
        returns the last one."""
        def lines():
            found = [line for line in self.access_log()
                     if fields.items() <= line.items()]
            return found if len(found) >= count else None

        return (await self.until(lines, f"access log: {fields}", timeout))[-1]

    def connections(self):
        """Connections and QUIC streams that are open."""
        return int(re.search(r"Active connections: (\d+)",
                             self._status())[1]) - 1

    async def idle(self, timeout=TIMEOUT):
        """Waits until there are none: whatever stays is a leak."""
        await self.until(lambda: self.connections() == 0,
                         "all connections to be closed", timeout)

    def workers(self):
        """Process ids of the workers."""
        pid = self.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in children.split()]

    def rss(self):
        """Resident memory of all workers, in bytes."""
        return 1024 * sum(
            int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(
                f"/proc/{pid}/status").read_text())[1])
            for pid in self.workers())

    # other clients

    async def curl(self, path="/", *options, host="localhost"):
        """A request over TCP; returns status, HTTP version and body."""
        process = await asyncio.create_subprocess_exec(
            "curl", "-sk", "-m", str(TIMEOUT), *options,
            "--resolve", f"{host}:{self.port}:127.0.0.1",
            "-w", "\n%{http_code} %{http_version}",
            f"https://{host}:{self.port}{path}",
            stdout=subprocess.PIPE)
        output, _ = await process.communicate()
        body, last = output.rsplit(b"\n", 1)
        status, version = last.decode().split()
        return int(status), version, body


def free_port():
    """A port that is free for TCP and UDP, and not an ephemeral one: those
    may be taken by a client before nginx binds it."""
    while True:
        port = random.randrange(20000, 32000)
        with contextlib.suppress(OSError), \
                socket.socket(type=socket.SOCK_STREAM) as tcp, \
                socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port
