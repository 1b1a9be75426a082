"""A server that loses its last commits, under an agent that goes on.

As with innodb_flush_log_at_trx_commit = 0, which kolla's clusters run with:
after a power cut, what was committed in the last second is gone.
"""

import pytest
from fleet import Region, await_reading, running
from one_set import await_equal, await_same_cells, moves
from servers import MariaDB

pytestmark = pytest.mark.services

AUDITED = "[nova]\naudit_interval = 1\n"


@pytest.fixture
def weak(tmp_path):
    """A server that writes its log once a second."""
    with MariaDB(
        tmp_path / "weak", "--innodb-flush-log-at-trx-commit=0"
    ) as server:
        yield server


@pytest.fixture
def both(rabbit_a, rabbit_b, mariadb, tmp_path):
    one = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    two = Region("RegionTwo", rabbit_b, mariadb, tmp_path)
    return one, two


@pytest.fixture(params=["ledger", "cell0"])
def regions(request, weak, both):
    """Two regions; one has its ledger, or a cell, in the weak server."""
    one, two = both
    url = weak.create_database("weak")
    if request.param == "ledger":
        one.ledger = url
    else:
        one.cells[request.param] = url
        one.sql("cell1", "DROP TABLE s3_images")
        one.make_tables()
    one.configure(two)
    two.configure(one)
    text = one.config_file.read_text()
    one.config_file.write_text(text.replace("[nova]\n", AUDITED))
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        yield one, two


def test_what_a_server_forgets_comes_back_and_no_number_is_given_twice(
    regions, weak
):
    one, two = regions
    count = len(one.glance.create(20) | two.glance.create(20))
    await_equal(one, two, count=count, seconds=30)
    await_same_cells(one, two)
    weak.keep_a_copy()
    count += len(one.glance.create(20) | two.glance.create(20))
    await_equal(one, two, count=count, seconds=60)
    await_same_cells(one, two)
    before = two.rows("cell0")

    weak.lose_what_is_new()
    count += len(one.glance.create(20) | two.glance.create(20))

    assert await_equal(one, two, count=count, seconds=60).count == count
    await_same_cells(one, two)
    assert set(before) <= set(one.rows("cell0"))
    assert moves(one) == moves(two) == []
