"""Notes of what a ledger knew at a moment, and proofs from them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ec2map_sync.ledger import Ledger
from ec2map_sync.ledger.roots import TermsTally
from ec2map_sync.ledger.signatures import NoteSignature, agreed_among
from ec2map_sync.ledger.snapshot import Snapshot
from ec2map_sync.operate.replay import Advance
from ec2map_sync.protocol.agreements import (
    Proof,
    Terms,
    difference,
    superseding,
)
from ec2map_sync.protocol.notes import BadNote, Note, sign
from ec2map_sync.rules.claims import BEGINNING, Bound, Span, Stamp
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.rules.merkle import path_of
from ec2map_sync.settings.values import Bus

LATELY = 10
"""Moments that are looked through for one that all have signed."""


def signed(found: Terms, bus: Bus, others: Iterable[Note] = ()) -> Note:
    """Returns the note of a moment, with our signature and those of others.

    :raises BadNote: another one's note does not say the same.
    :raises ConfigError: we have no key.
    """
    for other in others:
        wrong = difference(found, Terms.parse(other.text))
        if wrong:
            names = " and ".join(one.name for one in other.signatures)
            raise BadNote(f"{names} signed something else: {wrong}")
    if bus.key is None:
        raise ConfigError(
            "[bus] signing_key_file is missing: what notes are signed with"
        )
    signature = sign(found.text, bus.region, bus.key)
    note = Note(text=found.text, signatures=(signature,))
    return note.with_signatures(others)


def prove(
    snapshot: Snapshot,
    where: Bound,
    until: Stamp,
    signing: Callable[[Terms], Note],
    advance: Advance,
) -> Proof:
    """Returns the proof of the image whose claim stands at ``where``.

    It was claimed before the moment.
    """
    index = snapshot.counted(Span(BEGINNING, where))
    count = snapshot.counted(Span(BEGINNING, Bound(until)))
    lines = TermsTally(snapshot, until, advance)
    kept = b""

    def entries() -> Iterator[bytes]:
        nonlocal kept
        before = 0
        for page in lines.pages():
            if before <= index < before + len(page):
                kept = page[index - before]
            before += len(page)
            yield from page

    rest = entries()
    path = path_of(rest, index, count)
    for _ in rest:
        pass
    return Proof(
        entry=kept.decode(),
        index=index,
        path=tuple(path),
        note=signing(lines.terms()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryNote:
    """What some regions have signed of a moment, and who has not."""

    terms: Terms
    signed_by: tuple[str, ...]
    missing: tuple[str, ...]
    supersedes: str | None
    """In what it differs from a note that it has superseded."""

    @property
    def agreed(self) -> bool:
        """Whether all have signed it."""
        return not self.missing


def history(
    signatures: Iterable[NoteSignature], regions: Sequence[str]
) -> list[HistoryNote]:
    """Returns the notes that are kept, in order."""
    ordered = sorted(signatures, key=lambda one: (one.until, one.text))
    notes = []
    for (_, text), some in groupby(ordered, lambda s: (s.until, s.text)):
        terms, signers = Terms.parse(text), list(some)
        names = {one.region for one in signers}
        former = next((one.former for one in signers if one.former), None)
        notes.append(
            HistoryNote(
                terms=terms,
                signed_by=tuple(sorted(names)),
                missing=tuple(n for n in regions if n not in names),
                supersedes=former and superseding(Terms.parse(former), terms),
            )
        )
    return notes


def span_of(notes: Iterable[HistoryNote]) -> tuple[Stamp, Stamp] | None:
    """Returns since when and until when all have agreed last, if ever.

    It ends at the last moment that all have signed, and begins after the
    last one before it that they have not.
    """
    found: tuple[Stamp, Stamp] | None = None
    unbroken = False
    for moment, some in groupby(notes, lambda note: note.terms.until):
        agreed = any(note.agreed for note in some)
        if agreed:
            found = (found[0] if found and unbroken else moment, moment)
        unbroken = agreed
    return found


def notes_of(ledger: Ledger, bus: Bus) -> list[HistoryNote]:
    """Returns the notes that the ledger keeps, of all regions."""
    return history(ledger.signatures.latest(), regions_of(bus))


def regions_of(bus: Bus) -> list[str]:
    """Returns who has to sign: this region, and its peers."""
    return [bus.region, *(peer.name for peer in bus.peers)]


def last_agreed(ledger: Ledger, bus: Bus) -> Stamp | None:
    """Returns the last moment that all have signed the same of, lately."""
    lately = ledger.signatures.latest(LATELY)
    agreed = agreed_among(lately, regions_of(bus))
    return max((until for until, _ in agreed), default=None)


def signed_by_others(ledger: Ledger, found: Terms) -> list[Note]:
    """Returns what others have signed, if it says the same."""
    return [
        one.note
        for one in ledger.signatures.of(found.until)
        if one.text == found.text
    ]
