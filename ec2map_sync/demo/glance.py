"""Glance as the demonstration plays it: images, and their notifications."""

import random
import uuid
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from oslo_config import cfg

from ec2map_sync.glance.listener import register_options
from ec2map_sync.rules.ec2id import Kind, Scheme

with warnings.catch_warnings():
    # It imports eventlet, which warns whoever does.
    warnings.simplefilter("ignore")
    import oslo_messaging

_SIZE = 4096

# What Glance tells of a new image, in this order: (notification, status).
_CREATION = (
    ("image.create", "queued"),
    ("image.update", "saving"),
    ("image.prepare", "saving"),
    ("image.upload", "active"),
    ("image.activate", "active"),
    ("image.update", "active"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image, and the region that creates it."""

    uuid: str
    home: str
    kind: Kind = Kind.AMI
    kernel: str = ""
    ramdisk: str = ""

    @property
    def short(self) -> str:
        """What tells it from the others on a screen."""
        return self.uuid[:8]

    @property
    def properties(self) -> dict[str, str]:
        """What tells Nova an image's kernel and ramdisk."""
        both = {"kernel_id": self.kernel, "ramdisk_id": self.ramdisk}
        return {name: value for name, value in both.items() if value}


def new_images(homes: Sequence[str], dice: random.Random) -> Iterator[Image]:
    """Returns images of all kinds, of one region after the other."""
    while True:
        for alike in zip(
            *(_images_of(home, dice) for home in homes), strict=True
        ):
            yield from alike


def _images_of(home: str, dice: random.Random) -> tuple[Image, ...]:
    """Returns kernel, ramdisk, an image that boots with them, one alone."""
    aki = Image(uuid=_uuid(dice), home=home, kind=Kind.AKI)
    ari = Image(uuid=_uuid(dice), home=home, kind=Kind.ARI)
    ami = Image(uuid=_uuid(dice), home=home, kernel=aki.uuid, ramdisk=ari.uuid)
    return aki, ari, ami, Image(uuid=_uuid(dice), home=home)


def rivals(scheme: Scheme, dice: random.Random) -> tuple[str, str]:
    """Finds two UUIDs that derive the same number.

    Of 2^30 numbers, some ten thousand UUIDs do (the birthday paradox).
    """
    seen: dict[int, str] = {}
    while True:
        image = _uuid(dice)
        other = seen.setdefault(scheme.derive(image), image)
        if other != image:
            return other, image


def _uuid(dice: random.Random) -> str:
    return str(uuid.UUID(int=dice.getrandbits(128), version=4))


class Glance:
    """A region's Glance: sends notifications, as its API would."""

    def __init__(self, region: str, config_file: Path) -> None:
        conf = cfg.ConfigOpts()
        register_options(conf)
        conf([], project="glance", default_config_files=[str(config_file)])
        self._notifier = oslo_messaging.Notifier(
            oslo_messaging.get_notification_transport(conf),
            publisher_id=f"image.{region}",
        )

    def download(self, image: str) -> None:
        """Somebody downloads an image: says nothing new about it."""
        self._send("image.send", {"image_id": image, "bytes_sent": _SIZE})

    def create(self, image: Image) -> None:
        """Announces a new image and takes its data in."""
        for name, status in _CREATION:
            self._send(name, _payload(image, status))

    def _send(self, name: str, payload: dict[str, Any]) -> None:
        self._notifier.info({}, name, payload)


def _payload(image: Image, status: str) -> dict[str, Any]:
    """Describes an image as Glance 33 does."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    size = _SIZE if status == "active" else None
    form = "raw" if image.kind is Kind.AMI else image.kind.value
    return {
        "id": image.uuid,
        "name": f"{image.kind.value} of {image.home}",
        "status": status,
        "created_at": now,
        "updated_at": now,
        "min_disk": 0,
        "min_ram": 0,
        "protected": False,
        "checksum": "0" * 32 if size else None,
        "owner": "b" * 32,
        "disk_format": form,
        "container_format": "bare" if form == "raw" else form,
        "size": size,
        "virtual_size": size,
        "is_public": True,
        "visibility": "public",
        "properties": image.properties,
        "tags": [],
        "deleted": False,
        "deleted_at": None,
    }
