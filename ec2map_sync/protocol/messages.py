"""What regions say to each other: the values, and their shapes in JSON."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ec2map_sync.protocol.fields import integer, is_text, list_of, stamp
from ec2map_sync.protocol.seen import Seen, seen_from_json, seen_to_json
from ec2map_sync.protocol.spans import (
    print_from_json,
    range_to_json,
    ranges_from_json,
    sketch_from_json,
    sketch_to_json,
    span_from_json,
    span_to_json,
)
from ec2map_sync.rules.claims import (
    Claim,
    Print,
    Range,
    SeenKind,
    Span,
    Stamp,
    Wanted,
)
from ec2map_sync.rules.ec2id import DERIVED, KINDS, Kind, image_key
from ec2map_sync.rules.errors import BadId, BadMessage
from ec2map_sync.rules.sketches import Sketch
from ec2map_sync.rules.stamps import MAX_AHEAD

MAX_ID = 64
MAX_ASKED = 64
"""Ranges in a question: each costs the one who answers a look at its ledger.
"""
MAX_PARTS = 32 * MAX_ASKED
"""Ranges in an answer: each that was asked may come in as many parts."""
MAX_SIGNED = 2048
"""Characters of a note in a heartbeat; one with its signature has 300."""
MAX_BAD = 100
"""Bad claims of one message that are kept, each by itself."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadClaim:
    """A claim of a good message that is not usable itself, or several."""

    reason: str
    body: bytes
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """A batch of claims."""

    claims: tuple[Claim, ...]
    bad: tuple[BadClaim, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What the sender's ledger holds.

    ``before`` is the print of all claims made before the stamp ``until``;
    ``total`` is that of all claims; ``newest`` is the largest stamp.
    ``note`` is what the sender has signed last (see `agreements`), as text,
    and ``statement`` what it has stated of that (see `statements`): releases
    of before say nothing there. ``sees`` is how the sender sees its peers.
    """

    until: Stamp
    before: Print
    total: Print
    newest: Stamp
    note: str = ""
    statement: str = ""
    sees: tuple[Seen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """The question where the asked ledger differs from the asking one."""

    id: str
    ranges: tuple[Range, ...]
    to: str = ""
    """Who is asked; empty where one of the first releases asks."""
    until: Stamp = 0
    """Until when, by the clock of who is asked; 0 as above."""
    reads: int = 1
    """The newest version of messages that who asks can read."""
    sketch: Sketch | None = None
    """Of all that who asks holds in the ranges together. The answer is what
    is missing there, if it can be told from that."""

    @property
    def version(self) -> int:
        """The newest that who is asked reads for sure, for it reads this."""
        return 2 if self.sketch else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a ledger holds in the ranges that differ.

    Small ranges come as ``claims``, large ones split into ``ranges``; what
    did not fit into one message is to be asked again (``rest``). About so
    many ``differences`` there are, if a sketch was too small for them.
    """

    id: str
    ranges: tuple[Range, ...] = ()
    claims: tuple[Claim, ...] = ()
    rest: tuple[Span, ...] = ()
    bad: tuple[BadClaim, ...] = ()
    differences: int = 0
    reads: int = 1
    """The newest version that who answers can read, sketches included."""


Message = Claims | Heartbeat | Compare | Answer


def claim_to_json(claim: Claim) -> Json:
    """Returns a claim as it stands in messages."""
    fields: Json = {"image": claim.uuid, "claimed_at": claim.claimed_at}
    if claim.wanted:
        fields["wanted"] = list(claim.wanted)
    if claim.kind:
        fields["kind"] = [claim.kind.at, claim.kind.kind.value]
    return fields


def claim_from_json(fields: Any, now: Stamp) -> Claim:
    """Reads a claim.

    :raises BadMessage: it is malformed, or its stamps are absurd.
    """
    limit = now + MAX_AHEAD
    try:
        uuid = fields["image"]
        image = image_key(uuid)
        wanted, kind = fields.get("wanted"), fields.get("kind")
        return Claim(
            claimed_at=stamp(fields["claimed_at"], limit, "claimed_at"),
            image=image,
            spelling=uuid if uuid != image else "",
            wanted=None if wanted is None else _wanted(wanted, limit),
            kind=None if kind is None else _seen_kind(kind, limit),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BadMessage(f"malformed claim: {reason[:200]}") from error
    except BadId as error:
        raise BadMessage(f"malformed claim: {error}") from error


def _wanted(value: Any, limit: Stamp) -> Wanted:
    at, number = value
    return Wanted(
        stamp(at, limit, "wanted_at"),
        integer(number, 1, DERIVED.stop, "wanted number"),
    )


def _seen_kind(value: Any, limit: Stamp) -> SeenKind:
    at, kind = value
    known = KINDS.get(kind) or Kind(kind)  # which says what is none
    return SeenKind(stamp(at, limit, "kind_at"), known)


def _claims_to_json(message: Claims) -> tuple[str, Json]:
    return "claims", {"claims": [claim_to_json(c) for c in message.claims]}


def _claims_from_json(fields: Json, now: Stamp) -> Claims:
    good, bad = _sort_claims(list_of(fields["claims"]), now)
    return Claims(claims=good, bad=bad)


def _sort_claims(
    items: Sequence[Any], now: Stamp
) -> tuple[tuple[Claim, ...], tuple[BadClaim, ...]]:
    good: list[Claim] = []
    bad: list[BadClaim] = []
    for item in items:
        try:
            good.append(claim_from_json(item, now))
        except BadMessage as error:
            if len(bad) < MAX_BAD:
                bad.append(BadClaim(reason=str(error), body=_written(item)))
    more = len(items) - len(good) - len(bad)
    if more:
        reason = f"{more} more malformed claims of one message, not kept"
        bad.append(BadClaim(reason=reason, body=b"", count=more))
    return tuple(good), tuple(bad)


def _written(item: Any) -> bytes:
    try:
        return json.dumps(item).encode()
    except RecursionError:
        return b""  # nested as no claim is


def _heartbeat_to_json(message: Heartbeat) -> tuple[str, Json]:
    signed = {"note": message.note, "statement": message.statement}
    return "heartbeat", {
        "until": message.until,
        "count": message.before.count,
        "sum": message.before.sum,
        "total": message.total.count,
        "total_sum": message.total.sum,
        "newest": message.newest,
        **(signed if message.note else {}),
        **({"sees": seen_to_json(message.sees)} if message.sees else {}),
    }


def _heartbeat_from_json(fields: Json, now: Stamp) -> Heartbeat:
    return Heartbeat(
        until=stamp(fields["until"], now + MAX_AHEAD, "until"),
        before=print_from_json(fields, "count", "sum"),
        total=print_from_json(fields, "total", "total_sum"),
        newest=integer(fields["newest"], 0, 2**63, "newest"),
        note=_signed(fields.get("note")),
        statement=_signed(fields.get("statement")),
        sees=seen_from_json(fields.get("sees")),
    )


def _signed(value: Any) -> str:
    """Reads a note; what is none spoils the rest of a heartbeat as little.

    Who has signed what is looked at by who keeps it.
    """
    fits = is_text(value) and len(value) <= MAX_SIGNED
    return value if fits else ""


def _compare_to_json(message: Compare) -> tuple[str, Json]:
    address = {"to": message.to, "until": message.until} if message.to else {}
    return "compare", {
        "id": message.id,
        "ranges": [range_to_json(r) for r in message.ranges],
        **address,
        **_reads_to_json(message.reads),
        **(
            {"sketch": sketch_to_json(message.sketch)}
            if message.sketch
            else {}
        ),
    }


def _reads_to_json(reads: int) -> Json:
    return {"reads": reads} if reads > 1 else {}


def _reads_from_json(fields: Json) -> int:
    return integer(fields.get("reads", 1), 1, 2**31, "reads")


def _compare_from_json(fields: Json, _now: Stamp) -> Compare:
    sketch = fields.get("sketch")
    return Compare(
        id=_id(fields["id"]),
        ranges=ranges_from_json(fields["ranges"], MAX_ASKED),
        to=str(fields.get("to", "")),
        until=integer(fields.get("until", 0), 0, 2**63, "until"),
        reads=_reads_from_json(fields),
        sketch=None if sketch is None else sketch_from_json(sketch),
    )


def _answer_to_json(message: Answer) -> tuple[str, Json]:
    differences = {"differences": message.differences}
    return "answer", {
        "id": message.id,
        "ranges": [range_to_json(r) for r in message.ranges],
        "claims": [claim_to_json(c) for c in message.claims],
        "rest": [span_to_json(span) for span in message.rest],
        **(differences if message.differences else {}),
        **_reads_to_json(message.reads),
    }


def _answer_from_json(fields: Json, now: Stamp) -> Answer:
    claims, bad = _sort_claims(list_of(fields["claims"]), now)
    return Answer(
        id=_id(fields["id"]),
        ranges=ranges_from_json(fields["ranges"], MAX_PARTS),
        claims=claims,
        rest=tuple(span_from_json(span) for span in list_of(fields["rest"])),
        bad=bad,
        differences=integer(
            fields.get("differences", 0), 0, 2**62, "differences"
        ),
        reads=_reads_from_json(fields),
    )


def _id(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID:
        raise BadMessage("the id is no text of at most 64 characters")
    return value


TO_JSON: dict[type, Callable[[Any], tuple[str, Json]]] = {
    Claims: _claims_to_json,
    Heartbeat: _heartbeat_to_json,
    Compare: _compare_to_json,
    Answer: _answer_to_json,
}
FROM_JSON: dict[str, Callable[[Json, Stamp], Message]] = {
    "claims": _claims_from_json,
    "heartbeat": _heartbeat_from_json,
    "compare": _compare_from_json,
    "answer": _answer_from_json,
}
