"""The audit of a sink: what each row is, and what becomes of it."""

from itertools import count

import pytest
from small_cell import image, put, rows, see

from ec2map_sync.rules.claims import Claim, Wanted
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.rules.rows import RowClass, SinkRow, classify
from ec2map_sync.sinks.audit import Sweep
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer

SCHEME = Scheme(b"test")
ON_DEMAND = 2**30


@pytest.fixture
def sweep(ledger, cell):
    sink = NovaSink("cell1", cell)
    return Sweep(ledger, sink, Writer(ledger, sink, rewrite=False))


def written(ledger, cell):
    """Let the Writer do its work first."""
    Writer(ledger, NovaSink("cell1", cell), rewrite=False).step()


def take(cell, row):
    with cell.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM s3_images WHERE id={row[0]}")


def run(sweep):
    sweep.begin()
    while not sweep.complete:
        sweep.step()
    return sweep.tally


def ours(n):
    return (SCHEME.derive(image(n)), image(n))


def test_what_is_missing_is_written(sweep, ledger, cell):
    see(ledger, 1, 2)
    written(ledger, cell)
    take(cell, ours(2))

    assert run(sweep).missing == 1
    assert rows(cell) == {ours(1), ours(2)}
    assert run(sweep).missing == 0


def test_what_cannot_be_there_is_not_missing(sweep, ledger, cell):
    see(ledger, 1)
    put(cell, (SCHEME.derive(image(1)), image(99)))
    written(ledger, cell)

    assert run(sweep).missing == 0


def colliding():
    """Make two images that would both have the same number."""
    seen = {}
    for n in count(1):
        other = seen.setdefault(SCHEME.derive(image(n)), image(n))
        if other != image(n):
            return image(n), other
    raise AssertionError


def test_an_image_that_has_moved_is_at_no_time_without_a_row(ledger, cell):
    image, other = colliding()
    writer = Writer(ledger, NovaSink("cell1", cell), rewrite=False)
    ledger.record([Claim(claimed_at=2, image=image)])
    writer.step()
    ledger.record([Claim(claimed_at=1, image=other)])

    # An audit comes to the number before the Writer does.
    writer.write([SCHEME.derive(image)])

    assert rows(cell) == {
        (SCHEME.derive(image), other),
        (ledger.numbers_of([image])[image], image),
    }


def test_rows_of_nova_stay_and_are_noted(sweep, ledger, cell):
    see(ledger, 1, 2, 3)
    put(
        cell,
        (7, image(1)),
        (ON_DEMAND + 5, image(2)),
        (SCHEME.derive(image(3)), image(99)),
        (2**24 + 1, image(4)),
    )
    written(ledger, cell)
    before = rows(cell)

    tally = run(sweep)

    assert rows(cell) == before
    found = {(d.number, d.row_class) for d in ledger.divergences.found()}
    assert found == {
        (7, RowClass.LEGACY),
        (ON_DEMAND + 5, RowClass.ON_DEMAND),
        (SCHEME.derive(image(3)), RowClass.TAKEN),
        (2**24 + 1, RowClass.FOREIGN),
    }
    assert tally.new == 4
    assert run(sweep).new == 0


def test_a_row_of_ours_that_is_settled_otherwise_goes(sweep, ledger, cell):
    see(ledger, 1)
    written(ledger, cell)
    put(cell, (SCHEME.probe(image(1), 1), image(1)))

    run(sweep)

    assert rows(cell) == {ours(1)}


def test_an_emptied_ledger_does_not_empty_its_sinks(sweep, ledger, cell):
    put(cell, ours(1))

    run(sweep)

    assert rows(cell) == {ours(1)}
    assert image(1) in ledger.claims([image(1)])


def test_an_on_demand_row_announces_its_image(sweep, ledger, cell):
    put(cell, (ON_DEMAND, image(1)))

    run(sweep)
    written(ledger, cell)

    assert rows(cell) == {(ON_DEMAND, image(1)), ours(1)}


def test_only_new_on_demand_rows_are_read_again(sweep, ledger, cell):
    see(ledger, 1)
    put(cell, (5, image(1)), (ON_DEMAND, image(1)))
    run(sweep)
    put(cell, (6, image(1)), (ON_DEMAND + 1, image(1)))

    sweep.continue_above()
    sweep.step()

    assert sweep.complete
    assert sweep.tally.rows == 1
    assert len(ledger.divergences.found()) == 3


def test_what_is_gone_is_no_longer_noted(sweep, ledger, cell):
    see(ledger, 1)
    put(cell, (5, image(1)))
    run(sweep)
    with cell.begin() as connection:
        connection.exec_driver_sql("DELETE FROM s3_images WHERE id = 5")

    run(sweep)

    assert ledger.divergences.found() == []


def test_what_the_operator_keeps_stays_kept(sweep, ledger, cell):
    see(ledger, 1)
    put(cell, (5, image(1)))
    run(sweep)
    ledger.divergences.keep(ledger.divergences.found())

    run(sweep)

    assert ledger.divergences.found(kept=False) == []
    assert len(ledger.divergences.found()) == 1


def test_a_row_of_a_wanted_number_is_remembered_as_ours(ledger, cell):
    sink = NovaSink("cell1", cell)
    writer = Writer(ledger, sink, rewrite=False)
    wanted = Claim(claimed_at=20, image=image(1), wanted=Wanted(20, 9))
    ledger.record([wanted])
    writer.step()
    assert (9, image(1)) in rows(cell)

    ledger.record([Claim(claimed_at=10, image=image(2), wanted=Wanted(10, 9))])
    writer.step()

    assert rows(cell) == {(9, image(2)), ours(1)}


def test_a_row_that_nova_made_is_not_ours_though_it_was_settled(ledger, cell):
    sink = NovaSink("cell1", cell)
    writer = Writer(ledger, sink, rewrite=False)
    put(cell, (9, image(1)))
    ledger.record([Claim(claimed_at=20, image=image(1), wanted=Wanted(20, 9))])
    writer.step()

    ledger.record([Claim(claimed_at=10, image=image(2), wanted=Wanted(10, 9))])
    writer.step()

    assert rows(cell) == {(9, image(1)), ours(1)}


def test_a_row_of_an_unknown_image_is_unknown():
    row = SinkRow(number=5, uuid=image(1))
    known = {"holder": None, "scheme": SCHEME, "inserted": False}

    assert classify(row, settled=None, **known) is RowClass.UNKNOWN
