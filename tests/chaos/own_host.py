"""Run the agent on what it takes for a host of its own.

    python own_host.py NAME CLOCK RELEASE --config-file FILE

Hosts of a region are told apart by their names; here they share a machine.
CLOCK is a file that says by how many seconds the host's clock is ahead at
present: a double, which is read each time. What only measures how long
something takes (monotonic) is right. RELEASE is a program that runs the agent,
or "today".
"""

import mmap
import runpy
import socket
import struct
import sys
import time
from pathlib import Path

from ec2map_sync.agent import main

AHEAD = struct.Struct("<d")


def be(name: str, clock: Path) -> None:
    """Be a host of this name and with this clock from now on."""
    socket.gethostname = lambda: name
    with clock.open("rb") as file:
        shared = mmap.mmap(file.fileno(), AHEAD.size, prot=mmap.PROT_READ)
    whole, exact = time.time_ns, time.time
    time.time = lambda: exact() + AHEAD.unpack_from(shared)[0]
    time.time_ns = lambda: whole() + int(AHEAD.unpack_from(shared)[0] * 1e9)


if __name__ == "__main__":
    be(sys.argv.pop(1), Path(sys.argv.pop(1)))
    release = sys.argv.pop(1)
    if release == "today":
        main.main()
    else:
        runpy.run_path(release, run_name="__main__")
