"""The Writer: brings one sink up to what is settled."""

import logging
from collections.abc import Sequence

from ec2map_sync.ledger import Ledger
from ec2map_sync.rows import SinkRow
from ec2map_sync.settle import Numbered
from ec2map_sync.sinks import Sink, plan

LOG = logging.getLogger(__name__)

BATCH = 1000
"""Numbers in one transaction of the sink."""


class Writer:
    """Follows the feed of changed numbers into one sink."""

    def __init__(self, ledger: Ledger, sink: Sink, *, rewrite: bool) -> None:
        self._ledger = ledger
        self._sink = sink
        self._rewrite = rewrite
        self._reserved = False

    def step(self) -> bool:
        """Write what has changed; True if there may be more."""
        if not self._reserved:
            self._sink.reserve()
            self._reserved = True
        with self._ledger.reader(self._sink.name) as reader:
            if reader is None:
                return False  # another host writes
            numbers, upto = reader.numbers(BATCH)
            if numbers:
                self.write(numbers)
                # After the sink's commit: a crash between the two writes
                # the same again, and finds it there.
                reader.advance(upto)
        return len(numbers) >= BATCH

    def write(self, numbers: Sequence[int]) -> None:
        """Make the rows under these numbers as they are settled.

        The sink is read before the ledger: whoever has written there since
        our ledger was read would have been behind the lock.
        """
        with self._sink.session() as session:
            found = session.rows(numbers)
            settled = self._ledger.numbered(numbers)
            steps = plan(
                found,
                (
                    settled.get(n) or Numbered(number=n, uuid=None)
                    for n in numbers
                ),
                is_ours=self._is_ours,
                rewrite=self._rewrite,
            )
            session.apply(steps)
        if steps.taken:
            LOG.warning(
                "%s: %d of our numbers are held by rows that are not ours, "
                "for example %d by %s; they stay ([nova] existing_rows)",
                self._sink.name,
                len(steps.taken),
                steps.taken[0].number,
                steps.taken[0].uuid,
            )

    def _is_ours(self, row: SinkRow) -> bool:
        return self._ledger.scheme.could_derive(row.uuid, row.number)
