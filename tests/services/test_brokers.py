"""Glance's notifications, however its broker and its queues are.

All the time somebody asks how it is, and no answer is to be wrong. A part of
these runs always, all of them with EC2MAP_SYNC_BROKERS=all.
"""

import os
import re
from contextlib import suppress
from itertools import product
from uuid import uuid4

import oslo_messaging
import pytest
from fleet import Region, running
from observer import Observer, readiness
from oslo_config import cfg
from patience import wait_until, within
from servers import free_port

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

QUEUES = {
    "transient": "",
    "durable": "amqp_durable_queues = true\n",
    "quorum": "rabbit_quorum_queue = true\n",
    # As kolla-ansible has it, copied; the last one is known no longer.
    "managed": "rabbit_quorum_queue = true\n"
    "rabbit_transient_quorum_queue = true\n"
    "rabbit_stream_fanout = true\n"
    "use_queue_manager = true\n"
    "processname = tests\n"
    "rabbit_qos_prefetch_count = 1\n"
    "heartbeat_in_pthread = false\n",
}
PLACES = {
    "own topic": "topics = ec2map_sync\n",
    "pool": "topics = notifications\npool = ec2map_sync\n",
}
USUAL = {("4", "quorum", "pool")}
ALL = os.environ.get("EC2MAP_SYNC_BROKERS") == "all"
CASES = [
    pytest.param(*case, id=" ".join(case))
    for case in product(("3.10", "4"), QUEUES, PLACES)
    # See the last test.
    if case[:2] != ("4", "transient") and (ALL or case in USUAL)
]


class Cloud(Region):
    """A region whose accounts may do everything on Glance's broker."""

    own_rights = (".*", ".*", ".*")

    def configure_for(self, queues, place):
        """Write our configuration, and Glance's."""
        self.port = free_port()
        self.configure(extra=f"[metrics]\nlisten = 127.0.0.1:{self.port}\n")
        text, count = re.subn(
            r"\[oslo_messaging_rabbit\]\n.*\n",
            f"[oslo_messaging_rabbit]\n{QUEUES[queues]}"
            f"[notifications]\n{PLACES[place]}",
            self.config_file.read_text(),
        )
        assert count == 1
        self.config_file.write_text(text)
        topic = "ec2map_sync" if "pool" not in place else "notifications"
        of_glance = self.directory / "glance-api.conf"
        of_glance.write_text(
            f"[DEFAULT]\ncontrol_exchange = glance\n"
            f"transport_url = {self.rabbit.transport_url(self.vhost)}\n"
            f"[oslo_messaging_rabbit]\n{QUEUES[queues]}"
            "rabbit_qos_prefetch_count = 1\n"
            f"[oslo_messaging_notifications]\ntopics = {topic}\n"
            "driver = messagingv2\nretry = 2\n"
        )
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[str(of_glance)])
        self.notifier = oslo_messaging.Notifier(
            oslo_messaging.get_notification_transport(conf), "image.tests"
        )

    def create_images(self, count=2):
        """Say so, as Glance does."""
        images = {str(uuid4()) for _ in range(count)}
        for image in images:
            self.notifier.info({}, "image.create", {"id": image})
        return images

    def has_rows(self, images):
        """Tell whether they come within a second."""
        with suppress(AssertionError):
            self.await_images(images, 1 / within(1))
            return True
        return False

    def readiness(self):
        """Give what /readyz says."""
        return readiness(self.port)


@pytest.fixture
def cloud(mariadb, tmp_path):
    def make(rabbit, queues, place):
        made = Cloud("RegionOne", rabbit, mariadb, tmp_path)
        made.configure_for(queues, place)
        return made

    return make


@pytest.mark.parametrize(("broker", "queues", "place"), CASES)
def test_notifications_become_rows(request, cloud, broker, queues, place):
    fixture = "rabbit_a" if broker == "3.10" else "rabbit_4"
    rabbit = request.getfixturevalue(fixture)
    one = cloud(rabbit, queues, place)
    one.create_images()
    asked = Observer(one, one.port)
    with running(one), asked.looking():
        one.await_log("listening on")
        one.await_images(one.create_images())
        asked.expect_good()
        one.command("config", "check")

        asked.leave()
        one.stop()
        images = one.create_images()
        if queues != "transient":
            rabbit.restart()
        one.start()
        one.await_images(images)
        asked.expect_good()

        asked.leave()
        rabbit.stop()
        assert "refused" in asked.expect_bad()
        one.command("config", "check", code=1)
        asked.leave()
        rabbit.start()
        if queues == "transient":
            # What comes before the exchange is there again is lost.
            assert "not there yet" in asked.expect_bad()
            asked.leave()
            wait_until(lambda: one.has_rows(one.create_images()), 60)
        one.await_images(one.create_images(), 60)
        asked.expect_good()
        one.command("config", "check")
        assert "Traceback" not in one.log()


def test_a_broker_that_denies_transient_queues_is_told_of_everywhere(
    cloud, rabbit_4
):
    one = cloud(rabbit_4, "transient", "own topic")
    one.create_images(1)
    said = (
        "the broker refuses a queue (Queue.declare: (541) INTERNAL_ERROR - "
        "Feature `transient_nonexcl_queues` is deprecated)"
    )
    advice = (
        "set amqp_durable_queues = true in [oslo_messaging_rabbit] of "
        "glance-api.conf and of ec2map-sync.conf"
    )
    with running(one):
        one.await_log(said)

        assert one.log().count(advice) == 1
        assert "Traceback" not in one.log()
        wait_until(lambda: said in one.readiness()[1])
        assert one.readiness()[0] == 503
        for command in (("config", "check"), ("status",)):
            shown = one.command(*command, "-f", "json", code=1)
            assert said in shown
            assert advice in shown
