"""Browsers as clients of lib.interop."""

import asyncio
import base64
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lib.browser import Browser
from lib.client import TIMEOUT
from lib.nginx import ROOT

SLOWNESS = float(os.environ.get("WT_SLOWNESS", 1))
SCRIPT = (ROOT / "t/interop/browser.js").read_text()


def call(url, certificate, features):
    """JavaScript that runs the scenario."""
    arguments = json.dumps([url, list(certificate.sha256), features, SLOWNESS])
    return f"interop(...{arguments})"


class Chromium:
    """Debian's, one per run; arguments are for its command line."""

    def __init__(self, *arguments):
        self.arguments = arguments

    async def run(self, url, certificate, features):
        # where no hashes may be given, this makes the certificate a good one
        public = x509.load_pem_x509_certificate(
            certificate.path.read_bytes()).public_key().public_bytes(
                Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        digest = base64.b64encode(hashlib.sha256(public).digest()).decode()

        browser = await Browser().start(
            f"--ignore-certificate-errors-spki-list={digest}",
            "--webtransport-developer-mode",
            *self.arguments)
        try:
            page = await browser.page()
            await page.add_script_tag(content=SCRIPT)
            return await page.evaluate(call(url, certificate, features))
        finally:
            await browser.stop()


PREFERENCES = {
    "marionette.port": 0,
    # it is left alone for hosts that need it no certificate of a public root
    "network.http.http3.disable_when_third_party_roots_found": False,
    "network.webtransport.enabled": True,
    "network.webtransport.datagrams.enabled": True,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "services.settings.server": "",
}


class Firefox:
    """Firefox ESR, by Marionette, the protocol that is built into it: on TCP,
    messages are JSON with their length in front."""

    async def run(self, url, certificate, features):
        with tempfile.TemporaryDirectory(prefix="wt-firefox-") as profile:
            profile = pathlib.Path(profile)
            (profile / "user.js").write_text("".join(
                f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
                for name, value in PREFERENCES.items()))
            process = subprocess.Popen(
                ["firefox-esr", "--headless", "--marionette", "--no-remote",
                 "--remote-allow-system-access", "--profile", profile], env=os.environ | {
                     "HOME": str(profile), "MOZ_CRASHREPORTER_DISABLE": "1"},
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                return await self._drive(profile, url, certificate, features)
            finally:
                process.terminate()
                await asyncio.to_thread(process.wait)

    async def _drive(self, profile, url, certificate, features):
        port = profile / "MarionetteActivePort"
        async with asyncio.timeout(6 * TIMEOUT):
            while not (port.exists() and port.read_text()):
                await asyncio.sleep(0.05)
        reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", int(port.read_text()), limit=1 << 24)
        self.reader = reader
        self.count = 0
        await self._message()

        # a page on http://localhost is a secure context
        server = Browser.blank()
        try:
            await self._command("WebDriver:NewSession", {
                "capabilities": {"alwaysMatch": {
                    "acceptInsecureCerts": True}}})
            await self._command("WebDriver:SetTimeouts", {"script": 3600_000})
            await self._trust(certificate)
            await self._command("WebDriver:Navigate", {
                "url": f"http://localhost:{server.server_port}"})
            result = await self._command("WebDriver:ExecuteAsyncScript", {
                "script": SCRIPT + "const done = arguments[0];"
                + call(url, certificate, features) + ".then(done);",
                "args": [], "sandbox": None})
            return result["value"]
        finally:
            self.writer.close()
            server.shutdown()
            server.server_close()

    async def _trust(self, certificate):
        """Where no hashes may be given, this makes it a good one."""
        await self._command("Marionette:SetContext", {"value": "chrome"})
        await self._command("WebDriver:ExecuteScript", {
            "script": """
                Cc["@mozilla.org/security/x509certdb;1"]
                    .getService(Ci.nsIX509CertDB)
                    .addCertFromBase64(arguments[0], "CP,CP,CP");
            """,
            "args": [base64.b64encode(x509.load_pem_x509_certificate(
                certificate.path.read_bytes()).public_bytes(
                    Encoding.DER)).decode()]})
        await self._command("Marionette:SetContext", {"value": "content"})

    async def _message(self):
        size = (await self.reader.readuntil(b":"))[:-1]
        return json.loads(await self.reader.readexactly(int(size)))

    async def _command(self, name, parameters):
        self.count += 1
        message = json.dumps([0, self.count, name, parameters])
        self.writer.write(f"{len(message.encode())}:{message}".encode())
        _, _, error, result = await self._message()
        assert error is None, error
        return result
