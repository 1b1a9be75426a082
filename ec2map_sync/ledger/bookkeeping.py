"""The bookkeeping: how far copies were held against rows, and the outcome."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from ec2map_sync.ledger import tables
from ec2map_sync.ledger.journal import plain
from ec2map_sync.ledger.part import note
from ec2map_sync.rules.claims import Stamp

SAID = 5
"""Findings of one mending that are told; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookkeeping:
    """How far copies were held against rows, and what was found."""

    position: str = ""
    completed_at: Stamp | None = None
    """When the last whole round was completed."""
    doubtful: bool = False
    """Whether something was found since: where it was, there may be more."""
    found: int = 0
    """Contradictions so far, each put right when it was found."""
    last_found: str | None = None
    last_found_at: Stamp | None = None


def said(found: Sequence[str]) -> str:
    """Says in one line what was found."""
    more = len(found) - SAID
    text = "; ".join(found[:SAID])
    return plain(f"{text}; {more} more" if more > 0 else text)


def note_found(
    connection: Connection, found: Sequence[str], now: Stamp
) -> None:
    """Remembers what has contradicted itself, and was put right."""
    before = state_of(connection)
    # All is gone through again; but not from the beginning at each finding.
    again = {} if before.doubtful else {"position": "", "doubtful": True}
    note_progress(
        connection,
        **again,
        found=before.found + len(found),
        last_found=said(found)[:500],
        last_found_at=now,
    )


def state_of(connection: Connection) -> Bookkeeping:
    """Reads how far it has come; nowhere, if there is no row."""
    columns = list(tables.bookkeeping.c)[1:]
    row = connection.execute(sa.select(*columns)).one_or_none()
    return Bookkeeping(**row._mapping) if row else Bookkeeping()


def note_progress(connection: Connection, **fields: Any) -> None:
    """Writes some fields of the one row, which is made if it is not there."""
    table = tables.bookkeeping
    there = sa.select(sa.func.count()).select_from(table)
    if not connection.scalar(there):
        first = {"id": 1, "position": "", "doubtful": False, "found": 0}
        connection.execute(sa.insert(table).values(**first))
    note(connection, table, {"id": 1}, fields)
