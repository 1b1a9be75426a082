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
    """Return when a condition holds; fail if it does not ``within`` these.

    A condition that is a program's word takes a second of CPU, which those
    that are waited for need: between two of these there is as much rest.
    """
    deadline = time.monotonic() + within(seconds)
    while True:
        asked = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        if now > deadline:
            raise TimeoutError(f"not so within {within(seconds)} s")
        time.sleep(max(POLL_SECONDS, min(now - asked, 1)))
