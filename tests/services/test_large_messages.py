"""Long messages do not take an agent's memory, and none is lost."""

import json
from pathlib import Path
from uuid import uuid4

import kombu
import pytest
from fleet import (
    INFO,
    Glance,
    Region,
    create_envelope,
    holding,
    pair,
    running,
)
from patience import wait_until

from ec2map_sync.broker import sizes

pytestmark = pytest.mark.services

SIZE = 4 * 1024 * 1024
COUNT = 40
GIVEN_BACK = 2
FORMED = 250 * 1024 * 1024
"""Bytes that a process may take besides: what is in hand, read, and parsed.
All messages at a time would take more than twice that."""


def long_envelope(image, size):
    """Write an image.create with a property that is so long."""
    envelope = json.loads(create_envelope(image))
    message = json.loads(envelope["oslo.message"])
    message["payload"]["properties"] = {"long": "x" * size}
    envelope["oslo.message"] = json.dumps(message)
    return json.dumps(envelope)


def peak(pid):
    """Tell how much memory a process had at its worst."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [one for one in status.splitlines() if "VmHWM" in one]
    return int(line.split()[1]) * 1024


def ready(region):
    depths = region.rabbit.queue_depths(region.vhost)
    return not depths[INFO]


def test_notifications_that_are_long_come_a_few_at_a_time(
    rabbit_a, mariadb, tmp_path
):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    region.glance = Glance(rabbit_a, region.vhost, quorum=True)
    region.glance.declare()
    region.configure(
        extra="\n[oslo_messaging_rabbit]\nrabbit_quorum_queue = true\n"
    )
    rabbit_a.take_bodies_of(2 * sizes.LONGEST_BODY)
    # What is given back as often, the broker drops.
    rabbit_a.ctl(
        *("set_policy", "-p", region.vhost, "few", "^notifications"),
        *(json.dumps({"delivery-limit": GIVEN_BACK}), "--apply-to", "queues"),
    )
    images = [str(uuid4()) for _ in range(COUNT)]
    with running(region):
        region.await_log("listening on")
        pid = region.services()["listener"]
        before = peak(pid)

        with holding(region):
            for image in images:
                region.glance.send([(INFO, long_envelope(image, SIZE))])
            giant = "g" * (sizes.LONGEST_BODY + 1)
            region.glance.send([(INFO, giant)])
            small = region.glance.create(5)
        region.await_images({*images, *small}, 60)
        wait_until(lambda: ready(region))

        assert region.services()["listener"] == pid
        assert peak(pid) - before < FORMED
        ((reason, size),) = region.sql(
            "ledger", "SELECT reason, size FROM quarantine"
        )
        assert f"its body of {len(giant)} bytes" in reason
        assert size == sizes.HEAD


def test_messages_of_a_peer_that_are_long_come_a_few_at_a_time(
    rabbit_a, rabbit_b, mariadb, tmp_path
):
    one, two = pair(rabbit_a, rabbit_b, mariadb, tmp_path)
    one.glance.declare()
    two.glance.declare()
    with running(one, two):
        one.await_log("agrees with RegionTwo")
        pid = one.services()["follower"]
        before = peak(pid)

        with kombu.Connection(two.bus_url) as connection:
            producer = connection.Producer()
            for _ in range(COUNT):
                producer.publish(
                    b"x" * SIZE, exchange="ec2map_sync", routing_key="claims"
                )
        one.await_images(two.glance.create(5), 60)

        assert one.services()["follower"] == pid
        assert peak(pid) - before < FORMED
