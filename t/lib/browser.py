"""Chromium, driven by Playwright.

    page = await browser.page(ngx)
    assert await page.evaluate('''async () => {
        const wt = await connect("/echo");
        ...
    }''') == "..."

Pages have a function connect(path, options) that makes a WebTransport to the
nginx of the test, accepting its certificate by hash, and waits until it is
ready; and a few more, see HELPERS.
"""

import http.server
import threading

from playwright.async_api import async_playwright

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", "--disable-component-update",
             "--disable-sync",
             # also localhost, for which ::1 would be tried
             "--host-resolver-rules=MAP * 127.0.0.1"]

HELPERS = """
    function transport(path, options) {
        const url = path.startsWith("https:") ? path : BASE + path;
        return new WebTransport(url, {
            serverCertificateHashes: [
                { algorithm: "sha-256", value: new Uint8Array(HASH) }],
            ...options });
    }

    async function connect(path, options) {
        const wt = transport(path, options);
        await wt.ready;
        return wt;
    }

    // all bytes of a ReadableStream
    async function readAll(readable) {
        return new Uint8Array(await new Response(readable).arrayBuffer());
    }

    async function readText(readable) {
        return new TextDecoder().decode(await readAll(readable));
    }

    // the next chunk, a stream or a datagram
    async function next(readable) {
        const reader = readable.getReader();
        const { value, done } = await reader.read();
        reader.releaseLock();
        return done ? null : value;
    }

    async function write(writable, data, close = true) {
        const writer = writable.getWriter();
        await writer.write(typeof data === "string" ?
                           new TextEncoder().encode(data) : data);
        if (close) {
            await writer.close();
        }
        writer.releaseLock();
    }

    function text(bytes) {
        return new TextDecoder().decode(bytes);
    }

    // what became of a promise, as something that can be returned
    async function outcome(promise) {
        try {
            return { value: await promise };
        } catch (e) {
            return { error: e.name, message: e.message, source: e.source,
                     streamErrorCode: e.streamErrorCode };
        }
    }

    Object.assign(globalThis, { transport, connect, readAll, readText, next,
                                write, text, outcome });
"""


class BlankPage(http.server.BaseHTTPRequestHandler):

    def do_GET(self):
        body = b"<!doctype html><title>test</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Browser:
    """One Chromium for all tests; every page has a fresh profile."""

    def __init__(self, executable="/usr/bin/chromium"):
        self.executable = executable

    async def start(self, *arguments):
        # a page on http://localhost is a secure context
        self.server = self.blank()
        self.origin = f"http://localhost:{self.server.server_port}"
        self.playwright = await async_playwright().start()
        self.chromium = await self.playwright.chromium.launch(
            executable_path=self.executable, headless=True,
            args=[*ARGUMENTS, *arguments])
        self.contexts = []
        return self

    @staticmethod
    def blank():
        """A server with a blank page."""
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), BlankPage)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    async def page(self, ngx=None, host="localhost", url=None):
        """A page that talks to that nginx.  Its origin is self.origin, which
        is not nginx's: see webtransport_origins."""
        context = await self.chromium.new_context(ignore_https_errors=True)
        self.contexts.append(context)
        page = await context.new_page()
        page.console = []
        page.on("console", lambda message: page.console.append(message.text))
        if ngx is not None:
            await page.add_init_script(
                f"const BASE = 'https://{host}:{ngx.port}';"
                f"const HASH = {list(ngx.certificate.sha256)};" + HELPERS)
        await page.goto(url or self.origin)
        return page

    async def close_pages(self):
        for context in self.contexts:
            await context.close()
        self.contexts.clear()

    async def stop(self):
        await self.close_pages()
        await self.chromium.close()
        await self.playwright.stop()
        self.server.shutdown()
        self.server.server_close()
