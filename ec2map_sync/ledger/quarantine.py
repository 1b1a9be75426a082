"""The quarantine: what could not be understood or trusted, for an operator."""

import json
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from ec2map_sync.ledger import tables
from ec2map_sync.ledger.journal import plain
from ec2map_sync.ledger.part import Part
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.running import counters
from ec2map_sync.sql.errors import again
from ec2map_sync.sql.statements import delete_in

LOG = logging.getLogger(__name__)

MOST_ENTRIES = 2_000
"""Entries kept of each source; the oldest go first. One that floods us does
not push out what came from another."""

MOST_BYTES = 64 * 1024 * 1024
"""Bytes kept of each source's bodies."""

MOST_OF_BODY = 1024 * 1024
"""Bytes kept of a body: what is longer cannot be tried again. Pages of
claims have 700 KB."""

MAX_HEADERS = 32 * 1024
"""Characters: MySQL's TEXT takes 64 KiB."""

HELD = "held: "
"""How the reason of claims begins that wait for an operator's decision."""

_q = tables.quarantine.c
_BRIEF = sa.select(_q.id, _q.at, _q.source, _q.reason)
"""An entry without its body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """Something that could not be understood or trusted.

    ``id`` and ``at`` are the ledger's, and 0 before it has them.
    """

    source: str
    reason: str
    body: bytes = b""
    """Left out where many entries are listed."""
    headers: Mapping[str, Any] | None = None
    """Those of a message, without which it cannot be tried again."""
    id: int = 0
    at: Stamp = 0

    @property
    def whole(self) -> bool:
        """Whether all of the body was kept."""
        return len(self.body) < MOST_OF_BODY


class Quarantine(Part):
    """What was put away, the newest of each source."""

    def put(self, entries: Sequence[Quarantined]) -> None:
        """Keeps entries; older ones of their sources may make room."""
        if not entries:
            return
        rows = [
            {
                "at": self._clock(),
                "source": plain(entry.source)[:120],
                "reason": plain(entry.reason)[:500],
                "body": entry.body[:MOST_OF_BODY],
                "headers": _written(entry.headers),
                "size": min(len(entry.body), MOST_OF_BODY),
            }
            for entry in entries
        ]
        dropped = self._insert(rows)
        for source, count in Counter(e.source for e in entries).items():
            counters.QUARANTINED.add(count, source)
        counters.QUARANTINE_DROPPED.add(sum(dropped.values()))
        for source, count in dropped.items():
            if count:
                LOG.warning(
                    "the quarantine is full: the oldest %d entries from %s "
                    "were dropped; see 'ec2map-sync quarantine list' for "
                    "what keeps coming",
                    count,
                    source,
                )

    @again
    def _insert(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Writes rows; how many had to make room for them, by source."""
        sources = {str(row["source"]) for row in rows}
        with self._writing.begin() as connection:
            connection.execute(sa.insert(tables.quarantine), rows)
            return {
                source: self._make_room(connection, source)
                for source in sorted(sources)
            }

    @again
    def release(self, entries: Collection[int]) -> None:
        """Takes entries out, by id."""
        with self._writing.begin() as connection:
            delete_in(connection, tables.quarantine.c.id, entries)

    def newest(self, limit: int | None = None) -> list[Quarantined]:
        """Returns the newest entries, the newest first, without their bodies.

        All of them, where no ``limit`` is given.
        """
        rows = self._rows(_BRIEF.order_by(_q.id.desc()).limit(limit))
        return [Quarantined(**row._mapping) for row in rows]

    def entry(self, id_: int) -> Quarantined | None:
        """Returns one entry with its body."""
        whole = _BRIEF.add_columns(_q.body, _q.headers)
        for row in self._rows(whole.where(_q.id == id_)):
            headers = row.headers and json.loads(row.headers)
            return Quarantined(**{**row._mapping, "headers": headers})
        return None

    def count(self) -> int:
        """Returns how many entries there are."""
        return sum(self.counts().values())

    def counts(self) -> dict[str, int]:
        """Returns how many entries there are, by source."""
        count = sa.select(_q.source, sa.func.count())
        return dict(self._rows(count.group_by(_q.source)))

    def held(self) -> dict[str, int]:
        """Returns how many entries wait for a decision, by source."""
        count = sa.select(_q.source, sa.func.count())
        held = count.where(_q.reason.startswith(HELD, autoescape=True))
        return dict(self._rows(held.group_by(_q.source)))

    def dropped(self) -> dict[str, int]:
        """Returns how many entries had to make room so far, by source."""
        d = tables.quarantine_dropped
        return dict(self._rows(sa.select(d.c.source, d.c.count)))

    def latest(self) -> dict[str, Quarantined]:
        """Returns the newest entry of each source, without its body."""
        newest = sa.select(sa.func.max(_q.id)).group_by(_q.source)
        rows = self._rows(_BRIEF.where(_q.id.in_(newest)))
        return {row.source: Quarantined(**row._mapping) for row in rows}

    def _make_room(self, connection: Connection, source: str) -> int:
        """Drops what is too much of a source; returns how many that were."""
        q = tables.quarantine
        newest_first = (
            sa.select(q.c.id, q.c.size)
            .where(q.c.source == source)
            .order_by(q.c.id.desc())
        )
        too_many = []
        size = 0
        for n, (entry, length) in enumerate(connection.execute(newest_first)):
            size += length
            if n >= MOST_ENTRIES or (n and size > MOST_BYTES):
                too_many.append(entry)
        if not too_many:
            return 0
        connection.execute(
            sa.delete(q).where(q.c.source == source, q.c.id <= max(too_many))
        )
        self._note_dropped(connection, source, len(too_many))
        return len(too_many)

    def _note_dropped(
        self, connection: Connection, source: str, count: int
    ) -> None:
        d = tables.quarantine_dropped
        now = self._clock()
        known = connection.execute(
            sa.update(d)
            .where(d.c.source == source)
            .values(at=now, count=d.c.count + count)
        )
        if not known.rowcount:
            connection.execute(
                sa.insert(d).values(source=source, at=now, count=count)
            )


def _written(headers: Mapping[str, Any] | None) -> str | None:
    if headers is None:
        return None
    try:
        text = json.dumps(dict(headers), default=str)
    except (TypeError, ValueError, RecursionError):
        return "{}"  # names that are no text, or nested as none of ours
    # Those of a message of ours are 300 bytes; longer ones are not worth it.
    return text if len(text) < MAX_HEADERS else "{}"
