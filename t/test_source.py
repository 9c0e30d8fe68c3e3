"""Rules for the source that no compiler checks."""

import re
import subprocess

import pytest

from lib.nginx import ROOT, VARIABLES

SRC = ROOT / "src"

# a layer sees itself and these
BELOW = {
    "glue": set(),
    "proto": set(),
    "session": {"glue", "proto"},
    "backend": {"glue", "proto", "session"},
    "hub": {"glue", "proto", "session", "backend"},
    "": {"glue", "proto", "session", "backend", "hub"},
}

FILES = sorted(path for path in SRC.rglob("*.[ch]"))
WRITTEN = [path for path in FILES if ".pb." not in path.name]

PREFIXES = ("ngx_http_wt_", "ngx_http_webtransport_")

# in every dynamic module
OF_NGINX = {"ngx_modules", "ngx_module_names", "ngx_module_order"}


def name(path):
    return str(path.relative_to(SRC))


def layer(path):
    return name(path).rpartition("/")[0]


def text(path):
    """The source without comments and strings."""
    source = path.read_text()
    source = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), source,
                    flags=re.S)
    return re.sub(r'"(\\.|[^"\\\n])*"', '""', source)


def includes(path):
    return re.findall(r'^#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(),
                      re.M)


every_file = pytest.mark.parametrize("path", WRITTEN, ids=name)


@every_file
def test_includes_point_downward(path):
    home = {header.name: layer(header) for header in FILES}
    allowed = BELOW[layer(path)] | {layer(path)}

    for header in includes(path):
        if header == "ngx_http_wt.h":
            continue
        if header in home:
            assert home[header] in allowed, f"includes {header}"


@every_file
def test_headers_of_the_module_are_found_by_name(path):
    ours = {header.name for header in FILES}
    for header in includes(path):
        if "webtransport" in header or "ngx_http_wt" in header:
            assert header in ours


@every_file
def test_only_glue_knows_the_private_api(path):
    if layer(path) == "glue":
        return
    assert "ngx_event_quic_connection.h" not in includes(path)
    private = re.findall(r"\bngx_quic_(?!stream_t\b)\w+_t\b|\bqc->|"
                         r"\bngx_http_v3_session_t\b|\bh3c->", text(path))
    assert not private


@every_file
def test_versions_are_compared_in_the_compat_header_only(path):
    if path.name == "ngx_http_wt_glue_compat.h":
        return
    assert "nginx_version" not in text(path)


@every_file
def test_file_is_not_too_long(path):
    assert len(path.read_text().splitlines()) <= 1200


@every_file
def test_style_of_nginx(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        where = f"line {number}: {line}"
        assert len(line) <= 80, where
        assert "\t" not in line, where
        assert line == line.rstrip(), where
    assert not re.search(r"//", text(path)), "a // comment"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_file_is_listed_in_config(path):
    assert re.search(rf"\b{re.escape(path.name)}\b",
                     (ROOT / "config").read_text())


def test_config_lists_no_other_files():
    listed = re.findall(r"^ +([\w/]+\.[ch])$", (ROOT / "config").read_text(),
                        re.M)
    listed += re.findall(r"^ +(webtransport\.pb\.[ch])$",
                         (ROOT / "config").read_text(), re.M)
    existing = {path.name for path in FILES}
    assert {file.rpartition("/")[2] for file in listed} <= existing


def test_names_of_files_have_a_prefix():
    for path in WRITTEN:
        assert path.name.startswith(("ngx_http_wt", "ngx_http_webtransport"))


def test_exported_symbols_have_a_prefix(build):
    done = subprocess.run(["nm", "-D", "--defined-only", build.module],
                          capture_output=True, text=True, check=True)
    symbols = {line.split()[-1].partition("@")[0]
               for line in done.stdout.splitlines()}
    # what the sanitizers and the linker add begins with underscores
    strange = {symbol for symbol in symbols
               if not symbol.startswith((*PREFIXES, "_"))}
    # sanitizers.c is linked into everything
    assert strange - ({"dlclose"} if build.sanitized else set()) <= OF_NGINX


# ---- documentation ----------------------------------------------------------

CONTEXTS = {
    "NGX_HTTP_MAIN_CONF": "http",
    "NGX_HTTP_SRV_CONF": "server",
    "NGX_HTTP_LOC_CONF": "location",
    "NGX_HTTP_LIF_CONF": "if in location",
    "NGX_HTTP_UPS_CONF": "upstream",
}


def directives():
    """The table of the module: name to contexts."""
    found = {}
    for path in SRC.glob("*.c"):
        source = path.read_text()
        for macro in re.finditer(r"#define +(\w+_CONF)\s[\s\\]*\((.*?)\)",
                                 source):
            source = source.replace(macro[1] + "|", macro[2] + "|")
        for entry in re.finditer(
                r'\{ *ngx_string\("(webtransport\w*)"\),\s*'
                r'((?:NGX_\w+[\s|]*)+),', source):
            found[entry[1]] = {CONTEXTS[flag] for flag in
                               re.findall(r"NGX_HTTP_\w+_CONF", entry[2])
                               if flag in CONTEXTS}
    return found


def defaults():
    """Directives with a number for a default: name to that."""
    source = "".join(path.read_text() for path in SRC.glob("*.c"))
    merged = {field.rpartition(".")[2]: int(value) for field, value in
              re.findall(r"ngx_conf_merge_\w+_value\(\s*conf->([\w.]+),"
                         r"\s*prev->[\w.]+,\s*(\d+)\)", source)}
    fields = re.findall(r'ngx_string\("(webtransport\w*)"\),[^}]*?'
                        r"offsetof\(\w+, ([\w.]+)\)", source)
    return {name: merged[field.rpartition(".")[2]] for name, field in fields
            if field.rpartition(".")[2] in merged}


def number(text):
    """5s, 64k, off as nginx keeps them."""
    units = {"ms": 1, "s": 1000, "m": 60_000, "k": 1 << 10}
    value, unit = re.fullmatch(r"(\d*)(\w*)", text).groups()
    return int(value) * units.get(unit, 1) if value else int(unit == "on")


def variables(build):
    """Names in the binary that are no directives."""
    names = re.findall(rb"(?<=\0)webtransport_\w+(?=\0)",
                       build.module.read_bytes())
    return {name.decode() for name in names} - set(directives())


def documented():
    """docs/directives.md: name of a heading to the text under it."""
    path = ROOT / "docs/directives.md"
    parts = re.split(r"^#+ +(.*?) *$", path.read_text(), flags=re.M)[1:]
    return {heading.strip("`"): body
            for heading, body in zip(parts[::2], parts[1::2])}


def test_every_directive_is_documented():
    headings = {h for h in documented() if re.fullmatch(r"webtransport\w*", h)}
    assert directives()
    assert headings == set(directives())


@pytest.mark.parametrize("directive", sorted(directives()))
def test_documentation_names_the_contexts(directive):
    body = documented()[directive]
    context = re.search(r"\*{0,2}Context:?\*{0,2}:?[\s|]*(.*)", body)
    assert context, "no context"
    named = {part.strip(" `|*") for part in context[1].split(",")}
    assert named == directives()[directive]


@pytest.mark.parametrize("directive", sorted(directives()))
def test_documentation_has_syntax_and_default(directive):
    body = documented()[directive]
    assert re.search(rf"Syntax.*{directive}\b", body)
    assert "Default" in body


@pytest.mark.parametrize("directive", sorted(defaults()))
def test_documentation_has_the_default_of_the_source(directive):
    default = re.search(rf"Default.*{directive} (\w+);",
                        documented()[directive])
    assert number(default[1]) == defaults()[directive]


def test_every_variable_is_documented(build):
    text = (ROOT / "docs/directives.md").read_text()
    named = set(re.findall(r"\$(webtransport_\w+)", text))
    assert named == variables(build) == {"webtransport_" + name
                                         for name in VARIABLES}
