"""What can be found out about a configuration without changing anything."""

from collections.abc import Mapping
from functools import partial

from oslo_config import cfg

from ec2map_sync.glance.catalogue import Catalogue
from ec2map_sync.operate.checks import brokers, databases
from ec2map_sync.operate.checks.finding import (
    Check,
    Finding,
    in_order,
    ok,
    run,
    unknown,
)
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.settings.addresses import MemcachedServer
from ec2map_sync.settings.config import Config
from ec2map_sync.settings.files import open_to_others
from ec2map_sync.settings.values import Glance, MemoTls
from ec2map_sync.sinks import memory

__all__ = ["Finding", "checks", "in_order", "run"]


def checks(config: Config, *, guests: bool = False) -> Mapping[str, Check]:
    """Returns every check that this configuration allows, by name.

    ``guests`` asks also for what only `verify --guests` needs.

    A part that cannot be used is said by the first one; its own are left
    out.
    """
    found: dict[str, Check] = {
        "configuration": partial(_parts, config),
        "configuration files": partial(_files, config),
    }
    parts = (
        brokers.between_regions,
        brokers.of_glance,
        partial(databases.of_region, guests=guests),
        _api_checks,
        _memcached_checks,
    )
    for part in parts:
        try:
            found |= part(config)
        except ConfigError:
            continue
    return found


def _parts(config: Config) -> Finding:
    config.check()
    # The oslo libraries look at their values only when they need them.
    for section in config.conf.values():
        if isinstance(section, cfg.ConfigOpts.GroupAttr):
            list(section.values())
    return ok(
        f"region {config.region}, scheme {config.scheme.fingerprint}",
        "the scheme must be the same in all regions",
    )


def _files(config: Config) -> Finding:
    """Looks who may read the passwords; a way of mending it is no fault."""
    found = open_to_others(config.conf)
    if not found:
        return ok("passwords are read by nobody else")
    names = " ".join(map(str, found))
    return ok(
        f"everybody on this machine may read the passwords in {names}",
        f"'chmod o-rwx {names}'",
    )


def _api_checks(config: Config) -> Mapping[str, Check]:
    return {"Glance's API": partial(_api, config.conf, config.glance)}


def _memcached_checks(config: Config) -> Mapping[str, Check]:
    return {
        f"memcached {memory.name_of(server)}": partial(_memcached, server, tls)
        for server, tls in config.all_memcached.items()
    }


def _memcached(server: MemcachedServer, tls: MemoTls | None) -> Finding:
    said = f"version {memory.version(server, tls)}"
    return ok(f"{said}, over TLS" if tls else said)


def _api(conf: cfg.ConfigOpts, options: Glance | None) -> Finding:
    if options is None:
        return unknown(
            "[glance] is not configured",
            "give it auth_type and what belongs to it: images whose "
            "notification is lost are found nowhere else",
        )
    catalogue = Catalogue(conf, options)
    try:
        newest = catalogue.newest_update()
        roles = catalogue.roles()
    finally:
        catalogue.close()
    found = f"newest change {newest}" if newest else "no images"
    if roles is not None and "admin" not in roles:
        return ok(
            f"{found}, as {', '.join(sorted(roles)) or 'nobody'}",
            "see that this role lists the images of all projects; admin does",
        )
    return ok(found)
