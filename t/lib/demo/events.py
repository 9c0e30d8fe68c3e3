"""What happens in nginx, from its logs, in a form for people."""

import asyncio
import re

INTERVAL_SECONDS = 0.2

OPENED = re.compile(r"webtransport session (\S+): accepted by .*"
                    r'request: "CONNECT (\S+)')
TROUBLE = re.compile(r"\[(warn|error|crit|alert|emerg)\] \S+ (.*)")

ENDED = {
    "client": "closed by client",
    "worker": "closed by worker",
    "control": "closed by control call",
    "timeout": "closed by timeout",
    "limit": "closed by limit",
    "shutdown": "closed by nginx's shutdown",
    "worker_lost": "closed, worker lost",
    "protocol": "closed after protocol error",
    "lost": "lost",
}


class Tail:
    """The new lines of a file that grows."""

    def __init__(self, path):
        self.file = open(path, errors="replace")
        self.partial = ""

    def lines(self):
        *lines, self.partial = (self.partial + self.file.read()).split("\n")
        return lines


class Events:
    """Calls say(line) with each event, once run() runs."""

    def __init__(self, directory, say):
        self.errors = Tail(directory / "error.log")
        self.sessions = Tail(directory / "sessions.log")
        self.say = say

    async def run(self):
        while True:
            self.look()
            await asyncio.sleep(INTERVAL_SECONDS)

    def look(self):
        for line in self.errors.lines():
            if match := OPENED.search(line):
                self.say(f"{match[2]}  session opened")
            elif match := TROUBLE.search(line):
                self.say(f"nginx: {match[2]}")
        for line in self.sessions.lines():
            self.say(describe(line))


def describe(line):
    """A line of the access log; see nginx.conf for its fields."""
    status, uri, *fields = line.split(" ")
    fields = dict(field.split("=", 1) for field in fields)
    if fields["id"] == "-":
        return f"{uri}  refused with {status}"
    if status != "200":
        return f"{uri}  session refused with {status}"

    parts = [f"session {ENDED.get(fields['by'], fields['by'])}",
             f"code {fields['code']}",
             f"{float(fields['seconds']):.1f} s"]
    for name in ("stream", "datagram"):
        came, went = map(int, fields[f"{name}s"].split("/"))
        if came or went:
            plural = "" if came == 1 else "s"
            parts.append(f"{came} {name}{plural} in, {went} out")
    came, went = map(int, fields["bytes"].split("/"))
    if came or went:
        parts.append(f"{size(came)} in, {size(went)} out")
    if fields["dropped"] != "0":
        parts.append(f"{fields['dropped']} dropped")
    return f"{uri}  {', '.join(parts)}"


def size(n):
    for unit in ("bytes", "KB", "MB"):
        if n < 1000:
            break
        n /= 1000
    else:
        unit = "GB"
    return f"{n} {unit}" if unit == "bytes" else f"{n:.1f} {unit}"
