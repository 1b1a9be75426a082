"""A region whose clock was forty days ahead comes back into order."""

import sys
from pathlib import Path

import pytest
import wrong_clock
from fleet import Region, await_reading, pair, running
from one_set import await_equal, await_same_cells, moves, open_ledger

from ec2map_sync.rules.stamps import MAX_AHEAD, wall_clock

pytestmark = pytest.mark.services

FORTY_DAYS = 40 * 24 * 3600


def start_ahead(region: Region, seconds: int, witness: str) -> None:
    """Start an agent by a clock that is ahead."""
    program = Path(wrong_clock.__file__)
    region.program = (sys.executable, program, str(seconds), witness)
    region.start()
    del region.program


def test_forty_days_ahead_are_brought_back_and_no_id_changes(
    rabbit_a, rabbit_b, mariadb, tmp_path
):
    one, two = pair(rabbit_a, rabbit_b, mariadb, tmp_path)
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        early = one.glance.create(5) | two.glance.create(5)
        await_equal(one, two, count=10, seconds=30)
        one.stop()

        # The clock runs ahead. Its ledger's database knows better.
        start_ahead(one, FORTY_DAYS, "sees")
        spoiled = one.glance.create(10)
        one.await_log("nothing new is claimed: the clock here says", 60)
        assert open_ledger(one).head().last_stamp < wall_clock()
        one.kill()

        # Where that is on the same machine, nobody does.
        start_ahead(one, FORTY_DAYS, "blind")
        one.await_images(spoiled, 60)
        two.await_log("more than 24 h ahead of our clock", 60)
        one.stop()
        rows = one.rows("cell1")
        assert open_ledger(one).head().last_stamp > wall_clock() + MAX_AHEAD

        # It is set, and nothing new is claimed.
        since = len(one.log())
        one.start()
        one.await_log("ec2map-sync db restamp", 60, since=since)
        late = one.glance.create(5)
        assert "stamped ahead" in one.command("status", code=1)

        # The way back, as the page tells it.
        would = one.command("db", "restamp", "--dry-run")
        assert would == "10 claims would be restamped, 0 ids moved\n"
        done = one.command("db", "restamp")
        assert done == "10 claims were restamped, 0 ids moved\n"

        one.await_images(late, 60)
        two.await_images([*early, *spoiled, *late], 60)
        await_equal(one, two, count=25, seconds=60)
        await_same_cells(one, two)
        assert set(rows) <= set(one.rows("cell1"))
        assert moves(one) == moves(two) == []
        assert one.command("verify", "--peers")
