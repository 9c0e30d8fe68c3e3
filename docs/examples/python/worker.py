#!/usr/bin/env python3
"""A worker for nginx's webtransport_pass, with four applications."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

from apps import Chat, Cursors, Echo
from baton import DeviousBaton
from server import Listener, run_processes, serve

ROUTES = {
    b"/echo": Echo,
    b"/chat": Chat,
    b"/cursors": Cursors,
    b"/webtransport/devious-baton": DeviousBaton,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="unix:/path or host:port")
    parser.add_argument("--processes", type=int, default=1, metavar="N")
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args()

    logging.basicConfig(
        level=logging.WARNING if args.quiet else logging.INFO,
        format="%(message)s",
        stream=sys.stdout,
    )

    try:
        listener = Listener(args.address)
    except (OSError, ValueError) as error:
        print(f"cannot listen on {args.address}: {error}", file=sys.stderr)
        return 1

    print(f"listening on {args.address}", flush=True)

    def run() -> None:
        asyncio.run(serve(listener, ROUTES))

    if args.processes > 1:
        run_processes(args.processes, run, listener)
    else:
        run()

    return 0


if __name__ == "__main__":
    sys.exit(main())
