"""No sink is written by a ledger that contradicts itself."""

import pytest
from edited import ADOPTER, EDITS, IMAGES, SCHEME, START, edit, fill
from small_cell import put, rows

from ec2map_sync.ledger import Ledger
from ec2map_sync.sinks.audit import SinkAuditor, Sweep
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer


@pytest.fixture
def ledger(ledger):
    ledger = Ledger(ledger._engine, SCHEME, lambda: START)
    fill(ledger)
    return ledger


@pytest.fixture
def writer(ledger, cell):
    writer = Writer(ledger, NovaSink("cell1", cell), rewrite=False)
    while writer.step():
        pass
    return writer


def sweep(ledger, cell, writer):
    sweep = Sweep(ledger, NovaSink("cell1", cell), writer)
    while not sweep.complete:
        sweep.step()


def numbers_in(cell):
    return {(number, uuid.lower()) for number, uuid in rows(cell)}


@pytest.mark.parametrize("what", EDITS)
def test_audit_and_writer_leave_all_rows_as_they_were(
    what, ledger, cell, writer
):
    before = numbers_in(cell)
    edit(ledger, EDITS[what])

    sweep(ledger, cell, writer)
    ledger.cursors.rewind()
    while writer.step():
        pass
    sweep(ledger, cell, writer)

    assert numbers_in(cell) == before


def test_a_claim_that_is_gone_is_not_claimed_anew_but_as_it_was(
    ledger, cell, writer
):
    before = ledger.claims(IMAGES)
    edit(ledger, EDITS["an adopter's claim is gone"])

    sweep(ledger, cell, writer)

    after = ledger.claims(IMAGES)
    assert after.keys() == before.keys()
    assert after[ADOPTER].claimed_at == before[ADOPTER].claimed_at
    assert after[ADOPTER].wanted == before[ADOPTER].wanted


def test_what_is_lost_waits_until_peers_were_asked(ledger, cell, writer):
    lost = "99999999-0000-4000-8000-000000000000"
    put(cell, (SCHEME.derive(lost), lost))
    asked = []
    sink = NovaSink("cell1", cell)
    sweep = Sweep(ledger, sink, writer, asking=lambda: lambda: bool(asked))
    auditor = SinkAuditor(
        sweep, "cell1", may_begin=lambda: True, interval=3600
    )

    auditor.step()
    assert not auditor.step()
    assert lost not in ledger.claims([lost])
    asked.append(True)
    auditor.step()

    assert lost in ledger.claims([lost])
