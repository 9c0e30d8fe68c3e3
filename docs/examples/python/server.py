"""Listening, accepting, and several processes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from connection import Connection, ProtocolError
from session import NotFound, Session

logger = logging.getLogger(__name__)

# Connections that the kernel keeps until a process accepts them.  nginx opens
# one per session, and many browsers reconnect at once after a restart.
# net.core.somaxconn may lower it.
BACKLOG = 1024

# How long sessions may take to end when the process is told to.
SHUTDOWN_SECONDS = 2

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


class Listener:
    """The listening socket: "unix:/path" or "host:port"."""

    def __init__(self, address: str) -> None:
        self._process = os.getpid()
        self._path: Path | None = None

        if address.startswith("unix:"):
            self._path = Path(address.removeprefix("unix:"))
            self.socket = self._listen_unix(self._path)
            self._inode = self._path.stat().st_ino
        else:
            host, _, port = address.rpartition(":")
            self.socket = socket.create_server(
                (host.strip("[]"), int(port)),
                family=socket.AF_INET6 if ":" in host else socket.AF_INET,
                backlog=BACKLOG,
            )

    def close(self) -> None:
        """Ends listening; in the process that began it, the file goes too.

        What nginx has not been able to connect to, it can take to another
        worker.
        """
        self.socket.close()

        # By now the file may be the socket of our successor.
        if (
            self._path is not None
            and self._process == os.getpid()
            and self._path.exists()
            and self._path.stat().st_ino == self._inode
        ):
            self._path.unlink()

    @staticmethod
    def _listen_unix(path: Path) -> socket.socket:
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        # nginx's workers run as another user, and connecting takes the right
        # to write.  Who may come here is up to the directory.
        path.chmod(0o666)
        listener.listen(BACKLOG)

        return listener


def _remove_stale(path: Path) -> None:
    """A worker that was killed leaves its socket behind."""
    if not path.exists():
        return

    if not stat.S_ISSOCK(path.stat().st_mode):
        raise OSError(f"{path} exists and is not a socket")

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.settimeout(1)
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(f"{path} is in use")


async def serve(
    listener: Listener, routes: Mapping[bytes, type[Session]]
) -> None:
    """Serves sessions until SIGTERM or SIGINT.

    routes maps a path to the class whose objects are its sessions.
    """
    sessions: set[Session] = set()

    async def accept(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        connection = Connection(reader, writer)

        try:
            batch = await connection.read()

            if not batch.events or not batch.events[0].HasField("connect"):
                raise ProtocolError("first event is not Connect")
        except (ProtocolError, asyncio.IncompleteReadError, OSError) as error:
            logger.info("no session: %s", error)
            connection.close()
            return

        connect = batch.events[0].connect
        kind = routes.get(connect.path, NotFound)
        session = kind(connection, batch.session_id, connect)
        sessions.add(session)

        try:
            await session.run(batch.events[1:])
        finally:
            sessions.discard(session)

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)

    server = await asyncio.start_server(
        accept, sock=listener.socket, backlog=BACKLOG
    )
    await stop.wait()
    server.close()
    listener.close()

    for session in sessions:
        session.go_away()

    deadline = loop.time() + SHUTDOWN_SECONDS

    while sessions and loop.time() < deadline:
        await asyncio.sleep(0.05)


def run_processes(
    count: int, main: Callable[[], None], listener: Listener
) -> None:
    """Runs main() in several processes until SIGTERM or SIGINT.

    One that dies is replaced.
    """
    # Blocked signals wait for sigwait(): none is missed.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    children = {_fork(main) for _ in range(count)}

    while signal.sigwait(SIGNALS) == signal.SIGCHLD:
        for pid in _reap():
            logger.error("process %d died", pid)
            # One that dies at once shall not keep the machine busy.
            time.sleep(1)
            children.remove(pid)
            children.add(_fork(main))

    # Before the children go, so that nobody new comes.
    listener.close()

    for pid in children:
        os.kill(pid, signal.SIGTERM)

    for pid in children:
        os.waitpid(pid, 0)


def _fork(main: Callable[[], None]) -> int:
    pid = os.fork()

    if pid == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        main()
        os._exit(0)

    return pid


def _reap() -> list[int]:
    """The processes that have died."""
    dead: list[int] = []

    while True:
        pid, _ = os.waitpid(-1, os.WNOHANG)

        if pid == 0:
            return dead

        dead.append(pid)
