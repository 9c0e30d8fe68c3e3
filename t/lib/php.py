"""docs/examples/php-http behind three servers, and a client that needs no
nginx.

    server = await PhpServer(directory).start()
    server.passed           # for webtransport_pass
    server.http             # for the http block of nginx's configuration
    await server.stop()
"""

import asyncio
import contextlib
import http.client
import os
import pathlib
import signal
import socket
import subprocess

from google.protobuf import json_format

import webtransport_pb2 as pb

from lib import fpm
from lib.client import TIMEOUT
from lib.nginx import ROOT, free_port

EXAMPLES = ROOT / "docs/examples"
INDEX = EXAMPLES / "php-http/public/index.php"
ROADRUNNER = EXAMPLES / "roadrunner"

# a session in a room keeps one of them busy
PROCESSES = 4


class Server:
    """A process with PHP in it; directory is for its sockets and files.  The
    example keeps its state there, too."""

    directives = ""
    http = ""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.state = self.directory / "state"
        self.output = self.directory / "output"
        self.process = None

    async def start(self):
        self.state.mkdir(exist_ok=True)
        with open(self.output, "ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *map(str, self.command()), cwd=self.folder, stdout=output,
                stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                start_new_session=True, env=os.environ | self.environment())
        async with asyncio.timeout(TIMEOUT):
            while not self.listens():
                if self.process.returncode is not None:
                    raise RuntimeError(f"PHP does not start: {self.log()}")
                await asyncio.sleep(0.01)
        return self

    folder = ROOT

    def environment(self):
        return {"WEBTRANSPORT_STATE": str(self.state)}

    def listens(self):
        """Whether all its addresses take connections."""
        for address in self.addresses():
            family = (socket.AF_UNIX if isinstance(address, str)
                      else socket.AF_INET)
            with socket.socket(family) as sock:
                try:
                    sock.connect(address)
                except OSError:
                    return False
        return True

    def log(self):
        return self.output.read_text(errors="replace")

    def workers(self):
        """Process ids of its PHP processes."""
        pid = self.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
        return [int(child) for child in children.read_text().split()]

    async def stop(self, number=signal.SIGTERM):
        """The end of all its processes, which are a group: PHP-FPM's go on
        when the first of them has been killed."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            self.process.send_signal(number)
            async with asyncio.timeout(TIMEOUT):
                await self.process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    # a client

    async def deliver(self, batch, format="json"):
        """What it answers to a batch, a CommandBatch."""
        return await asyncio.to_thread(self._deliver, batch, format)

    def _deliver(self, batch, format):
        if format == "json":
            body = json_format.MessageToJson(batch)
        else:
            body = batch.SerializeToString()
        status, kind, answer = self.post(f"application/{format}", body)
        assert (status, kind) == (200, f"application/{format}"), answer
        if format == "json":
            return json_format.Parse(answer, pb.CommandBatch())
        return pb.CommandBatch.FromString(answer)

    def post(self, kind, body, method="POST"):
        """Status, content type and body of a response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port,
                                                timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request(method, "/", body, {"Content-Type": kind})
            response = connection.getresponse()
            return (response.status, response.headers["Content-Type"],
                    response.read())


class PhpServer(Server):
    """PHP's own server."""

    def __init__(self, directory):
        super().__init__(directory)
        self.port = free_port()
        self.passed = f"http://127.0.0.1:{self.port}"

    def command(self):
        return ["php", "-S", f"127.0.0.1:{self.port}", INDEX]

    def environment(self):
        return super().environment() | {
            "PHP_CLI_SERVER_WORKERS": str(PROCESSES)}

    def addresses(self):
        return [("127.0.0.1", self.port)]


class PhpFpm(Server):
    """PHP-FPM, for a second server in nginx."""

    def __init__(self, directory):
        super().__init__(directory)
        self.port = free_port()
        self.socket = str(self.directory / "fpm")
        self.passed = "http://unix:%DIR%/php:/deliver"
        self.http = f"""
            server {{
                listen unix:%DIR%/php;
                listen 127.0.0.1:{self.port};
                access_log off;
                client_max_body_size 4m;

                location / {{
                    fastcgi_pass unix:{self.socket};
                    {fpm.PARAMETERS.format(script=INDEX)}
                }}
            }}
        """

    def command(self):
        return fpm.command(self.socket, PROCESSES)

    def addresses(self):
        return [self.socket]


class RoadRunner(Server):
    """RoadRunner, with its plugins for HTTP and gRPC."""

    folder = ROADRUNNER
    plugin, other = "http", "grpc"

    def __init__(self, directory):
        super().__init__(directory)
        self.port = free_port()
        self.grpc_port = free_port()
        self.passed = f"http://127.0.0.1:{self.port}/deliver"

    def command(self):
        return [ROOT / "build/bin/rr", "serve", "-c", ".rr.yaml",
                "-o", f"http.address=127.0.0.1:{self.port}",
                "-o", f"grpc.listen=tcp://127.0.0.1:{self.grpc_port}",
                "-o", f"{self.plugin}.pool.num_workers={PROCESSES}",
                "-o", f"{self.other}.pool.num_workers=1"]

    def addresses(self):
        return [("127.0.0.1", self.port), ("127.0.0.1", self.grpc_port)]


class RoadRunnerGrpc(RoadRunner):
    """The same, with gRPC."""

    plugin, other = "grpc", "http"

    def __init__(self, directory):
        super().__init__(directory)
        self.passed = f"grpc+unary://127.0.0.1:{self.grpc_port}"

    async def deliver(self, batch, format="proto"):
        import grpc

        address = f"127.0.0.1:{self.grpc_port}"
        async with grpc.aio.insecure_channel(address) as channel:
            method = channel.unary_unary(
                "/nginx.webtransport.v1.Worker/Deliver",
                request_serializer=pb.EventBatch.SerializeToString,
                response_deserializer=pb.CommandBatch.FromString)
            return await method(batch, timeout=TIMEOUT)
