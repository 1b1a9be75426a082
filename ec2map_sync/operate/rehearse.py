"""What would happen if ledgers joined: told from their exports, offline."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ec2map_sync.rules.claims import Claim, join_all
from ec2map_sync.rules.ec2id import Scheme, format_id
from ec2map_sync.rules.rows import Numbered, SinkRow
from ec2map_sync.rules.settle import settle
from ec2map_sync.sinks import Plan, plan


class Happening(StrEnum):
    """What a line of a rehearsal is about."""

    SCHEME = "scheme"
    """Ids are derived otherwise: all of them would be others."""
    MOVE = "move"
    """An id in use in a region would be another number."""
    KIND = "kind"
    """An id in use in a region would have another prefix."""
    COLLISION = "collision"
    """Two images have one number, each in a region of its own."""
    ADOPTION = "adoption"
    """Two ids were adopted for one image, each in a region of its own."""
    CONTENT = "same content"
    """An image of another region holds the same, under another UUID."""
    REMOVED = "row removed"
    """The Writer would remove or replace a row of ours in a sink."""
    TAKEN = "row taken"
    """Somebody's row would keep ours from being written: divergence."""


CHANGES = frozenset({Happening.SCHEME, Happening.MOVE, Happening.KIND})
"""By which an id in use becomes another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """One thing that would happen."""

    what: Happening
    image: str | None = None
    id: str | None = None
    beside: str | None = None
    """In which region, because of which image, or in which sink."""
    then: str | None = None
    """What the id would be."""


_UNKNOWN: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Side:
    """A ledger before it joins, and what is settled there."""

    claims: Mapping[str, Claim]
    mapping: Mapping[str, int]
    contents: Mapping[str, str] = field(default_factory=dict)
    """What images' contents hash to, as far as that is known."""

    @classmethod
    def of(
        cls,
        claims: Mapping[str, Claim],
        scheme: Scheme,
        contents: Mapping[str, str] = _UNKNOWN,
    ) -> "Side":
        """Settles a ledger."""
        return cls(claims, settle(claims.values(), scheme), contents)

    def ec2_id(self, image: str) -> str | None:
        """Returns the id of an image; None if it has none here."""
        claim = self.claims.get(image)
        return claim.ec2_id(self.mapping.get(image)) if claim else None

    def numbered(self) -> dict[int, Numbered]:
        """Returns what sinks should hold, by number."""
        return {
            number: Numbered(
                number=number,
                uuid=self.claims[image].uuid,
                kind=kind.kind if (kind := self.claims[image].kind) else None,
            )
            for image, number in self.mapping.items()
        }


@dataclass(frozen=True, slots=True)
class Joining:
    """Ledgers, by region, and what they would be together."""

    scheme: Scheme
    sides: Mapping[str, Side]
    together: Side = field(init=False)

    def __post_init__(self) -> None:
        claims = join_all(
            c for side in self.sides.values() for c in side.claims.values()
        )
        object.__setattr__(self, "together", Side.of(claims, self.scheme))

    def foreseen(self) -> Iterator[Foreseen]:
        """Returns what would happen to ids, by regions and images."""
        for region, side in self.sides.items():
            for image in sorted(side.mapping):
                yield from self._of_image(region, side, image)
        yield from self._collisions()
        yield from self._adoptions()
        yield from self._contents()

    def _of_image(
        self, region: str, side: Side, image: str
    ) -> Iterator[Foreseen]:
        before, then = side.ec2_id(image), self.together.ec2_id(image)
        if before == then:
            return
        moved = side.mapping[image] != self.together.mapping.get(image)
        yield Foreseen(
            what=Happening.MOVE if moved else Happening.KIND,
            image=side.claims[image].uuid,
            id=before,
            beside=region,
            then=then,
        )

    def _collisions(self) -> Iterator[Foreseen]:
        images: dict[int, set[str]] = defaultdict(set)
        for side in self.sides.values():
            for image, number in side.mapping.items():
                images[number].add(image)
        for number, rivals in sorted(images.items()):
            winners = [
                i for i in rivals if self.together.mapping.get(i) == number
            ]
            for image in sorted(rivals.difference(winners)):
                claim = self.together.claims[image]
                if len(rivals) > 1:
                    yield Foreseen(
                        what=Happening.COLLISION,
                        image=claim.uuid,
                        id=claim.ec2_id(number),
                        beside=(winners or sorted(rivals - {image}))[0],
                        then=self.together.ec2_id(image),
                    )

    def _adoptions(self) -> Iterator[Foreseen]:
        for region, side in self.sides.items():
            for image, claim in sorted(side.claims.items()):
                kept = self.together.claims[image].wanted
                wanted = claim.wanted
                if wanted and kept and wanted.number != kept.number:
                    yield Foreseen(
                        what=Happening.ADOPTION,
                        image=claim.uuid,
                        id=claim.ec2_id(wanted.number),
                        beside=region,
                        then=self.together.ec2_id(image),
                    )

    def _contents(self) -> Iterator[Foreseen]:
        """Tells of each image one that holds the same, in another region."""
        places: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for region, side in sorted(self.sides.items()):
            for image, content in sorted(side.contents.items()):
                places[content].append((region, image))
        for same in places.values():
            for region, image in same:
                others = (
                    (other, peer)
                    for peer, other in same
                    if peer != region and other != image
                )
                if twin := next(others, None):
                    yield self._twin(region, image, *twin)

    def _twin(
        self, region: str, image: str, other: str, peer: str
    ) -> Foreseen:
        side, there = self.sides[region], self.sides[peer]
        return Foreseen(
            what=Happening.CONTENT,
            image=side.claims[image].uuid,
            id=side.ec2_id(image),
            beside=f"{there.claims[other].uuid} of {peer}",
            then=there.ec2_id(other),
        )

    def steps(self, region: str, rows: Iterable[SinkRow]) -> Plan:
        """Returns what joining makes the Writer do in a cell of a region.

        Rows under adopted ids are taken for Nova's own, which stay.
        """
        side = self.sides[region]
        before, after = side.numbered(), self.together.numbered()
        changed = [
            after.get(n) or Numbered(number=n, uuid=None)
            for n in sorted(before.keys() | after.keys())
            if _row(before.get(n)) != _row(after.get(n))
        ]
        return plan(
            {row.number: row for row in rows},
            changed,
            is_ours=lambda r: self.scheme.could_derive(r.uuid, r.number),
            rewrite=False,
        )

    def foreseen_in(
        self, region: str, sink: str, steps: Plan
    ) -> Iterator[Foreseen]:
        """Returns what would happen to rows of a sink that are there."""
        then = {row.number: row.uuid for row in steps.add}
        holders = self.together.numbered()
        for row in steps.remove:
            yield Foreseen(
                what=Happening.REMOVED,
                image=row.uuid,
                id=format_id(row.number, row.kind),
                beside=f"{sink} of {region}",
                then=then.get(row.number),
            )
        for row in steps.taken:
            yield Foreseen(
                what=Happening.TAKEN,
                image=holders[row.number].uuid,
                id=format_id(row.number, holders[row.number].kind),
                beside=f"{sink} of {region}",
                then=row.uuid,
            )


def _row(numbered: Numbered | None) -> str | None:
    return numbered.uuid if numbered else None
