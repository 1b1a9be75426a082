"""Nova's memo of image ids, in memcached: deleted where a row has changed.

Nova's processes remember each id for a week, under a key that names neither
the cell nor the region; where memcached holds it, all of them do, and also
those that start later.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from hashlib import sha1

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheError

from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.errors import Ec2MapError, one_line
from ec2map_sync.settings.addresses import MemcachedServer
from ec2map_sync.sinks import Sink

LOG = logging.getLogger(__name__)

AT_ONCE = 500
"""Memos that are deleted together."""

AGAIN = 10.0
"""Seconds for which a memo is deleted again and again: who has read the row
just before it changed remembers what it read just after."""

WEEK = 7 * 86_400.0
"""Seconds for which Nova remembers; longer, nobody is waited for."""

PATIENCE = 3.0
"""Seconds in which a server has to answer."""


class MemoSilent(Ec2MapError):
    """A memcached server does not answer."""


def key_of(image: str) -> str:
    """Returns under which key Nova remembers the id of an image."""
    text = f"glance_id_to_id:{image}"
    return sha1(text.encode(), usedforsecurity=False).hexdigest()


def delete(servers: Sequence[MemcachedServer], images: Iterable[str]) -> None:
    """Deletes the memos of some images on every server.

    On all of them: which one has it is for Nova's client to choose, and
    another one has it while that is away.

    :raises MemoSilent: one does not answer; the others have been asked.
    """
    keys = [key_of(s) for i in images for s in sorted({i, i.lower()})]
    silent = []
    for server in servers:
        try:
            _delete(server, keys)
        except (OSError, MemcacheError) as error:
            silent.append(f"{name_of(server)}: {one_line(error)}")
    if silent:
        raise MemoSilent(
            f"memcached does not answer at {'; '.join(silent)}: Nova may "
            "remember ids that have changed"
        )


def _delete(server: MemcachedServer, keys: Sequence[str]) -> None:
    with closing(_client(server)) as client:
        client.delete_many(keys, noreply=False)


def version(server: MemcachedServer) -> str:
    """Asks a server for its version.

    :raises MemoSilent: it does not answer.
    """
    try:
        with closing(_client(server)) as client:
            return str(client.version().decode())
    except (OSError, MemcacheError) as error:
        raise MemoSilent(one_line(error)) from error


def _client(server: MemcachedServer) -> Client:
    return Client(server, connect_timeout=PATIENCE, timeout=PATIENCE)


def name_of(server: MemcachedServer) -> str:
    """Returns what a server is called in a line for an operator."""
    if isinstance(server, str):
        return server
    return f"{server[0]}:{server[1]}"


class MemoWorker:
    """Deletes the memos of images whose rows in a cell have changed."""

    def __init__(
        self,
        ledger: Ledger,
        sink: Sink,
        servers: Sequence[MemcachedServer],
        *,
        clock: Callable[[], Stamp],
    ) -> None:
        self._ledger = ledger
        self._sink = sink
        self._servers = servers
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
            delete(self._servers, {memo.image for memo in noted})
        except MemoSilent:
            memos.drop([m for m in noted if self._age(m.at) > WEEK])
            raise
        old = [memo for memo in noted if self._age(memo.at) > AGAIN]
        memos.drop(old)
        return len(old) == AT_ONCE

    def _age(self, stamp: Stamp) -> float:
        return (self._clock() - stamp) / 1_000_000
