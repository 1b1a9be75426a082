"""What is replaced inside kombu and oslo.messaging, and what if it is not."""

import json
import logging

import kombu
import pytest
from edge import WAYS, LedgerStub, installed, listening
from oslo_messaging.notify.listener import BatchNotificationServer
from servers import wait_until

from ec2map_sync.broker import inside
from ec2map_sync.broker.delivery import decode
from ec2map_sync.rules.names import UNREADABLE

IMAGE = "20000000-0000-4000-8000-{:012x}"


def envelope(message, version="2.0"):
    return json.dumps(
        {"oslo.version": version, "oslo.message": json.dumps(message)}
    )


def image_create(number, **fields):
    message = {
        "event_type": "image.create",
        "payload": {"id": IMAGE.format(number)},
        "priority": "INFO",
        "_unique_id": str(number),
    }
    return envelope(message | fields)


@pytest.fixture
def exchange():
    """Glance's, on the memory transport, with a queue; it publishes."""
    with kombu.Connection("memory://") as connection:
        channel = connection.channel()
        glance = kombu.Exchange("glance", "topic", durable=False)
        queue = kombu.Queue(
            "notifications.info", glance, "notifications.info", durable=False
        )
        queue(channel).declare()
        queue(channel).purge()
        producer = kombu.Producer(channel, glance)

        def publish(*bodies, **properties):
            for body in bodies:
                producer.publish(
                    body,
                    routing_key="notifications.info",
                    **{
                        "content_type": "application/json",
                        "content_encoding": "utf-8",
                    }
                    | properties,
                )

        publish.waiting = lambda: (
            queue(channel).queue_declare(passive=True).message_count
        )
        yield publish


def test_these_versions_are_inside_as_we_know_them(caplog):
    with installed("as known"):
        assert [one.name for one in inside.ALL if not one.fits()] == []
    assert caplog.records == []


@pytest.mark.parametrize("way", [w for w in WAYS if WAYS[w]])
def test_what_is_not_as_known_is_said_in_one_line(way, caplog):
    with installed(way):
        pass

    assert len(caplog.records) == 1
    line = caplog.records[0].getMessage()
    assert "are used as they are, since we do not know: " in line
    assert line.count("; ") == len(WAYS[way]) - 1


def test_a_part_that_is_gone_does_not_fit(monkeypatch):
    monkeypatch.delattr(BatchNotificationServer, "_process_incoming")

    assert not inside.BATCHES.fits()


def test_installing_again_changes_nothing(caplog):
    with installed("as known"):
        before = kombu.transport.pyamqp.Channel.Message
        inside.install()

        assert kombu.transport.pyamqp.Channel.Message is before
    assert caplog.records == []


@pytest.mark.parametrize("way", WAYS)
def test_all_is_recorded_or_quarantined_in_every_way(way, exchange):
    odd = [
        image_create(101, priority=None),
        image_create(102, priority="critical"),
        image_create(103, _context_auth_token="secret"),
    ]
    bad = ["{'id'", "[]", "7", "null", "{}", envelope(None), envelope([])]
    bad += [envelope({}), image_create(1).replace("2.0", "9.0"), "\x00"]
    ledger = LedgerStub()
    with installed(way):
        exchange(image_create(0))
        with listening("kombu+memory://", ledger):
            for number, body in enumerate(odd + bad, 1):
                exchange(body, image_create(number))
            wait_until(lambda: len(ledger.quarantined) == len(bad))
            wait_until(lambda: len(ledger.seen) == 1 + 2 * len(odd) + len(bad))
        assert exchange.waiting() == 0

    assert ledger.seen[:4] == [IMAGE.format(n) for n in (0, 101, 1, 102)]
    assert b"{'id'" in ledger.quarantined


def test_what_calls_itself_no_json_is_quarantined(exchange):
    ledger = LedgerStub()
    with installed("as known"), listening("kombu+memory://", ledger):
        exchange("it", content_type="text/plain")
        exchange("cos\n.", content_type="application/x-python-serialize")
        exchange("a: b", content_type="application/x-yaml")

        wait_until(lambda: len(ledger.quarantined) == 3)


def test_without_our_messages_only_json_can_be_kept(exchange, caplog):
    caplog.set_level(logging.ERROR)
    ledger = LedgerStub()
    with installed("all other"), listening("kombu+memory://", ledger):
        exchange("it", content_type="text/plain")
        exchange(image_create(1))

        wait_until(lambda: ledger.seen)
    assert ledger.quarantined == []
    assert "Failed to process message ... skipping it." in caplog.text


@pytest.mark.parametrize("way", WAYS)
def test_who_stops_while_the_ledger_is_away_gives_all_back(way, exchange):
    ledger = LedgerStub()
    with installed(way):
        with listening("kombu+memory://", ledger):
            ledger.there.clear()
            exchange(*map(image_create, range(50)))
            assert ledger.asked.wait(10)
        ledger.there.set()

        with listening("kombu+memory://", ledger):
            wait_until(lambda: len(set(ledger.seen)) == 50)


def test_nothing_makes_a_body_unusable_for_oslo_messaging():
    for body in (b"\xff", "[" * 100_000, b"", '{"oslo.version": 1}', "{}"):
        message = decode(body)["payload"].message

        assert isinstance(message, dict)
    assert decode(b"\xff")["payload"].message[UNREADABLE][1] == b"\xff"
