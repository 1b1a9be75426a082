"""Whether what the listener will declare fits what is there already.

Whoever declares Glance's exchange first decides how it is. Were that us, and
Glance of another mind, Glance would log an error for each notification and
lose it. Were it Glance, and we of another mind, oslo.messaging would make do
with queues that nobody asked for, or try for ever, and not say so. So we look
before: what exists is compared, and nothing of Glance's is made.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import product
from typing import Any
from uuid import uuid4

import amqp.exceptions
import kombu
from oslo_config import cfg

from ec2map_sync.broker import link
from ec2map_sync.glance.broker import Queues, broker_address, rabbit_options
from ec2map_sync.rules.errors import Ec2MapError, one_line
from ec2map_sync.settings.values import Notifications

_LIMITS = {
    "x-delivery-limit": "rabbit_quorum_delivery_limit",
    "x-max-in-memory-length": "rabbit_quorum_max_memory_length",
    "x-max-in-memory-bytes": "rabbit_quorum_max_memory_bytes",
}

_OPTIONS = ("amqp_durable_queues", "rabbit_quorum_queue", "amqp_auto_delete")

_REFUSED: tuple[type[Exception], ...] = (
    amqp.exceptions.NotFound,
    amqp.exceptions.PreconditionFailed,
)

_DENYING = 4
"""The first major version of RabbitMQ that may deny transient queues."""


class NoExchange(Ec2MapError):
    """Glance's exchange is not there."""


class Misfit(Ec2MapError):
    """Something is not as our options say; behind the last colon, advice."""

    at_once = True


def require_fit(conf: cfg.ConfigOpts, options: Notifications) -> None:
    """Makes sure that Glance's exchange is there, and that our options fit.

    :raises NoExchange: it is not there yet.
    :raises Misfit: it, or a queue, was declared otherwise, or the broker
        denies what we would declare.
    """
    with link.connect(broker_address(conf)) as connection:
        look(connection, conf, options)


def look(
    connection: kombu.Connection, conf: cfg.ConfigOpts, options: Notifications
) -> None:
    """Does so with a connection that is open already."""
    address, name = broker_address(conf), options.exchange
    if _refusal(connection, "exchange_declare", name, passive=True):
        raise NoExchange(
            f"Glance's exchange {name!r} is not there yet: waiting for "
            "Glance's first notification "
            "([oslo_messaging_notifications] driver = messagingv2 in "
            "glance-api.conf)"
        )
    if address.in_memory:
        return  # nothing there is durable
    rabbit = rabbit_options(conf)
    try:
        _compare_exchange(connection, name, rabbit)
        for queue in Queues(address, options).names:
            _compare_queue(connection, queue, rabbit)
    except amqp.exceptions.InternalError as error:
        # Its first sentence; the others are for who runs the broker.
        said = one_line(error).partition(". ")[0]
        raise Misfit(
            f"the broker refuses a queue ({said}): set "
            "amqp_durable_queues = true in [oslo_messaging_rabbit] of "
            "glance-api.conf and of ec2map-sync.conf, or permit transient "
            "queues in rabbitmq.conf "
            "(deprecated_features.permit.transient_nonexcl_queues = true)"
        ) from error


def _refusal(
    connection: kombu.Connection, method: str, name: str, **options: Any
) -> Exception | None:
    """Declares something on a channel of its own, which an error closes."""
    kind = {"type": "topic"} if method == "exchange_declare" else {}
    try:
        with connection.channel() as channel:
            getattr(channel, method)(name, **kind, **options)
    except _REFUSED as error:
        return error
    return None


def _compare_exchange(
    connection: kombu.Connection, name: str, rabbit: Any
) -> None:
    quorum = bool(rabbit.rabbit_quorum_queue)
    wishes = [
        {"rabbit_quorum_queue": quorum and durable}
        | {"amqp_auto_delete": auto_delete}
        | ({} if quorum and durable else {"amqp_durable_queues": durable})
        for durable, auto_delete in product((True, False), repeat=2)
    ]

    def refusal(options: dict[str, bool]) -> Exception | None:
        return _refusal(
            connection,
            "exchange_declare",
            name,
            durable=_durable(options),
            auto_delete=options["amqp_auto_delete"],
        )

    _compare(f"Glance's exchange {name!r}", rabbit, wishes, refusal)


def _compare_queue(
    connection: kombu.Connection, name: str, rabbit: Any
) -> None:
    if _refusal(connection, "queue_declare", name, passive=True):
        if not _durable(rabbit):
            _try_transient(connection)
        return
    wishes = [
        {"rabbit_quorum_queue": False, "amqp_auto_delete": auto_delete}
        | {"amqp_durable_queues": durable}
        for durable, auto_delete in product((True, False), repeat=2)
    ]
    wishes.append({"rabbit_quorum_queue": True, "amqp_auto_delete": False})

    def refusal(options: dict[str, bool]) -> Exception | None:
        quorum = options["rabbit_quorum_queue"]
        return _refusal(
            connection,
            "queue_declare",
            name,
            durable=_durable(options),
            auto_delete=options["amqp_auto_delete"],
            arguments=_arguments(rabbit, quorum=quorum),
        )

    _compare(f"the queue {name!r}", rabbit, wishes, refusal)


def _durable(options: Any) -> bool:
    return bool(
        options["rabbit_quorum_queue"] or options["amqp_durable_queues"]
    )


def _arguments(rabbit: Any, *, quorum: bool) -> dict[str, Any]:
    """Returns those with which oslo.messaging declares a queue."""
    found: dict[str, Any] = {}
    if rabbit.rabbit_ha_queues:
        found["x-ha-policy"] = "all"
    if quorum:
        limits = {name: rabbit[option] for name, option in _LIMITS.items()}
        found["x-queue-type"] = "quorum"
        found |= {name: most for name, most in limits.items() if most}
    return found


def _compare(
    what: str,
    rabbit: Any,
    wishes: Sequence[dict[str, bool]],
    refusal: Callable[[dict[str, bool]], Exception | None],
) -> None:
    """Finds options that fit, where ours do not."""
    ours = {name: bool(rabbit[name]) for name in _OPTIONS}
    error = refusal(ours)
    if error is None:
        return
    advice = (
        "make [oslo_messaging_rabbit] in ec2map-sync.conf as it is in "
        "glance-api.conf"
    )
    for wish in wishes:
        if refusal(ours | wish) is None:
            other = ", ".join(
                f"{name} = {str(value).lower()}"
                for name, value in wish.items()
                if ours[name] != value
            )
            advice = (
                f"set {other} in [oslo_messaging_rabbit] of ec2map-sync.conf, "
                "as in glance-api.conf"
            )
            break
    raise Misfit(
        f"our options do not fit {what} ({one_line(error)}): {advice}"
    ) from error


def _try_transient(connection: kombu.Connection) -> None:
    """Sees whether the broker denies transient queues, by one of our own.

    It says so only to who declares one.

    :raises amqp.exceptions.InternalError: it does.
    """
    version = str(connection.connection.server_properties.get("version", ""))
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < _DENYING:
        return
    name = f"ec2map_sync.probe.{uuid4().hex}"
    with (
        suppress(amqp.exceptions.AccessRefused),
        connection.channel() as channel,
    ):
        channel.queue_declare(name, arguments={"x-expires": 10_000})
        channel.queue_delete(name)
