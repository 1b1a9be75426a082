"""The clock of the ledger's database is what ours is compared with."""

import pytest
import sqlalchemy as sa

from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.claims import Sighting
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.rules.stamps import MAX_AHEAD, WrongClock, wall_clock

IMAGE = "00000000-0000-4000-8000-000000000001"
HOUR = 3600 * 1_000_000


def see(engine, ahead):
    ledger = Ledger(engine, Scheme(), lambda: wall_clock() + ahead)
    return ledger.see([Sighting(image=IMAGE, uuid=IMAGE)]).news


@pytest.mark.parametrize("ahead", [MAX_AHEAD + HOUR, 40 * MAX_AHEAD])
def test_who_is_a_day_ahead_of_it_stamps_nothing(engine, ahead):
    if engine.dialect.name == "sqlite":
        assert see(engine, ahead) == 1  # there is one clock only
        return

    with pytest.raises(WrongClock, match="set the one that is wrong"):
        see(engine, ahead)

    assert Ledger(engine, Scheme()).claims([IMAGE]) == {}
    assert see(engine, 0) == 1


@pytest.mark.parametrize("ahead", [-40 * MAX_AHEAD, -HOUR, HOUR])
def test_who_is_behind_or_ahead_by_less_stamps(engine, ahead):
    assert see(engine, ahead) == 1


@pytest.mark.parametrize("zone", ["+00:00", "+13:00", "-11:00"])
def test_its_time_is_the_same_in_every_zone(engine, zone):
    statement = {
        "sqlite": "SELECT 1",
        "postgresql": f"SET TIME ZONE INTERVAL '{zone}' HOUR TO MINUTE",
    }.get(engine.dialect.name, f"SET time_zone = '{zone}'")
    sa.event.listen(
        engine,
        "engine_connect",
        lambda connection: connection.exec_driver_sql(statement),
    )

    found = Ledger(engine, Scheme()).head().clock

    if engine.dialect.name == "sqlite":
        assert found is None
    else:
        assert abs(found - wall_clock()) < HOUR
