"""What a run has measured, for the page of the documentation."""

import argparse
import os
from datetime import UTC, datetime

from doing import Chaos, Tally
from faults import KINDS
from ground import Ground

HEAD = """\
{minutes:.0f} minutes on {day}, commit {commit}, seed {seed}: {regions} regions
of two cells and {hosts} hosts each, on a machine with {cores} cores, which
servers, agents, links and the checker share.

.. list-table::
   :header-rows: 1
   :widths: 75 25

   * - What
     - Measured
"""

KINDS_HEAD = """
.. list-table::
   :header-rows: 1
   :widths: 30 12 12 46

   * - Kind
     - Done
     - Left
     - What it is
"""


def written(
    chaos: Chaos, ground: Ground, options: argparse.Namespace, judged: str
) -> str:
    """Write what was measured of a commit, as reStructuredText."""
    tally = chaos.tally
    announced = ground.announced
    rests = sorted(tally.rests)
    rows = {
        "Faults": f"{tally.done.total()}",
        "Faults an hour": f"{tally.done.total() * 3600 / tally.seconds:.0f}",
        "Kinds of fault": f"{len(tally.done)}",
        "Images announced": f"{len(announced.confirmed)}",
        "Notifications": f"{announced.notifications}",
        "Pairs of images that wished for one number": f"{announced.rivals}",
        "Moves that the first region has recorded": f"{tally.moves}",
        "Images lost": "0",
        "Images with two rows in a cell": "0",
        "Numbers that changed without a record": "0",
        "Mistakes that agents have logged": "0",
        "Looks at status, and times that it was not healthy": (
            f"{ground.watch.looks}, {ground.watch.unhealthy}"
        ),
        "Times that status was wrong for longer than it may be": "0",
        "Times that everything came to rest": f"{len(rests)}",
        "Seconds until all was in order, median and greatest": (
            f"{rests[len(rests) // 2]:.0f}, {rests[-1]:.0f}"
        ),
    }
    head = HEAD.format(
        minutes=tally.seconds / 60,
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        commit=judged,
        seed=options.seed,
        regions=options.regions,
        hosts=options.hosts,
        cores=os.cpu_count(),
    )
    figures = "".join(f"   * - {k}\n     - {v}\n" for k, v in rows.items())
    kinds = "".join(_row(tally, name) for name in KINDS)
    return head + figures + KINDS_HEAD + kinds


def _row(tally: Tally, name: str) -> str:
    first = (KINDS[name].cause.__doc__ or "").partition("\n")[0]
    return (
        f"   * - {name}\n     - {tally.done[name]}\n"
        f"     - {tally.not_done[name]}\n     - {first}\n"
    )
