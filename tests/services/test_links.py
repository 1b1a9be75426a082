"""A dead link between regions is noticed, and never waited for for ever."""

import time

import pytest
from patience import POLL_SECONDS, wait_until
from proxy import Proxy, Way
from servers import free_port

from ec2map_sync.broker.address import Address
from ec2map_sync.broker.link import (
    BROKEN,
    HEARTBEAT as USUAL,
    Link,
    connect,
)
from ec2map_sync.peers import bus

pytestmark = pytest.mark.services

HEARTBEAT = 4


@pytest.fixture
def link(rabbit_a):
    with Proxy(rabbit_a.port) as proxy:
        yield proxy


@pytest.fixture
def outlet(rabbit_a, link):
    outlet = bus.Outlet(
        Address(link.url(rabbit_a.url(), heartbeat=HEARTBEAT)), "x"
    )
    outlet.send("nobody", {}, b"{}")
    return outlet


def fails(outlet):
    """Whether the link is seen to be dead by who only keeps it alive."""
    try:
        outlet.pump()
    except BROKEN:
        return True
    return False


def test_links_have_heartbeats_unless_the_url_says_otherwise(rabbit_a):
    assert connect(Address(rabbit_a.url())).heartbeat == USUAL > 0


def test_an_idle_link_stays_up(outlet):
    end = time.monotonic() + 4 * HEARTBEAT

    while time.monotonic() < end:
        assert not fails(outlet)
        time.sleep(POLL_SECONDS)

    outlet.send("nobody", {}, b"{}")
    outlet.close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("way", Way)
def test_a_dead_link_is_noticed_and_can_be_left(link, outlet, way):
    link.swallow(way)

    wait_until(lambda: fails(outlet), 5 * HEARTBEAT)
    outlet.close()

    link.heal()
    outlet.send("nobody", {}, b"{}")
    outlet.close()


@pytest.mark.timeout(60)  # else it would wait for ever
def test_a_link_that_dies_while_it_is_set_up_is_given_up(rabbit_a, link):
    link.swallow(Way.TO_READER)
    outlet = bus.Outlet(Address(link.url(rabbit_a.url())), "x")

    with pytest.raises(BROKEN):
        outlet.send("nobody", {}, b"{}")

    outlet.close()


class Unanswered(Link):
    """Asks a broker which goes on to send heartbeats, and does not hear."""

    def __init__(self, address, link):
        super().__init__(address)
        self._link = link

    def _set_up(self, channel):
        self._link.swallow(Way.TO_BROKER)
        channel.queue_declare("never", passive=True)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("beat", [1, 2, HEARTBEAT])
def test_a_broker_that_beats_and_does_not_answer_is_left(rabbit_a, link, beat):
    address = Address(link.url(rabbit_a.url(), heartbeat=beat))
    source = Unanswered(address, link)

    # Not the broker's end, after three times in which it heard nothing.
    with pytest.raises(TimeoutError):
        source.open()

    source.close()


def refusing():
    """Give the address of a node that is down."""
    return f"amqp://guest:guest@127.0.0.1:{free_port()}/"


@pytest.mark.parametrize("down", [1, 2, 4])
def test_each_node_of_a_cluster_is_tried_in_one_attempt(rabbit_a, down):
    nodes = [refusing() for _ in range(down)] + [rabbit_a.url()]
    for turn in range(down + 1):
        with connect(Address(";".join(nodes)), turn) as connection:
            assert connection.port == rabbit_a.port


@pytest.mark.timeout(30)
def test_an_attempt_ends_where_no_node_is_up():
    with pytest.raises(BROKEN):
        connect(Address(";".join(refusing() for _ in range(3))))


def test_a_node_that_closes_connections_is_left(rabbit_a):
    with Proxy(rabbit_a.port) as bad:
        urls = [bad.url(rabbit_a.url()), rabbit_a.url()]
        outlet = bus.Outlet(Address(";".join(urls)), "x")
        outlet.open()
        bad.cut(Way.TO_BROKER)
        with pytest.raises(BROKEN):
            outlet.send("nobody", {}, b"{}")
        outlet.close()

        assert outlet.open().port == rabbit_a.port
        outlet.close()
