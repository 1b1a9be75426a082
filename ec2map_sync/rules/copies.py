"""Copies: what is written down beside the claims, held against them.

The claims alone are the truth, and each has a hash that shows whether it is
as it was. Whatever else is stored (who sits on a number, who has gone by, an
image's number, totals) follows from them, and is there to be fast.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import product

from ec2map_sync.rules.claims import Claim, SeenKind, Stamp, Wanted
from ec2map_sync.rules.ec2id import Kind, Scheme, image_key
from ec2map_sync.rules.errors import BadId
from ec2map_sync.rules.settle import Board, Wish, wishes


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """Images and numbers of which copies seem to say something else."""

    images: frozenset[str] = frozenset()
    numbers: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.images or self.numbers)

    def __or__(self, other: "Suspects") -> "Suspects":
        return Suspects(
            images=self.images | other.images,
            numbers=self.numbers | other.numbers,
        )


def agrees(claim: Claim, number: int | None, board: Board) -> bool:
    """Returns whether the copies of an intact claim say what it says."""
    return (
        all(board.is_right(wish) for wish in wishes(claim))
        and board.number_of(claim) == number
    )


def sits(number: int, wish: Wish, claim: Claim, board: Board) -> bool:
    """Returns whether a wish, noted under a number, belongs there."""
    return wish in wishes(claim) and board.seat(wish) == number


def went_by(number: int, wish: Wish, claim: Claim, board: Board) -> bool:
    """Returns whether a wish that is said to have passed a number has."""
    return wish in wishes(claim) and passes(number, wish, board)


def passes(number: int, wish: Wish, board: Board) -> bool:
    """Returns whether a wish comes by a number on the way to its seat."""
    return number in board.walk(wish) and board.find(wish) != number


def is_credible(number: int, wish: Wish, scheme: Scheme) -> bool:
    """Returns whether a derived wish under a number can be a real one.

    Every image has one, whatever it wants besides; one that was made up
    hardly ever hits a number that its image derives.
    """
    try:
        image_key(wish.image)
    except BadId:
        return False
    return not wish.wanted and scheme.could_derive(wish.image, number)


def rebuilt(image: str, noted: Collection[Wish]) -> Claim:
    """Returns what wishes tell of a claim that is gone.

    Its stamp and its wanted number, and so the same number as before; the
    kind is to be learnt from peers, or from Glance.
    """
    derived = [wish.at for wish in noted if not wish.wanted]
    return Claim(claimed_at=min(derived), image=image, wanted=_wanted(noted))


def mended(
    claim: Claim,
    hash_: int,
    noted: Collection[Wish],
    stamps: Collection[Stamp],
) -> Claim:
    """Returns a claim that does not fit its hash as it was.

    Or, if none of what else is written down fits, what can be believed:
    joined with a peer's claim, it never wins by what was changed. ``stamps``
    are all that its row holds.
    """
    for candidate in _candidates(claim, noted, stamps):
        if candidate.hash == hash_:
            return candidate
    derived = [wish.at for wish in noted if not wish.wanted]
    at = min(derived, default=claim.claimed_at)
    # Before any stamp that a real one can have: the larger one joins.
    kind = SeenKind(at - 1, claim.kind.kind) if claim.kind else None
    same = claim.spelling.lower() == claim.image != claim.spelling
    return Claim(
        claimed_at=at,
        image=claim.image,
        spelling=claim.spelling if same else "",
        wanted=_wanted(noted) if derived else claim.wanted,
        kind=kind,
    )


def renamed(claim: Claim, hash_: int, noted: Collection[Wish]) -> Claim | None:
    """Returns the claim of another image that this row was; None if none."""
    for wish in noted:
        candidate = replace(claim, image=wish.image)
        if candidate.hash == hash_:
            return candidate
    return None


def _candidates(
    claim: Claim, noted: Collection[Wish], stamps: Collection[Stamp]
) -> Iterator[Claim]:
    claimed = {claim.claimed_at, *(w.at for w in noted if not w.wanted)}
    wanted = {claim.wanted, None, _wanted(noted)}
    seen = {SeenKind(at, k) for at in {*stamps, *claimed} for k in Kind}
    spellings = {claim.spelling, "", claim.image.upper()}
    for at, want, kind, spelling in product(
        claimed, wanted, {claim.kind, None, *seen}, spellings
    ):
        yield Claim(
            claimed_at=at,
            image=claim.image,
            spelling=spelling,
            wanted=want,
            kind=kind,
        )


def _wanted(noted: Collection[Wish]) -> Wanted | None:
    found = [Wanted(wish.at, wish.wanted) for wish in noted if wish.wanted]
    return min(found, default=None)
