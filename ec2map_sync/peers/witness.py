"""The witness: keeps what a peer signs of what it knew, moment by moment."""

import logging
from collections.abc import Callable

from ec2map_sync.ledger.signatures import Signatures
from ec2map_sync.protocol import wire
from ec2map_sync.protocol.agreements import Terms, superseding
from ec2map_sync.protocol.notes import BadNote, Note
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.stamps import MAX_AHEAD, iso, time_of

LOG = logging.getLogger(__name__)


class Witness:
    """Hears the notes of one peer."""

    def __init__(
        self,
        signatures: Signatures,
        peer: wire.Trust,
        clock: Callable[[], Stamp],
    ) -> None:
        self._signatures = signatures
        self._peer = peer
        self._clock = clock
        self._heard = ""

    def hear(self, said: str) -> None:
        """Keeps what a heartbeat brings, if that is new.

        :raises BadNote: it is none of the peer's.
        """
        if not said or said == self._heard:
            return
        note = Note.parse(said.encode())
        terms = Terms.parse(note.text)
        self._require_trust(note, terms)
        signature = next(
            one for one in note.signatures if one.name == self._peer.sender
        )
        former = self._signatures.put(terms.until, note.text, signature)
        self._heard = said
        if former:
            say_superseded(self._peer.sender, Terms.parse(former.text), terms)

    def _require_trust(self, note: Note, terms: Terms) -> None:
        peer = self._peer
        if not note.signers((peer.sender, key) for key in peer.keys):
            raise BadNote(
                f"{peer.sender} has not signed it with a key that "
                f"[peer:{peer.sender}] public_keys lists"
            )
        if terms.scheme != peer.scheme:
            raise BadNote(f"it is of scheme {terms.scheme[:40]}")
        if terms.until >= self._clock() + MAX_AHEAD:
            raise BadNote("its moment is more than 24 h ahead of our clock")


def say_superseded(region: str, former: Terms, terms: Terms) -> None:
    """Logs that a region has signed something else of a moment."""
    LOG.info(
        "%s has signed another note of %s, which supersedes the former: %s",
        region,
        iso(time_of(terms.until), exact=False),
        superseding(former, terms),
    )
