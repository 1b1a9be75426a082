"""Glance's broker: its address, the exchange there, and what waits for us."""

import warnings
from typing import Any
from urllib.parse import quote

from oslo_config import cfg

from ec2map_sync.broker import link
from ec2map_sync.broker.address import Address, Tls, joined
from ec2map_sync.rules.errors import ConfigError, one_line
from ec2map_sync.settings.values import Notifications

with warnings.catch_warnings():
    # It imports eventlet, which warns whoever does.
    warnings.simplefilter("ignore")
    import oslo_messaging
    from oslo_messaging._drivers.common import ConfigOptsProxy

PRIORITIES = ("info", "warn", "error")
"""Those that Glance uses; each is a queue, and an unread one would grow."""


class Queues(link.Link):
    """How many notifications wait for us on Glance's broker."""

    def __init__(self, address: Address, options: Notifications) -> None:
        super().__init__(address)
        self.names = (
            [options.pool]
            if options.pool
            else [f"{t}.{p}" for t in options.topics for p in PRIORITIES]
        )

    def _set_up(self, channel: Any) -> None:
        """Nothing is read here."""

    def waiting(self) -> int:
        """Counts what is not delivered yet.

        :raises Exception: one of `link.BROKEN` if the broker is away.
        """
        return sum(messages for messages, _ in self.states().values())

    def states(self) -> dict[str, tuple[int, int]]:
        """Counts each queue's messages not delivered yet, and its readers.

        :raises Exception: as `waiting` does.
        """
        self.pump()
        return {name: self._state(name) for name in self.names}

    def _state(self, name: str) -> tuple[int, int]:
        # Of its own: a missing queue closes the channel.
        with self.open().channel() as channel:
            found = channel.queue_declare(name, passive=True)
        return int(found.message_count), int(found.consumer_count)


def is_durable(conf: cfg.ConfigOpts) -> bool:
    """Returns whether our options take Glance's exchange for durable."""
    rabbit = rabbit_options(conf)
    return bool(rabbit.amqp_durable_queues or rabbit.rabbit_quorum_queue)


def rabbit_options(conf: cfg.ConfigOpts) -> Any:
    """Returns [oslo_messaging_rabbit] as it holds for Glance's broker.

    What the query of transport_url says comes first, as for the driver.

    :raises ConfigError: there is no such option, or no such value.
    """
    group = "oslo_messaging_rabbit"
    try:
        return ConfigOptsProxy(conf, notifications_url(conf), group)[group]
    except (cfg.Error, ValueError) as error:
        raise ConfigError(f"transport_url: {one_line(error)}") from error


def broker_address(conf: cfg.ConfigOpts) -> Address:
    """Returns the broker of Glance's notifications.

    :raises ConfigError: as `rabbit_options` does.
    """
    url = notifications_url(conf)
    if url.transport != "rabbit":
        return Address(f"{url.transport.removeprefix('kombu+')}://")
    rabbit = rabbit_options(conf)
    hosts = url.hosts or [oslo_messaging.TransportHost("localhost")]
    urls = (
        f"amqp://{quote(host.username or 'guest', safe='')}:"
        f"{quote(host.password or 'guest', safe='')}@"
        f"{joined(host.hostname, host.port or 5672)}/"
        # Not quoted anew, as the driver does not.
        f"{url.virtual_host or ''}"
        for host in hosts
    )
    tls = Tls(
        ca_file=rabbit.ssl_ca_file,
        cert_file=rabbit.ssl_cert_file,
        key_file=rabbit.ssl_key_file,
        verify_host=_verifies_host(rabbit),
    )
    return Address(";".join(urls), tls if rabbit.ssl else None)


def _verifies_host(rabbit: Any) -> bool:
    try:
        return bool(rabbit.ssl_enforce_hostname_verification)
    except cfg.NoSuchOptError:  # older releases look at no names
        return False


def notifications_url(conf: cfg.ConfigOpts) -> oslo_messaging.TransportURL:
    """Returns where notifications go; an address of their own comes first.

    :raises ConfigError: that is no address.
    """
    own = conf.oslo_messaging_notifications.transport_url
    try:
        return oslo_messaging.TransportURL.parse(conf, own)
    except (oslo_messaging.InvalidTransportURL, ValueError) as error:
        raise ConfigError(f"transport_url: {one_line(error)}") from error
