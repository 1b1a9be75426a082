"""Glance's broker: its address, the exchange there, and what waits for us."""

import warnings
from typing import Any
from urllib.parse import quote

import amqp.exceptions
from oslo_config import cfg

from ec2map_sync.broker import link
from ec2map_sync.rules.errors import Ec2MapError
from ec2map_sync.settings.addresses import with_tls
from ec2map_sync.settings.config import Notifications

with warnings.catch_warnings():
    # It imports eventlet, which warns whoever does.
    warnings.simplefilter("ignore")
    import oslo_messaging

PRIORITIES = ("info", "warn", "error")
"""Those that Glance uses; each is a queue, and an unread one would grow."""


class NoExchange(Ec2MapError):
    """Glance's exchange is not there, or not as our options say."""


class Queues(link.Link):
    """How many notifications wait for us on Glance's broker."""

    def __init__(self, url: str, options: Notifications) -> None:
        super().__init__(url)
        self.names = (
            [options.pool]
            if options.pool
            else [f"{t}.{p}" for t in options.topics for p in PRIORITIES]
        )

    def _set_up(self, channel: Any) -> None:
        """Nothing is read here."""

    def waiting(self) -> int:
        """Count what is not delivered yet.

        :raises Exception: one of `link.OUTAGES` if the broker is away.
        """
        self.pump()
        return sum(self._depth(name) for name in self.names)

    def _depth(self, name: str) -> int:
        # Of its own: a missing queue closes the channel.
        with self.open().channel() as channel:
            return int(channel.queue_declare(name, passive=True).message_count)


def is_durable(conf: cfg.ConfigOpts) -> bool:
    """Tell whether our options take Glance's exchange for durable."""
    rabbit = conf.oslo_messaging_rabbit
    return bool(rabbit.amqp_durable_queues or rabbit.rabbit_quorum_queue)


def require_exchange(conf: cfg.ConfigOpts, name: str) -> None:
    """Make sure that Glance's exchange exists, and is as our options say.

    Whoever declares it first decides whether it is durable. Were that us,
    and Glance of another mind, Glance would log an error for each
    notification and lose it. Were it Glance, and we of another mind,
    oslo.messaging would make do with queues that we did not ask for, or
    read nothing at all, and not say so.

    :raises NoExchange: it is not there yet, or declared otherwise.
    """
    with link.connect(broker_url(conf)) as connection:
        connection.ensure_connection(max_retries=1)
        try:
            with connection.channel() as channel:
                channel.exchange_declare(name, "topic", passive=True)
        except amqp.exceptions.NotFound as error:
            raise NoExchange(
                f"Glance's exchange {name!r} is not there yet: waiting for "
                "Glance's first notification "
                "([oslo_messaging_notifications] driver = messagingv2 in "
                "glance-api.conf)"
            ) from error
        if connection.transport.driver_type != "amqp":
            return  # the memory transport has no durability
        try:
            # It exists, so this makes nothing: it is compared.
            with connection.channel() as channel:
                channel.exchange_declare(
                    name, "topic", durable=is_durable(conf), auto_delete=False
                )
        except amqp.exceptions.PreconditionFailed as error:
            raise NoExchange(
                f"our options do not fit Glance's exchange {name!r} "
                f"({error.reply_text}): [oslo_messaging_rabbit] "
                "amqp_durable_queues and rabbit_quorum_queue must be as in "
                f"glance-api.conf (durable is {is_durable(conf)} here)"
            ) from error


def broker_url(conf: cfg.ConfigOpts) -> str:
    """Give the broker of Glance's notifications in kombu's form."""
    url = oslo_messaging.TransportURL.parse(
        conf, conf.oslo_messaging_notifications.transport_url
    )
    if url.transport != "rabbit":
        return f"{url.transport.removeprefix('kombu+')}://"
    rabbit = conf.oslo_messaging_rabbit
    scheme = "amqps" if rabbit.ssl else "amqp"
    vhost = quote(url.virtual_host or "/", safe="")
    hosts = url.hosts or [oslo_messaging.TransportHost(hostname="localhost")]
    return with_tls(
        ";".join(
            f"{scheme}://{quote(host.username or 'guest', safe='')}:"
            f"{quote(host.password or 'guest', safe='')}@{host.hostname}:"
            f"{host.port or 5672}/{vhost}"
            for host in hosts
        ),
        {
            "ca_file": rabbit.ssl_ca_file,
            "cert_file": rabbit.ssl_cert_file,
            "key_file": rabbit.ssl_key_file,
        },
    )
