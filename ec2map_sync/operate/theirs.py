"""What stands in the configuration files of Glance and of Nova."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from oslo_config import cfg

with warnings.catch_warnings():
    # It imports eventlet, which warns whoever does.
    warnings.simplefilter("ignore")
    from oslo_messaging.opts import list_opts

from ec2map_sync.glance.broker import (
    notifications_url,
    rabbit_options,
)
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.settings.plainly import said_plainly

_COPIED = (
    "ssl",
    "ssl_version",
    "ssl_ca_file",
    "ssl_cert_file",
    "ssl_key_file",
    "ssl_enforce_fips_mode",
    "ssl_enforce_hostname_verification",
    "rabbit_login_method",
    "amqp_durable_queues",
    "amqp_auto_delete",
    "rabbit_quorum_queue",
    "rabbit_quorum_delivery_limit",
    "rabbit_quorum_max_memory_length",
    "rabbit_quorum_max_memory_bytes",
    "rabbit_ha_queues",
    "use_queue_manager",
)
"""Options of the broker that have to be the same here as in Glance. Not
among them: what makes Glance's own queues of other kinds, and
rabbit_qos_prefetch_count, of which the listener has one of its own."""

_OLD_NAMES = {
    "driver": ["DEFAULT/notification_driver"],
    "topics": ["DEFAULT/notification_topics"],
    "transport_url": ["DEFAULT/notification_transport_url"],
    "ssl": ["DEFAULT/rabbit_use_ssl", "oslo_messaging_rabbit/rabbit_use_ssl"],
    "ssl_version": ["oslo_messaging_rabbit/kombu_ssl_version"],
    "ssl_ca_file": ["oslo_messaging_rabbit/kombu_ssl_ca_certs"],
    "ssl_cert_file": ["oslo_messaging_rabbit/kombu_ssl_certfile"],
    "ssl_key_file": ["oslo_messaging_rabbit/kombu_ssl_keyfile"],
    "amqp_durable_queues": ["DEFAULT/amqp_durable_queues"],
}
"""Names that Glance's oslo.messaging may still know, and ours no longer."""

_GLANCE = [
    cfg.ListOpt("disabled_notifications", default=[]),
]

_TLS = ("cafile", "certfile", "keyfile", "allowed_ciphers")
"""What Nova says of TLS to memcached, beside whether."""

_NOVA: Mapping[str, Sequence[cfg.Opt]] = {
    "api_database": [
        cfg.StrOpt("connection"),
        cfg.StrOpt("connection_parameters", default=""),
    ],
    "database": [
        cfg.StrOpt(
            "connection",
            deprecated_opts=[
                cfg.DeprecatedOpt("sql_connection", group="DEFAULT"),
                cfg.DeprecatedOpt("sql_connection", group="DATABASE"),
                cfg.DeprecatedOpt("connection", group="sql"),
            ],
        ),
        cfg.StrOpt("connection_parameters", default=""),
    ],
    "cache": [
        cfg.BoolOpt("enabled", default=False),
        cfg.StrOpt("backend", default=""),
        cfg.ListOpt("memcache_servers", default=["localhost:11211"]),
        cfg.BoolOpt("memcache_sasl_enabled", default=False),
        cfg.BoolOpt("tls_enabled", default=False),
        *(cfg.StrOpt(f"tls_{name}") for name in _TLS),
    ],
}

_TELLTALE = {
    "Nova": {"api_database", "compute", "conductor", "libvirt", "scheduler"},
    "Glance": {"glance_store", "image_format", "taskflow_executor"},
    "Neutron": {"ml2", "ovs", "securitygroup"},
    "Cinder": {"backend_defaults", "fc-zone-manager"},
    "Heat": {"heat_api", "heat_api_cfn", "ec2authtoken"},
    "Keystone": {"fernet_tokens", "token", "identity"},
    "Ceilometer": {"polling", "publisher", "rgw_admin_credentials"},
    "ec2map-sync": {"ec2_ids", "ledger", "bus"},
}
"""Sections by which a file of another program is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlanceSays:
    """How Glance notifies, and what its broker asks of whoever connects."""

    files: tuple[str, ...]
    transport_url: str = field(repr=False)
    exchange: str
    drivers: tuple[str, ...]
    topics: tuple[str, ...]
    disabled: tuple[str, ...]
    rabbit: Mapping[str, Any]
    """Options that are not as oslo.messaging has them by default."""
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaSays:
    """Nova's databases, and where it remembers ids."""

    api_connection: str | None = field(default=None, repr=False)
    connection: str | None = field(default=None, repr=False)
    memcached: tuple[str, ...] = ()
    memcached_tls: Mapping[str, str] = field(default_factory=dict)
    """By the names that these options have here."""
    memcached_sasl: bool = False


def read_glance(files: Sequence[str]) -> GlanceSays:
    """Reads Glance's files; later ones override earlier ones.

    :raises ConfigError: they cannot be read, are another program's, or name
        no broker that can be listened to.
    """

    def prepare(conf: cfg.ConfigOpts) -> None:
        for group, options in list_opts():
            known = [_known_of_old(o) if group else o for o in options]
            conf.register_opts(known, group=group)
        conf.register_opts(_GLANCE)
        # As Glance does when it starts.
        conf.set_default("control_exchange", "glance")

    with said_plainly():
        conf = _read(files, prepare)
        _refuse_others(conf, "Glance", files)
        url = notifications_url(conf)
        if url.transport != "rabbit":
            raise ConfigError(
                f"{_named(files)}: transport_url begins with "
                f"{url.transport}://: only rabbit:// can be listened to"
            )
        if not url.hosts:
            raise ConfigError(
                f"{_named(files)}: there is no transport_url: name every file "
                "that Glance reads"
            )
        own = conf.oslo_messaging_notifications
        return GlanceSays(
            files=tuple(files),
            transport_url=own.transport_url or conf.transport_url,
            exchange=conf.control_exchange,
            drivers=tuple(own.driver),
            topics=tuple(own.topics),
            disabled=tuple(conf.disabled_notifications),
            rabbit=_unusual(conf),
            hosts=tuple(host.hostname for host in url.hosts),
        )


def read_nova(files: Sequence[str]) -> NovaSays:
    """Reads Nova's files; none say nothing.

    :raises ConfigError: they cannot be read, are another program's, or name
        no database.
    """
    if not files:
        return NovaSays()

    def prepare(conf: cfg.ConfigOpts) -> None:
        for group, options in _NOVA.items():
            conf.register_opts(options, group=group)

    with said_plainly():
        conf = _read(files, prepare)
        _refuse_others(conf, "Nova", files)
        found = NovaSays(
            api_connection=_connection(conf.api_database),
            connection=_connection(conf.database),
            memcached=_memcached(conf.cache),
            memcached_tls=_memcached_tls(conf.cache),
            memcached_sasl=conf.cache.memcache_sasl_enabled,
        )
        if not (found.api_connection or found.connection):
            raise ConfigError(
                f"{_named(files)}: there is no connection in [api_database] "
                "or [database]: name every file that Nova reads"
            )
        return found


def _read(
    files: Sequence[str], prepare: Callable[[cfg.ConfigOpts], None]
) -> cfg.ConfigOpts:
    """Reads files and nothing beside them, such as our own or variables."""
    conf = cfg.ConfigOpts()
    prepare(conf)
    conf(
        [],
        default_config_files=list(files),
        default_config_dirs=[],
        use_env=False,
    )
    return conf


def _known_of_old(option: cfg.Opt) -> cfg.Opt:
    """Returns an option that is also found under its former names."""
    former = [name.split("/") for name in _OLD_NAMES.get(option.dest, [])]
    known = copy(option)
    known.deprecated_opts = [
        *option.deprecated_opts,
        *(cfg.DeprecatedOpt(name, group=group) for group, name in former),
    ]
    return known


def _named(files: Sequence[str]) -> str:
    return ", ".join(files)


def _refuse_others(
    conf: cfg.ConfigOpts, name: str, files: Sequence[str]
) -> None:
    """Refuses a file that another program reads.

    :raises ConfigError: it is one.
    """
    there = set(conf.list_all_sections())
    for program, sections in _TELLTALE.items():
        if program != name and (known := sorted(sections & there)):
            raise ConfigError(
                f"{_named(files)}: section [{known[0]}] is one of "
                f"{program}'s; name {name}'s files here"
            )


def _unusual(conf: cfg.ConfigOpts) -> dict[str, Any]:
    """Returns what our configuration has to say of the broker."""
    rabbit = rabbit_options(conf)
    usual = {
        option.dest: option.default
        for group, options in list_opts()
        if group == "oslo_messaging_rabbit"
        for option in options
    }
    return {
        name: rabbit[name]
        for name in _COPIED
        if name in usual and rabbit[name] != usual[name]
    }


def _connection(group: Any) -> str | None:
    """Returns the address of a database, with what oslo.db adds to it."""
    url: str | None = group.connection
    more: str = group.connection_parameters
    if not url or not more:
        return url or None
    return f"{url}{'&' if '?' in url else '?'}{more}"


def _memcached(group: Any) -> tuple[str, ...]:
    remembers = group.enabled and "memcache" in group.backend
    return tuple(group.memcache_servers) if remembers else ()


def _memcached_tls(group: Any) -> Mapping[str, str]:
    if not group.tls_enabled:
        return {}
    given = {f"tls_{name}": group[f"tls_{name}"] for name in _TLS}
    found = {"tls_enabled": "true"} | {n: v for n, v in given.items() if v}
    return {f"memcached_{name}": value for name, value in found.items()}
