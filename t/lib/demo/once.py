"""Drives Chromium through the demo's page."""

import asyncio
import contextlib
import os
import signal

from playwright.async_api import Error, TimeoutError as PlaywrightTimeout

from lib.browser import Browser

TIMEOUT_SECONDS = 15

ALL_OPEN = """() => ["echo", "chat", "cursors"].every(name => sessions[name])"""


class Failure(Exception):
    """A check that did not work."""


class Once:
    """Runs the checks and prints a line for each."""

    def __init__(self, stack, browser):
        self.stack = stack
        self.browser = browser
        self.passed = self.failed = 0

    def report(self, ok, line):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
        print("ok" if ok else "not ok", "-", line, flush=True)

    async def check(self, what, action):
        """Whether it worked."""
        try:
            async with asyncio.timeout(4 * TIMEOUT_SECONDS):
                await action()
        except (Failure, Error, OSError, TimeoutError) as e:
            self.report(False, f"{what}: {first_line(e)}")
            return False
        self.report(True, what)
        return True

    async def run(self):
        self.pages = []
        self.errors = []
        if await self.check("page opened, its sessions too", self.open_page):
            await self.pages[0].evaluate("runSelfTest(reportCheck)")
            await self.check("latency of datagrams shown", self.latency)
            await self.check("message echoed", self.message)
            if await self.check("second window opened", self.open_page):
                await self.check("chat between two windows", self.chat)
                await self.check("cursor moves in the other window",
                                 self.cursor)
            if self.stack.stateless:
                await self.check("sessions go on when all workers died",
                                 self.stateless_workers_die)
            else:
                await self.check(
                    "page notices that a worker died, and reconnects",
                    self.worker_dies)
            await self.check("page disconnects and connects again",
                             self.reconnect)
            await self.check("no error in the page's scripts", self.scripts)
        await self.check("access log tells how a session ended", self.logged)
        return self.failed == 0

    async def open_page(self):
        page = await self.browser.page(url=self.stack.page)
        page.set_default_timeout(TIMEOUT_SECONDS * 1000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        await page.expose_function("reportCheck", self.report)
        await page.wait_for_function(ALL_OPEN)
        self.pages.append(page)

    async def latency(self):
        await self.pages[0].wait_for_function(
            "() => / ms$/.test($('median').textContent)")

    async def message(self):
        page = self.pages[0]
        for kind in ("bidi", "uni"):
            await page.fill("#echo-text", f"hello on {kind}")
            await page.click(f"button[value={kind}]")
            await page.wait_for_selector(
                f"#echo-log >> text={kind} “hello on {kind}”")

    async def chat(self):
        ann, bob = self.pages
        await ann.fill("#chat-text", "hello from the first window")
        await ann.press("#chat-text", "Enter")
        await bob.wait_for_selector(
            "#chat-log >> text=hello from the first window")
        await bob.fill("#chat-text", "hello back")
        await bob.click("#chat-form button")
        await ann.wait_for_selector("#chat-log >> text=hello back")

    async def cursor(self):
        ann, bob = self.pages
        box = await ann.locator("#field").bounding_box()
        moving = asyncio.create_task(self.move(ann, box))
        try:
            await bob.wait_for_selector(".dot")
            await bob.wait_for_function("""() => {
                const { left } = document.querySelector(".dot").style;
                globalThis.seen ??= left;
                return left !== seen;
            }""")
        finally:
            moving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await moving

    async def move(self, page, box):
        i = 0
        while True:
            i = (i + 7) % 100
            await page.mouse.move(box["x"] + box["width"] * i / 100,
                                  box["y"] + box["height"] / 2)
            await asyncio.sleep(0.05)

    def kill_workers(self):
        for worker in self.stack.workers:
            os.killpg(worker.process.pid, signal.SIGKILL)

    async def stateless_workers_die(self):
        page = self.pages[0]
        await page.evaluate("globalThis.before = { ...sessions }")
        self.kill_workers()
        await page.fill("#echo-text", "still there")
        await page.click("button[value=bidi]")
        await page.wait_for_selector("#echo-log >> text=bidi “still there”")
        if not await page.evaluate("""() => Object.keys(before).every(
                name => before[name] === sessions[name])"""):
            raise Failure("they are other ones")

    async def worker_dies(self):
        page = self.pages[0]
        self.kill_workers()
        await page.wait_for_selector("#echo-log >> text=code 8")
        await page.wait_for_function(ALL_OPEN)

    async def reconnect(self):
        page = self.pages[0]
        await page.click("text=Disconnect")
        await page.wait_for_function(
            "() => Object.keys(sessions).length === 0")
        await page.click("text=Connect")
        await page.wait_for_function(ALL_OPEN)

    async def scripts(self):
        if self.errors:
            raise Failure("; ".join(self.errors))

    async def logged(self):
        log = self.stack.directory / "sessions.log"
        wanted = [" by=client code=42 "]
        if not self.stack.stateless:
            wanted.append(" by=worker_lost code=8 ")
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not all(part in log.read_text() for part in wanted):
                await asyncio.sleep(0.1)


def first_line(error):
    if isinstance(error, (TimeoutError, PlaywrightTimeout)):
        return "took too long"
    return str(error).partition("\n")[0] or type(error).__name__


async def run_once(stack):
    """Whether all worked."""
    browser = Browser()
    try:
        await browser.start()
    except Error as e:
        print(f"not ok - Chromium starts: {first_line(e)}", flush=True)
        return False
    try:
        once = Once(stack, browser)
        ok = await once.run()
    finally:
        # it may have got the same Ctrl-C, and be gone
        with contextlib.suppress(Exception):
            await browser.stop()
    print(f"{once.passed} of {once.passed + once.failed} worked")
    if not ok:
        print(f"\nthe end of {stack.directory / 'error.log'}:\n"
              f"{stack.error_log()}")
    return ok
