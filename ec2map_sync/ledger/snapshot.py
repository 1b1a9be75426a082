"""All of a ledger at one moment, page by page, however long that takes."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from ec2map_sync.ledger import ranges, tables
from ec2map_sync.ledger.known import (
    Head,
    head_of,
    load_slots,
    require_scheme,
)
from ec2map_sync.ledger.rehearsal import Rehearsal
from ec2map_sync.protocol import canonical
from ec2map_sync.rules.canaries import SPACE, is_canary
from ec2map_sync.rules.claims import (
    BEGINNING,
    EVERYTHING,
    Bound,
    Claim,
    Span,
    Stamp,
)
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.rules.settle import Board, Wish
from ec2map_sync.sql.images import begins_with, text_of


@dataclass(frozen=True, slots=True)
class Leaves:
    """What was known before a moment of images side by side, in columns.

    A million are gone through in seconds: nothing is made for each of them
    that is not needed.
    """

    claims: Sequence[bytes]
    """Lines: each claim, without what was stamped later."""
    entries: Sequence[bytes]
    """The same, with the number that the image had."""
    hashes: Sequence[int]
    """Of the claims as they are by now."""
    settled: Sequence[bool]
    """Whether a later moment finds the same, unless the claim changes."""

    def __len__(self) -> int:
        return len(self.claims)

    def part(self, start: int, stop: int | None = None) -> "Leaves":
        """Returns some of them."""
        some = slice(start, stop)
        return Leaves(
            self.claims[some],
            self.entries[some],
            self.hashes[some],
            self.settled[some],
        )

    @property
    def after(self) -> Bound:
        """Where the claims begin that follow."""
        return claim_of(self.claims[-1]).after


_ORDER = (tables.claims.c.claimed_at, tables.claims.c.image)
_COLUMNS = [
    tables.claims.c[name]
    for name in (
        *("image", "claimed_at", "wanted_at", "wanted"),
        *("kind_at", "kind", "number", "hash"),
    )
]
_SEPARATOR = "\x1f"
_UNSETTLED, _SETTLED, _ADOPTED_LATER = range(3)
_CLOSE = canonical.CLOSE.encode()
_NUMBER, _AFTER_NUMBER = canonical.NUMBER.encode().split(b"%s")
_NONE = Leaves((), (), (), ())
_MOST_PACKED = 2**24
"""Bytes: more than the rows of a page have."""

PAGE = 5000
"""Claims read by one statement: one for all would be given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What was committed when it was opened; nobody waits for it."""

    connection: Connection
    scheme: Scheme
    head: Head

    @property
    def count(self) -> int:
        """How many claims there are."""
        return self.head.total.count

    def pages(self, span: Span = EVERYTHING) -> Iterator[list[Claim]]:
        """Returns the claims of a span, in order."""
        start, stop = span
        while page := ranges.page(self.connection, Span(start, stop), PAGE):
            yield page
            start = page[-1].after

    def counted(self, span: Span) -> int:
        """Returns how many claims a span has."""
        rows = sa.select(sa.func.count()).select_from(tables.claims)
        counted = self.connection.scalar(rows.where(*ranges.within(span)))
        return int(counted or 0)

    def entries(self, until: Stamp) -> Iterator[Leaves]:
        """Returns what was known before a stamp, in order."""
        start = BEGINNING
        while found := self.known(Span(start, Bound(until)), until, PAGE):
            yield found
            start = found.after

    def known(self, span: Span, until: Stamp, limit: int) -> Leaves:
        """Returns what was known before a stamp of the first of a span.

        Of each image that was claimed before: its claim, without what has a
        later stamp; and the same with the number that it had by all wishes
        of before. As the earlier wish always wins, later ones have not
        changed that.
        """
        if self.connection.dialect.driver == "pymysql":
            return self._packed(span, until, limit)
        rows = sa.select(*_COLUMNS).where(*ranges.within(span))
        found = self.connection.execute(rows.order_by(*_ORDER).limit(limit))
        known = [self._known(tuple(row), until) for row in found]
        return Leaves(*zip(*known, strict=True)) if known else _NONE

    def _known(
        self, row: tuple[Any, ...], until: Stamp
    ) -> tuple[bytes, bytes, int, bool]:
        image, at, wanted_at, wanted, kind_at, kind, number, hash_ = row
        adopted = None if wanted_at is None else (wanted_at, wanted)
        seen = None if kind_at is None else (kind_at, kind)
        text = canonical.line(image, at, adopted, seen, until)
        latest = max(wanted_at or 0, kind_at or 0)
        if (wanted_at or 0) >= until and number == wanted:
            number = self._derived(Wish(at, image))
        entry = canonical.entry(text, number)
        seated = number is not None or is_canary(image)
        settled = latest < until and seated
        return text.encode(), entry.encode(), hash_, settled

    def _packed(self, span: Span, until: Stamp, limit: int) -> Leaves:
        """Lets the server write the lines, and reads them as one value.

        PyMySQL takes values apart in Python, one by one, which takes longer
        than all that is done with them.
        """
        packed = self.connection.scalar(_packed(span, until, limit))
        if not packed:
            return _NONE
        fields = packed.encode().split(_SEPARATOR.encode())
        lines, numbers, hashes, told = (fields[n::4] for n in range(4))
        states = [int(state) for state in told]
        for place, state in enumerate(states):
            if state == _ADOPTED_LATER:
                numbers[place] = self._before_adopted(lines[place] + _CLOSE)
        return Leaves(
            claims=[line + _CLOSE for line in lines],
            entries=[
                line + _NUMBER + number + _AFTER_NUMBER
                for line, number in zip(lines, numbers, strict=True)
            ],
            hashes=[int(hash_) for hash_ in hashes],
            settled=[state == _SETTLED for state in states],
        )

    def _before_adopted(self, line: bytes) -> bytes:
        """Returns the number that an image had without what it adopted."""
        first = claim_of(line)
        number = self._derived(Wish(first.claimed_at, first.image))
        return b"null" if number is None else b"%d" % number

    def _derived(self, wish: Wish) -> int | None:
        load = partial(load_slots, self.connection)
        return Board(self.scheme, load).seat(wish)

    def rehearsal(self) -> Rehearsal:
        """Returns what tells what recording claims would do."""
        return Rehearsal(self.connection, self.scheme)


def _packed(span: Span, until: Stamp, limit: int) -> sa.Select[Any]:
    """Returns a statement that packs what is known of a span in a value."""
    c = tables.claims.c
    wanted_before, kind_before = c.wanted_at < until, c.kind_at < until
    line = sa.func.concat(
        _filled(canonical.OPEN, text_of(c.image), c.claimed_at),
        _if(wanted_before, _filled(canonical.WANTED, c.wanted_at, c.wanted)),
        _if(kind_before, _filled(canonical.KIND, c.kind_at, c.kind)),
    )
    state = sa.case(
        (sa.and_(c.wanted_at >= until, c.number == c.wanted), _ADOPTED_LATER),
        (sa.or_(c.wanted_at >= until, c.kind_at >= until), _UNSETTLED),
        (
            sa.and_(c.number.is_(None), ~begins_with(c.image, SPACE)),
            _UNSETTLED,
        ),
        else_=_SETTLED,
    )
    number = sa.func.coalesce(c.number, "null")
    packed = sa.func.concat_ws(_SEPARATOR, line, number, c.hash, state)
    rows = sa.select(packed.label("packed"), *_ORDER)
    rows = rows.where(*ranges.within(span)).order_by(*_ORDER).limit(limit)
    # The character itself: to some servers a backslash is one like others.
    together = sa.text(
        "some.packed ORDER BY some.claimed_at, some.image "
        f"SEPARATOR '{_SEPARATOR}'"
    )
    return sa.select(sa.func.group_concat(together)).select_from(
        rows.subquery("some")
    )


def _filled(template: str, *values: sa.ColumnElement[Any]) -> Any:
    """Fills in a template of a line as a server does."""
    first, *rest = template.split("%s")
    pieces = (part for pair in zip(values, rest, strict=True) for part in pair)
    return sa.func.concat(first, *pieces)


def _if(condition: sa.ColumnElement[bool], text: Any) -> Any:
    return sa.case((condition, text), else_="")


def claim_of(line: bytes) -> Claim:
    """Returns the claim of a line: which, and when it was made."""
    told = json.loads(line)
    return Claim(claimed_at=told["claimed_at"], image=told["image"])


def _see_one_moment(connection: Connection) -> None:
    """Lets a transaction see what there was at its beginning.

    SQLAlchemy asks the server past what makes its errors of a driver's.
    """
    try:
        connection.execution_options(isolation_level="REPEATABLE READ")
    except connection.dialect.loaded_dbapi.Error as error:
        connection.invalidate(error)
        raise sa.exc.OperationalError(None, None, error) from error


@contextmanager
def snapshot(engine: Engine, scheme: Scheme) -> Iterator[Snapshot]:
    """Opens a snapshot.

    :raises SchemeMismatch: the ledger was filled under another scheme.
    """
    with engine.connect() as connection:
        if engine.dialect.name != "sqlite":  # there, each transaction is one
            _see_one_moment(connection)
        if engine.dialect.driver == "pymysql":
            most = f"SET SESSION group_concat_max_len = {_MOST_PACKED}"
            connection.exec_driver_sql(most)
        row = connection.execute(sa.select(tables.head)).one()
        require_scheme(row.scheme, scheme)
        yield Snapshot(connection=connection, scheme=scheme, head=head_of(row))
