"""nginx for the benchmark."""

import os
import re

from bench.paths import MODULE, NGINX
from bench.process import Broken, Process, children, wait_until

BAD = re.compile(r"\[(alert|emerg|crit)\]|exited on signal")

# An idle session takes several of these, see docs/directives.md.
CONNECTIONS = 16384
CONNECTIONS_IDLE = 131072

# %...% is filled in.  That of the run is also shown in docs/benchmarks.md.
CONF = """\
daemon off;
worker_processes 1;
%MAIN%

events {
    worker_connections %CONNECTIONS%;
}

http {
    access_log off;
    quic_gso on;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    open_file_cache max=16;
    root files;

    ssl_certificate certificate.pem;        # ECDSA, P-256
    ssl_certificate_key key.pem;

    server {
        listen %LISTEN% quic;
        listen %LISTEN% ssl;
        server_name localhost;
%SERVER%
        location = /sink {                  # reads a POST, and forgets it
            client_max_body_size 0;
            client_body_buffer_size 512k;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://unix:%DIR%/sink;
        }
    }

    server {
        listen unix:%DIR%/sink;
        return 204;
    }
}
"""

LOAD = "load_module %MODULE%;"

ON = """\
        webtransport on;
        webtransport_max_streams 256 256;
"""

ECHO = ON + """\

        location = /echo     { webtransport_echo; }
        location = /discard  { webtransport_echo discard; }
        location = /generate { webtransport_echo generate; }
"""

PASS = ON + """\

        location = /echo { webtransport_pass %WORKER%; }
"""


def configuration(main="", server="", **values):
    text = CONF.replace("%MAIN%", main).replace("%SERVER%", server)
    for name, value in values.items():
        text = text.replace(f"%{name.upper()}%", str(value))
    return re.sub(r"\n\n\n+", "\n\n", text)


class Nginx:
    """One of them, with files to serve in its directory.

    directory   with "files", certificate.pem and key.pem
    """

    def __init__(self, name, directory, listen, core, *, main="", server="",
                 connections=CONNECTIONS, worker=""):
        self._log = directory / f"{name}.log"
        conf = directory / f"{name}.conf"
        if os.getuid() == 0:
            main += "\nuser root;"
        main += f"\npid {directory}/{name}.pid;\nerror_log {self._log} warn;"
        own = directory / name
        own.mkdir(exist_ok=True)
        conf.write_text(configuration(
            main, server, connections=connections, listen=listen, dir=own,
            module=MODULE, worker=worker))
        for socket in own.glob("sink"):
            socket.unlink()
        self.process = Process(
            name, [NGINX, "-p", directory, "-e", self._log, "-c", conf], core,
            ready=False)
        try:
            wait_until(lambda: not self.process.running or self.workers(),
                       f"{name} to start")
        except Broken:
            self.process.stop()
            raise
        if not self.process.running:
            raise Broken(f"{name} does not start: {self.process.complaint()}")

    def workers(self):
        return children(self.process.pid)

    def stop(self):
        """Tells what it has to complain about."""
        self.process.stop()
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in lines if BAD.search(line)]
