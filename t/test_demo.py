"""t/demo: what it shows, and that it leaves nothing behind."""

import asyncio
import datetime
import os
import pathlib
import re
import signal
import socket
import subprocess

import pytest

from lib.demo import once, stack
from lib.nginx import ROOT, free_port

DEMO = ROOT / "t/demo"

CHECKS = [
    "page opened, its sessions too",
    "session opened",
    "echo on a bidirectional stream",
    "echo on unidirectional streams",
    "echo of datagrams",
    "1 MiB there and back",
    "20 streams at once",
    "reset of a stream with its code",
    "chat between two sessions",
    "cursors of two sessions",
    "unknown path refused",
    "session closed with code and reason",
    "latency of datagrams shown",
    "message echoed",
    "second window opened",
    "chat between two windows",
    "cursor moves in the other window",
    "page notices that a worker died, and reconnects",
    "page disconnects and connects again",
    "no error in the page's scripts",
    "access log tells how a session ended",
]

OF_STATELESS = {"page notices that a worker died, and reconnects":
                "sessions go on when all workers died"}


@pytest.fixture(autouse=True)
def release_only(build):
    if build.sanitized:
        pytest.skip("the demo runs the release build")


@pytest.fixture(autouse=True)
def other_ports(monkeypatch):
    """Those that no other demo takes; t/demo itself keeps its own."""
    for name in ("PAGE_PORT", "QUIC_PORT"):
        monkeypatch.setattr(stack, name, free_port())


async def run(*arguments, cwd=None):
    """Exit status, lines and errors of t/demo."""
    process = await asyncio.create_subprocess_exec(
        DEMO, *arguments, cwd=cwd, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    output, errors = await process.communicate()
    return process.returncode, output.decode().splitlines(), errors.decode()


async def self_test(page):
    """What did not work."""
    await page.evaluate("runSelfTest()")
    return await page.locator("#tests .bad").all_inner_texts()


@pytest.mark.parametrize("backend", stack.BACKENDS)
async def test_once(backend, tmp_path):
    # php is what t/demo shows unasked
    arguments = [] if backend == "php" else [f"--backend={backend}"]
    status, lines, errors = await run("--once", *arguments, cwd=tmp_path)
    *lines, last = lines
    checks = [OF_STATELESS.get(check, check) if backend in stack.STATELESS
              else check for check in CHECKS]
    assert [line.partition(":")[0] for line in lines] == [
        f"ok - {check}" for check in checks]
    assert last == f"{len(CHECKS)} of {len(CHECKS)} worked"
    assert status == 0


async def test_once_tells_what_does_not_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(once, "TIMEOUT_SECONDS", 1)
    async with stack.Stack("php", print, tmp_path / "demo") as demo:
        await demo.nginx.stop()
        assert not await once.run_once(demo)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("not ok - page opened, its sessions too: ")
    assert "0 of 2 worked" in lines


@pytest.mark.parametrize("arguments, message", [
    (["--backend=cobol"],
     'unknown backend "cobol", there are: ' + " ".join(stack.BACKENDS)),
    (["--backend", "p"],
     'unknown backend "p", there are: ' + " ".join(stack.BACKENDS)),
    (["--backend"], "--backend needs a name"),
    (["--sometimes"], 'unknown argument "--sometimes"'),
])
async def test_wrong_arguments_are_refused(arguments, message):
    status, lines, errors = await run(*arguments)
    assert (status, lines) == (2, [])
    assert errors.endswith(f"demo: error: {message}\n")


async def test_help():
    status, lines, errors = await run("--help")
    assert (status, errors) == (0, "")
    assert lines[0].startswith("usage: t/demo ")


class Running:
    """A t/demo whose output is read as it comes."""

    def __init__(self, process):
        self.process = process
        self.output = ""

    async def until(self, pattern):
        async with asyncio.timeout(30):
            while not (match := re.search(pattern, self.output)):
                data = await self.process.stdout.read(65536)
                assert data, f"ended, without {pattern}: {self.output}"
                self.output += data.decode()
        return match

    @property
    def sockets(self):
        directory = (ROOT / self.directory).parent
        return re.search(r"unix:(.*)/worker-1",
                         (directory / "nginx.conf").read_text())[1]

    @property
    def directory(self):
        return re.search(r"nginx.conf +(\S+/nginx.conf)", self.output)[1]


@pytest.fixture
async def demo(request):
    process = await asyncio.create_subprocess_exec(
        DEMO, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    running = Running(process)
    try:
        await running.until("Ctrl-C stops everything")
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def processes(word):
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes():
                found.append(path)
        except OSError:
            pass
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_demo_until_it_is_stopped(demo, browser, number):
    page = await browser.page(
        url=(await demo.until(r"http://localhost:\d+/"))[0])
    for path in (r"/echo", r"/chat\?name=guest-\w+", r"/cursors"):
        await demo.until(path + "  session opened")

    assert await self_test(page) == []
    await demo.until(r"/echo  session closed by client, code 42, [0-9.]+ s, "
                     r"24 streams in, 11 out, 100 datagrams in, \d+ out, "
                     r"1\.0 MB in, 1\.0 MB out\n")
    await demo.until("/nothing/here  session refused with 404\n")

    sockets = demo.sockets
    assert len(processes(sockets)) == stack.WORKERS
    demo.process.send_signal(number)
    await demo.until("/cursors  session closed by worker, code 1001")
    await demo.until(r"stopped\n$")
    assert await demo.process.wait() == 0
    assert not processes(sockets)
    assert not os.path.exists(sockets)
    await page.wait_for_selector(
        "text=echo: session closed, code 1001, “worker restarts”")


async def test_worker_that_dies_is_started_again(demo, browser):
    await browser.page(url=(await demo.until(r"http://localhost:\d+/"))[0])
    await demo.until("/echo  session opened")
    for path in processes(f"{demo.sockets}/worker-"):
        os.kill(int(path.parent.name), signal.SIGKILL)
    await demo.until("/echo  session closed, worker lost, code 8")
    await demo.until("worker 1 ended with status -9, starting it again")
    await demo.until("(?s)worker lost.*/echo  session opened")


async def test_nothing_survives_a_kill(demo):
    directory = str((ROOT / demo.directory).parent)
    sockets = demo.sockets
    demo.process.kill()
    await demo.process.wait()
    async with asyncio.timeout(10):
        while processes(sockets) or processes(directory):
            await asyncio.sleep(0.05)
    os.rmdir(sockets)


async def test_taken_ports_are_left_alone(tmp_path, monkeypatch):
    with socket.socket() as tcp, \
            socket.socket(type=socket.SOCK_DGRAM) as udp:
        for sock, name in ((tcp, "PAGE_PORT"), (udp, "QUIC_PORT")):
            sock.bind(("127.0.0.1", 0))
            monkeypatch.setattr(stack, name, sock.getsockname()[1])
        tcp.listen()
        async with stack.Stack("php", print, tmp_path / "demo") as demo:
            assert stack.PAGE_PORT < demo.page_port < stack.PAGE_PORT + 100
            assert stack.QUIC_PORT < demo.quic_port < stack.QUIC_PORT + 100


async def test_second_demo_has_another_folder(tmp_path):
    async with stack.Stack("php", print, tmp_path / "demo") as first:
        async with stack.Stack("python", print, tmp_path / "demo") as second:
            assert second.directory == tmp_path / "demo-2"
            assert second.page != first.page
            assert second.url != first.url


async def test_certificate_is_kept(tmp_path):
    hashes = []
    for _ in range(2):
        async with stack.Stack("php", print, tmp_path / "demo") as demo:
            hashes.append(demo.hash)
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("spoil", ["old", "garbage", "mismatch"])
async def test_certificate_that_is_no_good_is_replaced(tmp_path, monkeypatch,
                                                       browser, spoil):
    directory = tmp_path / "demo"
    async with stack.Stack("php", print, directory) as demo:
        before = demo.hash
    if spoil == "old":
        monkeypatch.setattr(stack, "RENEWAL", datetime.timedelta(days=10))
    elif spoil == "garbage":
        (directory / "certificate.pem").write_text("nonsense")
    else:
        stack.Certificate.create(tmp_path)
        (tmp_path / "key.pem").rename(directory / "key.pem")
    async with stack.Stack("php", print, directory) as demo:
        assert demo.hash != before
        page = await browser.page(url=demo.page)
        assert await self_test(page) == []


async def test_certificate_is_renewed_while_it_runs(tmp_path, monkeypatch,
                                                    browser):
    monkeypatch.setattr(stack, "RENEWAL_CHECK_SECONDS", 0.1)
    said = []
    async with stack.Stack("php", said.append, tmp_path / "demo") as demo:
        old = await browser.page(url=demo.page)
        old.set_default_timeout(30000)
        await old.wait_for_function(once.ALL_OPEN)
        await old.evaluate("globalThis.before = Object.values(sessions)")
        before = demo.hash

        # no more than one is due
        monkeypatch.setattr(stack, "RENEWAL", datetime.timedelta(days=10))
        async with asyncio.timeout(10):
            while demo.hash == before:
                await asyncio.sleep(0.05)
        monkeypatch.setattr(stack, "RENEWAL", datetime.timedelta(days=2))
        async with asyncio.timeout(10):
            while not said:
                await asyncio.sleep(0.05)
        assert said == [f"certificate renewed, hash {demo.hash}"]

        new = await browser.page(url=demo.page)
        new.set_default_timeout(30000)
        await new.wait_for_function(once.ALL_OPEN)

        # the other one comes again
        await old.wait_for_function("""() =>
            !Object.values(sessions).some(wt => before.includes(wt))""")
        await old.wait_for_function(once.ALL_OPEN)
