"""Glance's notifications: what they tell about images."""

from collections.abc import Mapping
from typing import Any

from ec2map_sync.claims import Sighting
from ec2map_sync.ec2id import image_key, is_beyond, kind_of, wanted_number
from ec2map_sync.errors import BadId, BadMessage
from ec2map_sync.selection import Selection

_SEEN = frozenset({"image.create", "image.upload", "image.update"})


def understand(notification: Mapping[str, Any]) -> Sighting | None:
    """Tell what a notification says about an image; None for nothing.

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
    try:
        image = image_key(uuid)
    except BadId as error:
        raise BadMessage(f"{event}: {error}") from error
    ec2_id = _ec2_id(payload.get("properties"))
    return Sighting(
        image=image,
        uuid=uuid,
        kind=kind_of(container),
        wanted=wanted_number(ec2_id),
        promised=is_beyond(ec2_id),
    )


def _ec2_id(properties: object) -> object:
    """Give the id that ec2-api has promised for an image."""
    if not isinstance(properties, Mapping):
        return None
    return properties.get("ec2_id")


def is_selected(notification: Mapping[str, Any], selection: Selection) -> bool:
    """Tell whether the image of a notification may get an id."""
    payload = notification["payload"]
    return selection.takes(
        payload.get("visibility"), payload.get("container_format")
    )
