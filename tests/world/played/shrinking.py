"""Leaves out of a history that goes wrong what it does not need for that."""

import time
from contextlib import suppress

from played import history
from played.scheduler import Wrong

SECONDS = 240.0
"""Of one core, that are spent on it at most."""

LONGEST = 30
"""Happenings, at most, of a history that anybody reads."""


def shortest(seed: int, days: int, images: int = 0) -> tuple[set[int], str]:
    """Returns what can be left out, and how the rest goes wrong."""
    until = time.process_time() + SECONDS
    whole = range(days * history.PER_DAY)
    left_out: set[int] = set()
    wrong = _wrong(seed, days, left_out, images)
    size = len(whole) // 2
    while size and wrong:
        for start in range(0, len(whole), size):
            if time.process_time() > until:
                return left_out, wrong
            part = left_out | set(whole[start : start + size])
            if part > left_out and (found := _wrong(seed, days, part, images)):
                left_out, wrong = part, found
        size //= 2
    return left_out, wrong


def told(seed: int, days: int, images: int = 0) -> str:
    """Tells a history that goes wrong, as short as it can be."""
    left_out, wrong = shortest(seed, days, images)
    log: list[str] = []
    with suppress(Wrong):
        history.run(seed, left_out, days, log, images)
    happened = [line for line in log if " -- " in line]
    option = ",".join(map(str, sorted(left_out)))
    return "\n".join(
        [
            f"without {len(left_out)} happenings: {wrong}",
            *happened[-LONGEST:],
            f"again: tools/world --seed {seed} --days {days} "
            f"--images {images} --log --leave-out {option}",
        ]
    )


def _wrong(seed: int, days: int, left_out: set[int], images: int) -> str:
    try:
        history.run(seed, left_out, days, images=images)
    except Wrong as error:
        return str(error)
    return ""
