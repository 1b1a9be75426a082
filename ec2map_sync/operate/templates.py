"""Templates: what the ids in them stand for, here and in other regions."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile

from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync.ledger import Ledger
from ec2map_sync.ledger.queries import Mapped
from ec2map_sync.peers.asking import Asker
from ec2map_sync.rules.claims import EVERYTHING, Claim, join_all
from ec2map_sync.rules.ec2id import LEGACY, ON_DEMAND, Kind, parse_id
from ec2map_sync.rules.rows import SinkRow
from ec2map_sync.rules.settle import wishes
from ec2map_sync.sinks import Sink

OK = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What an id stands for here, and what is to be said of it."""

    verdict: str
    mapped: Mapped | None = None
    new: str | None = None
    """The id that belongs in its place."""

    @property
    def image(self) -> str | None:
        """The image's UUID, if it is known which one is meant."""
        return self.mapped.claim.uuid if self.mapped else None


Meanings = Mapping[str, Meaning]
"""What is known of each id."""


class TemplateView:
    """What a region knows of some ids: ledger, journal, and sinks' rows."""

    def __init__(
        self, ledger: Ledger, sinks: Iterable[Sink], ec2_ids: Iterable[str]
    ) -> None:
        self._ledger = ledger
        self._ids = sorted(set(ec2_ids))
        numbers = {parse_id(one)[1] for one in self._ids}
        some = sorted(n for n in numbers if 0 < n < ON_DEMAND.stop)
        self._former = ledger.queries.former(some)
        self._rows = defaultdict[int, list[tuple[str, SinkRow]]](list)
        self.silent: list[str] = []
        """Sinks that do not answer."""
        for sink in sinks:
            try:
                for row in sink.rows(some):
                    self._rows[row.number].append((sink.name, row))
            except SQLAlchemyError:
                self.silent.append(sink.name)

    def meanings(self) -> Meanings:
        """Tells what each of the ids means in this region."""
        return {one: self._meaning(*parse_id(one)) for one in self._ids}

    def _meaning(self, kind: Kind, number: int) -> Meaning:
        mapped = self._ledger.queries.by_number(number)
        if mapped is None:
            return self._old(number) or self._of_nova(kind, number)
        verdict, new = self._judged(mapped, kind, number)
        return Meaning(mapped=mapped, verdict=verdict, new=new)

    def _judged(
        self, mapped: Mapped, kind: Kind, number: int
    ) -> tuple[str, str | None]:
        """Returns the verdict on an id that is an image's, and a new one."""
        claim = mapped.claim
        for image in self._former.get(number, ()):
            if image != claim.image:
                return f"ambiguous: was the id of {image} before", None
        for sink, image in self._found(kind, number):
            if image != claim.image:
                return f"another image's in {sink}", None
        if claim.kind and claim.kind.kind is not kind:
            right = mapped.ec2_id
            return f"wrong kind: is {right}", right
        return OK, None

    def _old(self, number: int) -> Meaning | None:
        """Tells of an id that an image had before, or is reserved for."""
        queries = self._ledger.queries
        images = list(self._former.get(number, ()))
        images += [w.image for w in queries.wishes([number]).values()]
        for mapped in filter(None, map(queries.by_image, images)):
            new = mapped.ec2_id
            verdict = f"moved to {new}" if new else "moved: has no id now"
            return Meaning(mapped=mapped, verdict=verdict, new=new)
        return None

    def _found(self, kind: Kind, number: int) -> Iterator[tuple[str, str]]:
        """Returns which images have an id in sinks: sink, image."""
        for sink, row in self._rows[number]:
            if row.has_id_of(kind):
                yield sink, row.uuid.lower()

    def _of_nova(self, kind: Kind, number: int) -> Meaning:
        """Tells of an id that we have not given; sinks may hold it."""
        held = {image for _, image in self._found(kind, number)}
        by_image = self._ledger.queries.by_image
        mapped = by_image(held.pop()) if len(held) == 1 else None
        new = mapped.ec2_id if mapped else None
        verdict = "unknown"
        if number in ON_DEMAND:
            verdict = "on demand: nowhere else the same"
        elif number in LEGACY:
            verdict = "legacy: not adopted, so nowhere else the same"
        if new:
            verdict += f"; is {new}"
        return Meaning(mapped=mapped, verdict=verdict, new=new)


def compared(
    ledger: Ledger, asker: Asker, peer: str, meanings: Meanings
) -> Meanings:
    """Asks a peer whether ids that are in order here are so there.

    The same claims make the same ids, so claims are what is asked for.

    :raises PeerSilent: it does not answer.
    """
    mapped = [
        m.mapped for m in meanings.values() if m.mapped and m.verdict == OK
    ]
    rivals = {m.claim.image: _rivals(ledger, m) for m in mapped}
    ours = ledger.claims(rivals.keys() | set().union(*rivals.values()))
    theirs = join_all(asker.held(list(ours.values())))
    news: list[Claim] = []
    asker.pull(EVERYTHING, news.extend)
    theirs |= join_all([*theirs.values(), *news])
    moving = _moving(ledger, news)

    def differs(image: str) -> bool:
        claim = theirs.get(image)
        return claim is None or _counts(claim) != _counts(ours[image])

    def said(image: str) -> str:
        if image not in theirs:
            return f"not known in {peer}"
        if image in moving or any(map(differs, {image} | rivals[image])):
            return f"differs in {peer}"
        return OK

    return _with(meanings, said)


def _rivals(ledger: Ledger, mapped: Mapped) -> set[str]:
    """Returns which images sit where one, or these in turn, would rather."""
    claim, found = mapped.claim, set[str]()
    assert mapped.number is not None
    got_wanted = claim.wanted and claim.wanted.number == mapped.number
    waiting = [(w, mapped.number) for w in wishes(claim) if not got_wanted]
    while waiting:
        wish, seat = waiting.pop()
        better = takewhile(seat.__ne__, wish.choices(ledger.scheme))
        for at, holder in ledger.queries.wishes(better).items():
            if holder.image not in found:
                found.add(holder.image)
                waiting.append((holder, at))
    return found


def _moving(ledger: Ledger, news: Iterable[Claim]) -> set[str]:
    """Returns which images would move if these claims were recorded."""
    with ledger.snapshot() as snapshot:
        rehearsal = snapshot.rehearsal()
        rehearsal.join(join_all(news).values())
        return {moving.claim.image for moving in rehearsal.moves()}


def _counts(claim: Claim) -> tuple[int | None, Kind | None]:
    """Returns what of a claim makes the id, beside its image."""
    return (
        claim.wanted and claim.wanted.number,
        claim.kind and claim.kind.kind,
    )


def unasked(meanings: Meanings, peer: str) -> Meanings:
    """Tells that nobody knows whether ids are the same in a region."""
    return _with(meanings, lambda _image: f"not asked: {peer}")


def _with(meanings: Meanings, said: Callable[[str], str]) -> Meanings:
    """Gives a verdict to what was in order so far."""
    return {
        ec2_id: replace(one, verdict=said(one.mapped.claim.image))
        if one.mapped and one.verdict == OK
        else one
        for ec2_id, one in meanings.items()
    }
