"""What keeps the agent's secrets in the agent."""

import subprocess
import sys

SHUT = """
import ctypes, os, resource
from ec2map_sync.agent import secrecy
secrecy.shut()
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
pid = os.fork()
if pid:
    os.waitpid(pid, 0)
print(dumpable, resource.getrlimit(resource.RLIMIT_CORE), os.umask(0))
"""


def test_no_core_can_be_dumped_and_no_file_be_read_by_others():
    done = subprocess.run(
        [sys.executable, "-c", SHUT],
        capture_output=True,
        text=True,
        check=True,
    )

    alike = f"0 (0, 0) {0o077}\n"
    assert done.stdout == alike * 2  # also where a service was forked
