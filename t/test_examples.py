"""The example workers: each keeps to the contract, without nginx.

What they do behind nginx is in test_backend.py, test_browser.py and
test_demo.py.
"""

import asyncio
import signal
import sys

import grpc
import pytest

import webtransport_pb2 as pb
import webtransport_pb2_grpc as pb_grpc

from lib.nginx import ROOT

WORKERS = ["php_worker", "python_worker", "go_worker", "grpc_python_worker",
           "node_worker"]

# what protobufjs is known not to do, see docs/examples/node/README.md
KNOWN = {"node_worker": {"long varints are understood",
                         "garbage ends only its own session"}}


@pytest.fixture(autouse=True)
def once(build):
    if build.sanitized:
        pytest.skip("nginx takes no part in it")


@pytest.fixture(params=WORKERS)
def example(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=WORKERS[2:])
def grpc_example(request):
    return request.getfixturevalue(request.param)


def play(*arguments):
    return asyncio.create_subprocess_exec(
        sys.executable, ROOT / "docs/examples/tools/play.py", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={"PYTHONPATH": str(ROOT / "build/py"),
             "PYTHONDONTWRITEBYTECODE": "1"})


async def test_keeps_the_contract(example, request):
    process = await play("--check", example.passed)
    output, _ = await process.communicate()
    plan, *lines = output.decode().splitlines()
    done = [line for line in lines if not line.startswith("#")]
    assert plan == f"1..{len(done)}" and len(done) > 30, output.decode()
    failed = {line.partition(" - ")[2] for line in done
              if not line.startswith("ok ")}
    known = KNOWN.get(request.node.callspec.params["example"], set())
    assert failed == known, output.decode()


async def test_says_goodbye(example):
    sessions = [await play(example.passed, "--path", path, "wait 60")
                for path in ("/echo", "/chat?name=ann", "/cursors")]
    for session in sessions:
        assert b"accept" in await session.stdout.readline()
    await example.stop(signal.SIGTERM)
    for session in sessions:
        output, _ = await session.communicate()
        assert b"close code=1001 reason='worker restarts'" in output
    assert example.process.returncode == 0


# ---- Worker.Deliver ---------------------------------------------------------


class Deliver:
    """A session whose batches each get a call."""

    def __init__(self, channel):
        self.stub = pb_grpc.WorkerStub(channel)
        self.seq = 0
        self.meta = {}

    async def __call__(self, *events):
        self.seq += 1
        batch = pb.EventBatch(session_id="some session", seq=self.seq,
                              context=pb.Context(meta=self.meta),
                              events=events)
        answer = await self.stub.Deliver(batch, timeout=10)
        assert (answer.session_id, answer.seq) == ("some session", self.seq)
        # it may come twice, and to another process
        assert await self.stub.Deliver(batch, timeout=10) == answer
        return list(answer.commands)

    async def connect(self, path):
        [command] = await self(pb.Event(connect=pb.Connect(version=1,
                                                           path=path)))
        self.meta.update(command.accept.session.meta)
        return command


@pytest.fixture
async def deliver(grpc_example):
    async with grpc.aio.insecure_channel(grpc_example.address) as channel:
        yield Deliver(channel)


def data(stream_id, data=b"", **fields):
    return {"data": pb.StreamData(stream_id=stream_id, data=data, **fields)}


def abort(kind, stream_id, code):
    return {kind: pb.StreamAbort(stream_id=stream_id, code=code)}


@pytest.mark.parametrize("event, command", [
    (data(4, b"hi", open=pb.BIDI), data(4, b"hi")),
    (data(8, fin=True), data(8, fin=True)),
    (data(6, b"hi", open=pb.UNI), data(7, b"hi", open=pb.UNI)),
    (data(6, b"more", fin=True), data(7, b"more", fin=True)),
    (data((1 << 40) + 2, b"far"), data((1 << 40) + 3, b"far")),
    (abort("reset", 4, (1 << 32) - 1), abort("reset", 4, (1 << 32) - 1)),
    (abort("reset", 6, None), abort("reset", 7, 0)),
    (abort("stop", 7, 3), abort("stop", 6, 3)),
    ({"datagram": pb.Datagram(data=b"\0\xff")},
     {"datagram": pb.Datagram(data=b"\0\xff")}),
    ({"ping": pb.Ping(id=(1 << 64) - 1)}, {"pong": pb.Ping(id=(1 << 64) - 1)}),
    # no more of what cannot be echoed
    ({"result": pb.Result(status=8, stream_id=7)}, abort("stop", 6, 0)),
])
async def test_unary_echo(deliver, event, command):
    accepted = await deliver.connect(b"/echo")
    assert accepted.HasField("accept")
    [answer] = await deliver(pb.Event(**event))
    if answer.HasField("stop") and not answer.stop.code:
        answer.stop.code = 0
    assert answer == pb.Command(**command)


async def test_unary_events_without_an_answer(deliver):
    await deliver.connect(b"/echo")
    assert await deliver(
        pb.Event(credit=pb.Credit(bidi=1)), pb.Event(drain=pb.Drain()),
        pb.Event(result=pb.Result(status=9, stream_id=7)), pb.Event(),
        pb.Event(closed=pb.Closed())) == []


@pytest.mark.parametrize("path, status", [
    (b"/chat", 501), (b"/cursors", 501), (b"/", 404), (b"/echo/", 404)])
async def test_unary_rejects_what_it_has_not(deliver, path, status):
    answer = await deliver.connect(path)
    assert answer.reject.status == status
    assert await deliver(pb.Event(closed=pb.Closed())) == []


async def test_unary_refuses_a_session_that_it_never_accepted(deliver):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await deliver(pb.Event(datagram=pb.Datagram(data=b"x")))
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
