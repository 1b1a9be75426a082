"""One recording transaction: joins claims in, settles, writes what changed.

The statements are set-wise: a batch without collisions costs the same few,
whatever its size and however many images the ledger knows.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from ec2map_sync.ledger import ranges, tables
from ec2map_sync.ledger.allowance import Allowance, spend, spend_moves
from ec2map_sync.ledger.bookkeeping import note_found, said
from ec2map_sync.ledger.known import (
    Glimpse,
    Known,
    head_row,
    look_up,
    require_scheme,
    row_of,
    slots_of,
)
from ec2map_sync.ledger.mending import Mending
from ec2map_sync.ledger.moves import changed_numbers, moves_of, renamed, say
from ec2map_sync.ledger.own import write_own
from ec2map_sync.rules.canaries import is_canary
from ec2map_sync.rules.claims import Claim, Print, Sighting, Stamp, join
from ec2map_sync.rules.copies import Suspects
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.rules.settle import Board, Eviction, Slot, wishes
from ec2map_sync.rules.stamps import next_stamp
from ec2map_sync.sql.clock import NOW
from ec2map_sync.sql.statements import delete_in, insert

LOG = logging.getLogger(__name__)

# Made once, like others that every image needs: SQLAlchemy takes longer to
# make a statement than to run it.
_LOCK = sa.select(tables.head, NOW).with_for_update()
_UPDATE = sa.update(tables.head)
_MOVED = sa.insert(tables.moves)


class Recording:
    """A transaction that has locked the head row, and so writes alone."""

    def __init__(
        self,
        connection: Connection,
        scheme: Scheme,
        clock: Callable[[], Stamp],
    ) -> None:
        self.connection = connection
        self.scheme = scheme
        self._clock = clock
        # First of all, the lock: whatever is read before it could be what
        # was there before the previous holder committed. (SQLite has no row
        # locks; there, BEGIN IMMEDIATE lets one in at a time.)
        row = head_row(connection.execute(_LOCK))
        require_scheme(row.scheme, scheme)
        self.revision: int = row.revision + 1
        self.last_stamp: Stamp = row.last_stamp
        self._witness: Stamp | None = row.clock
        self.total = Print(row.total_count, row.total_sum)
        self.known: dict[str, Known] = {}
        self.moved: list[dict[str, Any]] = []
        self.renamed: list[dict[str, Any]] = []
        """Images that keep their number, but get an id of another kind."""
        self.evictions: list[Eviction] = []
        self.mended: list[str] = []
        """What contradicted itself, and was put right."""
        self._revisions: dict[int, int] = {}
        self._free: set[int] = set()
        """Numbers that are known to have no rows."""
        self._spelled: dict[str, str] = {}

    def next_stamp(self) -> Stamp:
        """Returns a stamp later than every one in the ledger.

        :raises BadStamp: our clock is far behind the last one, or ahead of
            the database's.
        """
        self.last_stamp = next_stamp(
            self.last_stamp, self._clock(), self._witness
        )
        return self.last_stamp

    def follow(self, stamp: Stamp) -> None:
        """Makes later stamps come after one that was heard of."""
        self.last_stamp = max(self.last_stamp, stamp)

    def look_up(
        self, images: Iterable[str], seen: Glimpse | None = None
    ) -> None:
        """Reads what is known of some images into ``known``.

        What was ``seen`` of them before the lock counts, if nothing has
        been recorded since.
        """
        if seen and seen.revision == self.revision - 1:
            self.known |= seen.known
            self._free = set(seen.free)
            return
        missing = {i for i in images if i not in self.known}
        self.known |= look_up(self.connection, missing)

    def claim(self, image: str) -> Claim | None:
        """Returns what is known of an image that was looked up."""
        known = self.known.get(image)
        return known.claim if known else None

    def spell(self, sightings: Iterable[Sighting]) -> bool:
        """Notes how this region's Glance spells images, if that is new.

        The first spelling stays, whatever other regions say: Nova looks up
        by it, and on some databases finds no other.
        """
        for sighting in sightings:
            known = self.known.get(sighting.image)
            if sighting.announced and not (known and known.spelled):
                self._spelled.setdefault(sighting.image, sighting.uuid)
        return bool(self._spelled)

    def join(self, claims: Iterable[Claim], *, own: bool) -> list[Claim]:
        """Joins claims of different images into the set; gives the news.

        Images that were not looked up are, where a number tells that they
        are known. What contradicts itself here is put right before it is
        joined with.

        :raises IntegrityError: one is known that no number tells of.
        """
        claims = list(claims)
        board = Board(self.scheme, self.load_slots)
        traced = self._look_up_traced(claims, board)
        news = self._news(claims)
        there = self.known.keys() & news
        damaged = {i for i in there if self.known[i].is_damaged}
        damaged |= traced - self.known.keys()
        if damaged:
            self.mended += Mending(self).mend(
                Suspects(images=frozenset(damaged))
            )
            news = self._news(claims)
            board = Board(self.scheme, self.load_slots)
        if news or self._spelled:
            self._wish(board, news)
            self._write(news, board, own=own)
        return list(news.values())

    def _look_up_traced(
        self, claims: Sequence[Claim], board: Board
    ) -> set[str]:
        """Looks up those that may be known, by the numbers that are read.

        Nearly all are new: to ask for each of them costs the server a third
        of what it takes to write them.
        """
        images = [c.image for c in claims if c.image not in self.known]
        traced = board.traced(images)
        # No number tells of canaries.
        self.look_up(traced.union(filter(is_canary, images)))
        return traced

    def _news(self, claims: Iterable[Claim]) -> dict[str, Claim]:
        news: dict[str, Claim] = {}
        for claim in claims:
            known = self.known.get(claim.image)
            joined = join(known.claim, claim) if known else claim
            if known is None or joined != known.claim:
                news[claim.image] = joined
        return news

    def _wish(self, board: Board, news: Mapping[str, Claim]) -> None:
        for image, claim in news.items():
            old = self.known.get(image)
            board.replace(wishes(old.claim) if old else (), wishes(claim))
        board.prepare()

    def keep_to(self, allowance: Allowance) -> None:
        """Counts what has changed against an allowance.

        :raises TooManyMoves: it is more.
        """
        now = self._clock()
        changed = [*self.moved, *self.renamed]
        spend_moves(self.connection, changed, allowance, now)
        spend(self.connection, self.evictions, allowance, now)

    def restamp(self, claims: Mapping[str, Claim], last: Stamp) -> None:
        """Exchanges claims of ours for the same with other stamps."""
        self.last_stamp = last
        if claims:
            board = Board(self.scheme, self.load_slots)
            self._wish(board, claims)
            self._write(claims, board, own=True)

    def commit(self) -> None:
        """Writes what the head row remembers and lets the next one in."""
        self.connection.execute(
            _UPDATE,
            {
                "revision": self.revision,
                "scheme": self.scheme.fingerprint,
                "last_stamp": self.last_stamp,
                "total_count": self.total.count,
                "total_sum": self.total.sum,
            },
        )
        if self.mended:
            note_found(self.connection, self.mended, self._clock())
        self.connection.commit()
        say(self.moved, self.known)
        if self.mended:
            LOG.warning(
                "the ledger contradicted itself, and was put right: %s; "
                "see 'ec2map-sync verify --ledger'",
                said(self.mended),
            )

    def _write(
        self, news: Mapping[str, Claim], board: Board, *, own: bool
    ) -> None:
        board.run()
        self.evictions += board.evictions()
        self.look_up(board.images - news.keys())
        after = {
            image: self._settled(image, news.get(image), board, own=own)
            for image in board.images | news.keys() | self._spelled.keys()
        }
        self.write_claims(after)
        write_own(self.connection, self.revision, self.known, after)
        self.write_numbers(board, changed_numbers(self.known, after))
        self.write_moves(board, after)
        self.renamed += renamed(self.known, after)
        before = [self.known[i].hash for i in news if i in self.known]
        self.total += Print(len(news), sum(after[i].hash for i in news))
        self.total -= Print(len(before), sum(before))
        self.known |= after

    def recount(self) -> None:
        """Makes the running total what the claims add up to."""
        self.total, _ = ranges.counted(self.connection)

    def write_claims(self, after: Mapping[str, Known]) -> None:
        """Writes claims, over what is known of their images."""
        claims = sorted(
            after.values(), key=lambda known: known.claim.claimed_at
        )
        self._replace(
            tables.claims,
            self.known.keys() & after.keys(),
            list(map(row_of, claims)),
        )

    def _settled(
        self, image: str, news: Claim | None, board: Board, *, own: bool
    ) -> Known:
        old = self.known.get(image)
        claim = news or self.known[image].claim
        return Known(
            claim=claim,
            number=board.number_of(claim)
            if image in board.images or old is None
            else old.number,
            own_revision=self.revision
            if own and news
            else (old.own_revision if old else None),
            hash=claim.hash if news or not old else old.hash,
            spelled=(old.spelled if old else "")
            or self._spelled.get(image, ""),
        )

    def write_numbers(self, board: Board, changed: Collection[int]) -> None:
        """Writes slots; a sink has to look at those that have ``changed``."""
        board.read(changed)
        touched = board.touched.union(changed)
        self._free -= touched
        there = touched & self._revisions.keys()
        rows = []
        for number in touched:
            wish = board.slots[number].wish
            revision = (
                self.revision
                if number in changed
                else self._revisions.get(number, self.revision)
            )
            rows.append(
                (number, bool(wish.wanted), wish.at, revision, wish.image)
                if wish
                else (number, None, None, revision, None)
            )
        # Rows that go into a tree in its order cost the server less.
        rows.sort(key=itemgetter(0))
        self._replace(tables.numbers, there, rows)
        self._replace(
            tables.passed,
            there,
            [
                (number, wish.image, bool(wish.wanted), wish.at)
                for number in touched
                for wish in board.slots[number].passed
            ],
        )

    def write_moves(self, board: Board, after: Mapping[str, Known]) -> None:
        """Writes down whose number has changed."""
        rows = moves_of(self.known, after, board.cause)
        for row in rows:
            row |= {"at": self._clock(), "revision": self.revision}
        if rows:
            self.connection.execute(_MOVED, rows)
            self.moved += rows

    def load_slots(
        self, numbers: Collection[int], *, whole: bool = False
    ) -> Mapping[int, Slot]:
        """Reads the slots of some numbers; ``whole`` as for `slots_of`."""
        some = (
            numbers if whole else [n for n in numbers if n not in self._free]
        )
        slots, revisions = slots_of(self.connection, some, whole=whole)
        self._revisions |= revisions
        return slots

    def _replace(
        self,
        table: sa.Table,
        there: Collection[Any],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Writes rows; of their old ones, ``there`` has the first columns.

        DELETE and INSERT of many rows are one round trip each everywhere;
        UPDATE is one for each row.
        """
        columns = list(table.columns)
        delete_in(self.connection, columns[0], there)
        insert(self.connection, columns, rows)
