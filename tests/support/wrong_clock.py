"""Run the agent on a machine whose clock is wrong.

python wrong_clock.py SECONDS --config-file FILE

SECONDS are what every clock of the process is ahead of the present; what
only measures how long something takes (monotonic) is right.
"""

import sys
import time

from ec2map_sync.agent import main


def shift(seconds: int) -> None:
    """Let the time be another one from now on."""
    whole, exact = time.time_ns, time.time
    time.time_ns = lambda: whole() + seconds * 1_000_000_000
    time.time = lambda: exact() + seconds


if __name__ == "__main__":
    shift(int(sys.argv.pop(1)))
    main.main()
