"""Kombu and oslo.messaging with other insides than we know, and a listener."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp
import kombu.transport
import pytest
from amqp import (
    abstract_channel,
    method_framing,
    serialization as serialization_of_amqp,
)
from amqp.serialization import GenericContent
from amqp.spec import Basic
from kombu import serialization
from kombu.message import Message
from kombu.transport import pyamqp, virtual
from kombu.utils import json
from oslo_config import cfg
from oslo_messaging._drivers import amqpdriver, impl_rabbit
from oslo_messaging.notify.listener import BatchNotificationServer
from sqlalchemy.exc import OperationalError

from ec2map_sync.broker import inside
from ec2map_sync.glance.listener import Listener, Recorder, register_options
from ec2map_sync.settings.values import Notifications

KNOWN_CONSUMER = impl_rabbit.Consumer

WAYS = {
    "as known": (),
    "other reading": ("reading",),
    "other messages": ("messages",),
    "other batches": ("batches",),
    "other content": ("content",),
    "other tags": ("tags",),
    "other consumers": ("consumers",),
    "other collecting": ("collecting",),
    "all other": (
        "reading",
        "messages",
        "batches",
        "content",
        "tags",
        "consumers",
        "collecting",
    ),
}
"""What is other than we know."""


@contextmanager
def installed(way: str) -> Iterator[None]:
    """Let the libraries be so inside, and put in what fits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyamqp.Channel, "Message", pyamqp.Message)
        patch.setattr(virtual.Channel, "Message", virtual.Message)
        patch.setattr(impl_rabbit, "Consumer", KNOWN_CONSUMER)
        patch.setattr(pyamqp.Connection, "Channel", pyamqp.Channel)
        patch.setattr(method_framing, "Message", amqp.Message)
        aliases = dict(kombu.transport.TRANSPORT_ALIASES)
        patch.setattr(kombu.transport, "TRANSPORT_ALIASES", aliases)
        patch.setattr(kombu.transport, "_transport_cache", {})
        known = serialization_of_amqp.decode_properties_basic
        classes = {Basic.CLASS_ID: known}
        patch.setattr(serialization_of_amqp, "PROPERTY_CLASSES", classes)
        longest = amqpdriver.ACK_REQUEUE_EVERY_SECONDS_MAX
        patch.setattr(amqpdriver, "ACK_REQUEUE_EVERY_SECONDS_MAX", longest)
        loads = serialization_of_amqp.loads
        patch.setattr(abstract_channel, "loads", loads)
        for part in WAYS[way]:
            _change(part, patch)
        inside.install()
        yield
    serialization.register(
        "json", json.dumps, json.loads, "application/json", "utf-8"
    )


def _change(part: str, patch: pytest.MonkeyPatch) -> None:
    """Change what the look at a part sees, and not what it does."""
    kind, name = {
        "reading": (pyamqp.Transport, "drain_events"),
        "messages": (Message, "ack"),
        "batches": (BatchNotificationServer, "_on_incoming"),
        "consumers": (KNOWN_CONSUMER, "declare"),
        "tags": (amqp.Channel, "basic_ack"),
        "content": (GenericContent, "_load_properties"),
        "collecting": (GenericContent, "inbound_body"),
    }[part]
    known = getattr(kind, name)

    def other(*args: Any, **kwargs: Any) -> Any:
        return known(*args, **kwargs)

    patch.setattr(kind, name, other)


class LedgerStub:
    """Takes everything, once it is there."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.quarantined: list[bytes] = []
        self.sizes: list[int] = []
        self.asked = threading.Event()
        self.there = threading.Event()
        self.there.set()
        self.quarantine = self

    def require(self) -> None:
        """Tell whether it is there."""
        if not self.there.is_set():
            raise OperationalError("INSERT", {}, Exception("gone"))

    def see(self, sightings: Iterable[Any]) -> Any:
        """Take images."""
        self.asked.set()
        self.require()
        images = [sighting.image for sighting in sightings]
        self.seen += images
        self.sizes.append(len(images))
        return type("Recorded", (), {"news": 0})

    def put(self, entries: Iterable[Any]) -> None:
        """Take what is not understood."""
        self.quarantined += [entry.body for entry in entries]


@contextmanager
def listening(transport_url: str, ledger: LedgerStub) -> Iterator[Listener]:
    """Listen as the agent does."""
    conf = cfg.ConfigOpts()
    register_options(conf)
    conf([], default_config_files=[])
    conf.set_override(
        "transport_url", transport_url, group="oslo_messaging_notifications"
    )
    options = Notifications(
        exchange="glance",
        topics=("notifications",),
        pool=None,
        batch_size=100,
        batch_timeout=0.005,
        workers=1,
        stall_timeout=60,
    )
    recorder = Recorder(ledger, lambda: None)  # type: ignore[arg-type]
    listener = Listener(conf, options, recorder)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()
