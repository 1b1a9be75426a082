"""EC2 ids: bands of numbers, kinds, and the numbers derived from a UUID."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b

from ec2map_sync.rules.errors import BadId

ALGORITHM = 1
"""Version of the derivation; part of the scheme's fingerprint."""

PROBES = 64
"""How many numbers an image may try before it stays without one.

In the real band the second is reached once in about a thousand images and
the third by nobody; the limit makes "could this row be ours?" a finite
question.
"""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EC2_ID = re.compile(r"(ami|aki|ari)-([0-9a-f]{1,16})")
_PERSON = b"ec2map-sync"


@dataclass(frozen=True, slots=True)
class Band:
    """The numbers from ``first`` up to, not including, ``stop``."""

    first: int
    stop: int

    def __contains__(self, number: int) -> bool:
        return self.first <= number < self.stop

    @property
    def size(self) -> int:
        """How many numbers the band holds."""
        return self.stop - self.first


# Nova counts s3_images.id up from 1, as a signed 32-bit integer. What it has
# handed out before we came is LEGACY; what it will hand out, ON_DEMAND.
LEGACY = Band(1, 2**24)
DERIVED = Band(2**24, 2**30)
ON_DEMAND = Band(2**30, 2**31)
MAX_NUMBER = ON_DEMAND.stop - 1
"""The largest that Nova may have."""


class Kind(StrEnum):
    """What an image is to EC2; the prefix of its id."""

    AMI = "ami"
    AKI = "aki"
    ARI = "ari"


KINDS = {str(kind): kind for kind in Kind}
"""Kinds by name: `Kind` itself takes ten times as long to say that."""

_KINDS = {
    "aki": Kind.AKI,
    "kernel": Kind.AKI,
    "ari": Kind.ARI,
    "ramdisk": Kind.ARI,
}


def kind_of(container_format: object) -> Kind | None:
    """Returns the kind; None while Glance does not know the format."""
    if not isinstance(container_format, str) or not container_format:
        return None
    return _KINDS.get(container_format.lower(), Kind.AMI)


def image_key(text: str) -> str:
    """Returns the lower-cased UUID under which an image is known everywhere.

    :raises BadId: the text is not a UUID of 36 characters.
    """
    key = text.lower()
    if not _UUID.fullmatch(key):
        raise BadId(f"{text[:60]!r} is not an image UUID (8-4-4-4-12 hex)")
    return key


FIRST_IMAGE = "00000000-0000-0000-0000-000000000000"
LAST_IMAGE = FIRST_IMAGE.replace("0", "f")


def cut_short(text: str) -> tuple[str, bool]:
    """Returns a key that divides all others as a text of such letters does.

    False: those lie before the text that lie before the key. True: that one
    does as well.
    """
    for place, (one, other) in enumerate(zip(text, FIRST_IMAGE, strict=False)):
        if (one == "-") != (other == "-"):
            rest = LAST_IMAGE if other == "-" else FIRST_IMAGE
            return text[:place] + rest[place:], other == "-"
    size = len(FIRST_IMAGE)
    return (text + FIRST_IMAGE[len(text) :])[:size], len(text) > size


def format_id(number: int, kind: Kind | None = None) -> str:
    """Writes an EC2 id as Nova does; an unknown kind reads as ami."""
    return f"{kind or Kind.AMI}-{number:08x}"


def parse_id(text: str) -> tuple[Kind, int]:
    """Reads an EC2 id.

    :raises BadId: the text is no ``ami-``, ``aki-`` or ``ari-`` id.
    """
    found = _EC2_ID.fullmatch(text.lower())
    if not found:
        raise BadId(f"{text[:60]!r} is not an EC2 image id (ami-0123abcd)")
    return Kind(found[1]), int(found[2], 16)


def parse_name(text: str) -> str | int:
    """Reads an image's UUID (its key) or an EC2 id (its number).

    :raises BadId: it is neither.
    """
    if re.match(r"a[mkr]i-", text.lower()):
        return parse_id(text)[1]
    return image_key(text)


def wanted_number(text: object) -> int | None:
    """Reads an EC2 id that an image was given elsewhere.

    None if there is none, or if its number is one that Nova may hand out.
    """
    if not isinstance(text, str):
        return None
    try:
        _, number = parse_id(text)
    except BadId:
        return None
    return number if LEGACY.first <= number < DERIVED.stop else None


def is_beyond(text: object) -> bool:
    """Returns whether an image was given an EC2 id that Nova cannot have."""
    if not isinstance(text, str) or wanted_number(text) is not None:
        return False
    try:
        parse_id(text)
    except BadId:
        return False
    return True


@dataclass(frozen=True)
class Scheme:
    """How numbers are derived; equal in all regions, or ids would differ.

    ``hash_key`` keys BLAKE2b (0 to 64 bytes). ``band`` is DERIVED except in
    tests and in the demo, where a small one makes images collide.
    """

    hash_key: bytes = b""
    band: Band = DERIVED

    def probe(self, image: str, attempt: int) -> int:
        """Returns the number that ``image`` asks for at its k-th attempt.

        BLAKE2b (RFC 7693) with 8 bytes of digest, the hash key, and the
        personalisation "ec2map-sync", of the lower-cased UUID's ASCII text
        and the attempt as 4 bytes, big-endian; taken as a big-endian number
        modulo the band's size.
        """
        digest = blake2b(
            image.lower().encode() + attempt.to_bytes(4),
            digest_size=8,
            key=self.hash_key,
            person=_PERSON,
        ).digest()
        return self.band.first + int.from_bytes(digest) % self.band.size

    def probes(self, image: str) -> Iterator[int]:
        """Returns every number that ``image`` may derive, best first."""
        return (self.probe(image, attempt) for attempt in range(PROBES))

    def derive(self, image: str) -> int:
        """Returns the first choice, which all but colliding images get."""
        return self.probe(image, 0)

    def could_derive(self, image: str, number: int) -> bool:
        """Returns whether a row (number, image) can be one that we wrote."""
        return number in self.band and number in self.probes(image)

    @cached_property
    def fingerprint(self) -> str:
        """A short text that differs where the derivation does."""
        terms = f"{ALGORITHM}:{self.band.first}:{self.band.stop}:{PROBES}"
        return blake2b(
            terms.encode(), digest_size=8, key=self.hash_key, person=_PERSON
        ).hexdigest()
