"""Sinks: where numbers are written, and what to write there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ec2map_sync.rules.ec2id import Kind
from ec2map_sync.rules.rows import Numbered, SinkRow
from ec2map_sync.sql.rowprints import Prints


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What makes a sink's rows right: first empty, then fill."""

    remove: tuple[SinkRow, ...] = ()
    """Rows to remove, only if they are still as found."""
    add: tuple[SinkRow, ...] = ()
    taken: tuple[SinkRow, ...] = ()
    """Rows of others under our numbers, left alone: divergence."""


Row = tuple[int, str]
"""A number and the UUID under it."""

Judge = Callable[[Iterable[SinkRow]], Callable[[SinkRow], bool]]
"""Looks at rows all at once, and then tells of each whether it is ours."""


class Session(Protocol):
    """A transaction in a sink that nobody else of ours can have now."""

    def plan(
        self, settled: Sequence[Numbered], *, judge: Judge, rewrite: bool
    ) -> Plan:
        """Reads what stands there and compares it with what is settled."""

    def apply(self, steps: Plan) -> None:
        """Writes, and commit."""

    def put(self, rows: Sequence[SinkRow]) -> int:
        """Writes rows where none stands; commits if these are all.

        Returns how many. A sink in which others have rows writes none: it
        has to be looked at.
        """


class Sink(Protocol):
    """One database that numbers are written to."""

    name: str

    adoptable_below: int
    """Ids that images may have got there before us are below this number."""

    needs_kind: bool
    """Whether nothing is written before an image's kind is known."""

    ranges: "Ranges | None"
    """By which ranges of rows are compared; None where others have rows
    under derived numbers too."""

    suspect: bool
    """Whether others may have got rows in our band since it was cleared."""

    def reserve(self) -> None:
        """Keeps the database's own numbers out of our band."""

    def scan(self, after: int, limit: int) -> list[SinkRow]:
        """Reads rows by number, those above ``after``, without a lock.

        None of a number is left for the next page.
        """

    def rows(self, numbers: Iterable[int]) -> list[SinkRow]:
        """Reads rows by primary key, without a lock.

        In ec2-api a number may have several, with other prefixes.
        """

    def numbers_of(self, uuid: str) -> list[int]:
        """Finds every row of an image; may read the whole table.

        The first one is what a guest sees.
        """

    def seen(self, numbers: Iterable[int]) -> dict[str, int]:
        """Returns, by UUID, what a guest sees if there are these rows only."""

    def session(self) -> AbstractContextManager[Session]:
        """Locks out other writers of ours, then begin."""

    def close(self) -> None:
        """Drops all connections; the next use makes new ones."""


class Ranges(Protocol):
    """A sink in which nobody else has rows under derived numbers."""

    def page(self, start: int, stop: int, limit: int) -> list[Row]:
        """Reads the first rows of a range."""

    def prints(self, start: int, stop: int) -> Prints:
        """Returns the prints of a range."""


def found_for(
    rows: Iterable[SinkRow], uuid: str | None, kind: Kind | None
) -> str | None:
    """Returns what of the rows under a number counts for its image.

    Its own, whatever the prefix; or else another's that has the very id.
    """
    found = [r.uuid for r in rows if r.uuid == uuid or r.has_id_of(kind)]
    return uuid if uuid in found else next(iter(found), None)


def takes(sink: Sink, numbered: Numbered) -> bool:
    """Returns whether a sink has a row for it, or waits for the kind."""
    return numbered.kind is not None or not sink.needs_kind


def plan(
    found: Mapping[int, SinkRow],
    settled: Iterable[Numbered],
    *,
    is_ours: Callable[[SinkRow], bool],
    rewrite: bool,
) -> Plan:
    """Compares what a sink holds with what it should hold.

    A row that is neither ours nor as settled stays, unless the operator has
    chosen to rewrite such rows; nothing is ever written under another
    number instead.
    """
    remove: list[SinkRow] = []
    add: list[SinkRow] = []
    taken: list[SinkRow] = []
    for wanted in settled:
        row = found.get(wanted.number)
        if row is not None and wanted.is_held_by(row.uuid):
            continue
        if row is not None:
            if not is_ours(row) and not (rewrite and wanted.uuid):
                if wanted.uuid:
                    taken.append(row)
                continue
            remove.append(row)
        if wanted.uuid:
            add.append(SinkRow(number=wanted.number, uuid=wanted.uuid))
    return Plan(remove=tuple(remove), add=tuple(add), taken=tuple(taken))
