"""Lives worlds under a seed each, or one of them again: see `--help`.

    tools/world --minutes 10
    tools/world --seed 17 --log

A history is three days of two to five regions. Everything between the
notification of an image and the row in a cell is the package's own code, as
the agent starts it: `agent.services` builds its loops, which run as tasks of
one thread. Time, chance, brokers, databases and what dies when are the
world's, drawn from the seed: the same seed is the same history, to the last
switch. What happens is in `played.history`; each evening, all faults end, and
`played.judge` says whether all is as it must be.

A history that goes wrong is told with its seed, and without the happenings
that it does not need to go wrong.
"""

import os
import sys
from pathlib import Path

if os.environ.get("PYTHONHASHSEED") != "0":
    # In which order a set is gone through is chance, too.
    os.environ["PYTHONHASHSEED"] = "0"
    os.execv(sys.executable, [sys.executable, *sys.argv])

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).parent))

from played import nature

nature.install()  # before the package is imported

import argparse  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from dataclasses import asdict  # noqa: E402
from itertools import count  # noqa: E402

from judged import commit  # noqa: E402
from played import history, mutants, setting, shrinking  # noqa: E402
from played.scheduler import Wrong  # noqa: E402


def parsed() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, help="live this one alone")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--minutes", type=float, default=1.0, help="of one core, to spend"
    )
    parser.add_argument("--days", type=int, default=history.DAYS)
    parser.add_argument(
        "--images",
        type=int,
        default=0,
        help="uploaded besides, in each region and day",
    )
    parser.add_argument("--log", action="store_true", help="tell everything")
    parser.add_argument("--mutants", action="store_true", help="name them")
    parser.add_argument("--mutant", help="put a fault into the package first")
    parser.add_argument("--leave-out", default="", help="happenings: 3,17,21")
    parser.add_argument(
        "--outcomes", action="store_true", help="a line of JSON for each"
    )
    return parser.parse_args()


def seeds(options: argparse.Namespace) -> Iterator[int]:
    """Gives one, or as many as there is time for."""
    if options.seed is not None:
        yield options.seed
        return
    for seed in count(options.first):
        if time.process_time() > 60 * options.minutes:
            return
        yield seed


def main() -> int:
    """Lives what the command line asks for."""
    options = parsed()
    setting.install()
    if options.mutants:
        for name, change in mutants.ALL.items():
            print(f"{name}: {(change.__doc__ or '').splitlines()[0]}")
        return 0
    if options.mutant:
        mutants.ALL[options.mutant]()
    left_out = [int(n) for n in options.leave_out.split(",") if n]
    days = 0
    for seed in seeds(options):
        log: list[str] | None = [] if options.log else None
        try:
            outcome = history.run(
                seed, left_out, options.days, log, options.images
            )
        except Wrong as error:
            print(f"seed {seed}, commit {commit()}: {error}", flush=True)
            if options.mutant:
                spent = time.process_time() / 60
                print(f"minutes spent: {spent:.3f}")
            elif options.log:
                print("\n".join(log or ()))
            else:
                print(shrinking.told(seed, options.days, options.images))
            return 1
        if options.log:
            print("\n".join(log or ()))
        if options.outcomes:
            print(json.dumps(asdict(outcome)), flush=True)
        days += outcome.days
    minutes = time.process_time() / 60
    print(f"{days} days in {minutes:.1f} minutes of one core: all in order")
    return 0


if __name__ == "__main__":
    sys.exit(main())
