"""What a driver would stumble over in a URL, said before it connects.

Drivers convert some options, hand on others, and raise whatever comes of it.
"""

import codecs
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from ec2map_sync.rules.errors import ConfigError, one_line
from ec2map_sync.sql import mycnf, tls

TAKEN_BY_MYSQL = frozenset(
    {
        "bind_address",
        "charset",
        "collation",
        "init_command",
        "program_name",
        "read_default_file",
        "read_default_group",
        "unix_socket",
    }
)
"""Options of PyMySQL that are texts, and not ours to choose."""

CONVERTED_FOR_SQLITE = frozenset(
    {
        "cached_statements",
        "check_same_thread",
        "detect_types",
        "isolation_level",
        "timeout",
        "uri",
    }
)
"""Options of Python's module; of others, SQLite says by itself what is wrong,
and takes them only with ``uri``."""

NO_PORT = "the port is no number from 1 to 65535"

_LAST_PORT = 65535

_FILES_OF_LIBPQ = (
    "passfile",
    "sslcert",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslrootcert",
)

_NOWHERE = {"host": "/nonexistent", "hostaddr": "", "port": "1"}
"""Where libpq gets no further than to its options."""

_NOT_FOR_LIBPQ = {*_NOWHERE, "dbname", "password", "passfile", "user"}


def require(url: URL) -> None:
    """Looks at hosts, port and options of a URL that SQLAlchemy can read.

    :raises ConfigError: naming one that cannot be used; never a password.
    """
    looks = {"mysql": _mysql, "postgresql": _postgresql, "sqlite": _sqlite}
    if url.port is not None:
        _require_port(str(url.port))
    for host in _hosts(url):
        _require_name(host)
    looks[url.get_backend_name()](url)


def single(url: URL) -> dict[str, str]:
    """Returns the options of a URL; of one that is there twice, the last."""
    lists = url.normalized_query.items()
    return {name: values[-1] for name, values in lists}


def without_doubles(url: URL) -> URL:
    """Leaves each option once, but for hosts, of which there may be several.

    What SQLAlchemy makes of others is no text, and no driver takes it.
    """
    several = {n: v for n, v in url.query.items() if n in {"host", "port"}}
    return url.set(query={**single(url), **several})


def _hosts(url: URL) -> list[str]:
    hosts = [url.host or "", *url.normalized_query.get("host", ())]
    return ",".join(hosts).split(",")


def _require_name(host: str) -> None:
    """Looks at a name of which Python makes another for DNS."""
    if "@" in host:  # what stands before it is not said again
        raise ConfigError("an '@' in a name or a password is written %40")
    try:
        host.encode("idna")
    except UnicodeError as error:
        if not host.startswith("/"):  # the folder of a socket
            raise ConfigError(f"{host} is no name of a host") from error


def _require_port(text: str) -> None:
    """Looks at a port: what is too large, MySQL's driver cuts down."""
    # Not said again: behind a slip in a URL, it may be part of a password.
    if not (text.isdecimal() and 0 < int(text) <= _LAST_PORT):
        raise ConfigError(NO_PORT)


def _arguments(url: URL) -> dict[str, Any]:
    """Lets SQLAlchemy convert what it converts."""
    try:
        return dict(url.get_dialect()().create_connect_args(url)[1])
    except (ArgumentError, TypeError, ValueError) as error:
        raise ConfigError(one_line(error)) from error


def _sqlite(url: URL) -> None:
    _arguments(url.set(query={}))
    for name, value in single(url).items():
        if name in CONVERTED_FOR_SQLITE:
            with _naming(name):
                one = _arguments(url.set(query={name: value}))
                sqlite3.connect(":memory:", **one).close()
    if "uri" in url.query and not url.database:
        raise ConfigError("uri: no file is named")


def _postgresql(url: URL) -> None:
    found = _arguments(url)
    for port in filter(None, str(found.get("port", "")).split(",")):
        _require_port(port)
    for address in filter(None, str(found.get("hostaddr", "")).split(",")):
        with _naming("hostaddr"):
            ip_address(address)
    if "keepalives" in found:
        with _naming("keepalives"):
            int(found["keepalives"])
    for name in _FILES_OF_LIBPQ:
        # An engine's key, or "system", is no file.
        if os.sep in found.get(name, ""):
            tls.require_file(name, found[name])
    asked = {n: v for n, v in found.items() if n not in _NOT_FOR_LIBPQ}
    said = _said_by_libpq(_NOWHERE | asked)
    if said != _said_by_libpq(_NOWHERE):
        raise ConfigError(said)


def _said_by_libpq(options: Mapping[str, Any]) -> str:
    """Lets libpq look at options, without a server."""
    from psycopg import conninfo, pq  # noqa: PLC0415, only who has it

    text = conninfo.make_conninfo(**options)
    connection = pq.PGconn.connect_start(text.encode())
    said = connection.get_error_message()
    connection.finish()
    return said


def _mysql(url: URL) -> None:
    query = single(url)
    if url.host and "," in url.host:
        raise ConfigError(
            f"{url.host} are several hosts; the driver here takes one"
        )
    for name in sorted(query.keys() - TAKEN_BY_MYSQL - tls.OPTIONS):
        raise ConfigError(f"{name}: not known here")
    if "charset" in query:
        _require_charset(query["charset"], "charset")
    _require_name(query.get("bind_address", ""))
    secured = tls.arguments(query)
    if "read_default_file" in query:
        path = os.path.expanduser(query["read_default_file"])
        tls.require_file("read_default_file", path)
        if os.path.isdir(path):
            raise ConfigError(f"read_default_file: {path}: Is a directory")
        with _naming(f"read_default_file: {path}"):
            group = query.get("read_default_group", "client")
            said = mycnf.options(path, group)
            _option_file(said, url, secured=bool(secured))


def _option_file(said: Mapping[str, str], url: URL, *, secured: bool) -> None:
    """Looks at what counts of an option file: the URL goes before it."""
    if "host" in said and not url.host:
        _require_name(said["host"])
    if "port" in said and not url.port:
        _require_port(said["port"])
    if "default-character-set" in said and "charset" not in url.query:
        _require_charset(
            said["default-character-set"], "default-character-set"
        )
    if "password" in said and not url.password:
        try:
            said["password"].encode("latin1")
        except UnicodeError:
            raise ConfigError(
                "password: the driver can send it from a URL only"
            ) from None
    if not secured:
        # It may ask for TLS: without it, we would not know.
        names = ("ca", "capath", "cert", "key", "cipher")
        asked = {f"ssl_{n}": said.get(f"ssl-{n}") for n in names}
        tls.arguments({n: v for n, v in asked.items() if v})


def _require_charset(name: str, option: str) -> None:
    """Looks at a character set: Python has not all that MySQL has."""
    from pymysql.charset import charset_by_name  # noqa: PLC0415, slow

    try:
        codecs.lookup(charset_by_name(name).encoding)
    except (AttributeError, LookupError):
        raise ConfigError(f"{option}: {name} is not known here") from None


@contextmanager
def _naming(option: str) -> Iterator[None]:
    """Lets an error begin with an option's name."""
    try:
        yield
    except (ConfigError, OverflowError, ValueError) as error:
        raise ConfigError(f"{option}: {one_line(error)}") from error
