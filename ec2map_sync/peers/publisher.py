"""The Publisher: tells the peers what was claimed here, and what is held."""

import time
from collections.abc import Callable, Sequence

from ec2map_sync.ledger import PUBLISHING, Ledger, Reader
from ec2map_sync.ledger.statements import KnownStatement
from ec2map_sync.peers.bus import Outlet
from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.seen import MOST_SEEN, Seen
from ec2map_sync.protocol.signing import PublicKey
from ec2map_sync.running import counters
from ec2map_sync.sql.errors import again

SETTLED_AFTER = 3_000_000
"""Microseconds: claims older than this have reached every live peer."""


class Publisher:
    """Publishes own new claims in batches, and heartbeats between them."""

    def __init__(
        self,
        ledger: Ledger,
        outlet: Outlet,
        pen: wire.Pen,
        *,
        batch_size: int,
        heartbeat_interval: float,
        sees: Callable[[], Sequence[Seen]] = lambda: (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._outlet = outlet
        self._pen = pen
        self._batch_size = batch_size
        self._interval = heartbeat_interval
        self._sees = sees
        self._monotonic = monotonic
        self._beaten_at: float | None = None  # at once after a start

    @again
    def step(self) -> bool:
        """Publishes what is new; True if there may be more."""
        due = self._is_due()
        # Before the cursor is held: who holds it asks for no second session.
        sees = self._sees() if due else ()
        with self._ledger.cursors.reader(PUBLISHING) as reader:
            if reader is None:
                return False  # another host publishes
            if due:
                self._beat(reader, sees)
            claims, upto = reader.own_claims(self._batch_size)
            for start in range(0, len(claims), self._batch_size):
                some = claims[start : start + self._batch_size]
                self._send("claims", messages.Claims(claims=tuple(some)))
            if claims:
                # After the broker has confirmed: a crash between the two
                # publishes twice, and joining twice changes nothing.
                reader.advance(upto)
                counters.PUBLISHED.add(len(claims))
        if due:
            self._ledger.cursors.drop_published()
        self._outlet.pump()
        return len(claims) >= self._batch_size

    def _is_due(self) -> bool:
        since = self._beaten_at
        return since is None or self._monotonic() - since >= self._interval

    def _beat(self, reader: Reader, sees: Sequence[Seen]) -> None:
        now = self._monotonic()
        until = self._pen.clock() - SETTLED_AFTER
        head, before = reader.print_before(until)
        signed = self._signed(reader)
        self._send(
            "heartbeat",
            messages.Heartbeat(
                until=until,
                before=before,
                total=head.total,
                newest=head.last_stamp,
                note=str(signed.note) if signed else "",
                statement=str(signed.statement) if signed else "",
                sees=tuple(sees[:MOST_SEEN]),
            ),
        )
        self._beaten_at = now

    def _signed(self, reader: Reader) -> KnownStatement | None:
        """Returns what we have signed last, with the key that we have.

        Peers need not know that of before any more.
        """
        pen, last = self._pen, reader.last_signed(self._pen.region)
        if last is None or pen.key is None:
            return None
        ours = (pen.region, PublicKey(pen.key.public))
        return last if last.note.signers([ours]) else None

    def _send(self, routing_key: str, message: messages.Message) -> None:
        self._outlet.send(routing_key, *wire.encode(message, self._pen))
