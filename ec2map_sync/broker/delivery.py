"""Notifications as they come through kombu and oslo.messaging, all readable.

oslo.messaging logs what it cannot read and rejects it: gone, and nobody could
look at it. It drops what it has had shortly before and never acknowledges
it, and what names another priority it acknowledges and drops. So it is
handed the same plain thing for every message, and finds nothing to object to.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from ec2map_sync.rules.names import UNREADABLE

ENVELOPE = "2.0"
"""The form in which oslo.messaging writes notifications."""


class Carrier(Protocol):
    """The message that has brought a notification."""

    together: bool
    """Whether the broker knows of acknowledging several with one frame."""
    with_earlier: bool
    """Whether it is acknowledged together with all that came before it."""
    with_later: bool
    """Whether it is acknowledged together with one that came after it."""
    lapsed: bool
    """Whether the broker has taken it back, to bring it again."""
    headers: Any
    channel: Any
    """What it came through; after a reconnect, that is another one."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A notification, and what has carried it."""

    message: Any
    carrier: Carrier | None = None
    """None where kombu makes a message of its own."""

    @property
    def lapsed(self) -> bool:
        """Whether it is not ours any more, and comes again."""
        return self.carrier is not None and self.carrier.lapsed


def decode(
    body: bytes | str, carrier: Carrier | None = None
) -> dict[str, Any]:
    """Reads a body; returns what oslo.messaging takes for a notification."""
    # All with one priority: they stay together, and in order.
    return {
        "priority": "info",
        "payload": Delivery(_read(body, carrier), carrier),
    }


def delivery_in(message: Mapping[str, Any]) -> Delivery:
    """Returns the delivery that oslo.messaging brings as a notification."""
    found = message.get("payload")
    # Without our own messages, kombu reads by itself what calls itself YAML.
    return found if isinstance(found, Delivery) else Delivery(dict(message))


def acknowledged_together(batch: Sequence[Delivery]) -> None:
    """Lets one frame acknowledge all of a channel's, when all are.

    They are recorded in the order in which they came: what came before the
    last has taken effect as well.
    """
    carriers = [one.carrier for one in batch if one.carrier]
    for carrier, later in pairwise([*carriers, None]):
        assert carrier is not None
        if carrier.together:
            same = later is not None and later.channel is carrier.channel
            carrier.with_later, carrier.with_earlier = same, not same


def _read(body: bytes | str, carrier: Carrier | None) -> dict[str, Any]:
    unreadable = carrier and carrier.headers.get(UNREADABLE)
    if isinstance(unreadable, str):
        return {UNREADABLE: (unreadable, _bytes(body))}
    try:
        return _opened(json.loads(body))
    except Exception as error:  # noqa: BLE001, whatever the bytes raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return {UNREADABLE: (reason, _bytes(body))}


def _opened(found: Any) -> dict[str, Any]:
    if "oslo.version" in found and "oslo.message" in found:
        if found["oslo.version"] != ENVELOPE:
            raise ValueError(f"version {found['oslo.version']!r}")
        found = json.loads(found["oslo.message"])
    # Under such keys oslo.messaging adds its own, credentials among them.
    return {k: v for k, v in found.items() if not k.startswith("_")}


def _bytes(body: bytes | str) -> bytes:
    if isinstance(body, str):
        return body.encode(errors="surrogatepass")
    return bytes(body)
