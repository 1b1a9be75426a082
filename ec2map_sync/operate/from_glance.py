"""A configuration of ours that fits Glance's and Nova's own."""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ec2map_sync.operate.theirs import (
    GlanceSays,
    NovaSays,
    read_glance,
    read_nova,
)

TOPIC = "ec2map_sync"
"""What our own topic is called where somebody gives us one, or our pool."""

_NOTIFYING = {"messaging", "messagingv2"}
_ANNOUNCING = {"image", "image.create"}
_FILE = re.compile(
    r"\b(?:ssl_|read_default_)?(?:ca|cert|key|file|ca_file|cert_file|"
    r"key_file)=(/[^&\s]+)"
)
_SECTION = "[oslo_messaging_notifications]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What to write for us, and what to change in Glance."""

    text: str = field(repr=False)
    """A configuration file, passwords included."""
    needed: tuple[str, ...]
    """Why Glance does not notify as it is, and what to change; a line each."""
    advised: tuple[str, ...]
    """What is better changed."""


def propose(
    glance_files: Sequence[str], nova_files: Sequence[str] = ()
) -> Proposal:
    """Returns a configuration of ours that fits theirs.

    :raises ConfigError: a file cannot be read, or is none of theirs.
    """
    glance, nova = read_glance(glance_files), read_nova(nova_files)
    return Proposal(
        text="\n".join(_lines(glance, nova)),
        needed=tuple(_needed(glance)),
        advised=tuple(_advised(glance)) + tuple(_of_cells(nova)),
    )


def _own_topic(glance: GlanceSays) -> str | None:
    """Returns the topic that nobody else reads; by its name, it is ours."""
    return next((t for t in glance.topics if "ec2map" in t.lower()), None)


def _shared_topic(glance: GlanceSays) -> str:
    usual = "notifications"
    if usual in glance.topics or not glance.topics:
        return usual
    return glance.topics[0]


def _needed(glance: GlanceSays) -> Iterator[str]:
    if not _NOTIFYING & set(glance.drivers):
        said = ", ".join(glance.drivers) or "not set"
        yield (
            f"Glance does not notify: driver is {said}; set driver = "
            f"messagingv2 in {_SECTION} of glance-api.conf"
        )
    if not glance.topics:
        yield (
            f"Glance does not notify: topics is empty; set topics = {TOPIC} "
            f"in {_SECTION} of glance-api.conf, and run this again"
        )
    if silent := sorted(_ANNOUNCING & set(glance.disabled)):
        yield (
            f"Glance does not announce images: take {', '.join(silent)} out "
            "of disabled_notifications in [DEFAULT] of glance-api.conf"
        )


def _advised(glance: GlanceSays) -> Iterator[str]:
    if glance.topics and not _own_topic(glance):
        yield (
            f"others may read the topic {_shared_topic(glance)}: here it is "
            "read through a pool, which misses what was sent before our "
            "agent's first start, and somebody has to read the topic's own "
            "queues, or they grow for ever; better, set topics = "
            f"{','.join([*glance.topics, TOPIC])} in {_SECTION} of "
            "glance-api.conf, and run this again"
        )
    rabbit = glance.rabbit
    if not (
        rabbit.get("rabbit_quorum_queue") or rabbit.get("amqp_durable_queues")
    ):
        yield (
            "Glance's queues are transient: a restart of the broker loses "
            "what waits in them, and RabbitMQ 4.3 refuses them; better, set "
            "rabbit_quorum_queue = true in [oslo_messaging_rabbit] of "
            "glance-api.conf (of every service that uses these queues), and "
            "run this again"
        )


def _of_cells(nova: NovaSays) -> Iterator[str]:
    if nova.connection and not nova.api_connection:
        yield (
            "Nova's file names one database only: give that of nova-api for "
            "all cells, or add the others, cell0 among them, to [nova] cells"
        )
    if nova.memcached and nova.memcached_sasl:
        yield (
            "Nova's memcached asks for a name and password (SASL), which we "
            "cannot give: what Nova remembers there of an id that changes "
            "stays for up to a week"
        )


def _lines(glance: GlanceSays, nova: NovaSays) -> Iterator[str]:
    yield f"# Fits {', '.join(glance.files)}. It has passwords: mode 0640."
    yield "# To be added: region and peers, [ledger], [bus], [glance]."
    yield from _section(
        "DEFAULT", {"transport_url": glance.transport_url}, _host_hints(glance)
    )
    yield from _section("oslo_messaging_rabbit", glance.rabbit, [])
    own = _own_topic(glance)
    listening = {
        "exchange": glance.exchange,
        "topics": own or _shared_topic(glance),
    }
    yield from _section(
        "notifications", listening if own else listening | {"pool": TOPIC}, []
    )
    yield from _cells(nova)


def _cells(nova: NovaSays) -> Iterator[str]:
    files = [
        file
        for url in (nova.api_connection, nova.connection)
        for file in _FILE.findall(url or "")
    ]
    remembered: dict[str, str] = {}
    if nova.memcached and not nova.memcached_sasl:
        # Nova's processes remember ids there.
        remembered["memcached_servers"] = ",".join(nova.memcached)
        remembered |= nova.memcached_tls
        files += [v for n, v in remembered.items() if n.endswith("file")]
    hints = [f"# {file} has to be on this host as well." for file in files]
    if nova.api_connection:
        found = {"api_connection": nova.api_connection}
        if nova.connection:
            found["cell_template_connection"] = nova.connection
        yield from _section("nova", found | remembered, hints)
    elif nova.connection:
        yield from _section("nova", {"cells": "cell1"} | remembered, hints)
        yield from _section("cell:cell1", {"connection": nova.connection}, [])
    else:
        yield from ("", "# For the cells: --nova, with Nova's files.")


def _host_hints(glance: GlanceSays) -> list[str]:
    rabbit = glance.rabbit
    said = [str(rabbit[n]) for n in rabbit if n.endswith("_file")]
    hints = [
        f"# {file} has to be on this host as well." for file in said if file
    ]
    if (
        rabbit.get("ssl")
        and rabbit.get("ssl_enforce_hostname_verification", True)
        and any(map(_is_ip, glance.hosts))
    ):
        hints.append(
            "# If the broker's certificate has no IP addresses: "
            "ssl_enforce_hostname_verification = false below."
        )
    return hints


def _is_ip(host: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return False


def _section(
    name: str, options: Mapping[str, Any], hints: Sequence[str]
) -> Iterator[str]:
    if not options:
        return
    yield from ("", f"[{name}]", *dict.fromkeys(hints))
    for option, value in options.items():
        text = str(value)
        if isinstance(value, bool):
            text = text.lower()
        yield f"{option} = {text.replace('$', '$$')}"
