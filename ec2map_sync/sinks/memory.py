"""What memcached holds of Nova's: asked, and deleted.

Nova's values are pickles, and whoever reaches memcached can put one there: it
is read, and never unpickled.
"""

import pickletools
import ssl
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from hashlib import sha1
from typing import Any

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheError

from ec2map_sync.rules.errors import Ec2MapError, one_line
from ec2map_sync.settings.addresses import MemcachedServer
from ec2map_sync.settings.values import MemoTls

PATIENCE = 3.0
"""Seconds in which a server has to answer."""

LONGEST = 4096
"""Bytes that a memo of an id may have; Nova's have some hundred."""

_ZLIB = b"\x78"
_INTEGERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"}
_BESIDE = {
    *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "MARK"),
    *("GLOBAL", "STACK_GLOBAL"),
}
"""What may stand between the name of the pair and its first part."""


class MemoSilent(Ec2MapError):
    """A memcached server does not answer."""


def key_of(image: str) -> str:
    """Returns under which key Nova remembers the id of an image."""
    text = f"glance_id_to_id:{image}"
    return sha1(text.encode(), usedforsecurity=False).hexdigest()


def delete(
    servers: Sequence[MemcachedServer],
    images: Iterable[str],
    tls: MemoTls | None = None,
) -> None:
    """Deletes the memos of some images on every server.

    On all of them: which one has it is for Nova's client to choose, and
    another one has it while that is away.

    :raises MemoSilent: one does not answer; the others have been asked.
    """
    keys = [key_of(s) for i in images for s in sorted({i, i.lower()})]
    _ask(servers, tls, lambda one: one.delete_many(keys, noreply=False))


def remembered(
    servers: Sequence[MemcachedServer],
    images: Iterable[str],
    tls: MemoTls | None = None,
) -> dict[str, set[int]]:
    """Returns which numbers Nova remembers of images, on any server.

    :raises MemoSilent: one does not answer.
    """
    keys = {key_of(image): image for image in images}
    found: dict[str, set[int]] = {}
    for held in _ask(servers, tls, lambda one: one.get_many(list(keys))):
        for key, value in held.items():
            number = number_in(value)
            if number is not None:
                found.setdefault(keys[key], set()).add(number)
    return found


def version(server: MemcachedServer, tls: MemoTls | None = None) -> str:
    """Asks a server for its version.

    :raises MemoSilent: it does not answer.
    """
    (said,) = _ask([server], tls, lambda client: client.version())
    return str(said.decode())


def name_of(server: MemcachedServer) -> str:
    """Returns what a server is called in a line for an operator."""
    if isinstance(server, str):
        return server
    return f"{server[0]}:{server[1]}"


def _ask(
    servers: Sequence[MemcachedServer],
    tls: MemoTls | None,
    ask: Callable[[Client], Any],
) -> list[Any]:
    """Asks every server, also if one does not answer."""
    answers, silent = [], []
    context = _context(tls) if tls else None
    for server in servers:
        try:
            with closing(_client(server, context)) as client:
                answers.append(ask(client))
        except (OSError, MemcacheError) as error:
            silent.append(f"{name_of(server)}: {one_line(error)}")
    if silent:
        raise MemoSilent(
            f"memcached does not answer at {'; '.join(silent)}: Nova may "
            "remember ids that have changed"
        )
    return answers


def _client(server: MemcachedServer, context: ssl.SSLContext | None) -> Client:
    return Client(
        server,
        connect_timeout=PATIENCE,
        timeout=PATIENCE,
        tls_context=context,
    )


def _context(tls: MemoTls) -> ssl.SSLContext:
    """Makes what Nova's client makes of the same files."""
    try:
        context = ssl.create_default_context(cafile=tls.cafile)
        # Certificates that servers make for themselves do not pass this.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if tls.certfile:
            # Without a password, OpenSSL would ask the terminal.
            context.load_cert_chain(tls.certfile, tls.keyfile, "")
        if tls.allowed_ciphers:
            context.set_ciphers(tls.allowed_ciphers)
    except OSError as error:
        raise MemoSilent(
            f"memcached cannot be asked over TLS: {_named(tls)}: "
            f"{one_line(error)}"
        ) from error
    return context


def _named(tls: MemoTls) -> str:
    files = (tls.cafile, tls.certfile, tls.keyfile, tls.allowed_ciphers)
    return ", ".join(filter(None, files))


def number_in(value: bytes) -> int | None:
    """Returns the number in a memo of Nova's; None if it is no such thing.

    It is the first part of dogpile.cache's pair of a payload and its age.
    """
    with suppress(ValueError, zlib.error, struct.error):
        if value.startswith(_ZLIB):
            value = zlib.decompressobj().decompress(value, LONGEST)
        pair = False
        for opcode, argument, _ in pickletools.genops(value[:LONGEST]):
            if str(argument).endswith("CachedValue"):
                pair = True
            elif pair and opcode.name not in _BESIDE:
                found = opcode.name in _INTEGERS
                return int(argument or 0) if found else None
    return None
