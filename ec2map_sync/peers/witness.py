"""The witness: keeps what a peer signs of what it knew, moment by moment."""

import logging
from collections.abc import Callable

from ec2map_sync.ledger import Ledger
from ec2map_sync.ledger.statements import KnownStatement
from ec2map_sync.protocol import wire
from ec2map_sync.protocol.agreements import Terms, difference, superseding
from ec2map_sync.protocol.notes import BadNote, Note
from ec2map_sync.protocol.statements import (
    Position,
    Statement,
    contradiction,
    digest,
)
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.stamps import MAX_AHEAD, iso, time_of

LOG = logging.getLogger(__name__)


class Contradiction(BadNote):
    """A region contradicts what it has signed before."""


MOST_CURRENT = 1000
"""Moments that are remembered; notes of older ones are not superseded."""

LASTING = 3
"""Moments one after the other of which another note is no matter of time."""


class Witness:
    """Hears the notes and statements of one peer, and remembers the newest.

    What contradicts it is refused, until the peer goes on from there, or
    announces that its ledger was restored.
    """

    def __init__(
        self,
        ledger: Ledger,
        peer: wire.Trust,
        region: str,
        clock: Callable[[], Stamp],
    ) -> None:
        self._signatures = ledger.signatures
        self._statements = ledger.statements
        self._peer = peer
        self._region = region
        self._clock = clock
        self._heard = ("", "")
        self._moment: Stamp = 0
        """The newest that was heard of here."""
        self._unlike = 0
        """Moments one after the other of which we have signed another note."""
        self._current: set[Stamp] = set()
        """Moments of which the newest note is known: it was heard here, and
        no statement was missed since, which may have superseded it."""

    def hear(self, said: str, stated: str) -> None:
        """Keeps what a heartbeat brings, if that is new.

        :raises BadNote: the peer has not signed it, or contradicts itself.
        """
        if not said or (said, stated) == self._heard:
            return
        note, statement = self._trusted(said), self._trusted(stated)
        position = Position(
            statement=Statement.parse(statement.text),
            terms=Terms.parse(note.text),
        )
        self._require_fit(position)
        known = self._statements.of(self._peer.sender)
        if known is None or self._goes_on(known.position, position):
            self._look_back(position.terms.until)
            self._keep(position, note)
            self._statements.put(self._peer.sender, statement, note)
            self._note_current(known, position)
        self._heard = (said, stated)

    def _trusted(self, text: str) -> Note:
        """Returns a note with the peer's signature alone."""
        note, peer = Note.parse(text.encode()), self._peer
        if not note.signers((peer.sender, key) for key in peer.keys):
            raise BadNote(
                f"{peer.sender} has not signed it with a key that "
                f"[peer:{peer.sender}] public_keys lists"
            )
        own = (one for one in note.signatures if one.name == peer.sender)
        return Note(text=note.text, signatures=(next(own),))

    def _require_fit(self, position: Position) -> None:
        terms, statement = position.terms, position.statement
        if terms.scheme != self._peer.scheme:
            raise BadNote(f"it is of scheme {terms.scheme[:40]}")
        if terms.until >= self._clock() + MAX_AHEAD:
            raise BadNote("its moment is more than 24 h ahead of our clock")
        if statement.region != self._peer.sender:
            raise BadNote(f"{statement.region[:64]} states it")
        if statement.note != digest(terms.text):
            raise BadNote("its statement is about another note")

    def _goes_on(self, known: Position, said: Position) -> bool:
        """Returns whether it is newer than what is known.

        :raises Contradiction: it is neither that, nor what was known before.
        """
        peer, terms = self._peer.sender, said.terms
        kept = self._signatures.by(peer, terms.until)
        before = {kept.text, kept.former} if kept else {terms.text}
        is_old = (
            said.statement.place < known.statement.place
            and terms.until <= known.terms.until
        )
        if is_old and terms.text in before:
            return False  # messages may come twice
        same = Terms.parse(kept.text) if kept and kept.binds else None
        missed = terms.until not in self._current
        why = contradiction(known, said, same, missed=missed)
        if why:
            self._statements.refuse(peer, why)
            raise Contradiction(
                f"{why}; see there 'ec2map-sync agreement history'"
            )
        if said.statement.began > known.statement.began:
            LOG.info(
                "%s announces that its ledger is new, or was restored: what "
                "it signs begins anew",
                peer,
            )
            # It may not even know what it had signed, of moments to come
            # too, by a clock that was ahead.
            self._signatures.give_up(peer)
        return True

    def _note_current(
        self, known: KnownStatement | None, heard: Position
    ) -> None:
        before, now = known and known.position.statement, heard.statement
        follows = before and now.previous == digest(before.text)
        if not follows or len(self._current) > MOST_CURRENT:
            self._current.clear()
        self._current.add(heard.terms.until)

    def _look_back(self, until: Stamp) -> None:
        """Looks at a moment that is over, when the next one comes.

        Prints have 40 bits of a claim, and who looks for it finds two claims
        that have the same; the roots of notes have 256.
        """
        if until <= self._moment:
            return
        over, self._moment = self._moment, until
        signed = {one.region: one.text for one in self._signatures.of(over)}
        theirs, ours = signed.get(self._peer.sender), signed.get(self._region)
        wrong = None
        if theirs and ours:
            wrong = unlike(Terms.parse(ours), Terms.parse(theirs))
        self._unlike = self._unlike + 1 if wrong else 0
        if self._unlike == LASTING:
            LOG.warning(
                "%s has signed other notes than we, of as many images, at %d "
                "moments one after the other: %s; hold 'ec2map-sync ledger "
                "export' there against the same here",
                self._peer.sender,
                LASTING,
                wrong,
            )

    def _keep(self, position: Position, note: Note) -> None:
        (signature,) = note.signatures
        terms = position.terms
        former = self._signatures.put(terms.until, note.text, signature)
        if former:
            say_superseded(self._peer.sender, Terms.parse(former.text), terms)


def unlike(ours: Terms, theirs: Terms) -> str | None:
    """Returns in what notes differ that are of as many images.

    Of fewer, or more, they are while claims are on their way.
    """
    if ours.count != theirs.count:
        return None
    return difference(ours, theirs)


def say_superseded(region: str, former: Terms, terms: Terms) -> None:
    """Logs that a region has signed something else of a moment."""
    LOG.info(
        "%s has signed another note of %s, which supersedes the former: %s",
        region,
        iso(time_of(terms.until), exact=False),
        superseding(former, terms),
    )
