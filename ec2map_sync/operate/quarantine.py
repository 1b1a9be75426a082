"""Trying again what lies in the quarantine."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from ec2map_sync.glance.notifications import sighted
from ec2map_sync.ledger import Ledger, Quarantined
from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.names import GLANCE, peer_of
from ec2map_sync.rules.selection import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """That an entry was understood this time, and what it has brought."""

    outcome: str


class Retrial:
    """Understands entries of the quarantine as if they came now."""

    def __init__(
        self,
        ledger: Ledger,
        trusted: Mapping[str, wire.Trust],
        pen: wire.Pen,
        selection: Selection,
    ) -> None:
        self._ledger = ledger
        self._selection = selection
        self._trusted = trusted
        self._pen = pen

    def take(self, entry: Quarantined, *, dry_run: bool) -> Taken:
        """Try an entry again.

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

    def _notification(self, entry: Quarantined, *, dry_run: bool) -> Taken:
        sighting = sighted(_parse(entry), self._selection)
        if sighting is None:
            return Taken(outcome="it tells of no image that gets an id")
        if dry_run:
            return Taken(outcome=f"it would make image {sighting.uuid} known")
        news = self._ledger.see([sighting]).news
        told = "is known now" if news else "was known already"
        return Taken(outcome=f"image {sighting.uuid} {told}")

    def _message(
        self, entry: Quarantined, headers: wire.Headers, *, dry_run: bool
    ) -> Taken:
        trusted = self._trusted
        peer = peer_of(entry.source)
        if peer is not None:
            trusted = {n: t for n, t in trusted.items() if n == peer}
        if not entry.whole:
            raise BadMessage("only its beginning was kept: it was too long")
        received = wire.decode(headers, entry.body, trusted, self._pen.clock())
        match received.message:
            case messages.Claims(claims=claims, bad=bad):
                pass
            case messages.Answer(claims=claims, bad=bad):
                pass
            case _:
                return Taken(outcome="nobody waits for it any more")
        if bad:
            raise BadMessage(bad[0].reason)
        return self._claims(claims, dry_run=dry_run)

    def _claims(
        self, claims: "list[Claim] | tuple[Claim, ...]", *, dry_run: bool
    ) -> Taken:
        if dry_run:
            return Taken(outcome=f"{len(claims)} claims could be taken")
        news = self._ledger.record(claims).news
        return Taken(outcome=f"{len(claims)} claims, {news} of them news")


def _parse(entry: Quarantined) -> object:
    with suppress(ValueError, RecursionError):
        return json.loads(entry.body)
    raise BadMessage("it is no JSON, or was too long to be kept whole")
