"""The annals: which image has had which number, as a ledger's file remembers.

A trigger writes them in the transaction that writes the claim, so that they
are lost and restored with all else. What the package says of moves is held
against them.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby

from played.region import Region

Move = tuple[int, int | None]
"""From which number to which."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a transaction has made of a claim."""

    place: int
    revision: int
    image: str
    number: int | None
    own: bool
    """Whether the region has claimed it in this very transaction."""
    claimed_at: int
    kind_at: int
    """0 while no kind is known."""


def entries(region: Region) -> list[Entry]:
    """Returns all of a region's ledger, in order."""
    with closing(sqlite3.connect(region.ledger.path)) as connection:
        rows = connection.execute(
            "SELECT place, revision, image, number, "
            "coalesce(own_revision = revision, 0), claimed_at, "
            "coalesce(kind_at, 0) FROM played_annals ORDER BY place"
        )
        return [Entry(*row[:4], bool(row[4]), *row[5:]) for row in rows]


def withdrawn(region: Region, found: Sequence[Entry]) -> Iterator[str]:
    """Says of which images less is known than was."""
    at: dict[str, Entry] = {}
    for one in found:
        old = at.get(one.image, one)
        if one.claimed_at > old.claimed_at or one.kind_at < old.kind_at:
            yield f"2: {region.name}: what was known of {one.image} is gone"
        at[one.image] = one


def unrecorded(region: Region, found: Sequence[Entry]) -> Iterator[str]:
    """Says whose number has changed otherwise than the moves say."""
    happened: dict[str, list[Move]] = defaultdict(list)
    at: dict[str, int | None] = {}
    for one in found:
        old = at.get(one.image)
        if old is not None and old != one.number:
            happened[one.image].append((old, one.number))
        at[one.image] = one.number
    said: dict[str, list[Move]] = defaultdict(list)
    with closing(sqlite3.connect(region.ledger.path)) as connection:
        for image, old, new in connection.execute(
            "SELECT image, old, new FROM moves ORDER BY id"
        ):
            said[image].append((old, new))
    for image in sorted({*happened, *said}):
        if happened[image] != said[image]:
            yield (
                f"3: {region.name}: {image} has moved {happened[image]}, and "
                f"{said[image]} is recorded"
            )


def evicted(region: Region, found: Sequence[Entry]) -> Iterator[str]:
    """Says whose number was taken by an image that came later.

    That is what a region claims itself: it stamps it after all it knows.
    """
    at: dict[str, int | None] = {}
    newcomers: dict[int, str] = {}
    lost: dict[int, str] = {}
    for one in found:
        if one.image not in at:
            if one.own:
                newcomers[one.revision] = one.image
        elif at[one.image] not in {None, one.number}:
            lost[one.revision] = one.image
        at[one.image] = one.number
    for revision in sorted(newcomers.keys() & lost.keys()):
        yield (
            f"3: {region.name}: {lost[revision]} has lost its number to "
            f"{newcomers[revision]}, which was claimed there later"
        )


def losses(
    found: Sequence[Entry], since: int, until: int | None
) -> Iterator[tuple[str, int]]:
    """Returns who has lost which number to another image, in between."""
    at: dict[str, int | None] = {}
    revisions = groupby(found, key=lambda one: one.revision)
    for _, together in revisions:
        some = list(together)
        before = {one.image: at.get(one.image) for one in some}
        at |= {one.image: one.number for one in some}
        last = some[-1].place
        if last <= since or (until is not None and last > until):
            continue
        given = {one.number for one in some}
        for image, number in before.items():
            if number is not None and at[image] != number in given:
                yield image, number


def taken(
    region: Region,
    found: Sequence[Entry],
    since: int,
    known: Collection[str],
    used: Collection[int | None],
) -> Iterator[str]:
    """Says who was given a number that an image of yesterday has.

    A ledger that was restored knows nothing of it before it is compared.
    """
    given = {number for number in used if number is not None}
    for one in found:
        is_new = one.place > since and one.own and one.image not in known
        if is_new and one.number in given:
            yield (
                f"3: {region.name}: {one.image} was given {one.number}, "
                "which another had in the evening before"
            )
