"""Nova's memo of image ids, in memcached: deleted where a row has changed.

Nova's processes remember each id for a week, under a key that names neither
the cell nor the region; where memcached holds it, all of them do, and also
those that start later.
"""

from collections.abc import Callable, Sequence

from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.settings.addresses import MemcachedServer
from ec2map_sync.settings.values import MemoTls
from ec2map_sync.sinks import Sink
from ec2map_sync.sinks.memory import MemoSilent, delete

AT_ONCE = 500
"""Memos that are deleted together."""

AGAIN = 10.0
"""Seconds for which a memo is deleted again and again: who has read the row
just before it changed remembers what it read just after."""

WEEK = 7 * 86_400.0
"""Seconds for which Nova remembers; longer, nobody is waited for."""


class MemoWorker:
    """Deletes the memos of images whose rows in a cell have changed."""

    def __init__(
        self,
        ledger: Ledger,
        sink: Sink,
        servers: Sequence[MemcachedServer],
        *,
        tls: MemoTls | None = None,
        clock: Callable[[], Stamp],
    ) -> None:
        self._ledger = ledger
        self._sink = sink
        self._servers = servers
        self._tls = tls
        self._clock = clock

    def step(self) -> bool:
        """Deletes what is noted; True if there is more.

        :raises MemoSilent: a server does not answer; all of it stays noted.
        """
        memos = self._ledger.memos
        if not memos.waiting(self._sink.name):
            return False
        # Notes come before the rows' commit. Behind the lock, no row is
        # about to change that was noted already.
        with self._sink.session():
            noted = memos.noted(self._sink.name, AT_ONCE)
        try:
            delete(self._servers, {m.image for m in noted}, self._tls)
        except MemoSilent:
            memos.drop([m for m in noted if self._age(m.at) > WEEK])
            raise
        old = [memo for memo in noted if self._age(memo.at) > AGAIN]
        memos.drop(old)
        return len(old) == AT_ONCE

    def _age(self, stamp: Stamp) -> float:
        return (self._clock() - stamp) / 1_000_000
