"""What the API answers, as values.

Their fields are the JSON's, and the texts beside them describe the API.
"""

from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any

from ec2map_sync.ledger.queries import Mapped
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.stamps import iso, time_of


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionAnswer:
    """Which API this is, and whose."""

    id: Annotated[str, "The version of the API."]
    status: Annotated[str, "CURRENT: this is the newest version."]
    region: Annotated[str, "The region that answers."]
    scheme: Annotated[
        str, "What its ids are derived by; equal in all regions."
    ]
    links: Annotated[list[dict[str, str]], "Where it is, and its description."]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAnswer:
    """An image, and its EC2 id."""

    image: Annotated[str, "The UUID, as this region's Glance spells it."]
    ec2_id: Annotated[str | None, "Null if the image has got no number."]
    number: Annotated[int | None, "The number behind the id."]
    kind: Annotated[str | None, "ami, aki or ari; null if not known yet."]
    claimed_at: Annotated[str, "When the image was first seen, in any region."]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAnswer:
    """Some images, in the order in which their ids have changed here."""

    images: Annotated[list[ImageAnswer], "Those that changed first."]
    next: Annotated[str, "The cursor behind them: the next 'since'."]
    links: Annotated[
        list[dict[str, str]], "The next page, if there may be one."
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedAnswer:
    """An id that was an image's, and is nobody's now."""

    ec2_id: Annotated[str, "The id that was asked for."]
    image: Annotated[str, "The image that had it."]
    moved_to: Annotated[str | None, "The id that the image has now."]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupAnswer:
    """What was found of many."""

    images: Annotated[
        list[ImageAnswer], "In the order in which they were asked."
    ]
    moved: Annotated[list[MovedAnswer], "Ids of images that have another now."]
    unknown: Annotated[list[str], "What nothing is known of here."]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAnswer:
    """How a region sees another one."""

    name: Annotated[str, "The other region."]
    state: Annotated[
        str,
        "agrees, differs, late, silent, never heard, not configured; unknown "
        "if the region that says it has not been heard for some time.",
    ]
    agrees_until: Annotated[
        str | None, "All claims made before are the same in both."
    ]
    lag: Annotated[
        int | None, "Claims by which they differ, if that is known."
    ]
    lag_seconds: Annotated[float | None, "Age of agrees_until."]
    trouble: Annotated[str | None, "What keeps them apart, if anything does."]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionAnswer:
    """A region, and how it sees its peers."""

    name: Annotated[str, "The region."]
    told_at: Annotated[
        str | None, "When it has said so; null if it never has."
    ]
    peers: Annotated[list[PeerAnswer], "How it sees each of its peers."]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionsAnswer:
    """Who agrees with whom, and until when."""

    regions: Annotated[
        list[RegionAnswer], "The one that answers is the first."
    ]
    seen_from: Annotated[str, "The region that answers."]
    at: Annotated[str, "When it has looked."]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineAnswer:
    """One thing that was looked at; null is what is not known."""

    what: Annotated[str, "service, peer, sink, quarantine and so on."]
    name: Annotated[str, "Which one."]
    state: Annotated[str, "How it is, in words."]
    healthy: Annotated[bool, "Whether nobody has to look after it."]
    position: Annotated[int | None, "A revision, a count, or a stamp."]
    lag: Annotated[int | None, "What it has not come to yet."]
    lag_seconds: Annotated[float | None, "Age of the oldest of that."]
    last_error: Annotated[str | None, "What went wrong last."]


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveAnswer:
    """That an image's id has changed."""

    at: Annotated[str, "When."]
    image: Annotated[str, "The image, in lower case."]
    old: Annotated[str, "The id that it had."]
    new: Annotated[str | None, "The id that it got."]
    cause: Annotated[str, "The image whose claim was the cause."]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusAnswer:
    """How the region is: what 'ec2map-sync status' shows."""

    healthy: Annotated[bool, "Whether nobody has to look after anything."]
    lines: Annotated[list[LineAnswer], "Each thing that was looked at."]
    moves: Annotated[list[MoveAnswer], "Those of the last week, newest first."]
    at: Annotated[str, "When it was looked at."]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAnswer:
    """One step of an explanation."""

    what: Annotated[str, "What it is about."]
    detail: Annotated[str, "What there is to say."]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationAnswer:
    """Why an image has its id: what 'ec2map-sync explain' shows."""

    image: Annotated[ImageAnswer, "The image."]
    steps: Annotated[list[StepAnswer], "In order."]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultAnswer:
    """One thing that was wrong."""

    request_id: Annotated[str, "As in the header X-Openstack-Request-Id."]
    code: Annotated[str, "What it is, for programs."]
    status: Annotated[int, "The status of the answer."]
    title: Annotated[str, "What it is, for people."]
    detail: Annotated[str, "What is wrong, and what to do."]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnswer:
    """Why there is no other answer."""

    errors: Annotated[list[FaultAnswer], "One."]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneAnswer(ErrorAnswer):
    """Why there is no other answer, and where to ask instead."""

    moved_to: Annotated[str | None, "The id that the image has now, if any."]
    image: Annotated[str | None, "The image that had the id."]


def moment(stamp: Stamp | None) -> str | None:
    """Writes a stamp, exactly; None stays None."""
    return None if stamp is None else iso(time_of(stamp), exact=True)


def image_of(mapped: Mapped) -> ImageAnswer:
    """Returns an image as it is told."""
    kind = mapped.claim.kind
    return ImageAnswer(
        image=mapped.uuid,
        ec2_id=mapped.ec2_id,
        number=mapped.number,
        kind=kind and kind.kind.value,
        claimed_at=iso(time_of(mapped.claim.claimed_at), exact=True),
    )


def plain(value: Any) -> Any:
    """Returns a value as JSON has it."""
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value
