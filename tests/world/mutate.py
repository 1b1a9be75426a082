"""Lets the world judge mutants of the package, and writes down the outcome.

    python tests/world/mutate.py --minutes 3 --record doc/source/mutants.rst

Each mutant is lived in a process of its own, under one seed after the other,
until something goes wrong or its minutes of one core are spent.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

RUN = Path(__file__).with_name("run.py")

HEAD = """\
=======
Mutants
=======

Faults that were put into the package at run time, and whether the judge of
the :doc:`world <world>` has found them: under which seed, after how many
minutes of one core, and by what. Seeds were tried from {first} on, in
histories of {days} days, for {minutes:g} minutes at most. What goes wrong
under the same seed without the fault does not count. This page was written by

.. code-block:: console

   $ python tests/world/mutate.py --minutes {minutes:g} \\
         --record doc/source/mutants.rst

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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What has become of a mutant."""

    name: str
    what: str
    seed: str
    minutes: float
    by: str

    @property
    def found(self) -> bool:
        """Whether the judge has found it."""
        return bool(self.seed)


def lived(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs the world."""
    return subprocess.run(
        [sys.executable, RUN, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def judged(named: str, *, first: int, minutes: float, days: int) -> Verdict:
    """Lives one mutant; what goes wrong without it as well does not count."""
    name, _, what = named.partition(": ")
    left = minutes
    while left > 0:
        one = once(name, what, first=first, minutes=left, days=days)
        if not one.found:
            return replace(one, minutes=minutes)
        left -= one.minutes
        if not one.seed.isdigit() or is_sound(int(one.seed), days):
            return replace(one, minutes=minutes - left)
        print(f"seed {one.seed} goes wrong without {name}, too", flush=True)
        first = int(one.seed) + 1
    return Verdict(name, what, "", minutes, "nobody")


def is_sound(seed: int, days: int) -> bool:
    """Returns whether a seed without any mutant is in order."""
    return lived("--seed", seed, "--days", days).returncode == 0


def once(
    name: str, what: str, *, first: int, minutes: float, days: int
) -> Verdict:
    """Lives one mutant until something goes wrong."""
    done = lived(
        *("--mutant", name, "--first", first),
        *("--minutes", minutes, "--days", days),
    )
    line = done.stdout.partition("\n")[0]
    _, told, after = done.stdout.rpartition("minutes spent: ")
    spent = float(after) if told else minutes
    if done.returncode == 1 and line.startswith("seed "):
        seed = line.removeprefix("seed ").partition(",")[0]
        by = line.partition(": ")[2]
        return Verdict(name, what, seed, spent, shown(by))
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["an unknown end"])[-1]
        return Verdict(name, what, "some", minutes, shown(last))
    return Verdict(name, what, "", spent, "nobody")


def shown(text: str) -> str:
    """Returns what a table can show of a complaint."""
    plain = text.replace("*", "").replace("`", "").replace("_", "-")
    return plain if len(plain) <= 120 else f"{plain[:117]}..."


def page(
    verdicts: Sequence[Verdict], named: int, options: argparse.Namespace
) -> str:
    """Writes the page."""
    head = HEAD.format(
        first=options.first,
        minutes=options.minutes,
        days=options.days,
        found=sum(one.found for one in verdicts),
        tried=len(verdicts),
        named=named,
    )
    rows = (
        ROW.format(
            what=one.what,
            seed=one.seed or "none",
            minutes=one.minutes,
            by=one.by,
        )
        for one in sorted(verdicts, key=lambda one: one.what)
    )
    return head + "".join(rows)


def main() -> int:
    """Judges what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--days", type=int, default=2, help="of a history")
    parser.add_argument("--after", default="", help="begin behind this one")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    named = lived("--mutants").stdout.splitlines()
    judge = partial(
        judged,
        first=options.first,
        minutes=options.minutes,
        days=options.days,
    )
    tried = [one for one in named if not options.after]
    for place, one in enumerate(named):
        if options.after and one.startswith(f"{options.after}:"):
            tried = named[place + 1 :]
    verdicts = []
    with ThreadPoolExecutor(options.processes) as pool:
        asked = [pool.submit(judge, one) for one in tried]
        for done in as_completed(asked):
            one = done.result()
            verdicts.append(one)
            said = f"seed {one.seed}, {one.by}" if one.found else "not found"
            print(f"{one.name}: {one.minutes:.2f} minutes: {said}", flush=True)
            if options.record:
                options.record.write_text(page(verdicts, len(named), options))
    return 0 if all(one.found for one in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
