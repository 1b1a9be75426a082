"""What a ledger knew at a moment: the terms of a note, from its rows."""

from collections.abc import Callable, Iterator

from ec2map_sync.ledger.snapshot import Snapshot
from ec2map_sync.protocol.agreements import Terms
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.merkle import Tree


class TermsTally:
    """Goes through what was known before a moment, hashing on the way."""

    def __init__(
        self, snapshot: Snapshot, until: Stamp, advance: Callable[[int], None]
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


def terms(
    snapshot: Snapshot,
    until: Stamp,
    advance: Callable[[int], None] = lambda _: None,
) -> Terms:
    """Returns what a ledger knew before a moment."""
    lines = TermsTally(snapshot, until, advance)
    for _ in lines.pages():
        pass
    return lines.terms()
