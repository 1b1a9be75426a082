"""Copies of rows, held against the rows: page by page, and put right."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import Connection

from ec2map_sync.ledger import ranges, tables
from ec2map_sync.ledger.bookkeeping import (
    Bookkeeping,
    note_progress,
    state_of,
)
from ec2map_sync.ledger.known import (
    claim_of_row,
    known_of,
    number_in_sql,
    slots_of,
    wish_of,
)
from ec2map_sync.ledger.mending import Mending
from ec2map_sync.ledger.part import Part
from ec2map_sync.ledger.recording import Recording
from ec2map_sync.rules import copies
from ec2map_sync.rules.claims import Claim, Print, Stamp
from ec2map_sync.rules.copies import Suspects
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.rules.names import BOOKKEEPER, PUBLISHER
from ec2map_sync.rules.settle import Board, Wish, wishes
from ec2map_sync.rules.stamps import MAX_AHEAD
from ec2map_sync.sql.errors import again
from ec2map_sync.sql.statements import select_in

_LEAST = -(2**63)
"""Before any number, also one that was written by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a round has come: a table, and the last key looked at."""

    table: str = "claims"
    key: str = ""

    @classmethod
    def read(cls, text: str) -> "Place":
        """Reads what `str` has written."""
        table, _, key = text.partition(" ")
        return cls(table=table, key=key) if table in _NEXT else cls()

    def __str__(self) -> str:
        return f"{self.table} {self.key}"


_NEXT = {"claims": "numbers", "numbers": "passed", "passed": ""}
"""What a round looks at, in this order: a number without a claim is nobody's
only after everybody was asked for his."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page of rows has shown."""

    rows: int
    suspects: Suspects
    next: Place | None
    """Where the next page begins; None at the end of a round."""


class Copies(Part):
    """Holds what is stored twice against what it was made of."""

    def __init__(self, engine: Any, scheme: Scheme, clock: Any) -> None:
        super().__init__(engine, clock)
        self._scheme = scheme

    def look(self, place: Place, limit: int) -> Page:
        """Looks at one page, without the lock: what it finds may be news."""
        look = {
            "claims": self._look_at_claims,
            "numbers": self._look_at_numbers,
            "passed": self._look_at_passed,
        }[place.table]
        with self._engine.connect() as connection:
            rows, suspects = look(connection, place.key, limit)
        table = place.table if len(rows) == limit else _NEXT[place.table]
        key = str(rows[-1][0]) if table == place.table else ""
        return Page(
            rows=len(rows),
            suspects=suspects,
            next=Place(table=table, key=key) if table else None,
        )

    @again
    def mend(self, suspects: Suspects, *, dry_run: bool = False) -> list[str]:
        """Looks again behind the lock, and puts right what is wrong."""
        with self._writing.connect() as connection:
            recording = Recording(connection, self._scheme, self._clock)
            recording.mended = Mending(recording).mend(suspects)
            if recording.mended and not dry_run:
                recording.commit()
        return recording.mended

    def look_at_totals(self) -> bool:
        """Returns whether the head row is as the other rows say."""
        with self._engine.connect() as connection:
            if _heads(connection) != 1:
                return False
            return not _wrong_in_head(connection, self._clock())

    @again
    def mend_totals(self, *, dry_run: bool = False) -> list[str]:
        """Makes the head row, and cursors, what the other rows say."""
        gone = []
        with self._writing.begin() as connection:
            if _heads(connection) != 1:
                gone = ["the head row was gone, or not alone"]
                if dry_run:
                    return gone
                _make_head(connection)
        with self._writing.connect() as connection:
            recording = Recording(connection, self._scheme, self._clock)
            wrong = _wrong_in_head(connection, self._clock())
            found = gone + [f"{what} was {was}" for what, was, _ in wrong]
            if not found or dry_run:
                return found
            right = {what: value for what, _, value in wrong}
            recording.recount()
            recording.follow(right.get("last_stamp", 0))
            recording.revision = 1 + right.get(
                "revision", recording.revision - 1
            )
            _rewind(connection, recording.revision - 1)
            recording.mended = found
            recording.commit()
        return found

    def state(self) -> Bookkeeping:
        """Returns how far it has come, and what was found."""
        with self._engine.connect() as connection:
            return state_of(connection)

    @again
    def move_on(self, page: Page, since: Bookkeeping) -> None:
        """Remembers where to go on, unless something was found meanwhile.

        ``since`` is what was known when the page was chosen.
        """
        fields: dict[str, Any] = {"position": str(page.next or "")}
        if page.next is None:
            fields |= {"completed_at": self._clock(), "doubtful": False}
        with self._writing.begin() as connection:
            if state_of(connection).doubtful == since.doubtful:
                note_progress(connection, **fields)

    def _board(self, connection: Connection) -> Board:
        return Board(
            self._scheme,
            lambda numbers: slots_of(connection, numbers, whole=True)[0],
        )

    def _look_at_claims(
        self, connection: Connection, after: str, limit: int
    ) -> tuple[Any, Suspects]:
        c = tables.claims
        rows = connection.execute(
            sa.select(c)
            .where(c.c.image > after)
            .order_by(c.c.image)
            .limit(limit)
        ).all()
        board = self._board(connection)
        known = [known_of(row) for row in rows]
        board.again(w for one in known for w in wishes(one.claim))
        board.prepare()
        suspects = Suspects()
        for one in known:
            if one.is_damaged or not copies.agrees(
                one.claim, one.number, board
            ):
                suspects |= _of_claim(one.claim, board)
        return rows, suspects

    def _look_at_numbers(
        self, connection: Connection, after: str, limit: int
    ) -> tuple[Any, Suspects]:
        n = tables.numbers
        rows = connection.execute(
            sa.select(n)
            .where(n.c.number > number_in_sql(int(after or _LEAST)))
            .order_by(n.c.number)
            .limit(limit)
        ).all()
        noted = [
            (row.number, wish_of(row))
            for row in rows
            if row.wish_image is not None
        ]
        return rows, self._amiss(connection, noted, copies.sits)

    def _look_at_passed(
        self, connection: Connection, after: str, limit: int
    ) -> tuple[Any, Suspects]:
        p = tables.passed
        first = sa.select(p.c.number).where(p.c.number > int(after or _LEAST))
        numbers = connection.scalars(
            first.distinct().order_by(p.c.number).limit(limit)
        ).all()
        found = select_in(connection, sa.select(p), p.c.number, numbers)
        noted = [(row.number, wish_of(row)) for row in found]
        rows = [(number,) for number in numbers]
        return rows, self._amiss(connection, noted, copies.went_by)

    def _amiss(
        self, connection: Connection, noted: list[tuple[int, Wish]], rule: Any
    ) -> Suspects:
        """Returns the numbers under which a wish stands that should not."""
        claims = _claims(connection, (wish.image for _, wish in noted))
        board = self._board(connection)
        board.read(number for number, _ in noted)
        return Suspects(
            numbers=frozenset(
                number
                for number, wish in noted
                if wish.image not in claims
                or not rule(number, wish, claims[wish.image], board)
            )
        )


def _claims(
    connection: Connection, images: Iterable[str]
) -> Mapping[str, Claim]:
    c = tables.claims
    rows = select_in(connection, sa.select(c), c.c.image, set(images))
    return {row.image: claim_of_row(row) for row in rows}


def _of_claim(claim: Claim, board: Board) -> Suspects:
    return Suspects(
        images=frozenset({claim.image}),
        numbers=frozenset(n for w in wishes(claim) for n in board.walk(w)),
    )


def _heads(connection: Connection) -> int:
    count = sa.select(sa.func.count()).select_from(tables.head)
    return int(connection.execute(count).scalar_one())


def _make_head(connection: Connection) -> None:
    """Makes a head row that knows of nothing yet.

    Under another identity: nobody knows what the old one was.
    """
    connection.execute(sa.delete(tables.head))
    zeros = dict.fromkeys(
        ("revision", "last_stamp", "total_count", "total_sum"), 0
    )
    row = {"id": 1, "identity": str(uuid4()), "scheme": "", **zeros}
    connection.execute(sa.insert(tables.head), row)


def _wrong_in_head(
    connection: Connection, now: Stamp
) -> list[tuple[str, Any, Any]]:
    """Returns what of the head row is wrong: its name, what it is, and was.

    None of it is read from the rows one by one: the sum is that of an index.
    """
    c, n, k = tables.claims.c, tables.numbers.c, tables.cursors.c
    o = tables.own_claims.c
    newest, numbered, own, read = connection.execute(
        sa.select(
            sa.select(sa.func.max(c.claimed_at))
            .where(c.claimed_at < now + MAX_AHEAD)
            .scalar_subquery(),
            sa.select(sa.func.max(n.revision)).scalar_subquery(),
            sa.select(sa.func.max(o.revision)).scalar_subquery(),
            sa.select(sa.func.max(k.revision))
            .where(k.name != str(BOOKKEEPER))
            .scalar_subquery(),
        )
    ).one()
    # The head last: what is recorded between the two does not look wrong.
    row, surplus = ranges.print_before(connection, 0)
    revision = max(row.revision, numbered or 0, own or 0)
    wrong: list[tuple[str, Any, Any]] = []
    if surplus != Print(0, 0):
        total = Print(row.total_count, row.total_sum)
        wrong.append(("total", f"that of {total.count} claims", total))
    if revision > row.revision:
        wrong.append(("revision", row.revision, revision))
    if (newest or 0) > row.last_stamp:
        wrong.append(("last_stamp", row.last_stamp, newest))
    if (read or 0) > revision:
        wrong.append(("a cursor", read, 0))
    return wrong


def _rewind(connection: Connection, newest: int) -> None:
    """Lets readers that are ahead of the ledger go through it again."""
    k = tables.cursors
    # Not the one that is held meanwhile, and says nothing.
    ahead = sa.update(k).where(
        k.c.revision > newest, k.c.name != str(BOOKKEEPER)
    )
    publisher = k.c.name == str(PUBLISHER)
    connection.execute(ahead.where(~publisher).values(revision=0))
    # What it skips, peers find by comparing.
    connection.execute(ahead.where(publisher).values(revision=newest))
