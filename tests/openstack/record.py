"""What the tests have measured, as a page of the documentation."""

import os
from collections.abc import Sequence
from pathlib import Path

from installed import Programs

PAGE = """\
===================
Judged by OpenStack
===================

Two regions on one machine, each with its own RabbitMQ, MariaDB, Glance
{glance}, Nova {nova} with three cells, and the agent, started as users start
it. The judge is Nova's own lookup, in fresh processes: after each scenario it
gave the same id in every cell of both regions, and added no row. The scenarios
are in ``tests/openstack``; this page was written by

.. code-block:: console

   $ EC2MAP_SYNC_GUESTS=20 EC2MAP_SYNC_NOVAS='28 31' tools/test --only-tests \\
         tests/openstack --record doc/source/record.rst

With guests, *with us* and *without us* are the same test, with the agents of
both regions and without them. cloud-init's code is Debian's, and asks Nova's
metadata API as in an instance; the rules of Facter and of Ohai are written
anew, from what they document of the paths that they ask for.

Times are those of a busy machine with {cores} cores, which everything shares.

.. list-table::
   :header-rows: 1
   :widths: 65 35

   * - What
     - Measured
{rows}"""


class Record:
    """Keeps figures, in the order in which they were measured."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str]] = []

    def note(self, what: str, measured: str) -> None:
        """Keep a figure, or a few."""
        self._rows.append((what, measured))

    def write(self, path: Path, programs: Programs) -> None:
        """Write the page."""
        rows = [
            f"   * - {what}\n     - {value}\n" for what, value in self._rows
        ]
        page = PAGE.format(
            glance=programs.version("glance"),
            nova=programs.version("nova"),
            cores=os.cpu_count(),
            rows="".join(rows),
        )
        path.write_text(page)


def spread(seconds: Sequence[float]) -> str:
    """Tell the median, the 95th percentile and the greatest, in ms."""
    ordered = sorted(seconds)
    chosen = (
        ordered[len(ordered) // 2],
        ordered[len(ordered) * 95 // 100],
        ordered[-1],
    )
    median, most, greatest = (round(1000 * value) for value in chosen)
    return f"{median} ms (95 %: {most}, greatest: {greatest})"
