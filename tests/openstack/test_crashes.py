"""Every process of the cloud ends, in order or killed, and nothing is lost."""

import os
import queue
import signal
import threading
import time
from contextlib import suppress
from itertools import islice
from uuid import uuid4

import pytest
import requests
from fleet import SERVICES
from glance_api import Refused
from judging import derived, seen_everywhere
from patience import wait_until

PORTION = 5
"""Uploads in each region during each trouble, of which each has 13."""

SERVERS = ("rabbit", "mariadb", "images")


class Uploads:
    """A client that uploads images in portions, and does not give up."""

    def __init__(self, region):
        self.images = []
        self._glance = region.images
        self._wanted = queue.SimpleQueue()
        self._done = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._wanted.put(None)
        self._thread.join()

    def begin(self, count):
        """Go on with so many more images."""
        images = [str(uuid4()) for _ in range(count)]
        self.images += images
        for image in images:
            self._wanted.put(image)

    def finish(self, seconds=90):
        """Wait until all that was begun is uploaded."""
        wait_until(lambda: self._done == len(self.images), seconds)

    def _run(self):
        while image := self._wanted.get():
            while not self._upload(image):
                time.sleep(0.1)
            self._done += 1

    def _upload(self, image):
        glance = self._glance
        with suppress(requests.RequestException, Refused):
            with suppress(Refused):  # it may be there from the last attempt
                glance.create(id=image)
            if glance.status(image) == "queued":
                glance.upload(image)
            return glance.status(image) == "active"
        return False


def restart_agent(region):
    assert region.stop() == 0
    region.start()


def kill_agent(region):
    region.kill()
    region.start()


def kill_server(server):
    server.kill()
    server.start()


def kill_service(region, service):
    """Kill a service of the agent; the agent starts it anew."""
    wait_until(lambda: service in region.services(), 30)
    pid = region.services()[service]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: region.services().get(service, pid) != pid, 30)


def troubles(region):
    """Every process of a region, and how it ends."""
    for name in SERVERS:
        server = getattr(region, name)
        yield f"restart of {name}", server.restart
        yield f"kill -9 of {name}", lambda server=server: kill_server(server)
    yield "restart of the agent", lambda: restart_agent(region)
    yield "kill -9 of the agent", lambda: kill_agent(region)
    for service in (*SERVICES, "auditor"):
        yield (
            f"kill -9 of the {service}",
            lambda service=service: kill_service(region, service),
        )


@pytest.mark.parametrize(
    ("many", "each"), [(1, 3), pytest.param(2, 1, marks=pytest.mark.long)]
)
def test_uploads_go_on_while_every_process_is_restarted_and_killed(
    cloud, record, many, each
):
    began = time.monotonic()
    count = 0
    with Uploads(cloud.one) as first, Uploads(cloud.two) as second:
        for region in cloud.regions[:many]:
            for what, trouble in islice(
                troubles(region), each // 2, None, each
            ):
                print(f"{time.monotonic() - began:5.1f}", region.name, what)
                for uploads in (first, second):
                    uploads.begin(PORTION)
                trouble()
                for uploads in (first, second):
                    uploads.finish()
                count += 1
    ended = time.monotonic()

    images = first.images + second.images
    for region in cloud.regions:
        region.await_images(images, 120)
    waited = time.monotonic() - ended
    assert seen_everywhere(cloud, images) == list(map(derived, images))
    for region in cloud.regions:
        assert region.sql("ledger", "SELECT * FROM moves") == []
    record.note(
        f"Uploads in each region while {count} times a process was restarted"
        " or killed, and lost ids",
        f"{len(first.images)} in {ended - began:.0f} s, none",
    )
    record.note(
        "Until the last of them had its id everywhere", f"{waited:.1f} s"
    )
