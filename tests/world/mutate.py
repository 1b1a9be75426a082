"""Lets the world judge mutants of the package, and writes down the outcome.

    python tests/world/mutate.py --minutes 3 --record doc/source/mutants.rst

Each mutant is lived in a process of its own, under one seed after the other,
until something goes wrong or its minutes of one core are spent. What goes
wrong under the same seed without it, too, does not count.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import run  # noqa: F401  # first: it makes time and chance the world's

# isort: split

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import count
from tempfile import TemporaryDirectory

from played import history, mutants, setting
from played.scheduler import Wrong

HEAD = """\
=======
Mutants
=======

Faults that were put into the package at run time, and whether the judge of
the :doc:`world <world>` has found them: under which seed, after how many
minutes of one core, and by what; where nobody has, the minutes are those that
were spent. Seeds were tried from {first} on, in histories of {days} days. What
goes wrong under the same seed without the fault does not count. Starting
Python, which takes some two seconds, is done once for all, and not counted.
Each row is of when its mutant was last tried: what befalls the world has grown
since, so that most seeds are other histories by now.
This page is written by

.. code-block:: console

   $ python tests/world/mutate.py --minutes 10 \\
         --record doc/source/mutants.rst

and, where mutants are named besides, anew of these alone.

Of {named} mutants, {tried} were tried, and {found} of these were found.

.. list-table::
   :header-rows: 1
   :widths: 40 8 12 40

   * - What is wrong
     - Seed
     - Minutes
     - Found by
"""

ROW = """\
   * - {what}
     - {seed}
     - {minutes:.2f}
     - {by}
"""

FIRST = 13
"""The first of some worlds of two regions, which are the quickest to live."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What has become of a mutant."""

    name: str
    seed: int | None
    minutes: float
    by: str


def judged(name: str, first: int, minutes: float, days: int) -> Verdict:
    """Lives a mutant, in this process, until something goes wrong."""
    mutants.ALL[name]()
    for seed in count(first):
        if time.process_time() > 60 * minutes:
            break
        try:
            history.run(seed, (), days)
        except Wrong as error:
            by = str(error)
        except Exception as error:  # noqa: BLE001, whatever it is, it is seen
            by = repr(error)
        else:
            continue
        return Verdict(name, seed, time.process_time() / 60, shown(by))
    return Verdict(name, None, time.process_time() / 60, "nobody")


@cache
def is_sound(seed: int, days: int) -> bool:
    """Returns whether a seed without any mutant is in order."""
    try:
        history.run(seed, (), days)
    except Wrong as error:
        print(f"seed {seed} goes wrong without any mutant: {error}")
        return False
    return True


def shown(text: str) -> str:
    """Returns what a table can show of a complaint."""
    plain = text.replace("*", "").replace("`", "").replace("_", "-")
    plain = " ".join(plain.split())
    return plain if len(plain) <= 120 else f"{plain[:117]}..."


def apart(act: Callable[[], Verdict], file: Path) -> int:
    """Does something in another process; its outcome is in a file then."""
    sys.stdout.flush()
    process = os.fork()
    if not process:
        file.write_text(json.dumps(asdict(act())))
        os._exit(0)
    return process


def verdicts(
    names: Sequence[str], options: argparse.Namespace
) -> Iterator[Verdict]:
    """Judges mutants, some at a time."""
    waiting = [(name, options.first, options.minutes) for name in names]
    running: dict[int, tuple[str, float]] = {}
    is_sound(options.first, options.days)  # what this has made, all share
    with TemporaryDirectory() as directory:
        while waiting or running:
            while waiting and len(running) < options.processes:
                name, first, left = waiting.pop(0)
                process = apart(
                    lambda n=name, f=first, m=left: judged(  # type: ignore[misc]
                        n, f, m, options.days
                    ),
                    Path(directory, name),
                )
                running[process] = name, left
            process, _ = os.wait()
            name, left = running.pop(process)
            found = Verdict(**json.loads(Path(directory, name).read_text()))
            spent = options.minutes - left + found.minutes
            if found.seed is None or is_sound(found.seed, options.days):
                yield Verdict(name, found.seed, spent, found.by)
            else:
                again = found.seed + 1, left - found.minutes
                waiting.append((name, *again))


def page(
    former: str, judged: Sequence[Verdict], options: argparse.Namespace
) -> str:
    """Writes the page; of mutants that were not judged, what it says stays."""
    whats = {n: what_of(change) for n, change in mutants.ALL.items()}
    _, *parts = former.split("   * - ")
    rows = {part.partition("\n")[0]: f"   * - {part}" for part in parts}
    rows |= {
        whats[one.name]: ROW.format(
            what=whats[one.name],
            seed="none" if one.seed is None else one.seed,
            minutes=one.minutes,
            by=one.by,
        )
        for one in judged
    }
    rows = {what: rows[what] for what in whats.values() if what in rows}
    head = HEAD.format(
        first=options.first,
        days=options.days,
        found=sum("     - none\n" not in row for row in rows.values()),
        tried=len(rows),
        named=len(whats),
    )
    return head + "".join(sorted(rows.values()))


def found_in(page: str) -> list[str]:
    """Names the mutants that a page says were found."""
    starts = {n: f"   * - {what_of(c)}\n" for n, c in mutants.ALL.items()}
    return [
        name
        for name, start in starts.items()
        if start in page and f"{start}     - none\n" not in page
    ]


def what_of(change: mutants.Mutant) -> str:
    """Returns in a line what a mutant breaks."""
    return (change.__doc__ or "").splitlines()[0]


def main() -> int:
    """Judges what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument(
        "--first", type=int, default=FIRST, help="the first seed"
    )
    parser.add_argument("--days", type=int, default=2, help="of a history")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--record", type=Path)
    parser.add_argument(
        "--again", type=Path, help="judge those that a page says were found"
    )
    parser.add_argument("mutants", nargs="*", help="all, if none is named")
    options = parser.parse_args()
    setting.install()
    names = options.mutants or list(mutants.ALL)
    if options.again:
        names = found_in(options.again.read_text())
    found = []
    there = options.record and options.record.exists()
    former = options.record.read_text() if there else ""
    for one in verdicts(names, options):
        found.append(one)
        by = "not found" if one.seed is None else f"seed {one.seed}, {one.by}"
        print(f"{one.name}: {one.minutes:.2f} minutes: {by}", flush=True)
        if options.record:
            text = page(former, found, options)
            options.record.write_text(text)
    return 0 if all(one.seed is not None for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
