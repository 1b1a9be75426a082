"""A peer that sends as much as it can hurts nobody but itself.

With EC2MAP_SYNC_TEST_FLOODS=measure (`tox -e floods`), it is measured by how
much others are delayed; a minute, on a machine that does nothing else.
"""

import json
import os
import time
from itertools import cycle, islice
from statistics import median
from uuid import uuid4

import kombu
import pytest
from fleet import Region, await_reading, running
from impostor import pen_of, publish
from one_set import open_ledger
from patience import wait_until, within

from ec2map_sync.broker import sizes
from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.stamps import wall_clock

pytestmark = pytest.mark.services

MANY = 60
PHASES = 3
SAMPLES = 15
"""Claims of an honest peer in a phase, quiet or flooded."""

SPARE = 256 * 2**20
"""Bytes that a flood may cost its reader, however large it is."""


@pytest.fixture(scope="module")
def regions(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    """One reads; Two is the test's, and floods; Three is honest."""
    directory = tmp_path_factory.mktemp("floods")
    three = [
        Region(name, rabbit, mariadb, directory)
        for name, rabbit in (
            ("RegionOne", rabbit_a),
            ("RegionTwo", rabbit_b),
            ("RegionThree", rabbit_b),
        )
    ]
    one, two, other = three
    for region in three:
        region.configure(*(peer for peer in three if peer is not region))
    with running(*three):
        for peer in (two, other):
            await_reading(one, peer)
            one.await_log(f"agrees with {peer.name}", seconds=60)
        two.kill()
        yield three


@pytest.fixture
def pen(regions):
    _, two, _ = regions
    return pen_of(two)


class Signed:
    """Anything at all, as a message of claims that the peer has signed."""

    def __init__(self, monkeypatch, pen):
        self._patch, self._pen = monkeypatch, pen

    def __call__(self, text):
        with self._patch.context() as patch:
            patch.setattr(wire.json, "dumps", lambda *_, **__: text)
            return wire.encode(messages.Claims(claims=()), self._pen)


def memory(region, what="VmHWM"):
    """Tell how many bytes the Follower has had at most."""
    return region.memory("follower", what)


def depth(two):
    return two.rabbit.queue_depths(two.vhost)["ec2map_sync.RegionOne"]


def test_honest_peers_are_heard_while_one_floods_and_memory_is_flat(
    regions, pen, monkeypatch
):
    one, two, three = regions
    signed = Signed(monkeypatch, pen)
    flood = [
        ({"sender": two.name}, b"\0" * (3 * 2**20)),  # nobody's
        signed('{"claims":[' + "7," * 2**20 + "7]}"),
        signed('{"claims":' + "[" * 2**20 + "]" * 2**20 + "}"),
        signed('{"claims":[' + "9" * 2**20 + "]}"),
        signed(json.dumps({"claims": [{"image": "x" * 2**20}]})),
    ]
    before = memory(one)

    publish(two.bus_url, islice(cycle(flood), MANY))
    honest = three.glance.create(5)

    # In the midst of the flood: its last message has not been read yet.
    one.await_images(honest, 60)
    wait_until(lambda: depth(two) == 0, 120)
    assert memory(one) - before < SPARE
    claim = Claim(claimed_at=wall_clock(), image=honest.pop()[:-4] + "beef")
    publish(two.bus_url, [wire.encode(messages.Claims(claims=(claim,)), pen)])
    one.await_images([claim.image])  # it is heard again at once


def test_a_body_of_a_hundred_megabytes_is_not_kept(regions, pen):
    one, two, _ = regions
    size = 100 * 2**20
    claim = Claim(
        claimed_at=wall_clock(), image="00000000-0000-4000-8000-0000000000ff"
    )
    before = memory(one, "VmRSS")
    two.rabbit.take_bodies_of(size)

    publish(
        two.bus_url,
        [
            ({"sender": two.name}, b"\0" * size),
            wire.encode(messages.Claims(claims=(claim,)), pen),
        ],
    )

    one.await_images([claim.image], 60)
    assert memory(one, "VmRSS") - before < sizes.ROOM
    reasons = one.sql("ledger", "SELECT reason FROM quarantine")
    assert any(f"its body of {size} bytes" in str(r) for (r,) in reasons)


def delay(producer, ledger, pen):
    """Tell how long a claim of an honest peer takes to One's ledger."""
    claim = Claim(claimed_at=wall_clock(), image=str(uuid4()))
    headers, body = wire.encode(messages.Claims(claims=(claim,)), pen)
    began = time.monotonic()
    producer.publish(
        body,
        exchange="ec2map_sync",
        routing_key="claims",
        headers=headers,
        content_type="application/json",
        content_encoding="binary",
    )
    while not ledger.claims([claim.image]):
        assert time.monotonic() - began < within(60)
    return time.monotonic() - began


@pytest.fixture
def honest(regions):
    """What brings messages of Three to whoever reads there."""
    three = regions[2]
    with kombu.Connection(three.bus_url) as connection:
        yield kombu.Producer(connection.channel())


def in_a_flood(two, message, measure):
    """Measure in the midst of a flood: it is not over when that is done."""
    many = 4
    while True:
        publish(two.bus_url, [message] * many)
        found = measure()
        if depth(two):
            wait_until(lambda: depth(two) == 0, 120)
            return found
        many *= 2
        assert many < 1000, "who floods is too slow"


@pytest.mark.skipif(
    os.environ.get("EC2MAP_SYNC_TEST_FLOODS") != "measure",
    reason="measures: set EC2MAP_SYNC_TEST_FLOODS=measure",
)
def test_others_wait_at_most_twice_as_long_while_one_floods(
    regions, pen, honest, monkeypatch
):
    """Phases take turns, so that whatever else happens is in both kinds."""
    one, two, three = regions
    ledger, their_pen = open_ledger(one), pen_of(three)
    # What costs the most for what it may weigh.
    message = Signed(monkeypatch, pen)('{"claims":[' + "{}," * 190_000 + "7]}")

    def measure():
        return [delay(honest, ledger, their_pen) for _ in range(SAMPLES)]

    quiet, flooded = [], []
    for _ in range(PHASES):
        quiet += measure()
        flooded += in_a_flood(two, message, measure)

    medians = [median(found) * 1000 for found in (quiet, flooded)]
    print("{:.0f} ms, flooded {:.0f} ms".format(*medians))
    assert medians[1] <= 2 * medians[0]
