"""What README shows has to work as it stands."""

import contextlib
import re
import socket

from lib.nginx import ROOT, Nginx


class Plain(Nginx):
    """nginx with a configuration of its own; only what a test cannot do
    without is put in front of it."""

    def use(self, conf):
        (self.dir / "logs").mkdir()
        self.conf = self.fill("daemon off; user root; pid %DIR%/nginx.pid; "
                              "error_log %DIR%/error.log info;\n") + conf
        return self

    def _answers(self):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True


def configuration():
    readme = (ROOT / "README.md").read_text()
    return re.search(r"<!-- ten-line configuration.*?-->\n```nginx\n(.*?)```",
                     readme, re.S)[1]


def filled_in(conf, ngx, worker):
    """With the paths and the port of the test."""
    for old, new in {
        "modules/ngx_http_webtransport_module.so": ngx.build.module,
        "example.com.crt": ngx.certificate.path,
        "example.com.key": ngx.certificate.key_path,
        "listen 443": f"listen 127.0.0.1:{ngx.port}",
        "unix:/run/app.sock": worker.address,
    }.items():
        assert old in conf
        conf = conf.replace(old, str(new))
    return conf


async def test_ten_line_configuration(build, certificate, client,
                                      python_worker):
    conf = configuration()
    assert len(conf.splitlines()) == 10

    ngx = Plain(build, certificate)
    ngx.use(filled_in(conf, ngx, python_worker)).start()
    try:
        async with client(ngx, authority="example.com",
                          sni="example.com") as conn:
            session = await conn.session("/echo", [
                ("origin", "https://example.com")])
            assert await session.echo() == b"ping"
            assert await session.echo_datagram() == b"ping"
    finally:
        ngx.stop()

    assert not ngx.complaints()
    ngx.remove()
