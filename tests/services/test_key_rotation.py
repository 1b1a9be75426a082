"""A signing key is changed while the regions work."""

import pytest
from fleet import Load, await_reading, pair, running
from one_set import await_equal, await_same_cells, open_ledger
from patience import wait_until

from ec2map_sync.rules.stamps import wall_clock

pytestmark = pytest.mark.services


def restart(region, old, new):
    """Change the configuration, and start the agent with it."""
    text = region.config_file.read_text()
    assert old in text
    region.config_file.write_text(text.replace(old, new))
    assert region.stop() == 0
    region.start()


def await_heartbeat(region, peer):
    """Wait for one that was sent from now on: all before it is read."""
    begun = wall_clock()
    journal = open_ledger(region).journal
    wait_until(
        lambda: (journal.peer_states()[peer.name].sent_at or 0) > begun, 60
    )


def quarantined(region):
    return region.sql("ledger", "SELECT reason FROM quarantine")


def test_a_key_is_changed_under_load_and_nothing_is_refused(
    rabbit_a, rabbit_b, mariadb, tmp_path
):
    one, two = pair(rabbit_a, rabbit_b, mariadb, tmp_path)
    first, second = one.public_key, tmp_path / "second.key"
    public = one.command(
        "key", "generate", str(second), configured=False
    ).strip()
    with running(one, two):
        with Load(one.glance, 0.1) as load, Load(two.glance, 0.1) as other:
            await_reading(one, two)
            await_reading(two, one)
            load.await_more(5)
            restart(two, first, f"{first}, {public}")
            load.await_more(5)
            await_heartbeat(two, one)
            restart(one, f"{tmp_path / one.name}.key", str(second))
            other.await_more(5)
            await_heartbeat(two, one)
            restart(two, f"{first}, {public}", public)
            await_heartbeat(two, one)
            load.await_more(5)
            other.await_more(5)

        images = [*load.confirmed, *other.confirmed]
        one.await_images(images, 60)
        two.await_images(images, 60)
        await_equal(one, two, count=len(images), seconds=60)
        await_same_cells(one, two)
        assert quarantined(one) == quarantined(two) == []

        # That was the new key: the old one is nobody's any more.
        restart(one, str(second), f"{tmp_path / one.name}.key")
        two.await_log("signed with a key that [peer:RegionOne]", 60)
        assert quarantined(two)
