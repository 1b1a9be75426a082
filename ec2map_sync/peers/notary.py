"""The notary: signs what its ledger knew, of the moments that all choose."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from operator import attrgetter

from ec2map_sync.ledger import Ledger
from ec2map_sync.ledger.roots import Roots
from ec2map_sync.ledger.signatures import HOUR, NoteSignature
from ec2map_sync.peers.witness import say_superseded
from ec2map_sync.protocol import wire
from ec2map_sync.protocol.agreements import Terms, newest_moment
from ec2map_sync.protocol.notes import BadNote, Note, sign
from ec2map_sync.protocol.signing import PublicKey
from ec2map_sync.protocol.statements import (
    Position,
    Statement,
    first,
    lacks,
)
from ec2map_sync.rules.claims import Print, Stamp
from ec2map_sync.rules.names import NOTARY
from ec2map_sync.rules.stamps import iso, time_of

LOG = logging.getLogger(__name__)

LATELY = 3600.0
OFTEN = 3
"""How often a region may have lost something within so many seconds. Two
ledgers that both sign with its key would take turns: that is to stay refused.
"""


class Notary:
    """Signs each moment once, and again what late claims have changed.

    ``interval`` is that between moments, in seconds. Before the newest note
    gives way to an older one, all had ``pause`` seconds to hear of it.
    """

    def __init__(
        self,
        ledger: Ledger,
        pen: wire.Pen,
        peers: Sequence[str],
        *,
        interval: int,
        pause: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._pen = pen
        self._regions = (pen.region, *peers)
        self._interval = interval
        self._pause = pause
        self._monotonic = monotonic
        self._signed_at = float("-inf")
        self._known: dict[Stamp, Print] = {}
        """What there was before the newest moment when it was signed."""
        self._roots = Roots()
        self._newest: Stamp = 0
        self._hour: Stamp | None = None
        """The full hour that is still to be looked at."""
        self._thinned: int | None = None
        self._stated: tuple[Stamp, int] = (0, 0)
        self._losses: list[float] = []
        """When peers lately held against us what this ledger had lost."""

    def step(self) -> None:
        """Signs what is to be signed now, unless another host does."""
        with self._ledger.cursors.reader(str(NOTARY)) as reader:
            if reader is None:
                return
            until = newest_moment(self._pen.clock(), self._interval)
            if self._signed(until) is None:
                self._sign(until)
                self._thin(until)
                self._hour = until // HOUR * HOUR
            elif self._monotonic() - self._signed_at >= self._pause:
                self._look_again(until)

    def _signed(self, until: Stamp) -> Terms | None:
        """Returns what we have signed of a moment."""
        signed = self._ledger.signatures.by(self._pen.region, until)
        return Terms.parse(signed.text) if signed else None

    def _look_again(self, until: Stamp) -> None:
        """Signs anew where something older than a moment has come since.

        That is looked for all the time at the newest one, and at the last
        full hour once after each.
        """
        _, before = self._ledger.print_before(until)
        if self._known.setdefault(until, before) != before:
            self._sign(until)
        elif self._hour is not None:
            hour, self._hour = self._hour, None
            signed = self._signed(hour)
            _, before = self._ledger.print_before(hour)
            if signed and signed.count != before.count:
                self._sign(hour)

    def _sign(self, until: Stamp) -> None:
        _, before = self._ledger.print_before(until)
        # The roots are of one moment after another.
        roots = self._roots if until >= self._newest else Roots()
        self._newest = max(until, self._newest)
        with self._ledger.snapshot() as snapshot:
            found = roots.terms(snapshot, until)
        self._known = {until: before}
        self._signed_at = self._monotonic()
        if self._signed(until) == found:
            return
        note = self._note(found.text)
        former = self._ledger.signatures.put(
            until, note.text, note.signatures[0]
        )
        self._state(note, found, former)
        if former:
            say_superseded(self._pen.region, Terms.parse(former.text), found)

    def _note(self, text: str) -> Note:
        assert self._pen.key is not None
        signature = sign(text, self._pen.region, self._pen.key)
        return Note(text=text, signatures=(signature,))

    def _state(
        self, note: Note, found: Terms, former: NoteSignature | None
    ) -> None:
        """States what is signed, after what was signed before."""
        region, length = self._pen.region, self._ledger.head().revision
        known = self._ledger.statements.of(region)
        last = known.position.statement if known else None
        lost = self._lost(last)
        if (
            known is None
            or lost
            or self._begins_anew(known.position, found, former)
        ):
            began = self._beginning(last, lost)
            made = first(region, began, length=length, text=note.text)
        else:
            made = known.position.statement.next(
                length=length,
                text=note.text,
                former=former.text if former else None,
            )
        self._ledger.statements.put(region, self._note(made.text), note)
        self._stated = made.place

    def _beginning(self, *before: Statement | None) -> Stamp:
        """Returns a time by our clock, but after all beginnings so far."""
        return max([self._pen.clock(), *(s.began + 1 for s in before if s)])

    def _lost(self, known: Statement | None) -> Statement | None:
        """Returns the newest that was stated and that this ledger lacks.

        It was restored, and nobody noticed; or by a clock that was set back,
        it announced a beginning before the one that peers know. Either way
        they refuse what follows, and say what we had signed.
        """
        held = (s for s in self._held() if known is None or lacks(known, s))
        lost = max(held, key=attrgetter("place"), default=None)
        return lost if lost and self._goes_after(lost) else None

    def _goes_after(self, lost: Statement) -> bool:
        """Tells of what was lost; False if that was the case too often.

        Two ledgers with one key would take turns for ever.
        """
        now = self._monotonic()
        self._losses = [at for at in self._losses if now - at < LATELY]
        if len(self._losses) == OFTEN:
            return False
        self._losses.append(now)
        LOG.warning(
            "peers know what was signed here, and this ledger has lost it: "
            "statement %d of %s; what is signed begins anew, see 'ec2map-sync "
            "agreement history'",
            lost.serial,
            iso(time_of(lost.began), exact=False),
        )
        return True

    def _held(self) -> Iterator[Statement]:
        """Gives what peers hold against us, if we have signed it."""
        for state in self._ledger.journal.peer_states().values():
            for view in state.views:
                if view.name == self._pen.region and view.holds:
                    with suppress(BadNote):
                        yield self._own(view.holds)

    def _own(self, said: str) -> Statement:
        assert self._pen.key is not None
        note, key = Note.parse(said.encode()), PublicKey(self._pen.key.public)
        if not note.signers([(self._pen.region, key)]):
            raise BadNote("it is not signed with our key")
        return Statement.parse(note.text)

    def _begins_anew(
        self, known: Position, found: Terms, former: NoteSignature | None
    ) -> bool:
        """Returns whether this goes on from something else than was stated.

        The ledger was restored while we looked at it; or somebody had
        changed it, it was put right after we signed that, and knows fewer
        images. Without a word that would look like a loss, for as long as no
        more come.
        """
        if known.statement.place < self._stated:
            return True
        signed = Terms.parse(former.text) if former else known.terms
        if found.until < signed.until or found.count >= signed.count:
            return False
        return (self._ledger.copies.state().last_found_at or 0) > signed.until

    def _thin(self, until: Stamp) -> None:
        if until // HOUR != self._thinned:
            self._ledger.signatures.thin(until, self._regions)
            self._thinned = until // HOUR
