"""The Follower: hears one peer, and records what it claims."""

import logging
from collections.abc import Callable, Sequence

from kombu.message import Message

from ec2map_sync import wire
from ec2map_sync.bus import Inlet, body_of
from ec2map_sync.claims import Claim, Stamp
from ec2map_sync.errors import BadMessage
from ec2map_sync.ledger import Heartbeat, Ledger, Quarantined

LOG = logging.getLogger(__name__)

BATCH = 20
"""Messages recorded in one transaction: up to 10,000 claims."""


class Follower:
    """Reads our queue on a peer's broker, a batch to a transaction.

    Messages are acknowledged after their claims are committed: a crash
    between the two brings them again, and joining twice changes nothing.
    """

    def __init__(
        self,
        ledger: Ledger,
        inlet: Inlet,
        trust: wire.Trust,
        *,
        clock: Callable[[], Stamp],
        recorded: Callable[[], None],
        patience: float,
    ) -> None:
        self._ledger = ledger
        self._inlet = inlet
        self._trust = trust
        self._clock = clock
        self._recorded = recorded
        self._patience = patience

    def step(self) -> bool:
        """Take in what has come; waits a little if nothing has."""
        messages = self._inlet.read(BATCH, self._patience)
        if messages:
            self._take(messages)
            self._inlet.acknowledge(messages)
        return True

    def _take(self, messages: Sequence[Message]) -> None:
        claims: list[Claim] = []
        bad: list[Quarantined] = []
        heartbeat: Heartbeat | None = None
        for message in messages:
            body = body_of(message)
            try:
                received = wire.decode(
                    message.headers or {}, body, self._trust, self._clock()
                )
            except BadMessage as error:
                bad.append(self._quarantined(str(error), body))
                continue
            match received.message:
                case wire.Claims(claims=good, bad=rejected):
                    claims += good
                    bad += [
                        self._quarantined(b.reason, b.body) for b in rejected
                    ]
                case wire.Heartbeat():
                    heartbeat = self._heard(received, received.message)
        self._apply(claims, bad, heartbeat)

    def _apply(
        self,
        claims: Sequence[Claim],
        bad: Sequence[Quarantined],
        heartbeat: Heartbeat | None,
    ) -> None:
        if self._ledger.record(claims).news:
            self._recorded()
        if heartbeat:
            self._ledger.hear(heartbeat)
        if bad:
            self._ledger.quarantine(bad)
            LOG.warning(
                "%d messages or claims of %s are in quarantine: %s",
                len(bad),
                self._trust.sender,
                bad[-1].reason,
            )

    def _heard(
        self, received: wire.Received, message: wire.Heartbeat
    ) -> Heartbeat:
        return Heartbeat(
            peer=received.sender,
            received_at=self._clock(),
            sent_at=received.sent_at,
            until=message.until,
            before=message.before,
            total=message.total,
            newest=message.newest,
        )

    def _quarantined(self, reason: str, body: bytes) -> Quarantined:
        return Quarantined(
            source=f"peer:{self._trust.sender}", reason=reason, body=body
        )
