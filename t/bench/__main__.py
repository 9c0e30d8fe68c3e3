"""The command line; t/bench/run comes here after the set-up."""

import argparse
import datetime
import json
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from bench import (cases, machine, measure, nginx, plot, report, servers,
                   targets)
from bench.paths import DOCUMENT, PUBLISHED
from lib.certificate import Certificate

PATTERN = bytes(range(251))     # of all that is transferred
FILES = {"1k": 1000, "16m": 16_000_000}


def arguments():
    parser = argparse.ArgumentParser(
        prog="t/bench/run",
        description="Measures this module and its peers side by side: server "
        "CPU time per operation, in the same run, with the same client.  The "
        "exit status is 1 if a server or a case is broken, however slow they "
        "are.")
    parser.add_argument("case", nargs="*",
                        help="names of cases, or their beginnings; all")
    parser.add_argument("--list", action="store_true",
                        help="names the cases and ends")
    parser.add_argument("--quick", action="store_true",
                        help="a little of everything, without peers: shows "
                        "that the module works under load")
    parser.add_argument("--rounds", type=int, metavar="N",
                        help=f"of each case; {measure.Effort.rounds}")
    parser.add_argument("--seconds", type=float, metavar="S",
                        help="of each measurement; "
                        f"{measure.Effort.seconds:g}")
    parser.add_argument("--servers", metavar="NAME,...",
                        help=f"only these of {', '.join(servers.KINDS)}")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE",
                        help="all figures")
    parser.add_argument("--markdown", type=pathlib.Path, metavar="FILE",
                        help="the tables; in a file that has a marked part for "
                        "them, this is replaced")
    parser.add_argument("--plots", type=pathlib.Path, metavar="DIR",
                        help="an SVG for each case")
    parser.add_argument("--publish", action="store_true",
                        help="docs/benchmarks.md, docs/benchmarks/*.svg and "
                        "docs/benchmarks/results.json")
    parser.add_argument("--report", type=pathlib.Path, metavar="FILE",
                        help="measures nothing; the figures of a former "
                        "--json")
    options = parser.parse_args()
    if options.publish:
        options.json = options.json or PUBLISHED / "results.json"
        options.markdown = options.markdown or DOCUMENT
        options.plots = options.plots or PUBLISHED
    return parser, options


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def chosen(options, parser):
    every = cases.quick_cases() if options.quick else cases.cases()
    if options.case:
        wanted = []
        for name in options.case:
            wanted += [case for case in every if case.name == name] or [
                case for case in every if case.name.startswith(name)] \
                or parser.error(f"no case \"{name}\"; --list names them")
        every = [case for case in every if case in wanted]
    if options.servers:
        names = options.servers.split(",")
        for case in every:
            case.servers[:] = [name for name in case.servers if name in names]
    return [case for case in every if case.servers]


def effort(options):
    """What --quick says, and the numbers on top of it."""
    base = measure.QUICK if options.quick else measure.Effort()
    changes = {name: getattr(options, name) for name in ("rounds", "seconds")
               if getattr(options, name)}
    if "rounds" in changes:
        changes["more_rounds"] = False
    return measure.dataclasses.replace(base, **changes)


def prepare(directory):
    """What servers read."""
    Certificate.create(directory)
    (directory / "files").mkdir()
    for name, size in FILES.items():
        repeated = PATTERN * (size // len(PATTERN) + 1)
        (directory / "files" / name).write_bytes(repeated[:size])


def run(options, selected):
    known = versions(selected)
    machine.raise_file_limit()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="wt-bench-"))
    began = time.monotonic()
    try:
        prepare(directory)
        with machine.socket_buffers() as buffers:
            found = {}
            for case in selected:
                say(f"{case.name}: {case.title}")
                found[case.name] = measure.measure(case, effort(options),
                                                   directory, say)
                print(report.case_text(case, found[case.name]), flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)

    return {
        "date": f"{datetime.date.today()}",
        "minutes": round((time.monotonic() - began) / 60, 1),
        "machine": machine.describe() | {"socket buffers": buffers},
        "versions": known,
        "cases": found,
    }


def versions(selected):
    used = dict.fromkeys(name for case in selected for name in case.servers)
    found = {"this module": servers.module_version(),
             "nginx": servers.version("nginx")}
    found |= {name: servers.version(name) for name in used
              if name in servers.PEERS}
    return found | {"load generator": servers.client_version()}


def write(options, selected, result):
    outcomes = targets.evaluate({case.name: result["cases"][case.name]
                                 for case in selected})
    if outcomes and not options.quick:
        print(report.target_table(outcomes).text())
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    plots = write_plots(options, selected, result)
    if options.markdown:
        write_markdown(options.markdown, report.sections(
            selected, result["cases"], outcomes,
            {"date": result["date"], "duration": f"{result['minutes']} min"}
            | result["machine"], result["versions"], plots)
            + configuration())


def write_plots(options, selected, result):
    """Paths of the plots, as the document sees them."""
    paths = {}
    if not options.plots:
        return paths
    options.plots.mkdir(parents=True, exist_ok=True)
    for case in selected:
        for key in case.metrics:
            drawing = plot.svg(case, result["cases"].get(case.name, {}), key)
            if drawing:
                # the first one is what the case is about
                suffix = "" if key == case.metrics[0] else f"-{key}"
                path = options.plots / f"{case.name}{suffix}.svg"
                path.write_text(drawing)
                paths.setdefault(case.name, []).append(
                    f"{path.parent.name}/{path.name}")
    return paths


def configuration():
    conf = nginx.configuration(
        nginx.LOAD, nginx.ECHO, module="...", listen="127.0.0.1:...",
        connections=nginx.CONNECTIONS, dir="...")
    return f"\n## Configuration of nginx\n\n```nginx\n{conf}```\n"


def write_markdown(path, text):
    old = path.read_text() if path.exists() else ""
    path.write_text(report.insert(old, text) if report.BEGIN in old else text)


def main():
    parser, options = arguments()
    selected = chosen(options, parser)
    if options.list:
        for case in selected:
            print(f"{case.name:18} {case.title}")
        return 0
    if options.report:
        result = json.loads(options.report.read_text())
        selected = [case for case in selected
                    if case.name in result["cases"]]
        for case in selected:
            print(report.case_text(case, result["cases"][case.name]))
    else:
        trouble = machine.check()
        if trouble:
            parser.error(trouble)
        # so that what was started is stopped
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        result = run(options, selected)
    write(options, selected, result)
    broken = [f"{case.name}: {line}" for case in selected for line in
              report.failures(case, result["cases"][case.name])]
    for line in broken:
        say(f"broken: {line}")
    return 1 if broken else 0


sys.exit(main())
