"""PHP-FPM.  As a program, it behaves like one of the example workers:

    fpm.py unix:/path [--quiet]

has PHP-FPM listen there, and says so when it does.
"""

import argparse
import os
import pathlib
import socket
import time

CONFIGURATION = """
[global]
daemonize = no
error_log = {log}
log_level = warning

[www]
listen = {address}
pm = static
pm.max_children = {processes}
catch_workers_output = yes
clear_env = no
"""

# for a location of nginx
PARAMETERS = """\
            fastcgi_param SCRIPT_FILENAME {script};
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param CONTENT_LENGTH $content_length;"""

# a session in a room keeps one of them busy
PROCESSES = 12

START_SECONDS = 10


def command(address, processes, log="/proc/self/fd/2"):
    """What to run; the configuration is beside the socket."""
    # the name of the program has PHP's version in it
    program = max(pathlib.Path("/usr/sbin").glob("php-fpm[0-9]*"))
    text = CONFIGURATION.format(log=log, address=address, processes=processes)
    root = os.getuid() == 0
    if root:
        # another user may be unable to read the example
        text += "user = root\ngroup = root\n"
    path = pathlib.Path(f"{address}.conf")
    path.write_text(text)
    return [program, "--nodaemonize", "--fpm-config", path,
            *(["--allow-to-run-as-root"] if root else [])]


def announce(address):
    """In a process of its own; not a child, which PHP-FPM would wonder at."""
    if os.fork():
        os.wait()
        return
    if os.fork() == 0:
        deadline = time.monotonic() + START_SECONDS
        with socket.socket(socket.AF_UNIX) as sock:
            while sock.connect_ex(address) and time.monotonic() < deadline:
                time.sleep(0.01)
        if time.monotonic() < deadline:
            print(f"listening on unix:{address}", flush=True)
    os._exit(0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--quiet", action="store_true")
    address = parser.parse_args().address.removeprefix("unix:")
    state = pathlib.Path(address).parent / "state"
    state.mkdir(exist_ok=True)
    os.environ["WEBTRANSPORT_STATE"] = str(state)
    program, *arguments = command(address, PROCESSES)
    announce(address)
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    main()
