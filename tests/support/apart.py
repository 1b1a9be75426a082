"""Programs that see this machine, and may change what they will: as root.

What they write lies over the machine's files, and is forgotten when they end.
"""

import os
import subprocess
import sys
from pathlib import Path

from servers import find_program

ENTER = """
set -eu
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay \\
    -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
cd /mnt/root
for place in dev proc; do
    mount --rbind "/$place" "$place"
done
eval "$PREPARE"
exec chroot . "$@"
"""


def start_apart(
    prepare: str, *command: str, **environment: object
) -> subprocess.Popen[str]:
    """Start a command where a shell, in the new root, has prepared all."""
    unshare = find_program("unshare", "util-linux")
    path = f"{Path(sys.executable).parent}:/usr/local/bin:{os.environ['PATH']}"
    added = {name: str(value) for name, value in environment.items()}
    return subprocess.Popen(
        [unshare, "--mount", "sh", "-c", ENTER, "sh", *command],
        env=os.environ | {"PATH": path, "PREPARE": prepare} | added,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
