"""Adopting ids that images have had before."""

import pytest
import schemas
import sqlalchemy as sa
from small_cell import image, put, rows, see

from ec2map_sync.operate.adopt import Adoption, AdoptionClass
from ec2map_sync.rules.canaries import canary_of
from ec2map_sync.rules.claims import Claim, Sighting, Wanted
from ec2map_sync.rules.ec2id import Kind
from ec2map_sync.rules.rows import RowClass
from ec2map_sync.sinks.audit import Sweep
from ec2map_sync.sinks.ec2api import Ec2ApiSink
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url


@pytest.fixture
def sink(cell):
    return NovaSink("cell1", cell)


def adopt(ledger, *sinks, dry_run=False):
    adoption = Adoption(ledger, dry_run=dry_run)
    for sink in sinks:
        list(adoption.go_through(sink))
    return adoption.counted.count


def number(ledger, n):
    return ledger.numbers_of([image(n)]).get(image(n))


def test_old_ids_become_the_images_ids(ledger, cell, sink):
    see(ledger, 1)
    put(cell, (5, image(1)), (6, image(2)))

    assert adopt(ledger, sink) == {AdoptionClass.ADOPT: 2}

    assert (number(ledger, 1), number(ledger, 2)) == (5, 6)
    Writer(ledger, sink, rewrite=False).step()
    assert rows(cell) == {(5, image(1)), (6, image(2))}
    assert adopt(ledger, sink) == {AdoptionClass.ADOPTED: 2}


def test_a_dry_run_only_tells(ledger, cell, sink):
    put(cell, (5, image(1)))

    assert adopt(ledger, sink, dry_run=True) == {AdoptionClass.ADOPT: 1}

    assert number(ledger, 1) is None


def test_a_number_in_use_is_never_taken(ledger, cell, sink):
    ledger.record([Claim(claimed_at=1, image=image(9), wanted=Wanted(1, 5))])
    put(cell, (5, image(1)))

    assert adopt(ledger, sink) == {AdoptionClass.TAKEN: 1}

    assert number(ledger, 9) == 5


def test_the_lowest_of_several_ids_is_adopted(ledger, cell, sink):
    put(cell, (5, image(1)), (7, image(1)))

    assert adopt(ledger, sink) == {
        AdoptionClass.ADOPT: 1,
        AdoptionClass.ANOTHER: 1,
    }

    assert number(ledger, 1) == 5


def test_rows_above_the_band_and_odd_ones_are_only_counted(ledger, cell, sink):
    put(cell, (5, "nonsense"), (2**30 + 1, image(1)), (2**24 + 5, image(2)))

    assert adopt(ledger, sink) == {
        AdoptionClass.NO_IMAGE: 1,
        AdoptionClass.ON_DEMAND: 1,
    }


@pytest.mark.parametrize("spelled", [str.lower, str.upper])
def test_a_user_s_image_that_passes_for_a_canary_ends_no_adoption(
    ledger, cell, sink, spelled
):
    put(cell, (5, spelled(canary_of("RegionOne", 1))), (6, image(2)))

    assert adopt(ledger, sink) == {
        AdoptionClass.NO_IMAGE: 1,
        AdoptionClass.ADOPT: 1,
    }

    assert number(ledger, 2) == 6


def test_another_regions_adoption_is_respected(ledger, cell, sink):
    ledger.record([Claim(claimed_at=1, image=image(1), wanted=Wanted(1, 8))])
    put(cell, (5, image(1)))

    assert adopt(ledger, sink) == {AdoptionClass.ANOTHER: 1}
    assert number(ledger, 1) == 8


@pytest.fixture
def items(tmp_path):
    """ec2-api's database."""
    engine = create_engine(parse_url(f"sqlite:///{tmp_path}/items", "x"))
    schemas.create(engine, schemas.ITEMS)
    yield engine
    engine.dispose()


def test_ids_of_ec2_api_are_adopted_if_nova_will_not_hand_them_out(
    ledger, cell, items, sink
):
    see(ledger, 1)
    ec2api = Ec2ApiSink(items)
    ledger.see([Sighting(image=image(4), uuid=image(4), kind=Kind.AMI)])
    Writer(ledger, ec2api, rewrite=False).step()
    with items.begin() as connection:
        numbers = (2**24 + 5, 2**30 + 1, 2**32 - 1)
        rows_of_its_own = [
            {"id": f"ami-{number:08x}", "os_id": image(n), "project_id": "p"}
            for n, number in enumerate(numbers, start=1)
        ]
        connection.execute(sa.insert(schemas.ITEMS), rows_of_its_own)

    found = adopt(ledger, ec2api)

    assert found == {AdoptionClass.ADOPT: 1, AdoptionClass.ON_DEMAND: 2}
    assert number(ledger, 1) == 2**24 + 5
    assert ledger.claims([image(4)])[image(4)].wanted is None
    Writer(ledger, sink, rewrite=False).step()
    assert (2**24 + 5, image(1)) in rows(cell)


def test_a_number_in_reserve_is_not_adopted(ledger, items):
    reserved = ledger.scheme.derive(image(1))
    ledger.record([Claim(claimed_at=1, image=image(1), wanted=Wanted(1, 9))])
    with items.begin() as connection:
        row = {"id": f"ami-{reserved:08x}", "os_id": image(2)}
        connection.execute(sa.insert(schemas.ITEMS), [row])

    assert adopt(ledger, Ec2ApiSink(items)) == {AdoptionClass.TAKEN: 1}


def test_of_two_regions_that_adopt_one_number_the_earlier_keeps_it(
    ledger, cell, sink
):
    put(cell, (5, image(1)))
    adopt(ledger, sink)
    (mine,) = ledger.claims([image(1)]).values()
    earlier = Wanted(mine.wanted.at - 1, 5)

    ledger.record([Claim(claimed_at=1, image=image(2), wanted=earlier)])

    assert number(ledger, 2) == 5
    assert number(ledger, 1) == ledger.scheme.derive(image(1))
    assert adopt(ledger, sink, dry_run=True) == {AdoptionClass.TAKEN: 1}
    writer = Writer(ledger, sink, rewrite=False)
    writer.step()
    Sweep(ledger, sink, writer).step()
    assert [(d.number, d.row_class) for d in ledger.divergences.found()] == [
        (5, RowClass.TAKEN)
    ]
