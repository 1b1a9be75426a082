"""Claims and mapping entries as bytes: the same in every region, for ever.

A claim's line is what exports hold, and what agreement notes are hashed of.
Messages carry the same fields, and promise nothing about their spelling.
"""

import json
import re

from ec2map_sync.protocol.messages import claim_from_json
from ec2map_sync.rules.claims import Claim, Stamp
from ec2map_sync.rules.errors import BadMessage

# A claim's line is put together of these; databases fill them in as well.
OPEN = '{"image":"%s","claimed_at":%s'
WANTED = ',"wanted":[%s,%s]'
KIND = ',"kind":[%s,"%s"]'
CLOSE = "}"
NUMBER = ',"number":%s}'

_CONTENT = ',"os_hash":"'
_HASH = re.compile(r"[a-z0-9_]{1,20}:[0-9a-f]{32,256}")

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
    text = OPEN % (uuid, claimed_at)
    if wanted and wanted[0] < until:
        text += WANTED % wanted
    if kind and kind[0] < until:
        text += KIND % kind
    return text + CLOSE


def line_of(claim: Claim) -> str:
    """Returns all that is known by a claim as a line."""
    return line(claim.uuid, claim.claimed_at, claim.wanted, claim.kind)


def with_content(claim_line: str, content: str | None) -> str:
    """Returns the line of a claim, and what its image's content hashes to.

    That is no part of the claim: exports tell it, where Glance has.
    """
    if content is None:
        return claim_line
    return f'{claim_line[:-1]}{_CONTENT}{content}"}}'


def without_content(text: str) -> tuple[str, str | None]:
    """Parts what `with_content` has joined.

    :raises BadMessage: what stands there is no hash.
    """
    start, told, rest = text.partition(_CONTENT)
    content = rest.removesuffix('"}')
    if not told:
        return text, None
    if not _HASH.fullmatch(content):
        raise BadMessage("os_hash is no algorithm, and what it gives")
    return f"{start}}}", content


def entry(claim_line: str, number: int | None) -> str:
    """Returns the line of a claim, and the number that its image has."""
    shown = "null" if number is None else number
    return claim_line[: -len(CLOSE)] + NUMBER % shown


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
