"""TLS to MySQL and MariaDB, as the drivers that Nova may use are told of it.

mysqlclient, PyMySQL and SQLAlchemy each have names of their own for the same.
"""

import os
import ssl
from collections.abc import Mapping
from typing import Any

from ec2map_sync.rules.errors import ConfigError

OPTIONS = frozenset(
    {
        "ssl",
        "ssl_ca",
        "ssl_capath",
        "ssl_cert",
        "ssl_check_hostname",
        "ssl_cipher",
        "ssl_disabled",
        "ssl_key",
        "ssl_key_password",
        "ssl_mode",
        "ssl_verify_cert",
        "ssl_verify_identity",
    }
)

_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
_WORDS = {"true": True, "1": True, "yes": True, "on": True} | dict.fromkeys(
    ("false", "0", "no", "off"), False
)


def arguments(given: Mapping[str, str]) -> dict[str, Any]:
    """Makes arguments of PyMySQL's out of options of a URL.

    Where nothing is asked for, PyMySQL takes TLS if the server has it.

    :raises ConfigError: naming the option, and the file, if it is one.
    """
    mode = given.get("ssl_mode", "").upper()
    if mode not in {"", *_MODES}:
        raise ConfigError(f"ssl_mode: none of {', '.join(_MODES)}")
    on = _flag(given, "ssl")
    off = _flag(given, "ssl_disabled") or (on is False and not mode)
    if off or mode == "DISABLED":
        return {"ssl_disabled": True}
    asked = given.keys() & OPTIONS - {"ssl", "ssl_disabled", "ssl_mode"}
    if mode == "PREFERRED" or not (on or mode or asked):
        return {}
    return {"ssl": _context(given, mode)}


def _context(given: Mapping[str, str], mode: str) -> ssl.SSLContext:
    authority = [name for name in ("ssl_ca", "ssl_capath") if name in given]
    certificate = _flag(given, "ssl_verify_cert")
    identity = _flag(given, "ssl_verify_identity")
    if identity is None:
        identity = _flag(given, "ssl_check_hostname")
    if identity is None:
        # SQLAlchemy looks at the name where it is told of an authority.
        plain = not mode and certificate is None
        identity = mode == "VERIFY_IDENTITY" or bool(authority and plain)
    if certificate is None:
        certificate = bool(authority) or mode.startswith("VERIFY")
    for name in (*authority, "ssl_cert", "ssl_key"):
        _require(given, name)
    return _made(given, verified=certificate or identity, named=identity)


def _made(
    given: Mapping[str, str], *, verified: bool, named: bool
) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=given.get("ssl_ca"), capath=given.get("ssl_capath")
        )
        # Certificates that servers make for themselves do not pass this.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = named
        context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
        if "ssl_cert" in given:
            context.load_cert_chain(
                given["ssl_cert"],
                given.get("ssl_key"),
                # Without one, OpenSSL would ask the terminal.
                given.get("ssl_key_password", ""),
            )
        if "ssl_cipher" in given:
            context.set_ciphers(given["ssl_cipher"])
    except OSError as error:  # ssl.SSLError is one, too
        names = ("ssl_ca", "ssl_cert", "ssl_key", "ssl_cipher")
        told = ", ".join(f"{n}={given[n]}" for n in names if n in given)
        reason = getattr(error, "reason", None) or error.strerror or error
        raise ConfigError(f"{told}: {reason}") from error
    return context


def _flag(given: Mapping[str, str], name: str) -> bool | None:
    if name not in given:
        return None
    found = _WORDS.get(given[name].lower())
    if found is None:
        raise ConfigError(f"{name}: neither true nor false")
    return found


def _require(given: Mapping[str, str], name: str) -> None:
    if name in given:
        require_file(name, given[name])


def require_file(name: str, path: str) -> None:
    """Finds a file or folder readable.

    :raises ConfigError: it is not, by the name of its option.
    """
    try:
        os.stat(path)
        if not os.path.isdir(path):
            open(path, "rb").close()
    except OSError as error:
        raise ConfigError(f"{name}: {path}: {error.strerror}") from error
