"""Adopting ids that images have had before."""

import pytest
from small_cell import image, put, rows, see

from ec2map_sync.adoption import Adoption, Verdict
from ec2map_sync.claims import Claim, Wanted
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.writer import Writer


@pytest.fixture
def sink(cell):
    return NovaSink("cell1", cell)


def adopt(ledger, *sinks, dry_run=False):
    adoption = Adoption(ledger, dry_run=dry_run)
    for sink in sinks:
        list(adoption.go_through(sink))
    return adoption.survey.count


def number(ledger, n):
    return ledger.numbers_of([image(n)]).get(image(n))


def test_old_ids_become_the_images_ids(ledger, cell, sink):
    see(ledger, 1)
    put(cell, (5, image(1)), (6, image(2)))

    assert adopt(ledger, sink) == {Verdict.ADOPT: 2}

    assert (number(ledger, 1), number(ledger, 2)) == (5, 6)
    Writer(ledger, sink, rewrite=False).step()
    assert rows(cell) == {(5, image(1)), (6, image(2))}
    assert adopt(ledger, sink) == {Verdict.ADOPTED: 2}


def test_a_dry_run_only_tells(ledger, cell, sink):
    put(cell, (5, image(1)))

    assert adopt(ledger, sink, dry_run=True) == {Verdict.ADOPT: 1}

    assert number(ledger, 1) is None


def test_a_number_in_use_is_never_taken(ledger, cell, sink):
    ledger.record([Claim(claimed_at=1, image=image(9), wanted=Wanted(1, 5))])
    put(cell, (5, image(1)))

    assert adopt(ledger, sink) == {Verdict.TAKEN: 1}

    assert number(ledger, 9) == 5


def test_the_lowest_of_several_ids_is_adopted(ledger, cell, sink):
    put(cell, (5, image(1)), (7, image(1)))

    assert adopt(ledger, sink) == {Verdict.ADOPT: 1, Verdict.ANOTHER: 1}

    assert number(ledger, 1) == 5


def test_rows_above_the_band_and_odd_ones_are_only_counted(ledger, cell, sink):
    put(cell, (5, "nonsense"), (2**30 + 1, image(1)), (2**24 + 5, image(2)))

    assert adopt(ledger, sink) == {
        Verdict.NO_IMAGE: 1,
        Verdict.ON_DEMAND: 1,
    }


def test_another_regions_adoption_is_respected(ledger, cell, sink):
    ledger.record([Claim(claimed_at=1, image=image(1), wanted=Wanted(1, 8))])
    put(cell, (5, image(1)))

    assert adopt(ledger, sink) == {Verdict.ANOTHER: 1}
    assert number(ledger, 1) == 8
