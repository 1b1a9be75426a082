"""A quorum queue drops what it has delivered too often.

A listener that ends again and again does not spend deliveries; what the
broker drops all the same, or another reader lets it drop, is said.
"""

import json
import os
import signal
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import kombu
import odd_agent
import pytest
from fake_glance import FakeGlance
from fleet import INFO, Glance, Region, create_envelope, holding, running
from patience import wait_until

pytestmark = [pytest.mark.services, pytest.mark.timeout(200)]


@pytest.fixture
def glance():
    with FakeGlance() as server:
        yield server


@pytest.fixture
def region(rabbit_a, mariadb, tmp_path):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    region.glance = Glance(rabbit_a, region.vhost, quorum=True)
    region.glance.declare()
    configure(region)
    return region


def configure(region, extra=""):
    region.configure(
        extra=f"\n[oslo_messaging_rabbit]\nrabbit_quorum_queue = true\n{extra}"
    )


def limit(region, deliveries):
    """Let the broker drop what it has delivered as often in vain."""
    definition = {"delivery-limit": deliveries - 1}
    region.rabbit.ctl(
        *("set_policy", "-p", region.vhost, "limit", "^notifications"),
        *(json.dumps(definition), "--apply-to", "queues"),
    )


def kill_listener(region):
    before = len(region.log())
    os.kill(region.services()["listener"], signal.SIGKILL)
    region.await_log("listener started", since=before)


def test_a_listener_takes_nothing_that_the_ledger_does_not_take(region):
    limit(region, 2)
    with running(region):
        region.await_log("listening on")
        with holding(region):
            images = region.glance.create(3)
            for _ in range(4):
                kill_listener(region)

        region.await_images(images, 60)


def test_a_listener_that_ends_again_and_again_takes_nothing_more(region):
    limit(region, 6)
    images = region.glance.create(3)
    region.program = (sys.executable, odd_agent.__file__, "ending")
    with running(region):
        region.await_log("nothing is taken for 5 s", 60)
        # How often it has been by then is up to the machine.
        said = "times in a row before what it had taken"
        wait_until(lambda: said in region.command("status", code=1))
    del region.program

    with running(region):
        region.await_images(images, 60)


@contextmanager
def rejecting(url, image):
    """Read before everybody else, and give one message back for ever."""
    with kombu.Connection(url) as connection:
        channel = connection.default_channel

        def reject(message):
            message.reject(requeue=image in str(message.body))

        consumer = kombu.Consumer(
            channel,
            [kombu.Queue(INFO, no_declare=True)],
            on_message=reject,
            auto_declare=False,
        )
        consumer.queues[0].consumer_arguments = {"x-priority": 10}
        consumer.consume()
        yield connection


def test_what_a_broker_has_dropped_is_found_and_said(region, glance):
    configure(
        region,
        f"[glance]\nendpoint_override = {glance.url}\npoll_interval = 1\n",
    )
    limit(region, 2)
    image = str(uuid4())
    with running(region):
        region.await_log("audit of Glance")
        region.await_images(region.glance.create(1))
        with rejecting(region.bus_url, image) as connection:
            region.glance.send([(INFO, create_envelope(image))])
            for _ in range(2):
                connection.drain_events(timeout=30)
            wait_until(
                lambda: not region.rabbit.queue_depths(region.vhost)[INFO]
            )
        assert image not in region.uuids("cell0")

        at = datetime.now(UTC) - timedelta(seconds=20)
        glance.add(image, updated_at=at.strftime("%Y-%m-%dT%H:%M:%SZ"))

        region.await_images([image])
        said = (
            "1 images of Glance were found of which no notification has told"
        )
        region.await_log(said)
        assert said in region.command("status")
