"""Canaries in the ledger: claims like others, of which no sink gets any."""

import pytest

from ec2map_sync.ledger import Ledger
from ec2map_sync.ledger.copies import Place
from ec2map_sync.ledger.roots import Roots
from ec2map_sync.rules.canaries import canary_of
from ec2map_sync.rules.claims import (
    EVERYTHING,
    Bound,
    Claim,
    Sighting,
    Span,
)
from ec2map_sync.rules.ec2id import Band, Scheme

SCHEME = Scheme(b"test", Band(100, 1000))
IMAGES = [f"00000000-0000-4000-8000-{n:012x}" for n in range(3)]
CANARIES = [canary_of("RegionOne", n) for n in range(3)]


def seen(image):
    return Sighting(image=image, uuid=image, announced=False)


@pytest.fixture
def ledger(engine):
    ledger = Ledger(engine, SCHEME)
    for image, canary in zip(IMAGES, CANARIES, strict=True):
        ledger.see([seen(image)])
        ledger.see([seen(canary)])
    return ledger


def test_no_reader_of_numbers_meets_a_canary(ledger):
    queries = ledger.queries
    numbered = ledger.numbers_of([*IMAGES, *CANARIES])

    assert numbered.keys() == set(IMAGES)
    assert queries.numbers_after(0).count == 3
    assert [uuid for _, uuid in queries.settled(0, 1000, 9)] == sorted(
        IMAGES, key=numbered.get
    )
    assert [m.uuid for m in queries.mappings(EVERYTHING, 9)] == IMAGES
    with ledger.cursors.reader("nova:cell1") as reader:
        upto, _ = reader.numbers(9)
        assert {one.uuid for one in reader.changed(upto)} == set(IMAGES)


def test_peers_get_them_and_a_second_one_of_a_moment_is_no_news(ledger):
    other = ledger.page(EVERYTHING, 9)
    with ledger.cursors.reader("publisher") as reader:
        claims, _ = reader.own_claims(9)

    assert {c.image for c in claims} == {*IMAGES, *CANARIES}
    assert {c.image for c in other} == {*IMAGES, *CANARIES}
    assert ledger.see([seen(CANARIES[0])]).news == 0
    assert ledger.record([Claim(claimed_at=1, image=CANARIES[0])]).news == 1


def test_the_ledger_finds_nothing_amiss_with_them(ledger):
    page = ledger.copies.look(Place(), 100)

    assert not page.suspects
    assert ledger.copies.look_at_totals()


def test_what_is_signed_of_them_is_not_looked_at_again(ledger, monkeypatch):
    monkeypatch.setattr("ec2map_sync.ledger.roots.PART", 2)
    roots, until = Roots(), 2**62
    with ledger.snapshot() as snapshot:
        (page,) = snapshot.entries(until)
        first = roots.terms(snapshot, until)
        known = []
        monkeypatch.setattr(
            type(snapshot), "known", lambda *args: known.append(args)
        )
        monkeypatch.setattr(Roots, "_extend", lambda *_: ())
        assert roots.terms(snapshot, until) == first

    assert page.settled == page.part(0).settled
    assert all(page.settled)
    assert [b'"number":null' in entry for entry in page.entries] == [
        canary in line.decode()
        for line, canary in zip(
            page.claims, [c for c in CANARIES for _ in range(2)], strict=True
        )
    ]
    assert known == []


def test_a_span_counts_them_like_any_claim(ledger):
    span = Span(Bound(0), Bound(2**62))

    assert ledger.print_of(span).count == ledger.head().total.count == 6
