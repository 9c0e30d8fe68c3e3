"""Results as tables, for the terminal and for Markdown."""

import textwrap

from bench import results
from bench.metrics import metric, number, spread
from bench.servers import FLOORS, KINDS

MORE = ("worker", "rate", "p50", "p99", "lost")


class Table:
    """Rows of text below a head.

    words   so many columns, from the left, are no numbers
    """

    def __init__(self, *head, words=1):
        self.head = head
        self.words = words
        self.rows = []

    def add(self, *row):
        self.rows.append(row)

    def text(self):
        lines = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines)]
        return "\n".join("  ".join(
            cell.ljust(width) if column < self.words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths))).rstrip()
            for line in lines)

    def markdown(self):
        rule = ["---" if column < self.words else "---:"
                for column in range(len(self.head))]
        return "\n".join("| " + " | ".join(line) + " |"
                         for line in [self.head, rule, *self.rows])


def case_table(case, servers):
    """A row for each server.  The first columns are what is compared, with
    ratios; then other figures, where there are any."""
    more = [key for key in MORE if key not in case.metrics
            and any(results.values(servers, name, key) for name in servers)]
    references = {key: _references(case, servers, key)
                  for key in case.metrics}
    head = ["server"]
    for key in case.metrics:
        shown = metric(case, key)
        head.append(f"{shown.title}, {shown.unit}")
        head += [f"× {KINDS[name].title}" for name in references[key]]
    head += [f"{metric(case, key).title}, {metric(case, key).unit}"
             for key in more]

    table = Table(*head)
    for name in servers:
        row = [KINDS[name].title]
        for key in case.metrics:
            row.append(spread(results.summary(servers, name, key),
                              metric(case, key).divisor))
            row += [_ratio(servers, name, other, key)
                    for other in references[key]]
        for key in more:
            found = results.summary(servers, name, key)
            row.append(number(found.median / metric(case, key).divisor)
                       if found else "–")
        table.add(*row)
    return table


def _references(case, servers, key):
    """The servers with which the others are compared."""
    best = case.against or results.best_peer(servers, key)
    floors = [name for name in FLOORS if name in servers]
    own = ["nginx"] if "nginx" in servers and case.against != "nginx" else []
    return [name for name in [best, *floors, *own]
            if name and results.values(servers, name, key)]


def _ratio(servers, name, other, key):
    if name == other:
        return "1"
    return spread(results.ratio(servers, name, other, key))


def failures(case, servers):
    return [f"{KINDS[name].title}: {found['error']}"
            for name, found in servers.items() if found["error"]]


def notes(case, servers):
    slow = [f"{KINDS[name].title} could not keep up: {found['slow']}."
            for name, found in servers.items() if found.get("slow")]
    return " ".join([case.note, *slow]).strip()


def rounds(servers):
    return max((len(found["rounds"]) for found in servers.values()),
               default=0)


def case_text(case, servers):
    runs = rounds(servers)
    lines = [f"{case.name}: {case.title}, {runs} run{'s'[:runs != 1]}",
             case_table(case, servers).text()]
    lines += [f"FAILED  {line}" for line in failures(case, servers)]
    if notes(case, servers):
        lines.append(textwrap.fill(notes(case, servers), 79))
    return "\n".join(lines) + "\n"


# ---- targets -----------------------------------------------------------------

def target_table(outcomes):
    table = Table("target", "case", "measured", "against", "runs", "met",
                  words=6)
    for outcome in outcomes:
        target = outcome.target
        if outcome.measured is None:
            measured = "not measured"
        elif target.above:
            measured = spread(outcome.measured, 1024) + " KB"
        else:
            measured = spread(outcome.measured)
        case = target.case
        if target.metric in ("p50", "p99"):
            case += f", {target.metric}"
        against = outcome.against or ""
        table.add(target.text, case, measured,
                  KINDS[against].title if against in KINDS else against,
                  str(outcome.measured.runs if outcome.measured else 0),
                  _verdict(outcome))
    return table


def _verdict(outcome):
    if outcome.measured is None:
        return "?"
    return "yes" if outcome.met else "no"


# ---- the document ------------------------------------------------------------

def machine_table(machine, versions):
    table = Table("", "", words=2)
    for name, value in machine.items():
        table.add(name, value)
    for name, value in versions.items():
        table.add(KINDS[name].title if name in KINDS else name, value)
    return table


def sections(cases, found, outcomes, machine, versions, plots):
    """The generated part of docs/benchmarks.md.

    plots   case name to paths of its plots, seen from the document
    """
    parts = ["## Machine and versions", machine_table(machine,
                                                      versions).markdown(),
             "## Targets", target_table(outcomes).markdown(), "## Results"]
    for case in cases:
        servers = found.get(case.name)
        if servers is None:
            continue
        runs = rounds(servers)
        title = case.title[0].upper() + case.title[1:]
        parts.append(f"### {case.name}")
        parts.append(f"{title}; {runs} run{'s'[:runs != 1]}. "
                     f"{notes(case, servers)}".rstrip())
        parts.append(case_table(case, servers).markdown())
        parts += [f"**Failed:** {line}" for line in failures(case, servers)]
        parts += [f"![{case.title}]({path})"
                  for path in plots.get(case.name, [])]
    return "\n\n".join(parts) + "\n"


BEGIN = "<!-- from here on written by t/bench/run -->"
END = "<!-- to here -->"


def insert(document, generated):
    """The document with a new generated part."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no part between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{generated}\n{END}{after}"
