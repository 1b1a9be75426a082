"""Measure ec2map-sync beside the limits of what it is built on.

    python benchmarks/run.py [--quick|--full] [--only NAME]... [--output FILE]

Starts its own RabbitMQ and MariaDB. Machines differ, and so do moments: what
counts are the ratios between things measured in turns in one run, and how
far they spread. Prints a table, writes a JSON file, draws a plot where
matplotlib is installed, and compares with the last recorded run.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Also under PYTHONSAFEPATH, which keeps the checkout off the path.
TESTS = HERE.parent / "tests"
sys.path[:0] = [str(HERE), str(TESTS / "support"), str(TESTS / "openstack")]

# ruff: noqa: E402
import figures
import following
import growth
import ingest
import latency
import questions
import scale
import shares
import taking_over
from fleet import Region
from servers import MariaDB, RabbitMQ
from stand import FULL, NORMAL, QUICK, Size, Stand

NAMES = (
    "ingest",
    "ceilometer",
    "workers",
    "apply",
    "latency",
    "batch",
    "shares",
    "prints",
    "growth",
    "notes",
    "verify",
    "compare",
    "take-over",
    "questions",
)


class Run:
    """One run: measures by name, and shares the large ledger."""

    def __init__(self, stand: Stand, size: Size) -> None:
        self._stand = stand
        self._size = size
        self._large: Region | None = None

    def measure(self, name: str) -> list[figures.Line]:
        """Give the lines of one part."""
        stand, size = self._stand, self._size
        parts: dict[str, Callable[[], list[figures.Line]]] = {
            "ingest": lambda: ingest.measure(stand, size),
            "ceilometer": lambda: ingest.ceilometer(stand, size),
            "workers": lambda: ingest.workers(stand, size),
            "apply": lambda: following.apply(stand, size),
            "latency": lambda: latency.measure(stand, size),
            "batch": lambda: scale.batches(stand, self.large, size),
            "shares": lambda: shares.measure(stand, size),
            "prints": lambda: scale.prints(self.large, size),
            "growth": lambda: growth.measure(stand, size),
            "notes": lambda: scale.notes(self.large, size),
            "verify": lambda: scale.verify(self.large, size),
            "compare": lambda: scale.differing(stand, self.large, size),
            "take-over": lambda: taking_over.measure(stand, self.large, size),
            "questions": lambda: questions.measure(stand, self.large, size),
        }
        return parts[name]()

    @property
    def large(self) -> Region:
        """The region that knows many images; made when first needed."""
        if self._large is None:
            self._large = scale.large_region(self._stand, self._size)
        return self._large


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--quick",
        action="store_true",
        help="only to see that everything works; the figures mean nothing",
    )
    sizes.add_argument(
        "--full", action="store_true", help="1,000,000 images; half an hour"
    )
    parser.add_argument(
        "--only", action="append", choices=NAMES, help="measure this part"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="JSON file to write; else one in benchmarks/results",
    )
    return parser.parse_args()


def main() -> None:
    """Measure."""
    options = arguments()
    size = QUICK if options.quick else FULL if options.full else NORMAL
    name = {QUICK: "quick", NORMAL: "normal", FULL: "full"}[size]
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begun:5.0f} s] {text}", flush=True)

    lines: list[figures.Line] = []
    with tempfile.TemporaryDirectory(prefix="ec2map-bench-") as place:
        directory = Path(place)
        with (
            RabbitMQ(directory / "rabbit") as rabbit,
            MariaDB(directory / "mariadb") as mariadb,
        ):
            say("servers run")
            regions = directory / "regions"
            regions.mkdir()
            run = Run(Stand(rabbit, mariadb, regions, say), size)
            for part in options.only or NAMES:
                if part == "ceilometer" and options.quick:
                    say(
                        "ceilometer: not in quick mode, which installs nothing"
                    )
                    continue
                lines += run.measure(part)
    print(figures.table(lines, figures.last_run(name)))
    path = figures.record(lines, size=name, path=options.output)
    say(f"recorded in {path}")
    if figures.plot(lines, path.with_suffix(".png")):
        say(f"drawn in {path.with_suffix('.png')}")


if __name__ == "__main__":
    main()
