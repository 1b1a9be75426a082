"""Verifying: whether sinks, peers and Glance hold what they should."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ec2map_sync.glance.audit import Survey, news as news_of_images
from ec2map_sync.ledger import Ledger
from ec2map_sync.peers.asking import Asker, news
from ec2map_sync.protocol import messages
from ec2map_sync.rules.claims import BEGINNING, Bound, Claim, Print, Span
from ec2map_sync.sinks.verify import Difference, DifferenceKind, SinkCheck

HEARTBEATS = 3
"""Heartbeats after which a peer that differs is compared with in detail."""


@dataclass(slots=True)
class Verdict:
    """What checking one thing has come to; None is what is not known."""

    what: str
    name: str
    checked: int | None = None
    missing: int | None = None
    foreign: int | None = None
    different: int | None = None
    differences: Sequence[Difference] = ()
    trouble: str | None = None

    @property
    def in_order(self) -> bool:
        """Whether nothing at all was found."""
        return not (self.missing or self.foreign or self.different)


def check_sink(check: SinkCheck, name: str) -> Verdict:
    """Compare a sink with the ledger."""
    found = check.run()
    kinds = [check.kind(difference) for difference in found.differences]
    return Verdict(
        what="sink",
        name=name,
        checked=found.checked,
        missing=kinds.count(DifferenceKind.MISSING),
        foreign=kinds.count(DifferenceKind.FOREIGN),
        different=kinds.count(DifferenceKind.DIFFERENT),
        differences=found.differences,
    )


def check_peer(ledger: Ledger, asker: Asker, name: str) -> Verdict:
    """Compare with a peer: claims made before its next heartbeat.

    Missing are claims that we lack, foreign those that the peer lacks,
    different those of which the peer knows more.
    """
    heartbeat, own = _heard(ledger, asker)
    if own == heartbeat.before:
        return Verdict(
            what="peer",
            name=name,
            checked=own.count,
            missing=0,
            foreign=0,
            different=0,
        )
    verdict = Verdict(what="peer", name=name, checked=own.count)
    pulled: dict[str, Claim] = {}
    span = Span(BEGINNING, Bound(heartbeat.until))
    asker.pull(
        span,
        lambda claims: pulled.update(
            (claim.image, claim) for claim in news(ledger, claims)
        ),
    )
    lacking = news(ledger, list(pulled.values()))
    known = ledger.claims(claim.image for claim in lacking)
    verdict.missing = len(lacking) - len(known)
    verdict.foreign = max(
        0, own.count - heartbeat.before.count + verdict.missing
    )
    # Where each side holds the same images and prints still differ, it is
    # the peer that knows less of some.
    verdict.different = len(known) or int(
        not verdict.missing and not verdict.foreign
    )
    return verdict


def _heard(ledger: Ledger, asker: Asker) -> tuple[messages.Heartbeat, Print]:
    """Hear what a peer holds, and look what we held then; is patient."""
    for _ in range(HEARTBEATS - 1):
        heartbeat = asker.heartbeat()
        own = ledger.print_before(heartbeat.until)[1]
        if own == heartbeat.before:
            return heartbeat, own
    heartbeat = asker.heartbeat()
    return heartbeat, ledger.print_before(heartbeat.until)[1]


def check_glance(
    ledger: Ledger,
    survey: Survey,
    region: str,
    *,
    advance: Callable[[int], None],
) -> Verdict:
    """Look for images of Glance that the ledger does not know."""
    while images := survey.batch():
        missing = news_of_images(ledger, survey.sightings(images))
        survey.done(images, missing)
        advance(len(images))
    return Verdict(
        what="glance",
        name=region,
        checked=survey.seen,
        missing=survey.claimed,
    )
