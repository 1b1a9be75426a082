"""Verifying: whether sinks, peers and Glance hold what they should."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ec2map_sync.glance.audit import Survey, news as news_of_images
from ec2map_sync.ledger import Ledger
from ec2map_sync.ledger.copies import Place
from ec2map_sync.peers.asking import Asker, news
from ec2map_sync.protocol import messages
from ec2map_sync.rules.claims import (
    END,
    EVERYTHING,
    Bound,
    Claim,
    Print,
    Span,
)
from ec2map_sync.rules.stamps import MAX_AHEAD, wall_clock
from ec2map_sync.sinks.verify import Difference, DifferenceKind, SinkCheck

LEDGER_PAGE = 5000
"""Rows of the ledger looked at in one step."""

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
    findings: Sequence[str] = ()
    """Of the ledger: where it contradicts itself."""
    refused: int = 0
    """Claims of a peer that are refused here; they are missing, too."""
    trouble: str | None = None
    repaired: bool = False

    @property
    def in_order(self) -> bool:
        """Whether nothing was found, or all of it was put right."""
        found = self.missing or self.foreign or self.different
        return self.repaired or not found


def check_ledger(
    ledger: Ledger,
    region: str,
    *,
    repair: bool,
    advance: Callable[[int], None],
) -> Verdict:
    """Holds every copy of rows against the rows; puts right what is wrong."""
    copies = ledger.copies
    found = copies.mend_totals(dry_run=not repair)
    checked = 0
    place: Place | None = Place()
    while place:
        page = copies.look(place, LEDGER_PAGE)
        if page.suspects:
            found += copies.mend(page.suspects, dry_run=not repair)
        checked += page.rows
        advance(page.rows)
        place = page.next
    return Verdict(
        what="ledger",
        name=region,
        checked=checked,
        different=len(found),
        findings=found,
        repaired=repair,
    )


def check_sink(check: SinkCheck, name: str) -> Verdict:
    """Compares a sink with the ledger."""
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
    """Compares with a peer: claims made before its next heartbeat.

    Missing are claims that we lack, foreign those that the peer lacks,
    different those of which the peer knows more. What one side has stamped
    so far ahead that the other refuses it counts, whenever it was made.
    """
    heard = _heard(ledger, asker)
    heartbeat, own = heard.heartbeat, heard.own
    verdict = Verdict(
        what="peer",
        name=name,
        checked=own.count,
        missing=0,
        foreign=0,
        different=0,
    )
    if heard.same:
        return verdict
    pulled: dict[str, Claim] = {}
    differs = own != heartbeat.before
    verdict.refused = asker.pull(
        EVERYTHING if differs else Span(Bound(heartbeat.until), END),
        lambda claims: pulled.update(
            (claim.image, claim)
            for claim in news(ledger, claims)
            if claim.claimed_at < heartbeat.until
        ),
    )
    ahead = Bound(wall_clock() + MAX_AHEAD)
    verdict.missing = verdict.refused
    verdict.foreign = ledger.print_of(Span(ahead, END)).count
    if differs:
        _count(verdict, ledger, pulled, own.count - heartbeat.before.count)
    return verdict


def _count(
    verdict: Verdict, ledger: Ledger, pulled: dict[str, Claim], more: int
) -> None:
    """Counts what was pulled; we hold so many claims ``more``."""
    lacking = news(ledger, list(pulled.values()))
    known = ledger.claims(claim.image for claim in lacking)
    absent = len(lacking) - len(known)
    missing = verdict.refused + absent
    foreign = max(verdict.foreign or 0, more + absent)
    # Where each side holds the same images and prints still differ, it is
    # the peer that knows less of some.
    verdict.different = len(known) or int(not missing and not foreign)
    verdict.missing, verdict.foreign = missing, foreign


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """A heartbeat, and what we held when it came."""

    heartbeat: messages.Heartbeat
    own: Print
    total: Print

    @property
    def same(self) -> bool:
        """Whether both sides hold the same."""
        there = self.heartbeat.before, self.heartbeat.total
        return there == (self.own, self.total)


def _heard(ledger: Ledger, asker: Asker) -> _Heard:
    """Hears what a peer holds, and look what we held then; is patient."""
    for _ in range(HEARTBEATS - 1):
        heard = _heard_once(ledger, asker)
        if heard.same:
            return heard
    return _heard_once(ledger, asker)


def _heard_once(ledger: Ledger, asker: Asker) -> _Heard:
    heartbeat = asker.heartbeat()
    total, own = ledger.counted_before(heartbeat.until)
    return _Heard(heartbeat=heartbeat, own=own, total=total)


def check_glance(
    ledger: Ledger,
    survey: Survey,
    region: str,
    *,
    advance: Callable[[int], None],
) -> Verdict:
    """Looks for images of Glance that the ledger does not know."""
    while images := survey.batch():
        missing = news_of_images(ledger, survey.sightings(images))
        survey.done(images, missing)
        advance(len(images))
    return Verdict(
        what="glance", name=region, checked=survey.seen, missing=survey.claimed
    )
