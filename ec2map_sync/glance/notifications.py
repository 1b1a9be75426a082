"""Glance's notifications: what they tell about images."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ec2map_sync.rules.canaries import is_canary
from ec2map_sync.rules.claims import Sighting, Stamp, sighting_of
from ec2map_sync.rules.errors import BadId, BadMessage
from ec2map_sync.rules.selection import Selection

_SEEN = frozenset({"image.create", "image.upload", "image.update"})
_TYPES = _SEEN | {
    "image.activate",
    "image.delete",
    "image.prepare",
    "image.send",
}


def understand(notification: Mapping[str, Any]) -> Sighting | None:
    """Returns what a notification says about an image; None for nothing.

    :raises BadMessage: it is none of Glance's.
    """
    event = notification.get("event_type")
    payload = notification.get("payload")
    if not isinstance(event, str):
        raise BadMessage("event_type is no text")
    if event not in _SEEN:
        return None
    if not isinstance(payload, Mapping):
        # A failed upload: priority error, and a sentence as payload.
        if isinstance(payload, str):
            return None
        raise BadMessage(f"{event} with a payload that is no object")
    if payload.get("deleted") is True:
        return None
    uuid, container = payload.get("id"), payload.get("container_format")
    if not isinstance(uuid, str):
        raise BadMessage(f"{event} without the image's id")
    if container is not None and not isinstance(container, str):
        raise BadMessage(f"{event} with a container_format that is no text")
    if is_canary(uuid.lower()):
        # Any user may make as many as he likes, and nobody has to look.
        return None
    try:
        return sighting_of(
            uuid,
            container_format=container,
            ec2_id=_ec2_id(payload.get("properties")),
        )
    except BadId as error:
        raise BadMessage(f"{event}: {error}") from error


def type_of(notification: object) -> str:
    """Returns the type as a metric may have it: one of those that we know."""
    found = isinstance(notification, Mapping) and notification.get(
        "event_type"
    )
    return found if isinstance(found, str) and found in _TYPES else "other"


def stamp_of(notification: object) -> Stamp | None:
    """Returns when Glance has sent a notification, if it says so."""
    if not isinstance(notification, Mapping):
        return None
    try:
        # Without a zone, in UTC.
        at = datetime.fromisoformat(f"{notification['timestamp']}+00:00")
    except (KeyError, ValueError):
        return None
    return int(at.timestamp() * 1_000_000)


def _ec2_id(properties: object) -> object:
    """Returns the id that an image says ec2-api has promised for it."""
    if not isinstance(properties, Mapping):
        return None
    return properties.get("ec2_id")


def sighted(notification: object, selection: Selection) -> Sighting | None:
    """Returns what a notification brings for the ledger; None for nothing.

    :raises BadMessage: it is none of Glance's.
    """
    if not isinstance(notification, Mapping):
        raise BadMessage("a notification that is no object")
    sighting = understand(notification)
    if sighting is None or not is_selected(notification, selection):
        return None
    return sighting


def is_selected(notification: Mapping[str, Any], selection: Selection) -> bool:
    """Returns whether the image of a notification may get an id."""
    payload = notification["payload"]
    return selection.takes(
        payload.get("visibility"), payload.get("container_format")
    )
