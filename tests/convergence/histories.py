"""Run many histories, or one again: see `--help`.

    python tests/convergence/histories.py --seeds 0-5000
    python tests/convergence/histories.py --kind serial --seeds 41-42 --shrink

Each number stands for one history, always the same one. One that fails is
told with its seed and all that has happened in it; ``--shrink`` leaves out
what it does not need to fail.
"""

import argparse
import logging
import os
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from simulation import skirmish
from simulation.history import (
    ANY,
    LOSSY,
    OUTLAWS,
    PUSHED,
    SERIAL,
    Outcome,
    Profile,
    run,
)
from simulation.region import Parts, Wrong

SKIRMISH = Profile(actions=skirmish.ACTS, outlaws=True)
"""Attacks alone, on a ledger in memory: see `simulation.skirmish`."""

KINDS = {
    "any": ANY,
    "serial": SERIAL,
    "pushed": PUSHED,
    "lossy": LOSSY,
    "outlaws": OUTLAWS,
    "skirmish": SKIRMISH,
}


def attempt(
    seed: int,
    profile: Profile = ANY,
    parts: Parts | None = None,
    leave_out: Collection[int] = (),
) -> Outcome | str:
    """Run a history; gives a text if it went wrong."""
    logging.disable(logging.CRITICAL)
    try:
        if profile == SKIRMISH:
            return skirmish.run(seed, leave_out)
        return run(seed, profile, parts, leave_out)
    except Wrong as error:
        return "\n".join([str(error), *error.__notes__])
    finally:
        logging.disable(logging.NOTSET)


def attempt_all(
    seeds: Iterable[int], profile: Profile, processes: int | None = None
) -> Iterator[Outcome | str]:
    """Run histories on all processors."""
    with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
        yield from pool.map(
            partial(attempt, profile=profile),
            seeds,
            chunksize=20 if profile == SKIRMISH else 4,
        )


def shortest(seed: int, profile: Profile) -> str:
    """Leave actions out of a history for as long as it goes wrong."""
    left_out: set[int] = set()
    size = profile.actions // 2
    while size:
        for start in range(0, profile.actions, size):
            part = left_out | set(range(start, start + size))
            if part > left_out and isinstance(
                attempt(seed, profile, leave_out=part), str
            ):
                left_out = part
        size //= 2
    return str(attempt(seed, profile, leave_out=left_out))


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", default="0-1000", help="FIRST-STOP")
    parser.add_argument("--kind", choices=KINDS, default="any")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--shrink", action="store_true")
    options = parser.parse_args()
    first, _, stop = options.seeds.partition("-")
    seeds = range(int(first), int(stop or int(first) + 1))
    profile = KINDS[options.kind]
    began = time.monotonic()
    failed = moved = rounds = evicted = held = 0
    results = attempt_all(seeds, profile, options.processes)
    for seed, result in zip(seeds, results, strict=True):
        if isinstance(result, Outcome):
            moved += result.moved
            rounds = max(rounds, result.rounds)
            evicted += result.evicted
            held += result.held
        else:
            failed += 1
            text = shortest(seed, profile) if options.shrink else result
            print(text, end="\n\n", flush=True)
    print(
        f"{len(seeds)} histories ({options.kind}) in "
        f"{time.monotonic() - began:.0f} s: {failed} went wrong; "
        f"{moved} moves, {evicted} evictions, {held} entries held; at rest "
        f"after at most {rounds} rounds"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
