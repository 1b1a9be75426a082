"""What ledgers hold, read past the package and settled from scratch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ec2map_sync.rules.claims import Claim, SeenKind, Wanted, join_all
from ec2map_sync.rules.ec2id import Kind, Scheme
from ec2map_sync.rules.settle import settle

CLAIMS = (
    "SELECT image, spelling, claimed_at, wanted_at, wanted, kind_at, kind, "
    "number FROM claims"
)
"""Rows that `claim_of` reads; their last column is the image's number."""


def claim_of(row: Sequence[Any]) -> Claim:
    """Read a claim from a row of `CLAIMS`."""
    image, spelling, claimed_at, wanted_at, wanted, kind_at, kind = row[:7]
    return Claim(
        claimed_at=claimed_at,
        image=image,
        spelling=spelling or "",
        wanted=None if wanted_at is None else Wanted(wanted_at, wanted),
        kind=None if kind_at is None else SeenKind(kind_at, Kind(kind)),
    )


def numbers_in(rows: Iterable[Sequence[Any]]) -> dict[str, int]:
    """Return which numbers rows of `CLAIMS` give, by image."""
    return {row[0]: row[7] for row in rows if row[7] is not None}


def settled(
    claims: Iterable[Claim], scheme: Scheme
) -> tuple[dict[str, Claim], dict[str, int]]:
    """Join what several ledgers claim; return that, and the mapping."""
    common = join_all(claims)
    return common, settle(common.values(), scheme)


def differing(
    found: Mapping[Any, Any], wanted: Mapping[Any, Any], what: str
) -> Iterator[str]:
    """Say what is not as it should be, key by key."""
    for key in sorted(found.keys() | wanted.keys()):
        one, other = found.get(key), wanted.get(key)
        if one != other:
            yield f"{what} ({key}): {one}, and not {other}"
