"""What recording some claims would do; nothing is written, nobody waits."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from ec2map_sync.ledger.known import Known, load_slots, look_up
from ec2map_sync.rules.claims import Claim, join
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.rules.settle import Board, wishes


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """That an image's number would change, and whose claim would do it."""

    claim: Claim
    old: int
    new: int | None
    cause: str


class Rehearsal:
    """Joins claims in memory, which grows with the news among them."""

    def __init__(self, connection: Connection, scheme: Scheme) -> None:
        self._connection = connection
        self._board = Board(scheme, partial(load_slots, connection))
        self._claims: dict[str, Claim] = {}
        self._known: dict[str, Known] = {}

    @property
    def news(self) -> int:
        """How many claims would be new, or known better."""
        return len(self._claims)

    def join(self, claims: Iterable[Claim]) -> None:
        """Joins claims of images that were not joined before."""
        heard = {claim.image: claim for claim in claims}
        known = look_up(self._connection, heard)
        for image, claim in heard.items():
            old = known[image].claim if image in known else None
            new = join(old, claim) if old else claim
            if new != old:
                self._claims[image] = new
                self._board.replace(wishes(old) if old else (), wishes(new))
        self._known |= {i: k for i, k in known.items() if i in self._claims}
        self._board.run()

    def moves(self) -> list[Moving]:
        """Returns which images would move, by their names."""
        images = self._board.images
        others = images - self._known.keys() - self._claims.keys()
        self._known |= look_up(self._connection, others)
        found = []
        for image in sorted(images & self._known.keys()):
            old = self._known[image].number
            claim = self._claims.get(image, self._known[image].claim)
            new = self._board.number_of(claim)
            if old is not None and old != new:
                cause = self._board.cause(claim, old)
                found.append(
                    Moving(claim=claim, old=old, new=new, cause=cause)
                )
        return found
