"""Whoever writes does it again where another node was first.

SQLite has no cluster: here the first commit fails as one of Galera's does.
"""

import pymysql
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from ec2map_sync.ledger import Quarantined
from ec2map_sync.ledger.copies import Place
from ec2map_sync.ledger.restamping import restamp
from ec2map_sync.rules.claims import Claim, Sighting
from ec2map_sync.rules.copies import Suspects
from ec2map_sync.rules.rows import SinkRow
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sql import errors

IMAGE = "aaaaaaaa-0000-4000-8000-000000000001"
OTHER = "aaaaaaaa-0000-4000-8000-000000000002"
OVERTAKEN = pymysql.err.OperationalError(1213, "Deadlock found")


class Overtaken:
    """Lets the next commit fail; counts them."""

    def __init__(self, engine, error=OVERTAKEN):
        self.commits = 0
        self._error = error
        event.listen(engine, "commit", self._commit)

    def _commit(self, connection):
        self.commits += 1
        if self.commits == 1:
            connection.connection.rollback()
            raise sa.exc.OperationalError("COMMIT", None, self._error)


def damage(ledger):
    ledger._write(sa.text("UPDATE claims SET hash = hash + 1"))


def miscount(ledger):
    ledger._write(sa.text("UPDATE head SET total_sum = total_sum + 1"))


def move_on(ledger):
    copies = ledger.copies
    copies.move_on(copies.look(Place(), 10), copies.state())


def run_ahead(ledger):
    day = 86_400 * 1_000_000
    ledger._write(
        sa.text(f"UPDATE claims SET claimed_at = claimed_at + {40 * day}")
    )


WRITES = {
    "see": lambda ledger: ledger.see([Sighting(image=OTHER, uuid=OTHER)]),
    "record": lambda ledger: ledger.record([Claim(claimed_at=1, image=OTHER)]),
    "move on": move_on,
    "note": lambda ledger: ledger.memos.note("nova:cell1", [IMAGE]),
    "hold": lambda ledger: ledger.quarantine.put(
        [Quarantined(source="glance", reason="x", body=b"{}")]
    ),
    "insert": lambda ledger: ledger.divergences.note_inserted(
        "nova:cell1", [SinkRow(number=7, uuid=IMAGE)]
    ),
    "hear": lambda ledger: ledger.journal.note_peer("two", received_at=1),
    "make": lambda ledger: ledger.cursors._make("nova:cell2"),
}
MENDS = {
    "mend": (
        damage,
        lambda ledger: ledger.copies.mend(Suspects(images=frozenset({IMAGE}))),
    ),
    "count": (miscount, lambda ledger: ledger.copies.mend_totals()),
    "restamp": (
        run_ahead,
        lambda ledger: restamp(ledger, wall_clock(), dry_run=False),
    ),
}


@pytest.fixture
def engine(ledger):
    ledger.see([Sighting(image=IMAGE, uuid=IMAGE)])
    return ledger._engine


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_that_was_overtaken_is_done_again(ledger, engine, write):
    overtaken = Overtaken(engine)

    write(ledger)

    assert overtaken.commits > 1


@pytest.mark.parametrize(("harm", "mend"), MENDS.values(), ids=MENDS)
def test_so_is_what_puts_a_ledger_right(ledger, engine, harm, mend):
    harm(ledger)
    overtaken = Overtaken(engine)

    mend(ledger)

    assert overtaken.commits > 1


def test_so_is_a_push_of_novas_counter(cell):
    overtaken = Overtaken(cell)

    NovaSink("cell1", cell).reserve()

    assert overtaken.commits > 1


@pytest.fixture
def waited(engine):
    """A commit that fails for a lock, as a statement does elsewhere."""
    return Overtaken(engine, pymysql.err.OperationalError(1205, "Lock wait"))


def test_so_is_what_has_waited_for_a_lock(ledger, waited):
    WRITES["see"](ledger)

    assert waited.commits > 1


def test_nobody_waits_for_a_lock_for_ever(ledger, waited, monkeypatch):
    monkeypatch.setattr(errors, "_LONGEST_WAIT", -1)

    with pytest.raises(sa.exc.OperationalError, match="1205"):
        WRITES["see"](ledger)

    assert waited.commits == 1
