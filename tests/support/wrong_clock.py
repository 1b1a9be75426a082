"""Run the agent on a machine whose clock is wrong.

python wrong_clock.py SECONDS WITNESS --config-file FILE

SECONDS are what every clock of the process is ahead of the present; what
only measures how long something takes (monotonic) is right. WITNESS is "blind"
if the clock of the ledger's database tells nothing, else "sees".
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from ec2map_sync.agent import main
from ec2map_sync.ledger import recording, tables


def shift(seconds: int) -> None:
    """Let the time be another one from now on."""
    whole, exact = time.time_ns, time.time
    time.time_ns = lambda: whole() + seconds * 1_000_000_000
    time.time = lambda: exact() + seconds


def blind(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Let a ledger's database have no clock that could be compared with."""
    head = sa.select(tables.head, sa.null().label("clock"))
    put(recording, "_LOCK", head.with_for_update())


if __name__ == "__main__":
    shift(int(sys.argv.pop(1)))
    if sys.argv.pop(1) == "blind":
        blind()
    main.main()
