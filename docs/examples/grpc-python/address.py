"""Where to listen: what nginx's grpc://... takes."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import grpc


def bind(server: grpc.aio.Server, address: str) -> None:
    """Binds a server to "unix:/path" or "host:port"."""
    if not address.startswith("unix:"):
        server.add_insecure_port(address)
        return

    path = Path(address.removeprefix("unix:"))
    _check_unused(path)
    server.add_insecure_port(address)
    # nginx's worker processes run as another user, and connecting takes the
    # right to write.  Who may come here is up to the directory.
    path.chmod(0o666)


def _check_unused(path: Path) -> None:
    """gRPC replaces any socket that it finds, the one in use included."""
    if not path.exists():
        return

    if not stat.S_ISSOCK(path.stat().st_mode):
        raise OSError(f"{path} exists and is not a socket")

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)

        if probe.connect_ex(str(path)) == 0:
            raise OSError(f"{path} is in use")
