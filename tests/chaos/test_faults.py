"""Faults that are told to a server in words it has to understand."""

import pytest
from on_servers import FULL

pytestmark = pytest.mark.services


def test_a_broker_takes_its_disk_for_full_and_no_longer(rabbit_a):
    said = rabbit_a.ctl("eval", FULL.format(seconds=500))

    assert "resource_limit,disk" in said
    assert "disk" not in rabbit_a.ctl("eval", "rabbit_alarm:get_alarms().")
