"""How long tests wait for what has to happen.

Each deadline in a test is one for an idle machine; here it is stretched, so
that no test fails because the machine is slow, or busy with something else.
"""

import os
import time
from collections.abc import Callable

PATIENCE = float(os.environ.get("EC2MAP_SYNC_TEST_PATIENCE", "3"))
POLL_SECONDS = 0.1


def within(seconds: float) -> float:
    """Give how long to wait for what an idle machine does in these seconds."""
    return seconds * PATIENCE


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Return when a condition holds; fail if it does not ``within`` these."""
    deadline = time.monotonic() + within(seconds)
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {within(seconds)} s")
        time.sleep(POLL_SECONDS)
