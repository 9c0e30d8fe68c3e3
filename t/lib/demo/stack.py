"""nginx, two workers and a certificate: what the demo consists of."""

import asyncio
import contextlib
import ctypes
import datetime
import fcntl
import hashlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from lib.certificate import Certificate
from lib.fpm import PARAMETERS

ROOT = pathlib.Path(__file__).resolve().parents[3]
HERE = pathlib.Path(__file__).resolve().parent

BACKENDS = {
    "php": ["php", ROOT / "docs/examples/php/worker.php"],
    "python": [sys.executable, ROOT / "docs/examples/python/worker.py"],
    "go": [ROOT / "build/bin/worker-go"],
    "grpc-python": [sys.executable,
                    ROOT / "docs/examples/grpc-python/worker.py"],
    "node": ["node", ROOT / "docs/examples/node/worker.js"],
    "php-http": [sys.executable, ROOT / "t/lib/fpm.py"],
}

# how nginx talks to them, if not in frames on a socket
SCHEMES = {"go": "grpc://", "grpc-python": "grpc://", "node": "grpc://"}

# those that speak FastCGI, with a server in nginx between, and keep nothing:
# sessions do not notice when they die
STATELESS = {"php-http": ROOT / "docs/examples/php-http/public/index.php"}

BETWEEN = """\
# HTTP with this nginx, FastCGI with PHP
    server {{
        listen unix:{sockets}/http;

        access_log off;
        client_max_body_size 4m;

        location / {{
            fastcgi_pass workers;
{parameters}
        }}
    }}"""

WORKERS = 2
HOST = "127.0.0.1"
PAGE_PORT = 8080
QUIC_PORT = 4433

# browsers take no longer than 14 days
RENEWAL = datetime.timedelta(days=2)
RENEWAL_CHECK_SECONDS = 60

# until nginx has the new one
RELOAD_SECONDS = 1

START_SECONDS = 10
STOP_SECONDS = 5
GOODBYE_SECONDS = 1

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


class DemoError(Exception):
    """Something that the user has to be told, and no more than this."""


def free_port(first, kind, what):
    """The first free port from that one on."""
    for port in range(first, first + 100):
        if all(is_free(family, kind, address, port) for family, address in [
                (socket.AF_INET, HOST), (socket.AF_INET6, "::1")]):
            return port
    raise DemoError(f"no free port for {what}, from {first} on")


def is_free(family, kind, address, port):
    """A browser looks for "localhost" at both addresses."""
    try:
        with socket.socket(family, kind) as sock:
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
    except OSError:
        return family == socket.AF_INET6 and not has_ipv6()
    return True


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


class Child:
    """A process of its own session, so that Ctrl-C leaves it to us; but it
    ends if we are killed."""

    def __init__(self, name, command, **environment):
        self.name = name
        self.command = [str(part) for part in command]
        self.environment = environment
        self.process = None

    async def start(self, output):
        self.process = await asyncio.create_subprocess_exec(
            *self.command, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
            env=os.environ | self.environment)

    @property
    def running(self):
        return self.process is not None and self.process.returncode is None

    async def stop(self):
        if not await self.end(signal.SIGTERM, STOP_SECONDS):
            os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()

    async def end(self, number, seconds):
        """Whether it has ended, of itself or by that signal."""
        if self.running:
            self.process.send_signal(number)
            # not asyncio.timeout(): after Ctrl-C this is a cancelled task
            ended = asyncio.create_task(self.process.wait())
            await asyncio.wait([ended], timeout=seconds)
            ended.cancel()
        return not self.running


class Stack:
    """
    async with Stack("php", say) as stack: stack.page is the page's address

    say(line) is called with what the user should know, while it runs.
    """

    def __init__(self, backend, say, directory=ROOT / "build/demo"):
        self.backend = backend
        self.say = say
        self.directory = directory
        self.workers = []
        self.nginx = None
        self._stopping = False
        self._resources = contextlib.ExitStack()
        self._tasks = []

    async def __aenter__(self):
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *exception):
        await self.stop()

    async def start(self):
        self.directory = self._claim(self.directory)
        # paths of sockets have 108 bytes, ROOT may have more
        self.sockets = self._resources.enter_context(
            tempfile.TemporaryDirectory(prefix="wt-demo-"))

        self.certificate = self._load_certificate() or self._new_certificate()

        for number in range(1, WORKERS + 1):
            await self._start_worker(number)
        await self._start_nginx()
        self._tasks.append(asyncio.create_task(self._renew()))

    async def stop(self):
        self._stopping = True
        # a worker says goodbye to its sessions, and nginx passes it on
        await asyncio.gather(*(worker.stop() for worker in self.workers))
        if self.nginx is not None:
            await self.nginx.end(signal.SIGQUIT, GOODBYE_SECONDS)
            await self.nginx.stop()
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for directory in self.directory.glob("*_temp"):
            directory.rmdir()
        self._resources.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    # folder and configuration

    def _claim(self, base):
        """That folder, or one beside it if another demo runs there."""
        for number in range(1, 100):
            name = base.name if number == 1 else f"{base.name}-{number}"
            directory = base.with_name(name)
            directory.mkdir(parents=True, exist_ok=True)
            lock = self._resources.enter_context(
                open(directory / "lock", "w"))
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return directory
        raise DemoError("too many demos are running")

    def _settings(self):
        """What the page asks for before it opens a session."""
        return {"url": self.url, "hash": self.hash}

    def _write_settings(self):
        temporary = self.directory / "demo.json.new"
        temporary.write_text(json.dumps(self._settings()) + "\n")
        temporary.rename(self.directory / "demo.json")

    @property
    def stateless(self):
        return self.backend in STATELESS

    def _passed(self):
        if self.stateless:
            return f"http://unix:{self.sockets}/http:/"
        return SCHEMES.get(self.backend, "") + "workers"

    def _between(self):
        if not self.stateless:
            return ""
        parameters = PARAMETERS.format(script=STATELESS[self.backend])
        return BETWEEN.format(sockets=self.sockets, parameters=parameters)

    def _write_conf(self):
        root = ("# only because t/demo runs as root: other users may be unable"
                " to read its files\nuser root;\n\n")
        values = {
            "USER": root if os.getuid() == 0 else "",
            "MODULE": ROOT / "build/release/ngx_http_webtransport_module.so",
            "SOCKETS": self.sockets,
            "WORKERS": self._passed(),
            "BETWEEN": self._between(),
            "PAGE_PORT": self.page_port,
            "QUIC_PORT": self.quic_port,
            "PAGE": self.page,
            "URL": self.url,
            "WWW": HERE / "www",
            "DIRECTORY": self.directory,
        }
        conf = re.sub(r"@(\w+)@", lambda match: str(values[match[1]]),
                      (HERE / "nginx.conf").read_text())
        (self.directory / "nginx.conf").write_text(conf)

    # certificate

    def _load_certificate(self):
        """The one that is there, if it is good for some time."""
        path = self.directory / "certificate.pem"
        key_path = self.directory / "key.pem"
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            key = serialization.load_pem_private_key(key_path.read_bytes(),
                                                     None)
        except (OSError, ValueError):
            return None
        # a start that was interrupted leaves a key of another one
        if certificate.public_key() != key.public_key():
            return None
        self.expires = certificate.not_valid_after_utc
        if self._is_due():
            return None
        encoded = certificate.public_bytes(serialization.Encoding.DER)
        return Certificate(path, key_path, hashlib.sha256(encoded).digest())

    def _new_certificate(self):
        certificate = Certificate.create(self.directory)
        certificate.key_path.chmod(0o600)
        self.expires = x509.load_pem_x509_certificate(
            certificate.path.read_bytes()).not_valid_after_utc
        return certificate

    def _is_due(self):
        now = datetime.datetime.now(datetime.timezone.utc)
        return self.expires - now < RENEWAL

    async def _renew(self):
        while True:
            await asyncio.sleep(RENEWAL_CHECK_SECONDS)
            if self._is_due():
                await self.renew()

    async def renew(self):
        """A new certificate.  Pages lose their sessions after some seconds,
        see nginx.conf, and come again with the new hash."""
        self.certificate = self._new_certificate()
        self.nginx.process.send_signal(signal.SIGHUP)
        await asyncio.sleep(RELOAD_SECONDS)
        self._write_settings()
        self.say(f"certificate renewed, hash {self.hash}")

    @property
    def hash(self):
        return self.certificate.sha256.hex()

    # processes

    async def _start_worker(self, number):
        worker = Child(
            f"worker {number}",
            [*BACKENDS[self.backend],
             f"unix:{self.sockets}/worker-{number}", "--quiet"],
            PYTHONPATH=str(ROOT / "build/py"), PYTHONUNBUFFERED="1",
            PYTHONDONTWRITEBYTECODE="1",
            NODE_PATH=str(ROOT / "build/node/node_modules"))
        self.workers.append(worker)
        listening = asyncio.Event()
        supervisor = asyncio.create_task(self._supervise(worker, listening))
        self._tasks.append(supervisor)
        waiter = asyncio.create_task(listening.wait())
        await asyncio.wait([supervisor, waiter], timeout=START_SECONDS,
                           return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        if not listening.is_set():
            raise DemoError(f"{worker.name} does not start")

    async def _supervise(self, worker, listening):
        """Passes on what it says, and starts it again if it dies."""
        while not self._stopping:
            await worker.start(subprocess.PIPE)
            async for line in worker.process.stdout:
                line = line.decode(errors="replace").rstrip()
                if line.startswith("listening on "):
                    listening.set()
                else:
                    self.say(f"{worker.name}: {line}")
            status = await worker.process.wait()
            if not listening.is_set():
                return
            if not self._stopping:
                self.say(f"{worker.name} ended with status {status}, "
                         "starting it again")
                await asyncio.sleep(1)

    async def _start_nginx(self):
        """Somebody else may take a port before nginx does."""
        for attempt in range(5):
            self._choose_ports()
            self._write_settings()
            self._write_conf()
            if await self._try_nginx():
                return
            if "Address already in use" not in self.error_log():
                break
        raise DemoError("nginx does not start:\n" + self.error_log())

    def _choose_ports(self):
        self.page_port = free_port(PAGE_PORT, socket.SOCK_STREAM, "the page")
        self.quic_port = free_port(QUIC_PORT, socket.SOCK_DGRAM,
                                   "WebTransport")
        self.page = f"http://localhost:{self.page_port}/"
        self.url = f"https://{HOST}:{self.quic_port}"

    async def _try_nginx(self):
        self.nginx = Child("nginx", [
            ROOT / "build/release/nginx", "-p", self.directory,
            "-e", "error.log", "-c", self.directory / "nginx.conf"])
        for name in ("error.log", "sessions.log"):
            (self.directory / name).write_bytes(b"")
        with open(self.directory / "error.log", "ab") as log:
            await self.nginx.start(log)
        deadline = time.monotonic() + START_SECONDS
        while not await asyncio.to_thread(self._answers):
            if not self.nginx.running or time.monotonic() > deadline:
                await self.nginx.stop()
                return False
            await asyncio.sleep(0.05)
        return self.nginx.running

    def _answers(self):
        connection = http.client.HTTPConnection(HOST, self.page_port,
                                                timeout=1)
        try:
            connection.request("GET", "/demo.json")
            return json.load(connection.getresponse()) == self._settings()
        except (OSError, ValueError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def error_log(self):
        """Its last lines."""
        lines = (self.directory / "error.log").read_text(errors="replace")
        return "\n".join(lines.splitlines()[-20:])
