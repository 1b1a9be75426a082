"""Sinks: where numbers are written, and what to write there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ec2map_sync.rules.rows import SinkRow
from ec2map_sync.rules.settle import Numbered


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What makes a sink's rows right: first empty, then fill."""

    remove: tuple[SinkRow, ...] = ()
    """Rows to remove, only if they are still as found."""
    add: tuple[SinkRow, ...] = ()
    taken: tuple[SinkRow, ...] = ()
    """Rows of others under our numbers, left alone: divergence."""


Judge = Callable[[Iterable[SinkRow]], Callable[[SinkRow], bool]]
"""Looks at rows all at once, and then tells of each whether it is ours."""


class Session(Protocol):
    """A transaction in a sink that nobody else of ours can have now."""

    def plan(
        self, settled: Sequence[Numbered], *, judge: Judge, rewrite: bool
    ) -> Plan:
        """Read what stands there, and compare it with what is settled."""

    def apply(self, plan: Plan) -> None:
        """Write, and commit."""


class Sink(Protocol):
    """One database that numbers are written to."""

    name: str

    adoptable_below: int
    """Ids that images may have got there before us are below this number."""

    def wants(self, numbered: Numbered) -> bool:
        """Tell whether a row belongs here, or has to wait."""

    def reserve(self) -> None:
        """Keep the database's own numbers out of our band."""

    def scan(self, after: int, limit: int) -> list[SinkRow]:
        """Read rows by number, those above ``after``, without a lock."""

    def session(self) -> AbstractContextManager[Session]:
        """Lock out other writers of ours, then begin."""


def plan(
    found: Mapping[int, SinkRow],
    settled: Iterable[Numbered],
    *,
    is_ours: Callable[[SinkRow], bool],
    rewrite: bool,
) -> Plan:
    """Compare what a sink holds with what it should hold.

    A row that is neither ours nor as settled stays, unless the operator has
    chosen to rewrite such rows; nothing is ever written under another
    number instead.
    """
    remove: list[SinkRow] = []
    add: list[SinkRow] = []
    taken: list[SinkRow] = []
    for wanted in settled:
        row = found.get(wanted.number)
        if row is not None and row.uuid == wanted.uuid:
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
