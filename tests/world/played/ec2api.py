"""ec2-api of a region: its table, and what it makes there of its own.

As `ec2api.db.sqlalchemy.api` of ec2-api 17 does: whoever describes an image
has a row made for it, with an id drawn at random from 32 bits; the owner's
first call fills in the row that it finds, and keeps its id; and what the owner
does not see any more is deleted. A row of another kind is an error to both.
"""

import sqlite3
from collections.abc import Callable, Mapping
from functools import partial
from random import Random

from ec2map_sync.rules.ec2id import (
    DERIVED,
    Kind,
    Scheme,
    format_id,
    parse_id,
)
from ec2map_sync.rules.names import EC2API
from played.sqlite import Database

_ITEMS = (
    "CREATE TABLE items (id VARCHAR(30) NOT NULL PRIMARY KEY, "
    "project_id VARCHAR(64), vpc_id VARCHAR(12), os_id VARCHAR(36) UNIQUE, "
    "data TEXT)"
)
_INSERT = "INSERT INTO items (id, os_id, project_id, data) VALUES (?, ?, ?, ?)"
_FILL = "UPDATE items SET project_id = ?, data = ? WHERE id = ?"
_BARE = (None, None)
_FILLED = ("owner", "{}")

Own = Callable[[], None]
"""Notes what ec2-api has made of a row, once that is committed."""


def _nothing() -> None:
    """Notes nothing: it was an error, or there was nothing to do."""


class Ec2Api:
    """ec2-api's database, and which of its rows are its own."""

    sink = EC2API
    """What it is called as a sink."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.own: dict[str, str] = {}
        """Rows that it has made, or filled in: id, image. They stay."""
        self.adoptable: set[str] = set()
        """Images to which it has ever given an id that may be adopted."""
        with sqlite3.connect(database.path) as connection:
            connection.execute(_ITEMS)
        connection.close()

    def rows(self) -> dict[str, str]:
        """Returns all rows: the image of each id."""
        connection = sqlite3.connect(self.database.path)
        found = dict(connection.execute("SELECT id, os_id FROM items"))
        connection.close()
        return found

    def describe(self, image: str, id_: str) -> None:
        """Looks an image up, and gives it an id if it has none."""
        self._do(partial(self._describe, image, id_))

    def use(self, image: str, id_: str) -> None:
        """Does what the owner calls for; ``id_`` is drawn if it has none."""
        self._do(partial(self._use, image, id_))

    def forget(self, image: str) -> None:
        """Deletes the row of an image that its owner does not see."""
        self._do(partial(self._forget, image))

    def own_up(self, number: int, image: str) -> None:
        """Takes a row of ours for one of its own, if it has such a one."""
        for id_, uuid in self.rows().items():
            if (parse_id(id_)[1], uuid) == (number, image):
                self._note(id_, image)

    def _note(self, id_: str, image: str) -> None:
        self.own[id_] = image
        if parse_id(id_)[1] < DERIVED.stop:
            self.adoptable.add(image)

    def _do(self, act: Callable[[sqlite3.Connection], Own]) -> None:
        if self.database.up:
            self.database.do(act, lambda note: note())

    def _describe(
        self, image: str, id_: str, connection: sqlite3.Connection
    ) -> Own:
        if _row_of(connection, image) is not None:
            return _nothing
        return self._insert(connection, id_, image, _BARE)

    def _use(
        self, image: str, id_: str, connection: sqlite3.Connection
    ) -> Own:
        found = _row_of(connection, image)
        if found is None:
            return self._insert(connection, id_, image, _FILLED)
        there, project = found
        if project is not None or parse_id(there)[0] != parse_id(id_)[0]:
            return _nothing
        connection.execute(_FILL, (*_FILLED, there))
        return partial(self.own.update, {there: image})

    def _forget(self, image: str, connection: sqlite3.Connection) -> Own:
        found = _row_of(connection, image)
        if found is None or found[1] is None:
            return _nothing
        connection.execute("DELETE FROM items WHERE id = ?", (found[0],))
        return partial(self.own.pop, found[0])  # type: ignore[return-value]

    def _insert(
        self,
        connection: sqlite3.Connection,
        id_: str,
        image: str,
        rest: tuple[str | None, str | None],
    ) -> Own:
        try:
            connection.execute(_INSERT, (id_, image, *rest))
        except sqlite3.IntegrityError:
            return _nothing  # the id is another's: ec2-api says so
        return partial(self._note, id_, image)


def _row_of(
    connection: sqlite3.Connection, image: str
) -> tuple[str, str | None] | None:
    """Returns the id of an image's row, and whose it is."""
    statement = "SELECT id, project_id FROM items WHERE os_id = ?"
    found: tuple[str, str | None] | None = connection.execute(
        statement, (image,)
    ).fetchone()
    return found


def drawn(rng: Random, scheme: Scheme, image: str, kind: Kind) -> str:
    """Draws an id; more often than by chance it is one that may be ours.

    One that the image could derive would pass for a row of ours: with the
    real band that happens once in millions.
    """
    band = scheme.band
    while True:
        number = rng.choice(
            [
                rng.randint(1, 0xFFFFFFFF),
                rng.randint(1, DERIVED.stop - 1),
                rng.randrange(band.first, band.stop),
            ]
        )
        if not scheme.could_derive(image, number):
            return format_id(number, kind)


def expected(
    own: Mapping[str, str],
    numbers: Mapping[str, int],
    kinds: Mapping[str, Kind],
) -> dict[str, str]:
    """Returns which rows there are when all that is settled is written.

    What ec2-api has made or filled in stays; an image has one row at most,
    and none before its kind is known.
    """
    with_own = set(own.values())
    ours = {
        format_id(number, kinds[image]): image
        for image, number in numbers.items()
        if image in kinds and image not in with_own
    }
    return ours | dict(own)


def diverging(
    own: Mapping[str, str], numbers: Mapping[str, int]
) -> set[tuple[int, str]]:
    """Returns which of ec2-api's rows operators have to be told of.

    Of an image that nobody has claimed (any more): in our band only.
    """
    rows = {(parse_id(id_)[1], image) for id_, image in own.items()}
    return {
        (number, image)
        for number, image in rows
        if numbers.get(image) != number
        and (image in numbers or number in DERIVED)
    }
