"""A ledger that somebody edits under its agent: noticed, and put right."""

import json

import pytest
from fleet import await_reading, pair, running
from one_set import (
    await_equal,
    await_same_cells,
    colliding,
    moves,
    open_ledger,
)
from patience import wait_until

from ec2map_sync.rules.claims import Sighting

pytestmark = pytest.mark.services


@pytest.fixture
def regions(rabbit_a, rabbit_b, mariadb, tmp_path):
    one, two = pair(rabbit_a, rabbit_b, mariadb, tmp_path)
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        yield one, two


def cells_of(region):
    return {cell: region.rows(cell) for cell in region.cells}


def adopt(region, images):
    """Let images want numbers of old, as an adoption does."""
    open_ledger(region).see(
        Sighting(image=image, uuid=image, wanted=n)
        for n, image in enumerate(sorted(images), start=1000)
    )


def test_a_deleted_claim_comes_back_under_its_number(regions):
    one, two = regions
    first, rival = colliding()
    images = one.glance.create(20)
    one.await_images(images)
    adopted = set(sorted(images)[:5])
    adopt(one, adopted)
    open_ledger(one).see([Sighting(image=first, uuid=first)])
    open_ledger(one).see([Sighting(image=rival, uuid=rival)])
    await_equal(one, two, count=22, seconds=30)
    await_same_cells(one, two)
    cells = cells_of(one)
    before, moved = open_ledger(one).claims(images), moves(one)
    victims = [sorted(adopted)[0], sorted(images)[-1], rival]
    names = ", ".join(f"'{image}'" for image in victims)

    one.sql("ledger", f"DELETE FROM claims WHERE image IN ({names})")

    def back():
        assert cells_of(one) == cells  # nothing is rewritten meanwhile
        return open_ledger(one).claims(images) == before

    wait_until(back, 150)
    await_equal(one, two, count=22, seconds=60)
    await_same_cells(one, two)
    assert cells_of(one) == cells
    assert moves(one) == moved
    assert "the ledger contradicted itself" in one.log()
    wait_until(lambda: not open_ledger(one).copies.state().doubtful, 60)
    (line,) = [
        line
        for line in json.loads(one.command("status", "-f", "json"))
        if line["what"] == "copies"
    ]
    assert line["lag"] > 0
    assert line["last_error"]
    one.command("verify", "--ledger", "--sinks", "--peers")


@pytest.mark.long
def test_a_wrong_total_and_a_wrong_number_do_not_last(regions):
    one, two = regions
    images = one.glance.create(20)
    await_equal(one, two, count=20, seconds=30)
    await_same_cells(one, two)
    cells = cells_of(one)
    numbers = open_ledger(two).numbers_of(images)

    one.sql("ledger", "UPDATE head SET total_sum = total_sum + 1")
    two.sql(
        "ledger",
        f"UPDATE claims SET number = 77 WHERE image = '{min(images)}'",
    )

    await_equal(one, two, count=20, seconds=90)
    wait_until(lambda: open_ledger(two).numbers_of(images) == numbers, 150)
    two.command("verify", "--ledger")
    assert cells_of(one) == cells_of(two) == cells

    # Not even without its head row: one line says what is amiss meanwhile.
    since = len(two.log())
    two.sql("ledger", "DELETE FROM head")
    late = two.glance.create(5)
    two.await_log("the head row was gone", 90, since=since)
    one.await_images([*images, *late], 60)
    await_equal(one, two, count=25, seconds=60)
    assert "Traceback" not in two.log(since)
    assert set(cells["cell1"]) <= set(two.rows("cell1"))
