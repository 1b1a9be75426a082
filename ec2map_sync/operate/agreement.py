"""Notes of what a ledger knew at a moment, and proofs from them."""

from collections.abc import Callable, Iterable, Iterator

from ec2map_sync.ledger.snapshot import Snapshot
from ec2map_sync.operate.replay import Advance
from ec2map_sync.protocol.agreements import Proof, Terms, difference
from ec2map_sync.protocol.notes import BadNote, Note, sign
from ec2map_sync.rules.claims import BEGINNING, Bound, Span, Stamp
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.rules.merkle import Tree, path_of
from ec2map_sync.settings.values import Bus

EVERY = 60_000_000
SETTLED = 10_000_000
"""Microseconds: moments that everybody would choose, and for how long one
has to be over, so that all have heard of what was claimed before."""


def newest_moment(now: Stamp) -> Stamp:
    """Returns the newest moment that a note is made of, unless one is named.

    Regions that choose it within the same minute choose the same.
    """
    return (now - SETTLED) // EVERY * EVERY


class _Lines:
    """Goes through what was known before a moment, hashing on the way."""

    def __init__(
        self, snapshot: Snapshot, until: Stamp, advance: Advance
    ) -> None:
        self._snapshot = snapshot
        self._until = until
        self._advance = advance
        self._claims, self._mapping = Tree(), Tree()
        self._count = 0

    def pages(self) -> Iterator[list[bytes]]:
        """Returns the entries of the mapping."""
        for page in self._snapshot.entries(self._until):
            entries = [entry.encode() for _, entry in page]
            self._claims.extend(claim.encode() for claim, _ in page)
            self._mapping.extend(entries)
            self._count += len(page)
            self._advance(len(page))
            yield entries

    def terms(self) -> Terms:
        """Returns what a note says, after all pages."""
        return Terms(
            scheme=self._snapshot.scheme.fingerprint,
            until=self._until,
            count=self._count,
            claims=self._claims.root(),
            mapping=self._mapping.root(),
        )


def terms(snapshot: Snapshot, until: Stamp, advance: Advance) -> Terms:
    """Returns what a ledger knew before a moment."""
    lines = _Lines(snapshot, until, advance)
    for _ in lines.pages():
        pass
    return lines.terms()


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
    lines = _Lines(snapshot, until, advance)
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
