"""Makes an nginx's sendmsg() fail, as sockets, drivers and paths can.

    faults = Sendmsg(directory)
    ngx = nginx(..., env=faults.env)
    faults.full = 3             # the next three sends find no room
    faults.gso_error = errno.EIO
"""

import mmap
import struct
import subprocess

from lib.nginx import ROOT

FIELDS = ["gso_error", "full", "mtu", "refused", "sends", "trains"]


class Sendmsg:
    """gso_error, full and mtu are to be set; the other numbers count."""

    def __init__(self, directory):
        source = ROOT / "t/lib/sendmsg.c"
        library = ROOT / "build/sendmsg.so"
        if (not library.exists()
                or library.stat().st_mtime < source.stat().st_mtime):
            subprocess.run(["gcc", "-O", "-Wall", "-shared", "-fPIC",
                            "-o", library, source, "-ldl"], check=True)

        path = directory / "sendmsg"
        path.write_bytes(bytes(4 * len(FIELDS)))
        path.chmod(0o666)
        with open(path, "r+b") as file:
            self.__dict__["map"] = mmap.mmap(file.fileno(), 0)
        self.__dict__["env"] = {"LD_PRELOAD": str(library),
                                "WT_SENDMSG": str(path)}

    def __getattr__(self, name):
        return struct.unpack_from("=i", self.map, 4 * FIELDS.index(name))[0]

    def __setattr__(self, name, value):
        struct.pack_into("=i", self.map, 4 * FIELDS.index(name), value)
