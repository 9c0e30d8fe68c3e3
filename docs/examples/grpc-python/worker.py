#!/usr/bin/env python3
"""A worker for nginx's webtransport_pass grpc://..., with three applications.

Sessions and applications are those of ../python: what an application is does
not depend on how its events travel.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "python"))

import grpc

from address import bind
from apps import Chat, Cursors, Echo
from service import Worker, pb_grpc

ROUTES = {b"/echo": Echo, b"/chat": Chat, b"/cursors": Cursors}

# How long sessions may take to end when the process is told to.
SHUTDOWN_SECONDS = 2

# Otherwise a second process could listen on the same port, and get half of the
# connections.
OPTIONS = [("grpc.so_reuseport", 0)]


async def serve(address: str) -> None:
    """Serves sessions until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)

    worker = Worker(ROUTES)
    server = grpc.aio.server(options=OPTIONS)
    pb_grpc.add_WorkerServicer_to_server(worker, server)
    bind(server, address)
    await server.start()
    print(f"listening on {address}", flush=True)

    await stop.wait()

    # No more calls are taken, which GOAWAY tells nginx, while those that are
    # under way end.
    worker.go_away()
    await server.stop(SHUTDOWN_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="unix:/path or host:port")
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args()

    logging.basicConfig(
        level=logging.WARNING if args.quiet else logging.INFO,
        format="%(message)s",
        stream=sys.stdout,
    )

    try:
        asyncio.run(serve(args.address))
    except (OSError, RuntimeError) as error:
        print(f"cannot listen on {args.address}: {error}", file=sys.stderr)
        return 1

    return 0


if __name__ == "__main__":
    sys.exit(main())
