"""Our own queues: of which type they are, and what if their node dies."""

import time
from contextlib import suppress

import amqp.exceptions
import kombu
import pytest
from fleet import Region, await_reading, running
from patience import wait_until
from servers import RabbitMQ, RabbitMQ4

from ec2map_sync.broker.address import Address
from ec2map_sync.broker.link import BROKEN, describe
from ec2map_sync.peers import bus
from ec2map_sync.settings.values import Bus, Peer

pytestmark = [pytest.mark.services, pytest.mark.timeout(200)]

OURS = {
    "x-single-active-consumer": True,
    "x-max-length-bytes": 1_000_000,
    "x-overflow": "drop-head",
    "x-expires": 60_000_000,
}
"""What a release of before declares with."""
QUESTIONS = {"x-message-ttl": 60_000, "x-max-length-bytes": 16 * 1024 * 1024}

READER = "ec2map_sync.two"
INBOX = "ec2map_sync.requests"


def inlet(address):
    options = Bus(
        region="two",
        broker=None,
        exchange="ec2map_sync",
        key=None,
        heartbeat_interval=1,
        claim_wait=1,
        max_moves=1,
        max_evictions=1,
        queue_max_bytes=1_000_000,
        queue_expires=60_000,
        batch_size=1,
        canary_interval=0,
        peers=(),
    )
    peer = Peer(name="one", broker=address, keys=(), exchange="ec2map_sync")
    return bus.Inlet(peer, options)


def types(rabbit, vhost):
    """Give the type of each queue."""
    listed = rabbit.ctl("list_queues", f"--vhost={vhost}", "name", "type")
    return dict(line.split("\t") for line in listed.splitlines())


class Place:
    """A virtual host, where a peer publishes."""

    def __init__(self, vhost, *nodes):
        self.nodes, self.vhost = nodes, vhost
        nodes[-1].grant(vhost, {})
        self.address = Address(";".join(n.url(vhost) for n in nodes))
        self.outlet = bus.Outlet(Address(nodes[-1].url(vhost)), "ec2map_sync")
        self.outlet.open()

    def types(self):
        return types(self.nodes[-1], self.vhost)

    def hears(self, source, body):
        """Tell whether what is published from now on comes."""

        def came():
            try:
                source.open()
                self.outlet.send("claims", {}, body)
                arrived = source.read(10, 1)
            except BROKEN:
                source.close()
                return False
            source.acknowledge(arrived)
            return body in [message.body for message in arrived]

        wait_until(came, 20)
        return True


@pytest.fixture(params=["rabbit_a", "rabbit_4"])
def place(request):
    rabbit = request.getfixturevalue(request.param)
    vhost = f"queues_{abs(hash(request.node.name))}"
    place = Place(vhost, rabbit)
    yield place
    rabbit.remove(vhost)


def test_on_rabbitmq_4_queues_are_quorum_queues_by_default(rabbit_4):
    rabbit_4.grant("default", {})
    with kombu.Connection(rabbit_4.url("default")) as connection:
        kombu.Queue("any", durable=True)(
            connection.default_channel
        ).queue_declare()

    assert types(rabbit_4, "default") == {"any": "quorum"}


def as_before(place, name, arguments):
    """Declare as releases of before do; leave a message there."""
    with kombu.Connection(place.nodes[0].url(place.vhost)) as connection:
        channel = connection.default_channel
        queue = kombu.Queue(name, durable=True, queue_arguments=arguments)
        queue(channel).queue_declare()
        kombu.Producer(channel).publish(b"old", routing_key=name)


@pytest.mark.parametrize("before", [False, True])
def test_ours_are_quorum_queues_also_where_they_were_not(place, before):
    if before:
        as_before(place, READER, OURS)
        as_before(place, INBOX, QUESTIONS)
    reader = inlet(place.address)
    inbox = bus.Inbox(place.address, "ec2map_sync")
    for source in (reader, inbox):
        source.open()

    assert place.types() == {READER: "quorum", INBOX: "quorum"}
    assert place.hears(reader, b"new")
    for source in (reader, inbox):
        source.close()


def test_what_is_a_quorum_queue_already_keeps_what_is_in_it(place):
    reader = inlet(place.address)
    reader.open()
    reader.close()
    place.outlet.send("claims", {}, b"kept")

    reader = inlet(place.address)
    arrived = []
    wait_until(lambda: arrived.extend(reader.read(9, 1)) or arrived)
    reader.close()

    assert [message.body for message in arrived] == [b"kept"]


def test_a_host_with_the_release_of_before_stands_by(place):
    as_before(place, READER, OURS)
    reader = inlet(place.address)
    reader.open()

    for _ in range(3):
        # Where queues are quorum queues by default, it is no other.
        with suppress(amqp.exceptions.PreconditionFailed):
            as_before(place, READER, OURS)
        assert place.types() == {READER: "quorum"}
        assert place.hears(reader, b"on")
    reader.close()


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_other_limits_are_an_operators_to_change(place, kind):
    other = {"x-queue-type": kind, "x-max-length-bytes": 7}
    as_before(place, READER, OURS | other)

    reader = inlet(place.address)
    with pytest.raises(amqp.exceptions.PreconditionFailed, match="bytes"):
        reader.open()
    reader.close()

    assert place.types()[READER] == kind


@pytest.fixture(
    scope="module",
    params=[RabbitMQ, pytest.param(RabbitMQ4, marks=pytest.mark.long)],
)
def two(request, tmp_path_factory, epmd):
    """A cluster of two nodes."""
    make, place = request.param, tmp_path_factory.mktemp
    with (
        make(place("one"), "one", epmd) as one,
        make(place("two"), "two", epmd, joins=one) as two,
    ):
        yield one, two


@pytest.fixture(scope="module")
def three(tmp_path_factory, epmd, two):
    """A third node of it."""
    third = tmp_path_factory.mktemp("three")
    with type(two[0])(third, "three", epmd, joins=two[0]) as three:
        yield *two, three


@pytest.fixture
def first_dies(two):
    yield two[0].kill
    two[0].start()


def test_of_two_nodes_one_dies_with_our_queues(two, first_dies):
    place = Place("of_two", *two)
    reader = inlet(place.address)
    inbox = bus.Inbox(place.address, "ec2map_sync")
    assert place.hears(reader, b"before")
    inbox.open()
    assert place.types() == {READER: "classic", INBOX: "classic"}

    first_dies()

    assert place.hears(reader, b"after")
    with pytest.raises(BROKEN):
        inbox.read(1, 5)
    inbox.close()
    wait_until(lambda: opens(inbox), 20)
    # RabbitMQ 3 says that their node is down. 4 does not answer for a minute,
    # but lets them be made anew.
    spare = {f"{READER}.replay", f"{INBOX}.spare"}
    assert spare & place.types().keys() in (spare, set())
    two[0].start()
    reader._until = time.monotonic()
    assert place.hears(reader, b"again")
    assert f"{READER}.replay" not in place.types()
    reader.close()
    inbox.close()


def opens(source):
    try:
        source.open()
    except BROKEN:
        source.close()
        return False
    return True


@pytest.mark.long
@pytest.mark.parametrize("connected", [True, False])
def test_of_two_nodes_behind_one_address_one_dies(two, first_dies, connected):
    place = Place(f"behind_{connected}".lower(), two[1])
    reader = inlet(place.address)
    inbox = bus.Inbox(place.address, "ec2map_sync")
    assert place.hears(reader, b"before")
    inbox.open()
    assert place.types() == {READER: "quorum", INBOX: "quorum"}
    if not connected:
        reader.close()
        inbox.close()

    first_dies()

    for source in (reader, inbox):
        failed = []
        wait_until(lambda s=source, f=failed: goes_on(s, f), 30)
    assert place.types() == {READER: "classic", INBOX: "classic"}
    assert place.hears(reader, b"after")
    reader.close()
    inbox.close()


def goes_on(source, failed):
    """Read once, as our loops do; tell whether that is well again."""
    try:
        source.read(1, 1)
    except BROKEN as error:
        failed.append(error)
        source.close()
        return False
    return bool(failed)


def test_a_message_that_the_broker_refuses_is_an_outage():
    said = describe(amqp.exceptions.MessageNacked())

    assert said == "the broker takes no message: is a node of it down?"


# By default, Glance's own queue on RabbitMQ 4 would need both nodes.
@pytest.mark.parametrize("two", [RabbitMQ], indirect=True)
def test_two_regions_go_on_when_a_node_dies(
    two, first_dies, rabbit_a, mariadb, tmp_path
):
    one = Region("RegionOne", two[1], mariadb, tmp_path)
    one.bus_url = ";".join(node.url(one.vhost) for node in two)
    other = Region("RegionTwo", rabbit_a, mariadb, tmp_path)
    one.configure(other)
    other.configure(one)
    one.glance.declare()
    with running(one, other):
        other.await_images(one.glance.create(2), 60)

        first_dies()

        other.await_images(one.glance.create(3), 30)
        await_reading(other, one)
        other.command("config", "check", code=0)


def test_of_three_nodes_one_dies_with_our_queues(three, first_dies):
    place = Place("of_three", *three)
    reader = inlet(place.address)
    assert place.hears(reader, b"before")
    assert place.types() == {READER: "quorum"}

    first_dies()

    assert place.hears(reader, b"after")
    assert place.types() == {READER: "quorum"}
    reader.close()
