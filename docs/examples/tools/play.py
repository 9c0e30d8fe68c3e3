#!/usr/bin/env python3
"""Plays nginx to a worker: no nginx, no browser, no QUIC.

    play.py [options] ADDRESS [ACTION ...]
    play.py --check [options] ADDRESS

ADDRESS is where the worker listens: unix:/path or host:port, with grpc:// in
front if it is a gRPC server.  Without actions on the command line, they are
read from standard input, one per line:

    bidi TEXT            open a bidirectional stream and send TEXT on it
    uni TEXT             the same with a unidirectional stream
    data ID TEXT         send TEXT on an open stream
    fin ID               end the client's side of a stream
    reset ID CODE        give up the client's side of a stream
    stop ID CODE         want no more of the worker's side of a stream
    datagram TEXT        send a datagram
    credit ID BYTES      let the worker send more on a stream
    streams BIDI UNI     let the worker open more streams
    ping                 ask for a sign of life
    wait SECONDS         do nothing for a while
    close CODE REASON    end the session, as a client does

TEXT may contain \\n, \\t, \\\\ and \\xHH.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import check
from peer import Lost, Peer, Stream, pb

ESCAPES = {b"n": b"\n", b"t": b"\t", b"\\": b"\\"}

# Bytes of a value that are shown.
SHOWN = 72


class Mistake(Exception):
    """An action that makes no sense."""


def unescape(text: str) -> bytes:
    return re.sub(
        rb"\\(n|t|\\|x[0-9a-fA-F]{2})",
        lambda m: ESCAPES.get(m[1]) or bytes.fromhex(m[1][1:].decode()),
        text.encode(),
    )


def plain(descriptor: Any, value: Any) -> str:
    """A field's value, short enough for a line."""
    if isinstance(value, bytes | str):
        more = f"... ({len(value)})" if len(value) > SHOWN else ""
        return repr(value[:SHOWN]) + more

    if isinstance(value, int | float):
        names = descriptor.enum_type and descriptor.enum_type.values_by_number
        return names[value].name if names and value in names else str(value)

    if hasattr(value, "ListFields"):
        return "{" + fields(value) + "}"

    return "[" + ", ".join(plain(descriptor, item) for item in value) + "]"


def fields(message: Any) -> str:
    return " ".join(
        f"{descriptor.name}={plain(descriptor, value)}"
        for descriptor, value in message.ListFields()
    )


def show(command: pb.Command) -> None:
    kind = command.WhichOneof("kind")
    text = fields(getattr(command, kind)) if kind else ""
    wants_result = f" (id {command.id})" if command.id else ""
    print(f"< {kind or 'unknown'} {text}{wants_result}".rstrip(), flush=True)


class Player:
    """Carries out actions on a session."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.over = False
        self.mistakes = 0
        self._pings = 0

    async def play(self, line: str) -> None:
        name, _, rest = line.strip().partition(" ")
        action = getattr(self, f"do_{name}", None)

        if action is None:
            raise Mistake(f"unknown action {name!r}")

        try:
            await action(rest)
        except (ValueError, IndexError) as error:
            raise Mistake(f"{name}: {error}") from None

    async def do_bidi(self, text: str) -> None:
        stream = self.peer.open_stream(unescape(text))
        print(f"> stream {stream.id}", flush=True)

    async def do_uni(self, text: str) -> None:
        stream = self.peer.open_stream(unescape(text), uni=True)
        print(f"> stream {stream.id}", flush=True)

    async def do_data(self, rest: str) -> None:
        stream_id, _, text = rest.partition(" ")
        await self.peer.write(self._stream(stream_id), unescape(text))

    async def do_fin(self, rest: str) -> None:
        await self.peer.write(self._stream(rest), b"", fin=True)

    async def do_reset(self, rest: str) -> None:
        stream_id, code = rest.split()
        self.peer.reset(self._stream(stream_id), int(code))

    async def do_stop(self, rest: str) -> None:
        stream_id, code = rest.split()
        self.peer.stop(self._stream(stream_id), int(code))

    async def do_datagram(self, text: str) -> None:
        self.peer.datagram(unescape(text))

    async def do_credit(self, rest: str) -> None:
        stream_id, size = rest.split()
        self.peer.credit(self._stream(stream_id), bytes=int(size))

    async def do_streams(self, rest: str) -> None:
        bidi, uni = rest.split()
        self.peer.credit(bidi=int(bidi), uni=int(uni))

    async def do_ping(self, rest: str) -> None:
        self._pings += 1
        self.peer.ping(self._pings)

    async def do_wait(self, rest: str) -> None:
        await asyncio.sleep(float(rest))

    async def do_close(self, rest: str) -> None:
        code, _, reason = rest.partition(" ")
        self.peer.closed(int(code or 0), reason)
        self.over = True

    def _stream(self, stream_id: str) -> Stream:
        try:
            return self.peer.streams[int(stream_id)]
        except KeyError:
            raise Mistake(f"there is no stream {stream_id}") from None


async def actions(given: list[str]) -> AsyncIterator[str]:
    """The actions of the command line, or else of standard input."""
    for line in given:
        yield line

    if given:
        return

    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)

        loop.call_soon_threadsafe(lines.put_nowait, "")

    # A daemon, so that it does not keep the program when the worker goes.
    threading.Thread(target=read, daemon=True).start()

    while line := await lines.get():
        if line.strip():
            yield line


async def play_all(player: Player, given: list[str], linger: float) -> None:
    async for line in actions(given):
        try:
            await player.play(line)
        except Mistake as mistake:
            player.mistakes += 1
            print(f"! {mistake}", flush=True)

        if player.over:
            return

    # What is still on its way shall be seen.
    await asyncio.sleep(linger)
    player.peer.closed()


async def session(args: argparse.Namespace) -> bool:
    peer = await Peer.open(
        args.address,
        window=args.window,
        streams=args.streams,
        auto_credit=not args.no_credit,
        on_command=show,
    )
    peer.connect(args.path, [tuple(h.split(":", 1)) for h in args.header])
    await peer.wait(lambda: peer.accept or peer.reject)

    player = Player(peer)

    if peer.accept is not None:
        playing = asyncio.create_task(
            play_all(player, args.action, args.linger)
        )
        gone = asyncio.create_task(peer.wait_lost(timeout=None))
        await asyncio.wait(
            {playing, gone}, return_when=asyncio.FIRST_COMPLETED
        )

        if playing.done():
            playing.result()
            await peer.wait_lost()
        else:
            playing.cancel()

            if not peer.sent_closed:
                print("! the worker ended the connection", flush=True)

    for violation in peer.violations:
        print(f"! {violation}", flush=True)

    await peer.disconnect()

    return (
        peer.accept is not None
        and peer.sent_closed
        and not peer.violations
        and not player.mistakes
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=argparse.SUPPRESS,
    )
    parser.add_argument("address", metavar="ADDRESS")
    parser.add_argument("action", metavar="ACTION", nargs="*")
    parser.add_argument(
        "--check",
        action="store_true",
        help="check an echo worker against the contract; prints TAP",
    )
    parser.add_argument("--path", default="/echo", help="default: /echo")
    parser.add_argument(
        "--header",
        metavar="NAME:VALUE",
        action="append",
        default=[],
        help="a request header; may be repeated",
    )
    parser.add_argument(
        "--window",
        type=int,
        default=65536,
        help="credit of a stream at first; default: 65536",
    )
    parser.add_argument(
        "--streams",
        type=int,
        default=16,
        help="streams of each kind that the worker may open; default: 16",
    )
    parser.add_argument(
        "--no-credit",
        action="store_true",
        help="more credit only with the action 'credit'",
    )
    parser.add_argument(
        "--linger",
        metavar="SECONDS",
        type=float,
        default=0.5,
        help="time between the last action and the end; default: 0.5",
    )

    # Options may stand between the address and the actions.
    return parser.parse_intermixed_args()


def main() -> int:
    args = arguments()

    try:
        if args.check:
            passed = asyncio.run(check.run(args.address, args.path))
        else:
            passed = asyncio.run(session(args))
    except (OSError, Lost) as error:
        print(f"{args.address}: {error}", file=sys.stderr)
        return 1
    except TimeoutError:
        print("the worker gives no answer", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130

    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
