"""The work behind t/demo, which checks the arguments first."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time

from lib.demo.events import Events
from lib.demo.once import run_once
from lib.demo.stack import DemoError, ROOT, Stack

WELCOME = """\
WebTransport for nginx

  page         {page}
  sessions     {url}/echo, /chat and /cursors
  worker       {workers} processes of {worker}
  nginx.conf   {directory}/nginx.conf, logs beside it
  certificate  valid until {expires}, its SHA-256 hash is
               {hash}

Open the page on this machine, in any browser that has WebTransport, such as
Chrome, Edge or Firefox.  It needs no flags and no installed certificate: the
page tells the browser the hash.  Open it in a second window to see chat and
cursors.  Ctrl-C stops everything.
"""


def say(line):
    line = "".join(c if c.isprintable() else "?" for c in line)
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


def shown(path):
    """As short as it can be, seen from where the user is."""
    return min(str(path), os.path.relpath(path), key=len)


def welcome(stack):
    print(WELCOME.format(
        page=stack.page, url=stack.url, hash=stack.hash,
        workers=len(stack.workers),
        worker=shown(ROOT / f"docs/examples/{stack.backend}"),
        directory=shown(stack.directory),
        expires=f"{stack.expires:%Y-%m-%d %H:%M} UTC"), flush=True)


async def watch(stack):
    welcome(stack)
    events = Events(stack.directory, say)
    looking = asyncio.create_task(events.run())
    serving = asyncio.create_task(stack.nginx.process.wait())
    try:
        await asyncio.wait([looking, serving],
                           return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            raise DemoError("nginx has ended:\n" + stack.error_log())
    finally:
        looking.cancel()
        serving.cancel()
        await stack.stop()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        # the goodbyes
        events.look()


async def demo(backend, once):
    stop_at_signal(asyncio.current_task())
    async with Stack(backend, (lambda line: None) if once else say) as stack:
        if once:
            return await run_once(stack)
        await watch(stack)


def stop_at_signal(task):
    """The first one ends the demo in order; later ones are impatience."""
    stopping = False

    def stop():
        nonlocal stopping
        if not stopping:
            stopping = True
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)


def run(backend, once):
    """The exit status."""
    try:
        return 0 if asyncio.run(demo(backend, once)) else 1
    except DemoError as e:
        print(f"demo: error: {e}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        if once:
            print("demo: interrupted", file=sys.stderr)
            return 130
        print("stopped", flush=True)
        return 0


def main():
    parser = argparse.ArgumentParser(prog="t/demo")
    parser.add_argument("--backend", required=True)
    parser.add_argument("--once", action="store_true")
    args = parser.parse_args()
    try:
        return run(args.backend, args.once)
    except BrokenPipeError:
        # nobody reads any more, as in "t/demo | head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
