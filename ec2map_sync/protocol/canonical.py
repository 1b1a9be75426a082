"""Claims and mapping entries as bytes: the same in every region, for ever.

A claim's line is what exports hold, and what agreement notes are hashed of.
Messages carry the same fields, and promise nothing about their spelling.
"""

import json

from ec2map_sync.protocol.messages import claim_from_json
from ec2map_sync.rules.claims import Claim, Stamp
from ec2map_sync.rules.errors import BadMessage


def line_of(claim: Claim) -> str:
    """Returns a claim as one line of JSON, without its end.

    Fields stand in this order, those that are not known are left out, and
    there is no space: all of it is ASCII that JSON need not escape.
    """
    wanted, kind = claim.wanted, claim.kind
    text = f'{{"image":"{claim.uuid}","claimed_at":{claim.claimed_at}'
    if wanted:
        text += f',"wanted":[{wanted.at},{wanted.number}]'
    if kind:
        text += f',"kind":[{kind.at},"{kind.kind.value}"]'
    return text + "}"


def claim_of_line(line: str, now: Stamp) -> Claim:
    """Reads a claim's line; ``now`` is our clock, which judges its stamps.

    :raises BadMessage: it is none, or not as `line_of` writes it.
    """
    try:
        claim = claim_from_json(json.loads(line), now)
    except (ValueError, RecursionError) as error:
        raise BadMessage("no JSON") from error
    if line_of(claim) != line:
        raise BadMessage("a claim, but not in its canonical form")
    return claim
