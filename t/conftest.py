"""Fixtures: real nginx, real workers, real clients.

nginx           factory: nginx("location / { webtransport_echo; }") starts one
client          factory: async with client(ngx) as conn: ...
worker          a scripted worker that listens; worker.passed for
                webtransport_pass, worker.address for an upstream
workers         factory for more of them
kind            which kind of worker that is; a test or file marked
                pytest.mark.kinds(...) runs with each of these
php_worker, python_worker, go_worker, grpc_python_worker, node_worker
                the example workers, listening
php_app         docs/examples/php-http behind one of its servers, see lib.php
bad_network     factory of UDP proxies that lose, double and reorder packets
browser         Chromium
"""

import asyncio
import gc
import os
import pathlib
import re
import sys
import tempfile

import pytest
import pytest_asyncio

# before lib.client reads it
if any("asan" in argument for argument in sys.argv):
    os.environ.setdefault("WT_SLOWNESS", "3")

from lib.certificate import Authority, Certificate
from lib.client import connect
from lib.nginx import Build, Nginx
from lib.udp_proxy import UdpProxy


def pytest_addoption(parser):
    parser.addoption("--build", default="release",
                     choices=["release", "asan"],
                     help="which of the two builds to test")
    parser.addoption("--write-interop", action="store_true",
                     help="write the table of docs/interop.md anew")


@pytest.fixture(scope="session")
def build(request):
    build = Build(request.config.getoption("build"))
    build.make()
    return build


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return Certificate.create(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Issues certificates of workers."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    # pytest parses source here, and so may asyncio when a lost task is
    # collected meanwhile; Python 3.11's parser does not nest (gh-106905)
    gc.disable()
    report = yield
    gc.enable()
    if report.when == "call":
        item.failed = report.failed
    if report.failed:
        for ngx in getattr(item, "nginxes", ()):
            log = "\n".join(ngx.error_log().splitlines()[-60:])
            report.sections.append((f"error log, {ngx.dir}", log))
    return report


@pytest_asyncio.fixture
async def nginx(request, build, certificate):
    """Factory; see Nginx for the arguments.  After the test all are stopped,
    and their logs must be clean.  nginx.check(...) returns what "nginx -t"
    says of the same arguments."""

    request.node.nginxes = started = []

    def start(*args, **kwargs):
        ngx = Nginx(build, certificate, *args, **kwargs).start()
        started.append(ngx)
        return ngx

    def check(*args, edit=None, **kwargs):
        ngx = Nginx(build, certificate, *args, **kwargs)
        if edit:
            ngx.conf = edit(ngx)
        try:
            return ngx.test()
        finally:
            ngx.remove()

    start.check = check
    yield start

    for ngx in started:
        # it may wait for what this process has to do with a connection
        await asyncio.to_thread(ngx.stop)
    complaints = [line for ngx in started for line in ngx.complaints()]

    if not complaints and not getattr(request.node, "failed", True):
        for ngx in started:
            ngx.remove()
    if complaints:
        pytest.fail("after the test:\n" + "\n".join(complaints),
                    pytrace=False)


@pytest.fixture
def client():
    """client(ngx, ...) or client(port, ...); see lib.client.connect."""

    def client(server, **kwargs):
        port = getattr(server, "port", server)
        return connect(port, **kwargs)

    return client


@pytest.fixture
def bad_network():
    """async with bad_network(ngx) as proxy: loses, doubles and reorders."""

    def proxy(ngx, **kwargs):
        kwargs = {"loss": 0.02, "duplicate": 0.05, "reorder": 0.05, **kwargs}
        return UdpProxy(ngx.port, **kwargs)

    return proxy


@pytest.fixture
def socket_dir():
    """A folder with a short name: paths of sockets have 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="wt-") as directory:
        yield pathlib.Path(directory)


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker("kinds")
    given = any("kind" in re.split(r"\W+", mark.args[0]) for mark in
                metafunc.definition.iter_markers("parametrize"))
    if marker and not given and "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", marker.args)


@pytest.fixture
def kind():
    return "unix"


@pytest_asyncio.fixture
async def workers(socket_dir, kind):
    """Factory: await workers() listens on a unix socket, await
    workers(tcp=True) on a port, await workers(absent=True) not yet; more goes
    to the class of the kind."""
    from lib import h2_server, worker, worker_grpc, worker_http

    classes = {"unix": worker.Worker, "tcp": worker.Worker,
               "grpc": worker_grpc.GrpcWorker,
               "unary": worker_grpc.UnaryWorker,
               "http_backend": worker_http.HttpWorker,
               "h2": h2_server.H2Server, "raw": h2_server.RawServer}
    started = []

    async def start(tcp=kind == "tcp", absent=False, kind=kind, **options):
        path = None if tcp else f"{socket_dir}/worker{len(started)}"
        worker = classes[kind](path=path, **options)
        started.append(worker)
        return worker if absent else await worker.start()

    yield start

    for worker in started:
        await worker.stop()


@pytest_asyncio.fixture
async def worker(workers):
    return await workers()


async def example(command, path, *options):
    from lib.worker import Example

    worker = await Example(command, path, *options).start()
    yield worker
    await worker.stop()


@pytest_asyncio.fixture
async def php_worker(socket_dir):
    from lib.worker import Example

    async for worker in example(Example.PHP, socket_dir / "php", "--quiet"):
        yield worker


@pytest_asyncio.fixture
async def python_worker(socket_dir):
    from lib.worker import Example

    async for worker in example(Example.PYTHON, socket_dir / "python",
                                "--quiet"):
        yield worker


@pytest_asyncio.fixture
async def go_worker(socket_dir):
    from lib.worker import Example

    async for worker in example(Example.GO, socket_dir / "go", "--quiet"):
        yield worker


@pytest_asyncio.fixture
async def grpc_python_worker(socket_dir):
    from lib.worker import Example

    async for worker in example(Example.GRPC_PYTHON,
                                socket_dir / "grpc-python", "--quiet"):
        yield worker


@pytest_asyncio.fixture
async def node_worker(socket_dir):
    from lib.worker import Example

    async for worker in example(Example.NODE, socket_dir / "node", "--quiet"):
        yield worker


@pytest_asyncio.fixture
async def php_app(socket_dir, request):
    """Parametrized, indirectly, with a class of lib.php."""
    server = await request.param(socket_dir).start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="session")
async def chromium():
    from lib.browser import Browser

    browser = await Browser().start()
    yield browser
    await browser.stop()


@pytest_asyncio.fixture
async def browser(chromium):
    yield chromium
    await chromium.close_pages()
