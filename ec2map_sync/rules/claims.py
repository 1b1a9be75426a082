"""Claims: what is known about one image, and how two claims join."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import NamedTuple

from ec2map_sync.rules.canaries import is_canary
from ec2map_sync.rules.ec2id import (
    Kind,
    format_id,
    image_key,
    is_beyond,
    kind_of,
    wanted_number,
)
from ec2map_sync.rules.errors import BadId

HASH_BITS = 40
"""So that the sum over millions of claims fits a signed 64-bit column."""

SUM_MODULUS = 2**62

Stamp = int
"""Microseconds of the hybrid clock since 1970."""


class Wanted(NamedTuple):
    """An id that somebody adopted, and when; the smaller one joins."""

    at: Stamp
    number: int


class SeenKind(NamedTuple):
    """A kind, and when it became known; the larger one joins."""

    at: Stamp
    kind: Kind


@dataclass(frozen=True, slots=True)
class Print:
    """What two sets of claims are compared by."""

    count: int
    sum: int

    def __add__(self, other: "Print") -> "Print":
        return Print(
            self.count + other.count, (self.sum + other.sum) % SUM_MODULUS
        )

    def __sub__(self, other: "Print") -> "Print":
        return Print(
            self.count - other.count, (self.sum - other.sum) % SUM_MODULUS
        )


class Bound(NamedTuple):
    """A place in the order of claims: by (claimed_at, image)."""

    at: Stamp
    image: str = ""


class Span(NamedTuple):
    """The claims from ``start`` up to, not including, ``stop``."""

    start: Bound
    stop: Bound

    def holds(self, other: "Span") -> bool:
        """Returns whether another span lies inside."""
        return self.start <= other.start <= other.stop <= self.stop


BEGINNING = Bound(0)
END = Bound(2**62)
EVERYTHING = Span(BEGINNING, END)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A span, and what somebody's ledger holds of it."""

    span: Span
    print: Print


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """That an image was seen, and what is known of it.

    ``image`` is the lower-cased key; ``spelling`` is the UUID as Glance
    spells it, where that is known to differ.
    """

    claimed_at: Stamp
    image: str
    spelling: str = ""
    wanted: Wanted | None = None
    kind: SeenKind | None = None

    @property
    def uuid(self) -> str:
        """The UUID as Glance spells it."""
        return self.spelling or self.image

    def ec2_id(self, number: int | None) -> str | None:
        """Writes a number as the image's EC2 id; None stays None."""
        if number is None:
            return None
        return format_id(number, self.kind.kind if self.kind else None)

    @property
    def bound(self) -> Bound:
        """Where the claim stands in the order of claims."""
        return Bound(self.claimed_at, self.image)

    @property
    def after(self) -> Bound:
        """Where the claims begin that follow this one."""
        # No image sorts between a UUID and the same with one more digit.
        return Bound(self.claimed_at, self.image + "0")

    @property
    def newest(self) -> Stamp:
        """The largest of the claim's stamps."""
        return max(
            self.claimed_at,
            self.wanted.at if self.wanted else 0,
            self.kind.at if self.kind else 0,
        )

    @property
    def hash(self) -> int:
        """40 bits over every field; equal in all regions."""
        wanted = (
            f"{self.wanted.at} {self.wanted.number}" if self.wanted else ""
        )
        kind = f"{self.kind.at} {self.kind.kind}" if self.kind else ""
        text = (
            f"{self.claimed_at}\n{self.image}\n{self.spelling}\n"
            f"{wanted}\n{kind}"
        )
        digest = blake2b(text.encode(), digest_size=HASH_BITS // 8).digest()
        return int.from_bytes(digest)


def join(one: Claim, other: Claim) -> Claim:
    """Unites what two claims know of the same image.

    Commutative, associative and idempotent, so that regions which have
    heard the same know the same, in whatever order and however often.
    """
    return Claim(
        claimed_at=min(one.claimed_at, other.claimed_at),
        image=one.image,
        spelling=max(one.spelling, other.spelling),
        wanted=min(filter(None, (one.wanted, other.wanted)), default=None),
        kind=max(filter(None, (one.kind, other.kind)), default=None),
    )


def join_all(claims: Iterable[Claim]) -> dict[str, Claim]:
    """Unites any number of claims, by image."""
    joined: dict[str, Claim] = {}
    for claim in claims:
        known = joined.get(claim.image)
        joined[claim.image] = join(known, claim) if known else claim
    return joined


def print_of(claims: Iterable[Claim]) -> Print:
    """Sums up a set of claims."""
    total = Print(0, 0)
    for claim in claims:
        total += Print(1, claim.hash)
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What this region itself has seen of an image, not yet a claim.

    The ledger makes a claim of it where it is news. ``uuid`` is spelled as
    Glance spells it; ``kind`` is None where the source does not tell.
    ``fills_only`` is said by those who only look at what is there: they
    tell a kind that is unknown, and never change one. Two regions' Glances
    that disagree would otherwise answer each other for ever.
    """

    image: str
    uuid: str
    kind: Kind | None = None
    wanted: int | None = None
    """The number of an id that somebody has given the image already."""
    promised: bool = False
    """Whether ec2-api has given it an id that no image of ours can have,
    and may not have written the row yet: its kind stays unknown, so that
    nobody writes another one for it there first."""
    fills_only: bool = False
    announced: bool = True
    """Whether Glance itself tells of it; a row in a sink does not say how
    Glance spells the image."""

    @property
    def spelling(self) -> str:
        """The UUID where it differs from the key, else nothing."""
        return self.uuid if self.uuid != self.image else ""


Believe = Callable[[Sequence[Sighting]], Sequence[Sighting]]
"""Says which of the promises in sightings are true."""


def is_promise(sighting: Sighting) -> bool:
    """Returns whether an image names an id that it was given already."""
    return sighting.wanted is not None or sighting.promised


def unpromised(sighting: Sighting) -> Sighting:
    """Returns what is seen of an image whose promise is not believed."""
    return replace(sighting, wanted=None, promised=False)


def believe_none(sightings: Sequence[Sighting]) -> Sequence[Sighting]:
    """Believes no promise: where there is no ec2-api, anybody makes them."""
    return [unpromised(s) if is_promise(s) else s for s in sightings]


def sighting_of(
    uuid: str,
    *,
    container_format: str | None = None,
    ec2_id: object = None,
    wanted: int | None = None,
    fills_only: bool = False,
    announced: bool = True,
) -> Sighting:
    """Returns what was seen of an image.

    ``ec2_id`` is the id that ec2-api has given it, if any; ``wanted`` the
    number of one that it has in a sink.

    :raises BadId: ``uuid`` is none, or that of a canary.
    """
    image = image_key(uuid)
    if is_canary(image):
        raise BadId(f"{uuid} is the UUID of a canary, which no image may have")
    return Sighting(
        image=image,
        uuid=uuid,
        kind=kind_of(container_format),
        wanted=wanted_number(ec2_id) if wanted is None else wanted,
        promised=is_beyond(ec2_id),
        fills_only=fills_only,
        announced=announced,
    )


def claim_of(
    sighting: Sighting, known: Claim | None, stamp: Stamp
) -> Claim | None:
    """Makes a claim of what is news in a sighting; None if nothing is."""
    wanted = sighting.wanted
    kind = None if sighting.promised else sighting.kind
    if known is not None:
        if known.wanted:
            wanted = None  # the earlier one counts
        if known.kind and (sighting.fills_only or known.kind.kind is kind):
            kind = None
        news = kind is not None or wanted is not None
        if not news and known.spelling >= sighting.spelling:
            return None
    return Claim(
        claimed_at=known.claimed_at if known else stamp,
        image=sighting.image,
        spelling=sighting.spelling,
        wanted=None if wanted is None else Wanted(stamp, wanted),
        kind=SeenKind(stamp, kind) if kind else None,
    )
