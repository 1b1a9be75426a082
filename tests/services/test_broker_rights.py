"""A peer's account reaches its own queue and our requests, and no more."""

import amqp.exceptions
import kombu
import pytest
from fleet import INFO, login, pair
from patience import within

pytestmark = pytest.mark.services

OWN = "ec2map_sync.RegionTwo"
ANOTHER = "ec2map_sync.RegionThree"
REQUESTS = "ec2map_sync.requests"
MAIN = "ec2map_sync"

FORBIDDEN = {
    "read another peer's queue": lambda c: c.basic_get(ANOTHER),
    "listen to it": lambda c: c.basic_consume(ANOTHER),
    "empty it": lambda c: c.queue_purge(ANOTHER),
    "delete it": lambda c: c.queue_delete(ANOTHER),
    "bind it": lambda c: c.queue_bind(ANOTHER, MAIN, "#"),
    "make one": lambda c: c.queue_declare("ec2map_sync.RegionFour"),
    "read questions": lambda c: c.basic_get(REQUESTS),
    "delete their queue": lambda c: c.queue_delete(REQUESTS),
    "answer as if it were us": lambda c: publish(
        c, MAIN, "answer.RegionThree"
    ),
    "claim as if it were us": lambda c: publish(c, MAIN, "claims"),
    "put claims into a queue": lambda c: publish(c, "", ANOTHER),
    "delete our exchange": lambda c: c.exchange_delete(MAIN),
    "make an exchange": lambda c: c.exchange_declare("mine", "topic"),
    "notify as Glance": lambda c: publish(c, "glance", INFO),
    "hear Glance": lambda c: c.queue_bind(OWN, "glance", "#"),
    "read notifications": lambda c: c.basic_get(INFO),
}


def publish(channel, exchange, key):
    channel.basic_publish_confirm(amqp.Message("{}"), exchange, key)


@pytest.fixture(scope="module")
def address(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    """RegionTwo's address of RegionOne, which has another peer too."""
    directory = tmp_path_factory.mktemp("broker_rights")
    one, two = pair(rabbit_a, rabbit_b, mariadb, directory)
    one.glance.declare()
    with kombu.Connection(one.bus_url) as connection:
        channel = connection.default_channel
        for exchange in (MAIN, REQUESTS):
            channel.exchange_declare(
                exchange, "topic", durable=True, auto_delete=False
            )
        for queue in (ANOTHER, REQUESTS):
            channel.queue_declare(queue, durable=True, auto_delete=False)
    return login(one.bus_url, one.account_of(two))


@pytest.fixture
def channel(address):
    with kombu.Connection(
        address, transport_options={"confirm_publish": True}
    ) as connection:
        channel = connection.default_channel
        channel.queue_declare(OWN, durable=True, auto_delete=False)
        yield channel


def test_a_peer_s_account_may_do_what_a_follower_does(channel):
    channel.exchange_declare(MAIN, "topic", passive=True)
    channel.queue_bind(OWN, MAIN, "claims")
    assert channel.basic_get(OWN) is None
    publish(channel, REQUESTS, "compare")


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_a_peer_s_account_may_not(channel, deed):
    with pytest.raises(amqp.exceptions.AccessRefused):
        FORBIDDEN[deed](channel)


def test_a_peer_s_account_cannot_enter_another_virtual_host(address):
    root = address.rpartition("/")[0] + "/%2F"
    with (
        kombu.Connection(root, connect_timeout=within(5)) as connection,
        pytest.raises(amqp.exceptions.NotAllowed, match="vhost '/' refused"),
    ):
        connection.connect()
