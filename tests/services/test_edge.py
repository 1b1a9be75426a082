"""What is replaced inside kombu and oslo.messaging, before a real broker."""

from contextlib import contextmanager
from uuid import uuid4

import amqp.exceptions
import kombu
import pytest
from edge import LedgerStub, installed, listening
from fleet import INFO, Glance, create_envelope
from odd import TAKEN, publish
from servers import wait_until
from sqlalchemy.exc import OperationalError

from ec2map_sync.broker import inside
from ec2map_sync.broker.address import Address
from ec2map_sync.broker.link import body_of
from ec2map_sync.peers import bus

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("way")]


class Broker:
    """A virtual host with Glance's exchange and queue."""

    def __init__(self, rabbit):
        self._rabbit = rabbit
        self._vhost = "edge"
        rabbit.grant(self._vhost, {})
        self.glance = Glance(rabbit, self._vhost)
        self.glance.declare()
        self.url = rabbit.url(self._vhost)
        self.transport_url = rabbit.transport_url(self._vhost)

    def is_drained(self):
        """Tell whether nothing waits or is in hand."""
        return self._rabbit.queue_depths(self._vhost)[INFO] == 0

    def in_hand(self):
        """Count what is delivered and not acknowledged."""
        queues = self._rabbit.queue_depths(
            self._vhost, "messages_unacknowledged"
        )
        return sum(queues.values())

    @contextmanager
    def impatient(self):
        """Wait for acknowledgements for three seconds, not half an hour."""
        self._wait_for(milliseconds=3_000, look=500)
        try:
            yield
        finally:
            self._wait_for(milliseconds=1_800_000, look=60_000)

    def _wait_for(self, milliseconds, look):
        self._rabbit.ctl(
            "eval",
            f"application:set_env(rabbit, consumer_timeout, {milliseconds}),"
            f"application:set_env(rabbit, channel_tick_interval, {look}).",
        )

    def cut(self):
        """Close every connection."""
        self._rabbit.ctl(
            "close_all_connections", f"--vhost={self._vhost}", "cut"
        )


@pytest.fixture(params=["as known", "other batches", "all other"])
def way(request):
    with installed(request.param):
        yield


@pytest.fixture(scope="module")
def broker(rabbit_a):
    return Broker(rabbit_a)


def test_bad_ones_are_quarantined_and_good_ones_recorded(broker):
    images = [str(uuid4()) for _ in range(200)]
    bad = ["{'id'", "[]", '{"oslo.version": "9.0", "oslo.message": "{}"}']
    ledger = LedgerStub()

    with listening(broker.transport_url, ledger):
        broker.glance.send(
            (INFO, body)
            for number, image in enumerate(images)
            for body in (bad[number % len(bad)], create_envelope(image))
        )
        wait_until(lambda: len(ledger.seen) == len(images))
        wait_until(lambda: len(ledger.quarantined) == len(images))
        wait_until(broker.is_drained)

    assert ledger.seen == images
    assert max(ledger.sizes) > 1


def test_properties_that_cannot_be_read_hold_up_nobody(broker):
    if not inside.CONTENT.fits():
        pytest.skip("py-amqp reads by itself, and stops")
    images = [str(uuid4()) for _ in TAKEN]
    ledger = LedgerStub()

    with listening(broker.transport_url, ledger):
        for image, properties in zip(images, TAKEN.values(), strict=True):
            body = create_envelope(image).encode()
            publish(broker.url, "glance", INFO, b"odd", properties)
            broker.glance.send([(INFO, body)])
        wait_until(lambda: ledger.seen == images)
        wait_until(broker.is_drained)

    # Without our messages too, as nothing else is in those bytes.
    assert ledger.quarantined == [b"odd"] * len(TAKEN)


def test_after_a_cut_all_come_again_and_are_acknowledged(broker):
    images = [str(uuid4()) for _ in range(300)]
    ledger = LedgerStub()

    with listening(broker.transport_url, ledger):
        ledger.there.clear()
        broker.glance.send((INFO, create_envelope(i)) for i in images)
        assert ledger.asked.wait(10)
        broker.cut()
        ledger.there.set()

        wait_until(lambda: set(ledger.seen) == set(images), 30)
        wait_until(broker.is_drained, 30)


def test_what_is_not_recorded_waits_for_whoever_listens_next(broker):
    images = [str(uuid4()) for _ in range(300)]
    first, second = LedgerStub(), LedgerStub()

    with listening(broker.transport_url, first):
        first.there.clear()
        broker.glance.send((INFO, create_envelope(i)) for i in images)
        assert first.asked.wait(10)
    with listening(broker.transport_url, second):
        wait_until(lambda: set(second.seen) == set(images))
        wait_until(broker.is_drained)

    assert first.seen == []


def test_who_waits_longer_than_the_broker_repeats_nothing(broker):
    if not (inside.TAGS.fits() and inside.MESSAGES.fits()):
        pytest.skip("nobody knows what the broker has taken back")
    images = [str(uuid4()) for _ in range(300)]
    ledger = LedgerStub()

    with (
        broker.impatient(),
        listening(broker.transport_url, ledger) as listener,
    ):
        ledger.there.clear()
        broker.glance.send((INFO, create_envelope(i)) for i in images)
        wait_until(lambda: listener.recorder.batches > 2 * 3, 60)
        ledger.there.set()

        wait_until(lambda: set(ledger.seen) == set(images), 30)
        wait_until(broker.is_drained, 30)

    assert len(ledger.seen) <= len(images) + 200  # at worst, one delivery


def test_who_has_waited_too_long_holds_back_until_the_ledger_answers(broker):
    if not (inside.TAGS.fits() and inside.MESSAGES.fits()):
        pytest.skip("nobody knows what the broker has taken back")
    images = [str(uuid4()) for _ in range(30)]
    ledger = LedgerStub()

    with (
        broker.impatient(),
        listening(broker.transport_url, ledger) as listener,
    ):
        assert not listener.hold_back()
        ledger.there.clear()
        broker.glance.send((INFO, create_envelope(i)) for i in images)
        wait_until(listener.hold_back, 60)
        with pytest.raises(OperationalError):
            listener.start()
        assert not listener.listening
        wait_until(lambda: broker.in_hand() == 0)
        ledger.there.set()

        listener.start()

        wait_until(broker.is_drained, 30)
    assert ledger.seen == images


def test_what_peers_say_comes_whatever_its_headers_say(broker):
    # A queue of its own: an acknowledgement of before may not have arrived.
    region = uuid4().hex
    inbox = bus.Inbox(Address(broker.url), region)
    inbox.open()
    with kombu.Connection(broker.url) as connection:
        producer = kombu.Producer(connection.channel())
        for headers in ({}, {"compression": "nonsense"}, {"x": "y"}):
            producer.publish(
                b"signed",
                exchange=bus.requests_of(region),
                routing_key="compare",
                headers=headers,
                content_type="application/json",
                content_encoding="binary",
            )
    arrived = []

    def read():
        arrived.extend(inbox.read(10, 1))
        return len(arrived) >= 3

    wait_until(read)
    inbox.acknowledge(arrived)
    inbox.close()

    assert [body_of(message) for message in arrived] == [b"signed"] * 3


def test_an_acknowledgement_of_before_takes_nothing_away(broker):
    if not inside.TAGS.fits():
        pytest.skip("py-amqp's numbers begin anew")
    arrived = []
    with kombu.Connection(broker.url) as connection:
        channel = connection.channel()
        queue = kombu.Queue("again", durable=False)(channel)
        queue.queue_declare()
        for number in range(5):
            kombu.Producer(channel).publish({"n": number}, routing_key="again")

        def read():
            kombu.Consumer(
                channel, [queue], on_message=arrived.append
            ).consume()
            wait_until(lambda: connection.drain_events() or len(arrived) >= 5)
            return [arrived.pop(0) for _ in range(5)]

        before = read()
        with pytest.raises(amqp.exceptions.NotFound):
            channel.exchange_declare("nowhere", "topic", passive=True)
        now = read()
        before[0].requeue()
        before[4].ack(multiple=True)
        now[2].ack(multiple=True)
        with pytest.raises(amqp.exceptions.NotFound):
            channel.exchange_declare("nowhere", "topic", passive=True)

        left = queue.queue_declare(passive=True).message_count
        queue.delete()

    assert left == 2
