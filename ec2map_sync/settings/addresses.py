"""Names and addresses in the configuration, checked."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from oslo_config import cfg

from ec2map_sync.broker.address import Address, Tls, joined
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.rules.names import REQUESTS
from ec2map_sync.settings.plainly import read

if TYPE_CHECKING:  # `ec2map-sync id` should not wait for this import
    from sqlalchemy.engine import URL

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_LISTEN = re.compile(
    r"(\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]\s/]+)):(?P<port>\d{1,5})",
    re.ASCII,
)
_LAST_PORT = 65535


def name(text: str | None, option: str) -> str:
    """Checks the name of a region.

    :raises ConfigError: naming ``option``, as all do here.
    """
    if not text:
        raise ConfigError(f"{option} is missing")
    if not _NAME.fullmatch(text) or text == REQUESTS:
        raise ConfigError(
            f"{option}: {text!r} is no name (letters, digits, '_', '-'; not "
            "'requests', which names a queue)"
        )
    return text


def database(url: str | None, option: str) -> "URL":
    """Checks a database URL."""
    from ec2map_sync.sql.database import parse_url  # noqa: PLC0415, slow

    if not url:
        raise ConfigError(f"{option} is missing")
    return parse_url(url, option)


def broker(urls: str | None, option: str, tls: Tls) -> Address:
    """Checks kombu URLs, with ';' between those of one cluster."""
    if not urls:
        raise ConfigError(f"{option} is missing")
    for url in urls.split(";"):
        _check_url(
            url,
            option,
            schemes=("amqp", "amqps", "memory"),
            form="amqp://user:password@host:5672/vhost",
        )
    return Address.read(urls, tls)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a server of ours listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return joined(self.host, self.port)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        with suppress(ValueError):
            return ip_address(self.host).is_loopback
        return False


def listen(text: str, option: str) -> Listen:
    """Reads host:port; an IPv6 address stands in brackets."""
    found = _LISTEN.fullmatch(text)
    port = int(found["port"]) if found else 0
    if found is None or not 0 < port <= _LAST_PORT:
        raise ConfigError(
            f"{option}: {text!r} is not host:port, such as 127.0.0.1:9427 or "
            "[::1]:9427"
        )
    return Listen(found["v6"] or found["host"], port)


MemcachedServer = tuple[str, int] | str
"""Host and port, or a socket's path behind "unix:"."""

_MEMCACHED_PORT = 11211


def memcached(text: str, option: str) -> MemcachedServer:
    """Reads an address as Nova's [cache] memcache_servers has them."""
    bare = text.removeprefix("inet6:")
    if re.fullmatch(r"unix:/\S+", bare):
        return bare
    with suppress(ConfigError):
        found = listen(bare, option)
        return found.host, found.port
    if re.fullmatch(r"[^:\[\]\s/@]+|\[[0-9A-Fa-f:.]+\]", bare):
        return bare.strip("[]"), _MEMCACHED_PORT
    raise ConfigError(
        f"{option}: {text!r} is not host:port, such as 192.0.2.1:11211 or "
        "[2001:db8::1]:11211, nor unix:/path"
    )


def file(path: str, option: str) -> None:
    """Finds a file that can be read.

    :raises ConfigError: it cannot.
    """
    try:
        open(path, "rb").close()
    except OSError as error:
        raise ConfigError(f"{option}: {path}: {error.strerror}") from error


def sections(
    kind: str, names: Sequence[str], option: str, there: Iterable[str]
) -> None:
    """Matches the names in an option with the sections in the files.

    oslo.config ignores a section that nobody asks for; here that is an
    operator's slip of the pen, and costs a region or a cell.
    """
    if len(set(names)) != len(names):
        raise ConfigError(f"{option} names one twice")
    found = {
        section.partition(":")[2]
        for section in there
        if section.startswith(f"{kind}:")
    }
    for one in sorted(set(names) - found):
        raise ConfigError(
            f"{option} names {one}, but there is no [{kind}:{one}]"
        )
    for one in sorted(found - set(names)):
        raise ConfigError(
            f"[{kind}:{one}] is not used: add {one} to {option}, or "
            "remove the section"
        )


def transport(conf: cfg.ConfigOpts) -> None:
    """Checks the URLs of Glance's broker, in oslo.messaging's form."""
    notifications = "oslo_messaging_notifications"
    found = {"DEFAULT": conf}
    if notifications in conf:
        found[notifications] = conf[notifications]
    for group, options in found.items():
        if "transport_url" in options:
            url = read(options, group, "transport_url")
            if url:
                _transport(url, f"[{group}] transport_url")


def management(url: str | None) -> str | None:
    """Checks the URL of RabbitMQ's management; None is none."""
    if not url:
        return None
    _check_url(
        url,
        "[notifications] management_url",
        schemes=("http", "https"),
        form="https://user:password@host:15671",
    )
    return url


def _transport(url: str, option: str) -> None:
    # Hosts of a cluster stand in one URL, each with its own port.
    scheme, mark, rest = url.partition("://")
    for host in rest.split("/")[0].split(","):
        # It quotes all but "/" anew, takes what follows for a port, and
        # tells that in the log.
        if "%2f" in host.rpartition("@")[0].lower():
            raise ConfigError(
                f"{option}: oslo.messaging takes no '/' (%2F) in the name "
                "or password of an account; choose another one"
            )
        _check_url(
            f"{scheme}{mark}{host}",
            option,
            schemes=("rabbit", "kombu+memory"),
            form="rabbit://user:password@host:5672/vhost",
        )


def _check_url(
    url: str, option: str, *, schemes: Sequence[str], form: str
) -> None:
    """Checks a broker's URL; what is wrong is said without its password."""
    scheme = re.match(r"([a-z0-9+]+)://", url)
    if scheme is None:
        raise ConfigError(f"{option} is no URL; needed is {form}")
    if scheme[1] not in schemes:
        raise ConfigError(
            f"{option} begins with {scheme[1][:20]}://; needed is {form}"
        )
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        raise ConfigError(
            f"{option}: the port is no number up to 65535; needed is {form}"
        ) from error
