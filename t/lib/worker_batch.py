"""What workers share that get a call per batch: grpc+unary:// and http://.

Such a worker can say something only when it is asked.  So that tests written
for streams run here, too, BatchSession does not answer at once:

- an answer waits for commands to carry, but not for long, and not while the
  test itself waits for events;
- with every answer goes a ping, and nginx asks for it with its pong: there is
  always a call that can carry the next command.

With session.poll = False it waits only while there may be something to say,
and says nothing by itself, for tests that count batches.
"""

import asyncio
import contextlib
import time
from collections import deque

from lib.client import TIMEOUT
from lib.worker import Listener, WorkerSession, pb, ping

POLL = 1 << 50

# seconds an answer waits for commands, and one to nothing but a poll while the
# test waits for events
HOLD = 0.2
BREATH = 0.005


class Call:
    """A batch on its way: what came, and the transport's means to answer.

    message     the body, bytes
    batch       the same, EventBatch
    headers     list of names and values, lower case: metadata, header fields
    time        of its arrival, in seconds
    """

    def __init__(self, message, batch, headers):
        self.message = message
        self.batch = batch
        self.headers = headers
        self.time = time.monotonic()

    @property
    def seq(self):
        return self.batch.seq

    @property
    def kinds(self):
        """The kinds of its events."""
        return [event.WhichOneof("kind") for event in self.batch.events]

    def header(self, name):
        values = [v for k, v in self.headers if k == name]
        assert len(values) <= 1, f"{name} is repeated: {values}"
        return values[0] if values else None


class BatchSession(WorkerSession):
    """A session that lives in calls.

    poll        see above
    hold        answer nothing until the test has sent something
    address     session_id and seq are in the answer
    """

    def __init__(self, size):
        super().__init__()
        self._size = size
        self.poll = True
        self.hold = False
        self.address = True
        self.calls = []
        self.answers = {}
        self._queue = deque()
        self._changed = asyncio.Event()
        self._waiting = 0
        self._over = False

        # calls not yet answered; a ping is on its way
        self._open = 0
        self._polled = False

    def deliver(self, call, listener):
        """A batch came, perhaps once more; returns a task that gives the
        answer, the same for all."""
        self.calls.append(call)
        task = self.answers.get(call.seq)
        if task is None:
            self._received(call.message)
        if task is None or task.cancelled():    # the worker was stopped
            task = listener._task(self._handle(call))
            self.answers[call.seq] = task
        return task

    async def _handle(self, call):
        if all(kind == "datagram" for kind in call.kinds):
            await self._running.wait()
            return b""
        self._open += 1
        await self._until_ready(call)
        self._open -= 1
        return self._answer(call)

    def _event(self, event):
        kind = event.WhichOneof("kind")
        if kind == "pong" and event.pong.id == POLL:
            self._polled = False
            return
        if kind == "closed":
            self._over = True
        super()._event(event)

    # when

    async def _until_ready(self, call):
        quiet = all(event.pong.id == POLL for event in call.batch.events)
        start = time.monotonic()
        while not self._ready(call, time.monotonic() - start, quiet):
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BREATH if self._waiting else HOLD):
                    await self._changed.wait()

    def _ready(self, call, age, quiet):
        if not self._running.is_set():
            return False
        if self._queue or self._over:
            return True
        if "connect" in call.kinds:
            return False
        if quiet and not self.poll:
            return True
        if self.hold:
            return False
        if not self.poll:
            return age >= HOLD
        return age >= HOLD or self._waiting > 0 and (not quiet
                                                     or age >= BREATH)

    async def _until(self, *args):
        self._waiting += 1
        self._changed.set()
        try:
            await super()._until(*args)
        finally:
            self._waiting -= 1

    async def end(self, timeout=TIMEOUT):
        self._changed.set()
        await super().end(timeout)

    # what

    def _answer(self, call):
        """As many of the queued batches as nginx takes at once."""
        parts = [pb.CommandBatch(session_id=self.id, seq=call.seq)
                 .SerializeToString()] if self.address else []
        if self._queue:
            parts.append(self._queue.popleft())
        limit = self.connect.max_command if self.connect else 65536
        poll = self.poll and not self._over
        size = self._size
        room = limit - 20 - sum(map(size, parts))
        if room < 0:
            parts = parts[-1:]
        while self._queue and (cost := size(self._queue[0])) <= room:
            parts.append(self._queue.popleft())
            room -= cost
        if poll and room >= 0:
            parts.append(pb.CommandBatch(commands=[ping(POLL)])
                         .SerializeToString())
            self._polled = True
        if self._over:
            self._end()
        self._changed.set()
        return b"".join(parts)

    def send_message(self, message):
        self._queue.append(message)
        self._changed.set()

    async def sync(self, *args):
        """Without polls there may be no call that could carry anything, and
        all there was has run."""
        if self.poll or self._open or self._polled:
            await super().sync(*args)

    async def settle(self, timeout=TIMEOUT):
        """Polls no more, and waits until there is no call."""
        self.poll = False
        async with asyncio.timeout(timeout):
            while self._open or self._polled:
                self._changed.set()
                await asyncio.sleep(0.01)

    async def drain(self, timeout=TIMEOUT):
        async with asyncio.timeout(timeout):
            while self._queue:
                self._changed.clear()
                await self._changed.wait()

    @property
    def unsent(self):
        return sum(map(len, self._queue))

    def resume(self):
        super().resume()
        self._changed.set()


class BatchListener(Listener):
    """Keeps the sessions of its calls.

    pool        another one, which shares them
    faults      what is done to the next calls, one after the other, instead
                of an answer: functions of the call
    calls       all of them
    """

    def _share(self, pool):
        self.faults = deque()
        self.calls = []
        self._table = pool._table if pool else {}
        if pool:
            self.sessions, self._new = pool.sessions, pool._new

    async def _deliver(self, call):
        """The answer to a call, or None if a fault was what it got."""
        self.calls.append(call)
        if self.faults:
            fault = self.faults.popleft()
            if fault is not None:
                await fault(call)
                return None
        return await self.answer(call)

    async def answer(self, call):
        """What its session answers."""
        return await asyncio.shield(self._session(call).deliver(call, self))

    def _session(self, call):
        session = self._table.get(call.batch.session_id)
        if session is None:
            session = BatchSession(self.size)
            self._table[call.batch.session_id] = session
            if "connect" in call.kinds:
                self.sessions.append(session)
                self._task(self._hello(session))
        return session

    def size(self, message):
        """What a message counts, against the limit for batches."""
        return len(message)

    async def next_calls(self, count, timeout=TIMEOUT):
        """Waits until there have been that many calls; returns them."""
        async with asyncio.timeout(timeout):
            while len(self.calls) < count:
                await asyncio.sleep(0.01)
        return self.calls
