"""Chaos with real servers: faults of many kinds, and a checker.

    tools/chaos --minutes 10 --seed 17

Regions of two hosts each run the agent, with a RabbitMQ and a MariaDB of their
own; the last one has two nodes of Galera. Glances announce images without a
pause. Faults are drawn from the seed: which ones, when, to whom and for how
long; what comes of it is up to the machine. At the end of each round, a few
minutes, all faults end, and everything has to be as it must be.

What is not is told, with the seed, the last faults and where the logs are.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from random import Random
from types import FrameType
from uuid import uuid4

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

from announcer import Announced, Announcer  # noqa: E402
from certificates import read_once  # noqa: E402
from chaos_stand import NAMES, Stand  # noqa: E402
from checker import Watch  # noqa: E402
from doing import QUIET, SHOWN, Chaos  # noqa: E402
from faults import KINDS  # noqa: E402
from ground import Ground  # noqa: E402
from judged import commit  # noqa: E402
from pages import written  # noqa: E402
from plan import Plan  # noqa: E402
from servers import ServerError  # noqa: E402


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="one by chance, if not given")
    parser.add_argument(
        "--regions", type=int, default=3, choices=range(2, len(NAMES) + 1)
    )
    parser.add_argument("--hosts", type=int, default=2, choices=(1, 2))
    parser.add_argument(
        "--pause",
        type=float,
        default=2.0,
        help="seconds from a fault to the next one, in the mean",
    )
    parser.add_argument(
        "--images", type=float, default=0.5, help="a second, in each region"
    )
    parser.add_argument(
        "--only", default="", help="kinds of fault: 'link cut,link slow'"
    )
    parser.add_argument("--kinds", action="store_true", help="name them")
    parser.add_argument(
        "--record", type=Path, help="write what was measured to this file"
    )
    parser.add_argument(
        "--quiet",
        type=float,
        default=QUIET,
        help="seconds in which all has to be in order after faults",
    )
    parser.add_argument(
        "--forget",
        action="store_true",
        help="tell nobody of an image, which has to be found",
    )
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    for name in only:
        if name not in KINDS:
            parser.error(f"there is no kind of fault {name!r}: see --kinds")
    options.only = only
    if options.minutes <= 0 or options.pause <= 0 or options.images <= 0:
        parser.error("minutes, pauses and images are more than 0")
    if options.seed is None:
        options.seed = Random().randrange(10**6)
    return options


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def live(options: argparse.Namespace, directory: Path) -> int:
    """Live what the command line asks for; the exit code."""
    plan = Plan(
        options.seed, 60 * options.minutes, options.pause, options.only
    )
    judged = commit()
    say(f"seed {options.seed}, commit {judged}; logs are in {directory}")
    if plan.left_out:
        say(f"left out: {', '.join(plan.left_out)}")
    with Stand(directory, options.regions, options.hosts) as stand:
        announced = Announced()
        regions = list(stand.regions.values())
        announcers = {
            r.name: Announcer(
                r,
                announced,
                Random(f"{options.seed}/{r.name}"),
                1 / options.images,
            )
            for r in regions
        }
        watch = Watch(regions, announced)
        ground = Ground(stand, announced, announcers, watch)
        chaos = Chaos(ground, plan, options.quiet, say)
        if options.forget:
            announced.note(str(uuid4()), regions[0].name)
        try:
            chaos.run()
        finally:
            watch.close()
    if options.record and not chaos.findings:
        options.record.write_text(written(chaos, ground, options, judged))
    return told(chaos, ground, options, directory)


def told(
    chaos: Chaos, ground: Ground, options: argparse.Namespace, directory: Path
) -> int:
    """Say how it ended; the exit code."""
    tally = chaos.tally
    per_hour = tally.done.total() * 3600 / max(1.0, tally.seconds)
    summary = (
        f"seed {options.seed}: {tally.done.total()} faults of "
        f"{len(tally.done)} kinds in {tally.seconds / 60:.1f} minutes "
        f"({per_hour:.0f} an hour), {len(ground.announced.confirmed)} images"
    )
    for name, count in sorted(tally.done.items()):
        skipped = tally.not_done[name]
        say(f"  {count:5} {name}" + (f" ({skipped} not)" if skipped else ""))
    if chaos.findings:
        say("the last faults:")
        for line in tally.history[-SHOWN:]:
            say(f"  {line}")
        say(f"{summary}: {len(chaos.findings)} things are not as they must be")
        for finding in chaos.findings[:SHOWN]:
            say(f"  {finding.what}: {finding.text}")
        say(f"the logs are in {directory}")
        return 1
    say(f"{summary}: lost 0, doubled 0, changed without a record 0, status 0")
    return 0


def interrupted(number: int, _frame: FrameType | None) -> None:
    """End as a signal asks for; a second one does not wait for anything."""
    signal.signal(number, lambda *_: os._exit(128 + number))
    sys.exit(128 + number)


def main() -> int:
    """Run it all, and leave nothing but the logs of what went wrong."""
    read_once()
    options = parsed()
    if options.kinds:
        for name, kind in KINDS.items():
            say(f"{name}: {(kind.cause.__doc__ or '').splitlines()[0]}")
        return 0
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        code = live(options, directory)
    except ServerError as error:
        first = str(error).partition("\n")[0]
        print(f"chaos: {first} (seed {options.seed})", file=sys.stderr)
        return 2
    except SystemExit:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    if not code:
        shutil.rmtree(directory, ignore_errors=True)
    return code


if __name__ == "__main__":
    # Threads that a server keeps waiting are not waited for.
    status = 1
    try:
        status = main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
