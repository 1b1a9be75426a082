"""Looking images up: which id each has, why, and what the sinks hold."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync.ledger import Ledger
from ec2map_sync.ledger.queries import Mapped
from ec2map_sync.outages import describe, said as answered
from ec2map_sync.rules.canaries import is_canary
from ec2map_sync.rules.claims import END, Bound, Claim, Span
from ec2map_sync.rules.ec2id import DERIVED, LEGACY
from ec2map_sync.rules.settle import Wish, wishes
from ec2map_sync.rules.stamps import iso, time_of
from ec2map_sync.sinks import Sink, found_for
from ec2map_sync.sinks.guests import GuestView
from ec2map_sync.sinks.instances import is_denied
from ec2map_sync.sinks.memory import MemoSilent
from ec2map_sync.sinks.nova import NovaSink

PAGE = 1000
"""Mappings read at a time."""

SAID = 10
"""Instances of an image that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a sink holds under an image's number.

    ``trouble`` says why that is not known.
    """

    sink: str
    uuid: str | None = None
    trouble: str | None = None

    @property
    def text(self) -> str | None:
        """The UUID; "unknown" if the sink does not answer."""
        return "unknown" if self.trouble else self.uuid


Step = tuple[str, str]
"""One step of an explanation: what it is about, and what there is to say."""


def find(ledger: Ledger, name: str | int) -> Mapped | None:
    """Looks up an image's key, or the number of an EC2 id."""
    if isinstance(name, int):
        return ledger.queries.by_number(name)
    return ledger.queries.by_image(name)


def held(sinks: Sequence[Sink], mapped: Mapped) -> list[Held]:
    """Reads what each sink holds for an image; waits for no dead one."""
    numbers = [] if mapped.number is None else [mapped.number]
    kind = mapped.claim.kind and mapped.claim.kind.kind
    found = []
    for sink in sinks:
        try:
            rows = sink.rows(numbers)
        except SQLAlchemyError as error:
            found.append(Held(sink=sink.name, trouble=answered(error)))
        else:
            uuid = found_for(rows, mapped.uuid, kind)
            found.append(Held(sink=sink.name, uuid=uuid))
    return found


def mappings(
    ledger: Ledger, after: Bound, *, moved: bool
) -> Iterator[list[Mapped]]:
    """Returns all mappings from a place on, a page at a time."""
    while page := ledger.queries.mappings(Span(after, END), PAGE, moved=moved):
        yield page
        after = page[-1].after


def divergent(page: Sequence[Mapped], sinks: Sequence[Sink]) -> set[str]:
    """Returns which images of a page some sink does not hold as settled."""
    numbers = [m.number for m in page if m.number is not None]
    wrong = set()
    for sink in sinks:
        there = {(row.number, row.uuid) for row in sink.rows(numbers)}
        wrong |= {
            m.claim.image
            for m in page
            if m.number is not None
            and (m.number, m.uuid) not in there
            and (m.claim.kind or not sink.needs_kind)
        }
    return wrong


def moves(ledger: Ledger, page: Sequence[Mapped]) -> list[tuple[str, str]]:
    """Says which moves the images of a page have made: UUID, and what."""
    found = ledger.queries.moves(m.claim.image for m in page)
    causes = ledger.claims({move.cause for move in found})
    claims = {m.claim.image: m.claim for m in page}
    said = []
    for move in found:
        claim = claims[move.image]
        old, new = claim.ec2_id(move.old), claim.ec2_id(move.new)
        cause = _cause(causes.get(move.cause), move.cause)
        if move.cause == move.image:
            cause = "its own claim"
        said.append(
            (
                claim.uuid,
                f"{old} became {new or 'nothing'} at {stamp(move.at)}, "
                f"because of {cause}",
            )
        )
    return said


class Explanation:
    """Why an image has the id that it has."""

    def __init__(
        self,
        ledger: Ledger,
        sinks: Sequence[Sink],
        mapped: Mapped,
        *,
        guests: Callable[[NovaSink], GuestView],
    ) -> None:
        self._ledger = ledger
        self._sinks = sinks
        self._guests = guests
        self._mapped = mapped
        self._claim = mapped.claim
        self._id = mapped.claim.ec2_id

    def steps(self) -> list[Step]:
        """Returns the steps in order."""
        return [
            *self._known(),
            *self._derivation(),
            *self._wanted(),
            *self._moves(),
            *self._in_sinks(),
        ]

    def _known(self) -> Iterator[Step]:
        claim, mapped = self._claim, self._mapped
        yield "image", f"{mapped.uuid} is {mapped.ec2_id or 'without an id'}"
        kind = "not known yet, so it reads as ami"
        if claim.kind:
            kind = f"{claim.kind.kind}, known since {stamp(claim.kind.at)}"
        yield "claim", f"made at {stamp(claim.claimed_at)}"
        yield "kind", kind

    def _derivation(self) -> Iterator[Step]:
        if is_canary(self._claim.image):
            yield "derivation", "none: it is a canary, which no sink gets"
            return
        scheme = self._ledger.scheme
        band = scheme.band
        key = "the hash_key" if scheme.hash_key else "an empty hash_key"
        yield (
            "derivation",
            f"BLAKE2b of {self._claim.image} with {key}, into the "
            f"numbers {band.first} to {band.stop - 1}; scheme "
            f"{scheme.fingerprint}",
        )
        wish = wishes(self._claim)[0]
        # Up to the number held; the next one is read only if need be.
        for attempt, number in enumerate(wish.choices(scheme)):
            holder = self._holder(number)
            where = f"{self._id(number)} (number {number})"
            yield f"probe {attempt}", f"{where}: {self._sitting(wish, holder)}"
            if holder is None or holder == wish:
                return

    def _holder(self, number: int) -> Wish | None:
        return self._ledger.queries.wishes([number]).get(number)

    def _sitting(self, wish: Wish, holder: Wish | None) -> str:
        if holder is None:
            return "nobody sits there"
        if holder == wish:
            return "is free for it, and held by it"
        rival = self._ledger.claims([holder.image]).get(holder.image)
        rank = "earlier" if holder < wish else "later"
        how = "adopted" if holder.wanted else "claimed"
        spelled = rival.uuid if rival else holder.image
        return f"held by {spelled}, which was {how} {rank}: {_at(holder)}"

    def _wanted(self) -> Iterator[Step]:
        wanted = self._claim.wanted
        if wanted is None:
            yield "wanted", "no existing id was adopted"
            return
        holder = self._holder(wanted.number)
        got = "it got that, and keeps the derived one in reserve"
        if self._mapped.number != wanted.number:
            got = "it did not get that"
            if holder:
                got += f": held by {holder.image}, {_at(holder)}"
        done = f"{self._id(wanted.number)} was adopted at {stamp(wanted.at)}"
        yield "wanted", f"{done}; {got}"

    def _moves(self) -> Iterator[Step]:
        found = moves(self._ledger, [self._mapped])
        for _, detail in found:
            yield "move", detail
        if not found:
            yield "moves", "never"

    def _in_sinks(self) -> Iterator[Step]:
        there = held(self._sinks, self._mapped)
        for sink, one in zip(self._sinks, there, strict=True):
            yield f"sink {one.sink}", self._holds(one)
            if not one.trouble:
                yield f"guest {one.sink}", self._guest(sink)
                if isinstance(sink, NovaSink):
                    yield from self._in_cell(self._guests(sink))

    def _holds(self, one: Held) -> str:
        if one.trouble:
            return f"not known: {one.trouble}"
        if self._mapped.number is None:
            return "nothing, as the image has no number"
        where = self._id(self._mapped.number)
        if one.uuid is None:
            return f"holds nothing under {where}: not written yet, or lost"
        if one.uuid == self._mapped.uuid:
            return f"holds {where} as settled"
        return f"holds {where} for another image: {one.uuid}"

    def _guest(self, sink: Sink) -> str:
        numbers = sink.numbers_of(self._mapped.uuid)
        if not numbers:
            return "no row: the first boot would make an id of its own"
        seen = numbers[0]
        others = [self._further(n) for n in numbers if n != seen]
        text = f"sees {self._id(seen)}"
        if seen != self._mapped.number:
            text += f", not as settled: {_origin(seen)}"
        if others:
            text += f"; further rows: {'; '.join(others)}"
        return text

    def _in_cell(self, view: GuestView) -> Iterator[Step]:
        name, image = view.sink.name, self._mapped.uuid
        if view.has_memos:
            try:
                text = self._memos(view.remembered([image]).get(image))
            except MemoSilent as error:
                text = f"not known: {error}"
            yield f"memo {name}", text
        try:
            if not view.sink.has_instances:
                return
            text = self._instances(view)
        except (SQLAlchemyError, MemoSilent) as error:
            text = f"not known: {describe(error, database='')}"
            if is_denied(error):
                text = f"not known: {view.sink.instances_grant}"
        yield f"instances {name}", text

    def _memos(self, found: set[int] | None) -> str:
        if not found:
            return "memcached remembers nothing, so that the rows count"
        ids = " or ".join(str(self._id(number)) for number in sorted(found))
        text = f"memcached remembers {ids}, which guests see"
        if found != {self._mapped.number}:
            text += ", not as settled"
        return text

    def _instances(self, view: GuestView) -> str:
        count = 0

        def add(more: int) -> None:
            nonlocal count
            count += more

        image = self._mapped.uuid
        found = [o for o in view.carriers(add, image) if o.image == image]
        if not found:
            return f"{count}, none of which carries another id"
        some = ", ".join(o.instance.uuid for o in found[:SAID])
        more = ", …" if len(found) > SAID else ""
        return f"{count}, of which {len(found)} carry another id: {some}{more}"

    def _further(self, number: int) -> str:
        if number == self._mapped.number:
            return f"{self._id(number)}, as settled"
        return f"{self._id(number)}, {_origin(number)}"


def stamp(at: int) -> str:
    """Writes a stamp so that even rivals' can be told apart."""
    return iso(time_of(at), exact=True)


def _at(wish: Wish) -> str:
    return stamp(wish.at)


def _cause(cause: Claim | None, image: str) -> str:
    if cause is None:
        return image
    return f"{cause.uuid}, claimed at {stamp(cause.claimed_at)}"


def _origin(number: int) -> str:
    if number in LEGACY:
        return "an id from before, which 'adopt' takes over"
    if number in DERIVED:
        return "another number of our band"
    return "an id that Nova has made on demand"
