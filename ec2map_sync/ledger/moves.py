"""Moves: images whose number has changed."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ec2map_sync.ledger.known import Known
from ec2map_sync.rules.claims import Claim

LOG = logging.getLogger(__name__)

MOVES_SAID = 20
"""Moves of one transaction that are logged one by one: an adoption may move
every image there is."""


def moves_of(
    before: Mapping[str, Known],
    after: Mapping[str, Known],
    cause: Callable[[Claim, int], str],
) -> list[dict[str, Any]]:
    """Returns which images have lost the number that they had, and to whom."""
    return [
        {
            "image": image,
            "old": old.number,
            "new": new.number,
            "cause": cause(new.claim, old.number),
        }
        for image, new in after.items()
        if (old := before.get(image))
        and old.number is not None
        and old.number != new.number
    ]


def changed_numbers(
    before: Mapping[str, Known], after: Mapping[str, Known]
) -> set[int]:
    """Returns the numbers of which a sink would write something else."""
    changed: set[int | None] = set()
    for image, new in after.items():
        old = before.get(image)
        if old is None:
            changed.add(new.number)
        elif (old.number, old.uuid, old.claim.kind) != (
            new.number,
            new.uuid,
            new.claim.kind,
        ):
            changed |= {old.number, new.number}
    return {number for number in changed if number is not None}


def renamed(
    before: Mapping[str, Known], after: Mapping[str, Known]
) -> list[dict[str, Any]]:
    """Returns which images have got another kind, and so another id.

    By their own claim. That a kind becomes known is no change.
    """
    return [
        {"image": image, "old": new.number, "cause": image}
        for image, new in after.items()
        if (old := before.get(image))
        and old.number == new.number is not None
        and old.claim.kind
        and new.claim.kind
        and old.claim.kind.kind != new.claim.kind.kind
    ]


def say(
    moves: Sequence[Mapping[str, Any]], known: Mapping[str, Known]
) -> None:
    """Logs what has moved: somebody may have booted by the old id."""
    for move in moves[:MOVES_SAID]:
        claim = known[move["image"]].claim
        LOG.warning(
            "image %s has moved from %s to %s, because of the claim of %s",
            known[move["image"]].uuid,
            claim.ec2_id(move["old"]),
            claim.ec2_id(move["new"]) or "no id",
            "itself" if move["cause"] == move["image"] else move["cause"],
        )
    more = len(moves) - MOVES_SAID
    if more > 0:
        LOG.warning("%d more: see 'ec2map-sync list --moved'", more)
