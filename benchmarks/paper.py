"""What a cloud of many regions costs, on paper.

A plan, what a claim costs by our measurements, and formulas. `played_cloud.py`
plays the same, and a test holds one against the other.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, log

from ec2map_sync.peers.agreement import (
    MOST_PATIENT_HEARTBEATS,
    PATIENT_HEARTBEATS,
)
from ec2map_sync.peers.compare import SMALL
from ec2map_sync.peers.publisher import SETTLED_AFTER
from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import Claim, Print, SeenKind
from ec2map_sync.rules.ec2id import Kind

DAY = 86_400.0
MICROSECONDS = 1_000_000
SIGNATURE = len("signature") + 88
"""Bytes of a header that needs no signing to be counted."""

STATEMENTS = 5
"""To ask, to answer with parts, and to look at an answer, by both sides."""

COMPARE_BYTES = 1800
"""Of such a question and its answer: half of 32 parts, a few claims."""

NOW = 1_800_000_000 * MICROSECONDS


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds, as measured on two cores; now less (doc/source/scale.rst)."""

    transaction: float = 4e-3
    """Of a ledger, for whatever is recorded at once."""
    claim: float = 50e-6
    """Of a ledger, for each claim of it."""
    message: float = 0.3e-3
    """To take a message from a broker and to check its signature."""
    counted: float = 0.13e-6
    """For each claim that a range's print has to count."""
    answered: float = 10e-6
    """For each claim that is read and sent in an answer."""
    statement: float = 0.5e-3
    """For the prints of some ranges, beside what they count."""
    cell: float = 45e-6
    """For each row of a cell."""
    seen: float = 350e-6
    """From a notification to ledger, bus and cell, at most."""


COSTS = Costs()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A cloud; each region is every other's peer."""

    regions: int
    images_per_day: float
    """Of each region."""
    peak: float = 1.0
    """How many times more than that, in the busiest hour."""
    trip: float = 0.05
    """Seconds from one region to another."""
    access: float = 125e6
    """Bytes per second, in and out of a region."""
    heartbeat: float = 5.0
    window: float = 0.01
    """Seconds of claims that go into one message: what the Listener and the
    Publisher need for the one before."""
    batch: int = 500

    @property
    def rate(self) -> float:
        """Claims of a region, per second of the busiest hour."""
        return self.images_per_day * self.peak / DAY

    @property
    def peers(self) -> int:
        """Regions that each region reads."""
        return self.regions - 1


def size(message: messages.Message) -> int:
    """Count the bytes of a message's headers and body."""
    pen = wire.Pen(
        region="RegionNumber01", scheme="0" * 16, key=None, clock=lambda: NOW
    )
    headers, body = wire.encode(message, pen)
    return (
        SIGNATURE + len(body) + sum(len(f"{k}{v}") for k, v in headers.items())
    )


def _claims(count: int) -> messages.Claims:
    claim = Claim(claimed_at=NOW, image="0" * 36, kind=SeenKind(NOW, Kind.AMI))
    return messages.Claims(claims=(claim,) * count)


CLAIM_BYTES = size(_claims(2)) - size(_claims(1))
ENVELOPE_BYTES = size(_claims(1)) - CLAIM_BYTES
HEARTBEAT_BYTES = size(
    messages.Heartbeat(
        until=NOW,
        before=Print(10**7, 2**61),
        total=Print(10**7, 2**61),
        newest=NOW,
    )
)


@dataclass(frozen=True)
class Paper:
    """The formulas. All are for one region, in the busiest hour."""

    plan: Plan
    costs: Costs = COSTS

    @cached_property
    def published(self) -> float:
        """Messages with claims, per second.

        A message opens with a claim and stays open for a window. So the
        next one opens, on average, a window and a gap later.
        """
        rate, window = self.plan.rate, self.plan.window
        return max(rate / (1 + rate * window), rate / self.plan.batch)

    @property
    def claim_bytes(self) -> float:
        """Bytes that one claim costs on the way to one peer."""
        return CLAIM_BYTES + ENVELOPE_BYTES * self.published / self.plan.rate

    @property
    def bytes_out(self) -> float:
        """Bytes per second to all peers; as many come in."""
        beats = HEARTBEAT_BYTES / self.plan.heartbeat
        return self.plan.peers * (self.claim_bytes * self.plan.rate + beats)

    @property
    def messages_in(self) -> float:
        """Messages per second with claims, and heartbeats, from all peers."""
        return self.plan.peers * (self.published + 1 / self.plan.heartbeat)

    @property
    def transaction_wait(self) -> float:
        """Seconds that a peer's claims wait until they are recorded.

        Each peer's reader locks the ledger in turn. While they do not
        queue, each message is a transaction of its own; else each records
        at its turn whatever has come since the last one.
        """
        costs, plan = self.costs, self.plan
        load = plan.peers * self.published * costs.transaction
        claims = plan.peers * plan.rate * costs.claim
        single = costs.transaction + costs.claim
        if load + claims < 0.5:
            return single
        turn = plan.peers * costs.transaction / max(1e-9, 1 - claims)
        return max(single, turn)

    @property
    def ledger_load(self) -> float:
        """Share of the time in which the ledger is locked for peers."""
        costs, plan = self.costs, self.plan
        single = self.published * costs.transaction
        turns = plan.peers * min(single, 1 / plan.peers)
        return min(1.0, turns + plan.peers * plan.rate * costs.claim)

    @property
    def delay(self) -> float:
        """Seconds from a claim to the ledger of a peer, on average."""
        return self.plan.window + self.plan.trip + self.transaction_wait

    @property
    def questions(self) -> float:
        """Questions per second to all peers, after an hour of load."""
        plan = self.plan
        return (
            plan.peers
            * self._depth
            / (plan.heartbeat * MOST_PATIENT_HEARTBEATS)
        )

    def questions_in(self, seconds: float) -> int:
        """Questions to all peers since claims began to be made.

        Heartbeats agree on what is old. But totals are never equal while
        something is on its way, and then what is newer than the heartbeat
        is compared: the first time after a few heartbeats, each time after
        twice as many.
        """
        beat, patience, compares = 0, PATIENT_HEARTBEATS, 0
        while (beat := beat + patience) <= seconds / self.plan.heartbeat:
            compares += 1
            patience = min(2 * patience, MOST_PATIENT_HEARTBEATS)
        return self.plan.peers * self._depth * compares

    @cached_property
    def _depth(self) -> int:
        """Questions of one compare of what is newer than a heartbeat.

        It is split into 32 parts until those that differ are small.
        """
        plan = self.plan
        underway = plan.regions * plan.rate * self.delay
        if underway < 1:
            return 0
        newer = (
            plan.regions
            * plan.rate
            * (SETTLED_AFTER / MICROSECONDS + plan.trip)
        )
        return 1 + ceil(max(0.0, log(max(1.0, newer / SMALL), 32)))

    @property
    def cpu(self) -> float:
        """Cores that a region needs: agent and database."""
        costs, plan = self.costs, self.plan
        own = plan.rate * costs.seen
        heard = self.messages_in * costs.message
        recorded = self.ledger_load
        rows = plan.peers * plan.rate * costs.cell
        compared = self.questions * STATEMENTS * costs.statement
        return own + heard + recorded + rows + compared

    def catch_up(self, seconds: float) -> float:
        """Give the seconds that a region needs after having been cut off.

        What all others have claimed comes through its access link and into
        its ledger, each claim once; meanwhile more is claimed.
        """
        plan, costs = self.plan, self.costs
        claims = plan.peers * plan.rate
        ledger = costs.claim + costs.transaction / 20
        per_claim = max(ledger, self.claim_bytes / plan.access)
        return claims * seconds * per_claim / max(1e-9, 1 - claims * per_claim)
