"""Browsers and libraries of others, as clients: see lib.interop.

EXPECTED says what each of them does.  A result that is another one fails the
test, also a better one.  The table in docs/interop.md is made of it:

    python -m pytest test_interop.py --write-interop
"""

import os
import re
import subprocess
import sys

import pytest

from lib import interop, interop_browser
from lib.interop import FEATURES, Gap, Limit, Program
from lib.nginx import ROOT

BUILT = ROOT / "build/interop"

# Chromium's draft 07 is behind a flag, and so is the attribute "draining"
NEWER = ["--enable-features=EnableWebTransportDraft07",
         "--enable-blink-features=WebTransportDraining"]


def aioquic(folder):
    return Program(sys.executable, ROOT / "t/interop/client_aioquic.py",
                   env=os.environ | {"PYTHONPATH": str(BUILT / folder)})


CLIENTS = {
    "Chromium": interop_browser.Chromium(),
    "Chromium, draft 07": interop_browser.Chromium(*NEWER),
    "Firefox ESR": interop_browser.Firefox(),
    "webtransport-go": Program(BUILT / "webtransport-go"),
    "webtransport-go 0.9": Program(BUILT / "webtransport-go-0.9"),
    "wtransport": Program(BUILT / "wtransport"),
    "web-transport-quinn": Program(BUILT / "web-transport-quinn"),
    "web-transport-quiche": Program(BUILT / "web-transport-quiche"),
    "aioquic": aioquic("aioquic-1.7"),
    "aioquic 1.2": aioquic("aioquic-1.2"),
}


# ---- what they do -----------------------------------------------------------

NO_DRAIN = Limit("unsupported: no API for DRAIN", "no API for DRAIN")
ONE_SESSION = Limit("unsupported: one session per connection",
                    "one session per connection")
OCTET = Limit("partly: codes up to 255",
              "the API has codes of streams up to 255 only", "partly")
OWN_CONNECTION = Limit("failed: 3 connections",
                       "`allowPooling` is accepted, but each session gets a "
                       "connection of its own")

CHROMIUM = {
    "reset-out": OCTET,
    "stop-out": OCTET,
    "drain-out": NO_DRAIN,
    "pooling": OWN_CONNECTION,
}

RUST = {"drain-out": NO_DRAIN, "drain-in": NO_DRAIN, "pooling": ONE_SESSION}

CONNECTION_CLOSED = Limit("unsupported: close.*",
                          "closes the QUIC connection, and sends no capsule")

EXPECTED = {
    "Chromium": {
        **CHROMIUM,
        "drain-in": Limit("unsupported: .*draining.*",
                          "the attribute `draining` is behind a flag"),
    },
    "Chromium, draft 07": CHROMIUM,
    "Firefox ESR": {
        "protocol": Limit("unsupported: .*protocol.*",
                          "the attribute `protocol` is missing"),
        "reset-out": OCTET,
        "reset-in": Limit("failed: 0 is TypeError .*",
                          "on bidirectional streams a TypeError without the "
                          "code"),
        "stop-out": Limit("failed: timeout.*",
                          "`cancel()` sends no STOP_SENDING"),
        "stop-in": OCTET,
        "drain-out": NO_DRAIN,
        "drain-in": Limit("unsupported: .*draining.*",
                          "the attribute `draining` is missing"),
        "pooling": OWN_CONNECTION,
    },
    "webtransport-go": {
        "all": Gap("failed: .*server didn't enable QUIC stream reset partial "
                   "delivery", "needs draft 15: the transport parameter "
                   "`reset_stream_at` and SETTINGS 0x2c7cf000"),
        "drain-out": NO_DRAIN,
        "drain-in": NO_DRAIN,
    },
    "webtransport-go 0.9": {
        "protocol": Limit("unsupported: no API for protocols",
                          "no API for protocols"),
        **RUST,
    },
    "wtransport": {
        "protocol": Limit("unsupported: no API for protocols.*",
                          "no API for protocols"),
        "close-out": CONNECTION_CLOSED,
        **RUST,
    },
    "web-transport-quinn": RUST,
    "web-transport-quiche": {
        "close-out": CONNECTION_CLOSED,
        "close-in": Limit("failed: None instead of .*",
                          "reads capsules as if no DATA frames were around "
                          "them"),
        **RUST,
    },
    "aioquic": {},
    "aioquic 1.2": {},
}


@pytest.mark.parametrize("name", CLIENTS)
async def test_client(nginx, worker, name):
    if name == "web-transport-quiche" and not (BUILT / name).exists():
        pytest.skip("built only with WT_QUICHE=1 t/setup: takes minutes")

    ngx = nginx(interop.CONFIGURATION % worker.passed)
    results = await interop.run(CLIENTS[name], ngx, worker)
    assert results.keys() == FEATURES.keys()
    assert interop.unexpected(results, EXPECTED[name]) == {}

    drafts = {line["draft"] for line in ngx.access_log()
              if line["status"] == "200"}
    assert drafts == DRAFTS[name]


# what $webtransport_draft says of their sessions

DRAFTS = {
    "Chromium": {"02"},
    "Chromium, draft 07": {"07"},
    "Firefox ESR": {"02"},
    "webtransport-go": set(),
    "webtransport-go 0.9": {"09"},
    "wtransport": {"07"},
    "web-transport-quinn": {"07"},
    "web-transport-quiche": {"07"},
    "aioquic": {"02"},
    "aioquic 1.2": {"02"},
}


# ---- docs/interop.md --------------------------------------------------------


def versions():
    """Of the clients, as far as they are here."""
    def said(command):
        output = subprocess.run([command, "--version"], text=True,
                                capture_output=True, check=True).stdout
        return re.search(r"\d[\d.]*", output)[0]

    def locked(path, name):
        return re.search(rf'\b{name}["\s]+(?:version = ")?v?(\d[\d.]*)',
                         (ROOT / "t/interop" / path).read_text())[1]

    chromium = said("chromium")
    return {
        "Chromium": chromium,
        "Chromium, draft 07": chromium,
        "Firefox ESR": said("firefox-esr"),
        "webtransport-go": locked("go/go.mod", "webtransport-go"),
        "webtransport-go 0.9": locked("go/old.mod", "webtransport-go"),
        **{name: locked("rust/Cargo.lock", name) for name in
           ("wtransport", "web-transport-quinn", "web-transport-quiche")},
        **{name: (BUILT / folder / "installed").read_text()
           .split()[0].partition("==")[2]
           for name, folder in (("aioquic", "aioquic-1.7"),
                                ("aioquic 1.2", "aioquic-1.2"))},
    }


def test_documentation_has_the_table(request):
    if request.config.getoption("write_interop"):
        interop.write_table(interop.table(EXPECTED, versions()))
    assert interop.written_table() == interop.table(EXPECTED)
