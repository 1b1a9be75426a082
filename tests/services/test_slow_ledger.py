"""A ledger that is away for longer than the broker waits for us."""

import pytest
from fleet import Region, holding, running
from servers import wait_until

pytestmark = pytest.mark.services

PATIENCE = {"consumer_timeout": 2000, "channel_tick_interval": 500}
"""Milliseconds; by default, RabbitMQ waits half an hour."""


@pytest.fixture
def impatient(rabbit_a):
    for name, value in PATIENCE.items():
        rabbit_a.ctl("eval", f"application:set_env(rabbit, {name}, {value}).")
    yield rabbit_a
    for name in PATIENCE:
        rabbit_a.ctl("eval", f"application:unset_env(rabbit, {name}).")


def test_what_the_broker_has_taken_back_is_recorded_all_the_same(
    impatient, mariadb, tmp_path
):
    region = Region("RegionOne", impatient, mariadb, tmp_path)
    region.configure()
    region.glance.create(1)
    with running(region):
        region.await_log("listening on")
        region.await_images(region.glance.create(1))
        with holding(region):
            # More than a batch: what is in hand, and what waits behind it.
            images = region.glance.create(700)
            region.await_log("delivery acknowledgement on channel")
        images |= region.glance.create(50)

        region.await_images(images, 60)

        wait_until(
            lambda: not any(impatient.queue_depths(region.vhost).values())
        )
        assert "Traceback" not in region.log()
