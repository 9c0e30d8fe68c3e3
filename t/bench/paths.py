"""Where things are."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "t/bench"
BUILD = ROOT / "build/bench"
BIN = BUILD / "bin"

NGINX = ROOT / "build/release/nginx"
MODULE = ROOT / "build/release/ngx_http_webtransport_module.so"

DOCUMENT = ROOT / "docs/benchmarks.md"
PUBLISHED = ROOT / "docs/benchmarks"
