"""Checks of brokers: own, peers', Glance's; exchanges, queues, the key."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import amqp.exceptions
import kombu
from oslo_config import cfg

from ec2map_sync.broker import link
from ec2map_sync.glance.broker import (
    Queues,
    broker_address,
    is_durable,
)
from ec2map_sync.glance.fit import Misfit, NoExchange, look, require_fit
from ec2map_sync.glance.management import eaters
from ec2map_sync.operate.checks.finding import (
    Check,
    Finding,
    ok,
    unknown,
    wrong,
)
from ec2map_sync.peers import bus, queues
from ec2map_sync.protocol.signing import SigningKey
from ec2map_sync.settings.config import Config
from ec2map_sync.settings.values import Bus, Notifications, Peer

_DOWN = "is down or inaccessible"
"""What RabbitMQ says of a queue whose node is away."""


def between_regions(config: Config) -> Mapping[str, Check]:
    """Returns the checks of what regions reach each other by."""
    options = config.bus
    found: dict[str, Check] = {}
    if options.key is not None:
        found["signing key"] = partial(
            _signing_key, config.conf, options.key, options.peers
        )
    if options.broker is not None:
        found["own broker"] = partial(_own_broker, options)
    for peer in options.peers:
        found[f"broker of {peer.name}"] = partial(_peer_broker, peer, options)
    return found


def _signing_key(
    conf: cfg.ConfigOpts, key: SigningKey, peers: Sequence[Peer]
) -> Finding:
    for peer in peers:
        if key.public in conf[f"peer:{peer.name}"].public_keys:
            return wrong(
                f"[peer:{peer.name}] public_keys has our own key",
                f"put there what 'ec2map-sync key generate' printed in "
                f"{peer.name}",
            )
    return ok(key.public, "every peer's public_keys for this region has it")


def _has_exchange(connection: kombu.Connection, name: str) -> bool:
    """Returns whether an exchange is there, without making it."""
    try:
        with connection.channel() as channel:
            channel.exchange_declare(name, "topic", passive=True)
    except amqp.exceptions.NotFound:
        return False
    return True


def _own_broker(options: Bus) -> Finding:
    assert options.broker is not None
    with link.connect(options.broker) as connection:
        for name in (options.exchange, bus.requests_of(options.exchange)):
            if not _has_exchange(connection, name):
                return ok(
                    f"exchange {name} is not there yet",
                    "the agent makes it when it starts",
                )
    return ok(f"exchange {options.exchange}")


class _Probe(bus.Inlet):
    """Looks at our queue on a peer's broker; reads nothing."""

    def _set_up(self, channel: Any) -> None:
        """Neither declare nor consume."""

    def depth(self) -> int | None:
        """Counts the messages; None if there is no queue.

        A passive declare does not look at the arguments. One that is not
        passive answers 406 where they differ, and changes nothing.

        :raises NotFound: it is there, on a node that is down.
        """
        connection = self.open()
        try:
            with connection.channel() as channel:
                state = channel.queue_declare(self._queue.name, passive=True)
        except amqp.exceptions.NotFound as error:
            if _DOWN in error.reply_text:
                raise
            return None
        with connection.channel() as channel:
            queues.as_it_is(channel, self._queue)
        return int(state.message_count)


def _peer_broker(peer: Peer, options: Bus) -> Finding:
    with link.connect(peer.broker) as connection:
        if not _has_exchange(connection, peer.exchange):
            return unknown(
                f"exchange {peer.exchange} is not there yet",
                f"start the agent of {peer.name}",
            )
    probe = _Probe(peer, options)
    try:
        depth = probe.depth()
    except amqp.exceptions.NotFound as error:
        return unknown(
            error.reply_text,
            "our agent reads a queue of its own on another node meanwhile; "
            "comparing brings what is missing",
        )
    except amqp.exceptions.PreconditionFailed as error:
        return wrong(
            f"our queue there has other arguments: {error.reply_text}",
            "put [bus] queue_max_bytes and queue_expires back, or delete "
            f"{peer.exchange}.{options.region} on the broker of "
            f"{peer.name}, which is harmless",
        )
    finally:
        probe.close()
    if depth is None:
        return ok("our queue is not there yet", "our agent makes it")
    return ok(f"{depth} messages wait for us")


def of_glance(config: Config) -> Mapping[str, Check]:
    """Returns the checks of Glance's notifications."""
    options, conf = config.notifications, config.conf
    found: dict[str, Check] = {
        "Glance's exchange": partial(_glance_exchange, conf, options),
        "Glance's notifications": partial(_glance_queues, conf, options),
    }
    if options.management_url is not None:
        found["policies on Glance's queues"] = partial(
            _glance_policies, conf, options
        )
    return found


def _glance_exchange(conf: cfg.ConfigOpts, options: Notifications) -> Finding:
    name = options.exchange
    try:
        require_fit(conf, options)
    except NoExchange as error:
        return unknown(*_said(error))
    except Misfit as error:
        return wrong(*_said(error))
    except amqp.exceptions.AccessRefused as error:
        return wrong(
            error.reply_text,
            f"our account needs to configure {name}, as each of its readers "
            "does",
        )
    return ok(f"{name}, durable: {is_durable(conf)}")


def _glance_policies(conf: cfg.ConfigOpts, options: Notifications) -> Finding:
    found = eaters(conf, options)
    if not found:
        return ok("none throws anything away, and somebody reads each queue")
    return wrong(
        "; ".join(f"{one.queue} {one.what}" for one in found),
        "; ".join(dict.fromkeys(one.advice for one in found)),
    )


def _said(error: NoExchange | Misfit) -> tuple[str, str]:
    """Returns what is so, and what to do about it."""
    # The last colon is ours: what the broker says may have some.
    found, _, advice = str(error).rpartition(": ")
    return found, advice


def _glance_queues(conf: cfg.ConfigOpts, options: Notifications) -> Finding:
    there: dict[str, tuple[int, int]] = {}
    with link.connect(broker_address(conf)) as connection:
        try:
            look(connection, conf, options)
        except NoExchange:
            pass  # and so no queue of it
        except Misfit as error:
            return wrong(*_said(error))
        for name in Queues(broker_address(conf), options).names:
            try:
                with connection.channel() as channel:
                    state = channel.queue_declare(name, passive=True)
            except amqp.exceptions.NotFound:
                continue
            there[name] = (state.message_count, state.consumer_count)
    if not there:
        return unknown(
            "no queue is there yet",
            "our agent makes it; run 'ec2map-sync backfill' for what Glance "
            "has told before"
            if options.pool
            else "Glance or our agent makes it",
        )
    waiting = sum(messages for messages, _ in there.values())
    readers = max(consumers for _, consumers in there.values())
    return ok(
        f"{waiting} wait in {', '.join(there)}; {readers} readers",
        "" if readers else "nobody reads them: start the agent",
    )
