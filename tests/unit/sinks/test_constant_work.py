"""One more batch costs as many statements as the first, whatever is there."""

from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from small_cell import image, rows, see

from ec2map_sync.rules.claims import Claim
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer

BATCH = 100


@contextmanager
def counting(*engines):
    """Count the statements of some engines."""
    statements = []

    def note(*arguments):
        statements.append(arguments[2])

    for engine in engines:
        sa.event.listen(engine, "before_cursor_execute", note)
    yield statements
    for engine in engines:
        sa.event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def writer(ledger, cell):
    return Writer(ledger, NovaSink("cell1", cell), rewrite=False)


def test_who_is_woken_does_not_ask_whether_there_is_anything(
    ledger, cell, writer
):
    def step(*images, woken):
        see(ledger, *images)
        with counting(ledger._engine, cell) as statements:
            assert not writer.step(woken=woken)
        return statements

    step(1, woken=True)  # makes the cursor
    asked, woken = step(2, woken=False), step(3, woken=True)
    assert len(asked) == len(woken) + 2  # a BEGIN, too
    assert len(rows(cell)) == 3

    in_vain = step(woken=True)

    assert not [s for s in in_vain if s.startswith(("UPDATE", "INSERT"))]
    assert writer.caught_up


@pytest.mark.search
@pytest.mark.parametrize("heard_of", [False, True])
def test_a_batch_costs_the_same_beside_none_and_beside_ten_thousand(
    ledger, cell, writer, heard_of
):
    def batch(start):
        numbers = range(start, start + BATCH)
        with counting(ledger._engine, cell) as statements:
            if heard_of:
                ledger.record(
                    [Claim(claimed_at=n + 1, image=image(n)) for n in numbers]
                )
            else:
                see(ledger, *numbers)
            while writer.step():
                pass
        return len(statements)

    batch(0)  # makes the cursor
    beside_none = batch(BATCH)
    for start in range(1000, 11_000, 1000):
        see(ledger, *range(start, start + 1000))
    while writer.step():
        pass

    beside_many = batch(20_000)

    assert beside_many == beside_none
    assert beside_none < BATCH / 2
    assert len(rows(cell)) == 10_000 + 3 * BATCH
