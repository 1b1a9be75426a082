"""Claims and mapping entries as bytes: the same in every region, for ever.

A claim's line is what exports hold, and what agreement notes are hashed of.
Messages carry the same fields, and promise nothing about their spelling.
"""

import json

from ec2map_sync.protocol.messages import claim_from_json
from ec2map_sync.rules.claims import Claim, Stamp
from ec2map_sync.rules.errors import BadMessage

FOREVER = 2**63
"""No stamp comes later."""


def line(
    uuid: str,
    claimed_at: Stamp,
    wanted: tuple[Stamp, int] | None,
    kind: tuple[Stamp, str] | None,
    until: Stamp = FOREVER,
) -> str:
    """Returns what was known of an image before a stamp as one line of JSON.

    Without its end. Fields stand in this order, those that are not known
    are left out, and there is no space: all of it is ASCII that JSON need
    not escape.
    """
    text = f'{{"image":"{uuid}","claimed_at":{claimed_at}'
    if wanted and wanted[0] < until:
        text += f',"wanted":[{wanted[0]},{wanted[1]}]'
    if kind and kind[0] < until:
        text += f',"kind":[{kind[0]},"{kind[1]}"]'
    return text + "}"


def line_of(claim: Claim) -> str:
    """Returns all that is known by a claim as a line."""
    return line(claim.uuid, claim.claimed_at, claim.wanted, claim.kind)


def entry(claim_line: str, number: int | None) -> str:
    """Returns the line of a claim, and the number that its image has."""
    shown = "null" if number is None else number
    return f'{claim_line[:-1]},"number":{shown}}}'


def claim_of_line(text: str, now: Stamp) -> Claim:
    """Reads a claim's line; ``now`` is our clock, which judges its stamps.

    :raises BadMessage: it is none, or not as `line_of` writes it.
    """
    try:
        claim = claim_from_json(json.loads(text), now)
    except (ValueError, RecursionError) as error:
        raise BadMessage("no JSON") from error
    if line_of(claim) != text:
        raise BadMessage("a claim, but not in its canonical form")
    return claim
