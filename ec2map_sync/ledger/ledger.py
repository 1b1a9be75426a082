"""The ledger's public face: record, look up, read the feeds."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from ec2map_sync.ledger import ranges, sketches, tables
from ec2map_sync.ledger.allowance import Allowance
from ec2map_sync.ledger.copies import Copies
from ec2map_sync.ledger.divergences import Divergences
from ec2map_sync.ledger.feeds import (
    NUMBERED,
    Cursors,
    damaged_of,
    numbered_of,
)
from ec2map_sync.ledger.journal import Journal
from ec2map_sync.ledger.known import (
    MAPPED,
    Head,
    claim_of_row,
    glimpse,
    head_of,
    head_row,
    number_in_sql,
)
from ec2map_sync.ledger.memos import Memos
from ec2map_sync.ledger.part import Part
from ec2map_sync.ledger.quarantine import Quarantine
from ec2map_sync.ledger.queries import Queries
from ec2map_sync.ledger.recording import Recording
from ec2map_sync.ledger.signatures import Signatures
from ec2map_sync.ledger.snapshot import Snapshot, snapshot
from ec2map_sync.ledger.statements import Statements
from ec2map_sync.rules.claims import (
    Claim,
    Print,
    Range,
    Sighting,
    Span,
    Stamp,
    claim_of,
    join,
    join_all,
)
from ec2map_sync.rules.copies import Suspects
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.rules.errors import Contradicted
from ec2map_sync.rules.rows import Numbered
from ec2map_sync.rules.sketches import Shape, Sketch
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.sql.clock import NOW
from ec2map_sync.sql.errors import again
from ec2map_sync.sql.statements import select_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a batch has changed."""

    revision: int | None
    """The revision it got; None if nothing was news."""
    news: int
    moved: int = 0
    renamed: int = 0
    """Images that have got an id of another kind."""
    evicted: int = 0
    """Numbers that images have lost."""


NOTHING = Recorded(revision=None, news=0)


class _Attempt(Protocol):
    def __call__(self, *, trusting: bool) -> Recorded: ...


def _trusting(attempt: _Attempt) -> Recorded:
    """Records, trusting that a number tells of each image that is known.

    Where somebody has taken such a number away, the image is found when it
    is inserted, and the next attempt asks for each.
    """
    try:
        return attempt(trusting=True)
    except sa.exc.IntegrityError:
        return attempt(trusting=False)


class Ledger(Part):
    """A region's set of claims, the mapping settled from it, its readers.

    Every method is one short transaction. Errors of the database come out
    as SQLAlchemy's; nothing is half done then, and calling again is safe.
    """

    def __init__(
        self,
        engine: Engine,
        scheme: Scheme,
        clock: Callable[[], Stamp] = wall_clock,
    ) -> None:
        super().__init__(engine, clock)
        self.scheme = scheme
        self.cursors = Cursors(engine)
        """How far those have come who read the feeds."""
        self.queries = Queries(engine)
        """What operators ask: reads only."""
        self.journal = Journal(engine, clock)
        """What else is remembered: peers and services."""
        self.quarantine = Quarantine(engine, clock)
        """What could not be understood or trusted."""
        self.divergences = Divergences(engine, clock)
        """What the sinks hold that is not as settled."""
        self.copies = Copies(engine, scheme, clock)
        """What is stored twice, and whether it says the same."""
        self.signatures = Signatures(engine, clock)
        """What regions have signed."""
        self.statements = Statements(engine, clock)
        """What regions have stated beside it."""
        self.memos = Memos(engine, clock)
        """What Nova is to forget."""

    def see(self, sightings: Sequence[Sighting]) -> Recorded:
        """Claims what this region has seen, where that is news."""
        return _trusting(partial(self._see, sightings))

    def record(
        self, claims: Iterable[Claim], *, allowance: Allowance | None = None
    ) -> Recorded:
        """Joins claims that other regions have made.

        Within an ``allowance``, unless an operator has decided.

        :raises TooManyMoves: they would change more.
        """
        joined = join_all(claims)
        if not joined:
            return NOTHING
        return _trusting(partial(self._join, joined, allowance))

    @again
    def _see(
        self, sightings: Sequence[Sighting], *, trusting: bool
    ) -> Recorded:
        images = {s.image for s in sightings}
        with self._writing.connect() as connection:
            seen = None
            if trusting:
                seen = glimpse(connection, images, self.scheme)
                if not seen.has_news(sightings, self._clock()):
                    return NOTHING
            recording = Recording(connection, self.scheme, self._clock)
            recording.look_up(images, seen)
            claims: dict[str, Claim] = {}
            for sighting in sightings:
                image = sighting.image
                known = claims.get(image) or recording.claim(image)
                claim = claim_of(sighting, known, recording.next_stamp())
                if claim:
                    claims[image] = join(known, claim) if known else claim
            spelled = recording.spell(sightings)
            return self._record(
                recording, claims.values(), own=True, spelled=spelled
            )

    @again
    def _join(
        self,
        joined: Mapping[str, Claim],
        allowance: Allowance | None,
        *,
        trusting: bool,
    ) -> Recorded:
        with self._writing.connect() as connection:
            recording = Recording(connection, self.scheme, self._clock)
            if not trusting:
                recording.look_up(joined)
            for claim in joined.values():
                recording.follow(claim.newest)
            return self._record(
                recording, joined.values(), own=False, allowance=allowance
            )

    def require(self) -> None:
        """Makes sure that something can be written; changes nothing."""
        h = tables.head
        self._write(sa.update(h).values(revision=h.c.revision))

    @contextmanager
    def recording(self) -> Iterator[tuple[Connection, Recording]]:
        """Holds the ledger's lock; what is not committed is undone."""
        with self._writing.connect() as connection:
            recording = Recording(connection, self.scheme, self._clock)
            yield connection, recording

    def head(self) -> Head:
        """Returns how far the ledger has come."""
        with self._engine.connect() as connection:
            row = head_row(connection.execute(sa.select(tables.head, NOW)))
        return replace(head_of(row), clock=row.clock)

    def print_before(self, until: Stamp) -> tuple[Head, Print]:
        """Returns the head, and the print of claims made before a stamp."""
        with self._engine.connect() as connection:
            row, before = ranges.print_before(connection, until)
        return head_of(row), before

    def counted_before(self, until: Stamp) -> tuple[Print, Print]:
        """Returns the prints of all claims, and of those before a stamp.

        Both are counted: no running total is believed.
        """
        with self._engine.connect() as connection:
            return ranges.counted(connection, until)

    def print_of(self, span: Span) -> Print:
        """Returns the print of a span."""
        return self.prints_of([span])[0]

    def prints_of(
        self, spans: Sequence[Span], most: Sequence[int] = ()
    ) -> list[Print]:
        """Returns the print of each span.

        Where a span has more claims than are given as its ``most``, that of
        some of them is enough.
        """
        with self._engine.connect() as connection:
            return ranges.prints_of(connection, spans, most)

    def split(self, span: Span) -> list[Range]:
        """Cuts a span into up to 32 parts; leaves out those without claims.

        A span whose claims have all the same stamp cannot be cut.
        """
        with self._engine.connect() as connection:
            return ranges.split(connection, span)

    def page(self, span: Span, limit: int) -> list[Claim]:
        """Returns the first claims of a span, in order."""
        with self._engine.connect() as connection:
            return ranges.page(connection, span, limit)

    def sketch_of(self, spans: Sequence[Span], shape: Shape) -> Sketch:
        """Returns the sketch of the claims in some spans."""
        with self._engine.connect() as connection:
            return sketches.sketch_of(connection, spans, shape)

    def hashed(
        self, spans: Sequence[Span], hashes: Iterable[int]
    ) -> list[Claim]:
        """Returns the claims in some spans that have one of the hashes."""
        with self._engine.connect() as connection:
            return sketches.hashed(connection, spans, hashes)

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Opens all of the ledger as it is at this moment."""
        return snapshot(self._engine, self.scheme)

    def claims(self, images: Iterable[str]) -> dict[str, Claim]:
        """Looks claims up by image."""
        c = tables.claims
        rows = self._rows_in(sa.select(c), c.c.image, images)
        return {row.image: claim_of_row(row) for row in rows}

    def numbered(self, numbers: Iterable[int]) -> dict[int, Numbered]:
        """Returns what a sink should hold under each of some numbers.

        What contradicts itself is put right first.

        :raises Contradicted: it could not be.
        """
        numbers = list(numbers)
        try:
            found = self._numbered(numbers)
        except Contradicted as error:
            self.copies.mend(Suspects(numbers=error.numbers))
            found = self._numbered(numbers)
        return {one.number: one for one in found}

    def _numbered(self, numbers: Iterable[int]) -> list[Numbered]:
        number = tables.numbers.c.number
        with self._engine.connect() as connection:
            rows = list(select_in(connection, NUMBERED, number, numbers))
            return numbered_of(rows, damaged_of(connection, rows))

    def numbers_of(self, images: Iterable[str]) -> dict[str, int]:
        """Returns the numbers of those images that have one."""
        c = tables.claims
        numbered = sa.select(c.c.image, c.c.number).where(
            c.c.number.is_not(None)
        )
        return dict(self._rows_in(numbered, c.c.image, images))

    def held_between(self, after: int, upto: int, revision: int) -> list[int]:
        """Returns the numbers above ``after``, up to ``upto``, of any image.

        Only those that were the same already at a revision.
        """
        n = tables.numbers
        statement = (
            sa.select(n.c.number)
            .join(tables.claims, MAPPED)
            .where(
                n.c.number > number_in_sql(after),
                n.c.number <= number_in_sql(upto),
                n.c.revision <= revision,
            )
        )
        return [number for (number,) in self._rows(statement)]

    def _record(
        self,
        recording: Recording,
        claims: Iterable[Claim],
        *,
        own: bool,
        spelled: bool = False,
        allowance: Allowance | None = None,
    ) -> Recorded:
        """Joins, and commit if anything was news.

        What brings nothing leaves no revision: they are without gaps.
        """
        news = recording.join(claims, own=own)
        if not (news or spelled or recording.mended):
            return NOTHING
        if allowance:
            recording.keep_to(allowance)
        recording.commit()
        return Recorded(
            revision=recording.revision,
            news=len(news),
            moved=len(recording.moved),
            renamed=len(recording.renamed),
            evicted=len(recording.evictions),
        )
