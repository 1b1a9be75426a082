"""What a ledger knew at a moment: the terms of a note, from its rows."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import sqlalchemy as sa

from ec2map_sync.ledger import ranges, tables
from ec2map_sync.ledger.bookkeeping import state_of
from ec2map_sync.ledger.snapshot import Leaves, Snapshot
from ec2map_sync.protocol.agreements import Terms
from ec2map_sync.rules.claims import (
    BEGINNING,
    END,
    SUM_MODULUS,
    Bound,
    Print,
    Span,
    Stamp,
)
from ec2map_sync.rules.merkle import Hash, Tree, join, leaf_hashes, root_of
from ec2map_sync.sql.images import key_of


class TermsTally:
    """Goes through what was known before a moment, hashing on the way."""

    def __init__(
        self, snapshot: Snapshot, until: Stamp, advance: Callable[[int], None]
    ) -> None:
        self._snapshot = snapshot
        self._until = until
        self._advance = advance
        self._claims, self._mapping = Tree(), Tree()
        self._count = 0

    def pages(self) -> Iterator[Sequence[bytes]]:
        """Returns the entries of the mapping."""
        for page in self._snapshot.entries(self._until):
            self._claims.extend(page.claims)
            self._mapping.extend(page.entries)
            self._count += len(page)
            self._advance(len(page))
            yield page.entries

    def terms(self) -> Terms:
        """Returns what a note says, after all pages."""
        return Terms(
            scheme=self._snapshot.scheme.fingerprint,
            until=self._until,
            count=self._count,
            claims=self._claims.root(),
            mapping=self._mapping.root(),
        )


PART = 2**10
"""Claims under each root that is remembered: of a million, 0.6 MB of roots;
and what has changed in one costs some milliseconds."""

PARTS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class RootPart:
    """Some claims side by side, as many in each part, and their roots."""

    start: Bound
    print: Print
    claims: Hash
    mapping: Hash
    settled: bool
    """Whether a later moment finds it the same, unless a claim changes."""


class Roots:
    """What a ledger knew at one moment after another.

    The roots of whole parts are remembered, so that the next moment costs
    what has come or changed meanwhile, and all that follows a late claim.
    """

    def __init__(self) -> None:
        self._parts: list[RootPart] = []
        self._end = BEGINNING
        self._until: Stamp = 0
        self._seen = (0, 0)
        """The revision at the last look, and what was found amiss till then.
        """

    def terms(
        self,
        snapshot: Snapshot,
        until: Stamp,
        advance: Callable[[int], None] = lambda _: None,
    ) -> Terms:
        """Returns what a ledger knew before a moment."""
        revision, moved = self._look(snapshot, until)
        self._recompute(snapshot, until, moved)
        rest = self._extend(snapshot, until, advance)
        self._until = until
        self._seen = revision
        roots = [(part.claims, part.mapping) for part in self._parts]
        if rest:
            roots.append(_roots_of(rest))
        claims, mapping = (
            join([root[n] for root in roots]) if roots else root_of([])
            for n in range(2)
        )
        return Terms(
            scheme=snapshot.scheme.fingerprint,
            until=until,
            count=PART * len(self._parts) + len(rest),
            claims=claims,
            mapping=mapping,
        )

    def _look(
        self, snapshot: Snapshot, until: Stamp
    ) -> tuple[tuple[int, int], set[int]]:
        """Forgets parts that are no longer there; tells which have changed.

        And how far the ledger has come.
        """
        revision = snapshot.head.revision
        found = state_of(snapshot.connection).found
        before, found_before = self._seen
        if until < self._until or found != found_before or revision < before:
            self._forget(0)
        changed = self._changed(snapshot)
        if self._parts:
            changed |= self._moved(snapshot, before)
        return (revision, found), changed

    def _forget(self, place: int) -> None:
        """Forgets a part, and those that follow."""
        if place < len(self._parts):
            self._end = self._parts[place].start
            del self._parts[place:]

    def _changed(self, snapshot: Snapshot) -> set[int]:
        """Returns the parts of which claims have changed since.

        The prints of all tell. They are counted from the end on: what has
        changed is mostly new.
        """
        total = snapshot.head.total
        prefix = list(
            accumulate((p.print for p in self._parts), initial=Print(0, 0))
        )
        good, step = len(self._parts), 1
        while good and total - self._from(snapshot, good) != prefix[good]:
            good, step = max(0, good - step), 2 * step
        return self._among(snapshot, good)

    def _among(self, snapshot: Snapshot, first: int) -> set[int]:
        """Looks at each part from one on; forgets where places have moved."""
        bounds = [p.start for p in self._parts[first:]] + [self._end]
        spans = [Span(*pair) for pair in pairwise(bounds)]
        prints = ranges.prints_of(snapshot.connection, spans)
        changed = set()
        for place, now in enumerate(prints, first):
            if now.count != PART:
                self._forget(place)
                break
            if now != self._parts[place].print:
                changed.add(place)
        return changed

    def _from(self, snapshot: Snapshot, place: int) -> Print:
        """Returns the print of what follows the first parts."""
        start = self._end
        if place < len(self._parts):
            start = self._parts[place].start
        span = Span(start, END)
        return ranges.prints_of(snapshot.connection, [span])[0]

    def _moved(self, snapshot: Snapshot, revision: int) -> set[int]:
        """Returns the parts of which images have another number since."""
        c, m = tables.claims.c, tables.moves.c
        there = tables.moves.join(tables.claims, c.image == key_of(m.image))
        moved = (
            sa.select(c.claimed_at, c.image)
            .select_from(there)
            .where(m.revision > revision)
        )
        starts = [part.start for part in self._parts]
        bounds = (Bound(*row) for row in snapshot.connection.execute(moved))
        return {
            bisect_right(starts, bound) - 1
            for bound in bounds
            if bound < self._end
        }

    def _recompute(
        self, snapshot: Snapshot, until: Stamp, changed: set[int]
    ) -> None:
        for place, part in enumerate(self._parts):
            if place in changed or not part.settled:
                is_last = place + 1 == len(self._parts)
                stop = self._end if is_last else self._parts[place + 1].start
                span = Span(part.start, stop)
                known = snapshot.known(span, until, PART)
                self._parts[place] = _part(part.start, known)

    def _extend(
        self,
        snapshot: Snapshot,
        until: Stamp,
        advance: Callable[[int], None],
    ) -> Leaves:
        """Adds the parts that are whole by now; returns what is left."""
        limit = PARTS_AT_ONCE * PART
        while True:
            span = Span(self._end, Bound(until))
            found = snapshot.known(span, until, limit)
            whole = len(found) - len(found) % PART
            for at in range(0, whole, PART):
                some = found.part(at, at + PART)
                self._parts.append(_part(self._end, some))
                self._end = some.after
            advance(len(found))
            if len(found) < limit:
                return found.part(whole)


def _part(start: Bound, some: Leaves) -> RootPart:
    claims, mapping = _roots_of(some)
    return RootPart(
        start=start,
        print=Print(len(some), sum(some.hashes) % SUM_MODULUS),
        claims=claims,
        mapping=mapping,
        settled=all(some.settled),
    )


def _roots_of(some: Leaves) -> tuple[Hash, Hash]:
    return join(leaf_hashes(some.claims)), join(leaf_hashes(some.entries))


def terms(
    snapshot: Snapshot,
    until: Stamp,
    advance: Callable[[int], None] = lambda _: None,
) -> Terms:
    """Returns what a ledger knew before a moment, from all of its rows."""
    return Roots().terms(snapshot, until, advance)
