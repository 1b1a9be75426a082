"""Replaying: a range of claims compared, written or published once more."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from ec2map_sync.ledger import Allowance
from ec2map_sync.ledger.queries import Mapped
from ec2map_sync.peers.asking import PeerSilent, news
from ec2map_sync.peers.intake import Intake
from ec2map_sync.peers.refusals import Refusals
from ec2map_sync.protocol import messages, wire
from ec2map_sync.region import Region
from ec2map_sync.rules.claims import Bound, Claim, Span
from ec2map_sync.settings.values import Peer
from ec2map_sync.sinks.writer import NUMBERS_AT_ONCE

Advance = Callable[[int], None]
"""Is told how many more claims are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a replay has come to.

    ``examined`` counts claims of the range, ``missed`` what was not where
    it belongs; None is what is not known.
    """

    what: str
    name: str
    examined: int | None = None
    missed: int | None = None
    trouble: str | None = None


def from_peer(
    region: Region, peer: Peer, span: Span, dry_run: bool, advance: Advance
) -> Outcome:
    """Compares a range with a peer now, and records what was missed.

    What would change too much is held, as when the agent hears it.
    """
    ledger, bus = region.ledger, region.bus
    allowance = Allowance(
        peer=peer.name,
        max_moves=bus.max_moves,
        max_evictions=bus.max_evictions,
    )
    intake = Intake(ledger, Refusals(ledger, f"of {peer.name}"), allowance)
    missed: set[str] = set()
    held = 0

    def take(claims: Sequence[Claim]) -> None:
        nonlocal held
        missed.update(claim.image for claim in news(ledger, claims))
        if not dry_run:
            held += intake.take([claims]).held
        advance(len(claims))

    try:
        with region.asker(peer) as asker:
            asker.pull(span, take)
    except PeerSilent as error:
        return Outcome(what="peer", name=peer.name, trouble=str(error))
    return Outcome(
        what="peer",
        name=peer.name,
        examined=ledger.print_of(span).count,
        missed=len(missed),
        trouble=f"{held} claims of {peer.name} are held; see "
        "'ec2map-sync quarantine list'"
        if held
        else None,
    )


def into_sink(
    region: Region, sink: str, span: Span, dry_run: bool, advance: Advance
) -> Outcome:
    """Writes all images that were claimed in a range into a sink again."""
    queries, writer = region.ledger.queries, region.writer(region.sink(sink))
    examined = missed = 0
    for page in _pages(queries.mappings, span, NUMBERS_AT_ONCE):
        moves = queries.moves(m.claim.image for m in page)
        # Also where an image was before: a restored sink may hold that.
        numbers = {m.number for m in page} | {move.old for move in moves}
        steps = writer.write(
            sorted(n for n in numbers if n is not None), dry_run=dry_run
        )
        wrong = {r.number for r in (*steps.add, *steps.remove, *steps.taken)}
        missed += len(wrong)
        examined += len(page)
        advance(len(page))
    return Outcome(what="sink", name=sink, examined=examined, missed=missed)


def push(
    region: Region, span: Span, dry_run: bool, advance: Advance
) -> Outcome:
    """Publishes the claims of a range again that were made here.

    Who had missed them is not known here: peers do not answer.
    """
    bus, own = region.bus, region.ledger.queries.own
    examined = 0
    with closing(region.outlet()) as outlet:
        for page in _pages(own, span, bus.batch_size):
            if not dry_run:
                message = messages.Claims(claims=tuple(m.claim for m in page))
                outlet.send("claims", *wire.encode(message, region.pen))
            examined += len(page)
            advance(len(page))
    return Outcome(what="push", name=bus.exchange, examined=examined)


def _pages(
    read: Callable[[Span, int], list[Mapped]], span: Span, limit: int
) -> Iterator[list[Mapped]]:
    start, stop = span
    while page := read(Span(start, stop), limit):
        yield page
        start = Bound(*page[-1].after)
