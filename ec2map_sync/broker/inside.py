"""What we replace inside py-amqp, kombu and oslo.messaging, where it fits.

Their insides may change with any release. So each replacement looks first
whether it finds what it knows. Where it does not, the library is used as it
is, and what that costs is said.
"""

import inspect
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import amqp
import kombu.transport
from amqp import (
    abstract_channel,
    method_framing,
    serialization as amqp_serialization,
)
from amqp.spec import Basic
from kombu import message, serialization
from kombu.transport import pyamqp, virtual
from kombu.utils import json

from ec2map_sync.broker import delivery

LOG = logging.getLogger(__name__)

LONGEST_WAIT = 0.5
"""Seconds that an idle listener lets what is to be acknowledged wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """Something of a library that is replaced, where it is as we know it."""

    name: str
    cost: str = "slower"
    """What it means to do without it."""
    look: Callable[[], bool]
    """Tells whether it is; may raise anything where it is not."""
    put_in: Callable[[], None] = lambda: None
    instead: Callable[[], None] = lambda: None
    """Does with the library's own means what cannot be left undone."""

    def fits(self) -> bool:
        """Returns whether the library is inside as we know it."""
        try:
            return self.look()
        except Exception:  # noqa: BLE001, other insides raise anything
            return False


def install() -> None:
    """Puts in what fits, in the whole process, and says what does not.

    To be called before the first connection; more often does no harm.
    """
    others = unknown()
    for one in ALL:
        if one.fits():
            one.put_in()
        else:
            one.instead()
    if others:
        LOG.warning(
            "py-amqp %s, kombu %s and oslo.messaging %s are used as they are, "
            "since we do not know: %s",
            *map(version, ("amqp", "kombu", "oslo.messaging")),
            "; ".join(others),
        )


def unknown() -> list[str]:
    """Names what is inside not as we know it; before anything is put in."""
    return [f"{one.name} ({one.cost})" for one in ALL if not one.fits()]


def install_reading() -> None:
    """Puts in what nobody who reads may do without, a command least of all."""
    for one in (CONTENT, TAGS, SIZES):
        if one.fits():
            one.put_in()


def take_as_it_comes(channel: Any) -> None:
    """Lets nobody decode what this channel brings, where that can be said.

    Else kombu decodes what a header says is encoded or packed: that body is
    not what was signed then, and refused.
    """
    if MESSAGES.fits():
        from ec2map_sync.broker import carriers  # noqa: PLC0415

        carriers.take_as_it_comes(channel)


def _parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def _speaks_of(function: Any, *names: str) -> bool:
    return set(names) <= set(function.__code__.co_names)


def _known_reading() -> bool:
    return (
        {"amqp", "amqps"} <= kombu.transport.TRANSPORT_ALIASES.keys()
        and issubclass(pyamqp.SSLTransport, pyamqp.Transport)
        and _parameters(pyamqp.Transport.drain_events)
        == ["self", "connection", "kwargs"]
        and _speaks_of(pyamqp.Transport.drain_events, "drain_events")
        and _speaks_of(amqp.Connection.drain_events, "blocking_read")
        and _parameters(amqp.Connection.blocking_read) == ["self", "timeout"]
        and isinstance(amqp.Connection.sock, property)
    )


def _read_together() -> None:
    ours = f"{__package__}.transport"
    kombu.transport.TRANSPORT_ALIASES["amqp"] = f"{ours}:Transport"
    kombu.transport.TRANSPORT_ALIASES["amqps"] = f"{ours}:SSLTransport"


def _known_messages() -> bool:
    known: Any = message.Message
    return (
        all(
            issubclass(kind.Channel.Message, kind.Message)
            and issubclass(kind.Message, known)
            and _speaks_of(kind.Channel.message_to_python, "Message")
            for kind in (pyamqp, virtual)
        )
        and _speaks_of(known.payload.fget, "decode")
        and _parameters(known.decode) == ["self"]
        and _parameters(known.ack) == ["self", "multiple"]
    )


def _read_all() -> None:
    from ec2map_sync.broker import carriers  # noqa: PLC0415, only if known

    carriers.install()


def _read_json() -> None:
    serialization.register(
        "json", json.dumps, delivery.decode, "application/json", "utf-8"
    )


def _known_batches() -> bool:
    with warnings.catch_warnings():
        # It imports eventlet, which warns whoever does.
        warnings.simplefilter("ignore")
        from oslo_messaging.notify.listener import (  # noqa: PLC0415
            BatchNotificationServer as Batches,
        )

    return (
        _parameters(Batches._on_incoming) == ["self", "incoming"]
        and _parameters(Batches._process_incoming) == ["self", "incoming"]
        and _speaks_of(
            Batches._on_incoming,
            "_work_executor",
            "submit",
            "_process_incoming",
        )
        and _speaks_of(
            Batches._process_incoming,
            "dispatcher",
            "dispatch",
            "acknowledge",
            "requeue",
        )
        and {"batch_size", "batch_timeout", "allow_requeue", "pool"}
        <= set(_parameters(Batches))
    )


def _known_content() -> bool:
    kind = amqp_serialization.GenericContent
    known = amqp_serialization.decode_properties_basic
    return (
        _parameters(known) == ["buf", "offset"]
        and _parameters(amqp_serialization.loads)
        == ["format", "buf", "offset"]
        and Basic.CLASS_ID in amqp_serialization.PROPERTY_CLASSES
        and _speaks_of(kind._load_properties, "PROPERTY_CLASSES")
        and _speaks_of(kind.inbound_header, "_load_properties")
        and _speaks_of(
            abstract_channel.AbstractChannel.dispatch_method, "loads"
        )
    )


def _read_content() -> None:
    from ec2map_sync.broker import reading  # noqa: PLC0415, only if known

    reading.install()


def _known_tags() -> bool:
    known = amqp.Channel
    return (
        issubclass(pyamqp.Connection.Channel, pyamqp.Channel)
        and _speaks_of(amqp.Connection.channel, "Channel")
        and _speaks_of(known._setup_listeners, "_on_open_ok")
        and _speaks_of(known._setup_listeners, "_on_basic_deliver")
        and _parameters(known._on_open_ok) == ["self"]
        and _parameters(known._on_basic_deliver)[:3]
        == ["self", "consumer_tag", "delivery_tag"]
        and _parameters(known.basic_ack)[:3]
        == ["self", "delivery_tag", "multiple"]
        and _parameters(known.basic_reject)[:3]
        == ["self", "delivery_tag", "requeue"]
    )


def _count_on() -> None:
    from ec2map_sync.broker import channels  # noqa: PLC0415, only if known

    channels.install()


def _known_collecting() -> bool:
    known = amqp.Message
    collect = method_framing.frame_handler
    return (
        method_framing.Message in [*known.__subclasses__(), known]
        and any(
            {"Message", "inbound_header", "inbound_body", "ready"}
            <= set(getattr(part, "co_names", ()))
            for part in collect.__code__.co_consts
        )
        and _parameters(known.inbound_header) == ["self", "buf", "offset"]
        and _parameters(known.inbound_body) == ["self", "buf"]
        and _speaks_of(known.inbound_body, "body_received", "body_size")
    )


def _keep_in_bounds() -> None:
    from ec2map_sync.broker import sizes  # noqa: PLC0415, only if known

    sizes.install()


def _known_consumers() -> bool:
    with warnings.catch_warnings():
        # It imports eventlet, which warns whoever does.
        warnings.simplefilter("ignore")
        from oslo_messaging._drivers import impl_rabbit  # noqa: PLC0415

    known = impl_rabbit.Consumer
    return (
        _speaks_of(impl_rabbit.Connection.declare_topic_consumer, "Consumer")
        and _parameters(known.declare) == ["self", "conn"]
        and _speaks_of(known.__init__, "exchange", "exchange_name", "type")
    ) or known.__module__ == f"{__package__}.consumer"


def _make_no_exchange() -> None:
    from ec2map_sync.broker import consumer  # noqa: PLC0415, only if known

    consumer.install()


def _known_waiting() -> bool:
    from oslo_messaging._drivers import amqpdriver  # noqa: PLC0415

    return bool(amqpdriver.ACK_REQUEUE_EVERY_SECONDS_MAX > 0)


def _wait_shortly() -> None:
    from oslo_messaging._drivers import amqpdriver  # noqa: PLC0415

    # What came while a queue was being set up, and what is to be
    # acknowledged, waits until that time is over.
    amqpdriver.ACK_REQUEUE_EVERY_SECONDS_MAX = LONGEST_WAIT


READING = Replacement(
    name="how kombu reads a socket",
    look=_known_reading,
    put_in=_read_together,
)
MESSAGES = Replacement(
    name="what kombu's messages are",
    look=_known_messages,
    put_in=_read_all,
    instead=_read_json,
)
BATCHES = Replacement(
    name="how oslo.messaging makes batches",
    look=_known_batches,  # nothing to put in: whoever listens looks here
)
CONTENT = Replacement(
    name="how py-amqp reads a message",
    cost="one that it cannot read holds up those behind it",
    look=_known_content,
    put_in=_read_content,
)
TAGS = Replacement(
    name="how py-amqp numbers messages",
    cost="an acknowledgement after an error may meet another message",
    look=_known_tags,
    put_in=_count_on,
)
CONSUMERS = Replacement(
    name="how oslo.messaging declares",
    cost="after a restart of the broker it may make Glance's exchange",
    look=_known_consumers,
    put_in=_make_no_exchange,
)
WAITING = Replacement(
    name="how oslo.messaging waits",
    look=_known_waiting,
    put_in=_wait_shortly,
)
SIZES = Replacement(
    name="how py-amqp collects a message",
    cost="long ones may take all memory",
    look=_known_collecting,
    put_in=_keep_in_bounds,
)
ALL = (
    READING,
    MESSAGES,
    BATCHES,
    CONTENT,
    TAGS,
    SIZES,
    CONSUMERS,
    WAITING,
)
