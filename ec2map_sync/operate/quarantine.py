"""Trying again what lies in the quarantine."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ec2map_sync.glance.notifications import sighted
from ec2map_sync.ledger import Ledger, Quarantined
from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import Believe, Claim
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.names import GLANCE, peer_of
from ec2map_sync.rules.selection import Selection


@dataclass(frozen=True, slots=True)
class Retrial:
    """Understands entries of the quarantine as if they came now."""

    _ledger: Ledger
    _trusted: Mapping[str, wire.Trust]
    _pen: wire.Pen
    _selection: Selection
    _believe: Believe

    def take(self, entry: Quarantined, *, dry_run: bool) -> str:
        """Tries an entry again; tells what has become of it.

        :raises BadMessage: it still cannot be understood or trusted.
        """
        if entry.source == GLANCE:
            return self._notification(entry, dry_run=dry_run)
        if entry.headers is not None:
            return self._message(entry, entry.headers, dry_run=dry_run)
        # It stood in a message that was signed, and was kept alone, or
        # together with others that were held.
        fields = _parse(entry)
        now = self._pen.clock()
        items = fields if isinstance(fields, list) else [fields]
        claims = [messages.claim_from_json(item, now) for item in items]
        return self._claims(claims, dry_run=dry_run)

    def _notification(self, entry: Quarantined, *, dry_run: bool) -> str:
        sighting = sighted(_parse(entry), self._selection)
        if sighting is None:
            return "it tells of no image that gets an id"
        if dry_run:
            return f"it would make image {sighting.uuid} known"
        news = self._ledger.see(self._believe([sighting])).news
        told = "is known now" if news else "was known already"
        return f"image {sighting.uuid} {told}"

    def _message(
        self, entry: Quarantined, headers: wire.Headers, *, dry_run: bool
    ) -> str:
        trusted = self._trusted
        peer = peer_of(entry.source)
        if peer is not None:
            trusted = {n: t for n, t in trusted.items() if n == peer}
        if not entry.whole:
            raise BadMessage("only its beginning was kept: it was too long")
        received = wire.decode(headers, entry.body, trusted, self._pen.clock())
        message = received.message
        if not isinstance(message, messages.Claims | messages.Answer):
            return "nobody waits for it any more"
        if message.bad:
            raise BadMessage(message.bad[0].reason)
        return self._claims(message.claims, dry_run=dry_run)

    def _claims(self, claims: Sequence[Claim], *, dry_run: bool) -> str:
        if dry_run:
            return f"{len(claims)} claims could be taken"
        news = self._ledger.record(claims).news
        return f"{len(claims)} claims, {news} of them news"


def _parse(entry: Quarantined) -> object:
    with suppress(ValueError, RecursionError):
        return json.loads(entry.body)
    raise BadMessage("it is no JSON, or was too long to be kept whole")
