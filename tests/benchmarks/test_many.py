"""What tries a ledger of very many images makes one that is consistent."""

import many
import pytest

from ec2map_sync.rules.claims import EVERYTHING

pytestmark = pytest.mark.services

ROWS = 3000


@pytest.fixture(scope="module")
def meter(mariadb):
    many.fill(mariadb, "test_many", ROWS)
    return many.Meter(mariadb, "test_many")


def test_what_the_server_has_filled_is_a_ledger(meter):
    ledger = meter.ledger

    claims = ledger.page(EVERYTHING, ROWS + 1)
    numbers = ledger.numbers_of(claim.image for claim in claims)
    wishes = ledger.queries.wishes(numbers.values())

    assert len(claims) == len(set(numbers.values())) == ROWS
    for claim in claims:
        wish = wishes[numbers[claim.image]]
        assert (wish.image, wish.at) == (claim.image, claim.claimed_at)
    assert ledger.copies.look_at_totals()


def test_all_that_is_to_be_asked_is_measured(meter):
    many.in_turns([meter], 2)
    many.look(meter, 1)
    many.go_through(meter)

    figures = meter.written()
    assert figures["batch"]["times"] == len(meter.collisions) == 2
    assert all(each["least ms"] > 0 for each in figures.values())
    assert meter.ledger.head().total.count == ROWS + 3 * many.AT_ONCE


@pytest.mark.usefixtures("meter")
def test_each_tree_has_some_bytes_for_each_image(mariadb):
    trees = many.sizes(mariadb, "test_many", ROWS)

    assert len(trees) == 5
    assert all(size > 0 for size in trees.values())


def test_mariadb_does_not_cut_claims_by_their_stamps(mariadb):
    way = many.WAYS["claims by range of claimed_at"]

    with pytest.raises(many.pymysql.Error, match="must include all columns"):
        many.fill(mariadb, "test_many_by_range", 10, way)
