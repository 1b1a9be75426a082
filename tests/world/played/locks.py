"""Row locks of cursors, which SQLite has not: one of two hosts reads.

The package asks for them with FOR UPDATE SKIP LOCKED, which SQLite leaves
out. Whoever dies holds none.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ec2map_sync.ledger.feeds import Cursors, Reader
from played import nature
from played.scheduler import Process

_held: dict[tuple[str, str], Process] = {}


def install() -> None:
    """Lets each cursor be held by one process at a time."""
    reader = Cursors.reader

    @contextmanager
    def locked(self: Cursors, name: str) -> Iterator[Reader | None]:
        task = nature.current()
        key = (str(self._engine.url), name)
        holder = _held.get(key)
        if task is None:
            with reader(self, name) as found:
                yield found
        elif holder is not None and holder.alive:
            scheduler = nature.scheduler()
            scheduler.park(scheduler.travel())
            yield None
        else:
            _held[key] = task.process
            try:
                with reader(self, name) as found:
                    yield found
            finally:
                if _held.get(key) is task.process:
                    del _held[key]

    Cursors.reader = locked  # type: ignore[method-assign, assignment]
