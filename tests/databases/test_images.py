"""Images are bytes, or text, and lie in the order of their text everywhere."""

import pytest
import sqlalchemy as sa

from ec2map_sync.ledger import Ledger, tables
from ec2map_sync.rules.claims import END, Bound, Claim, Sighting, Span
from ec2map_sync.rules.ec2id import FIRST_IMAGE, LAST_IMAGE, Kind, Scheme
from ec2map_sync.sql.images import begins_with, below, key_of, text_of

IMAGES = [
    FIRST_IMAGE,
    "00000000-0000-4000-8000-00000000000a",
    "0000000a-0000-4000-8000-000000000000",
    "9fffffff-ffff-4fff-bfff-ffffffffffff",
    "a0000000-0000-4000-8000-000000000000",
    LAST_IMAGE,
]
BOUNDS = ("", "0", "00000000-", "9", "a", "aa-", "a-", "0000000aa", "-", "f")


@pytest.fixture
def ledger(engine):
    ledger = Ledger(engine, Scheme(b"test"))
    ledger.record(Claim(claimed_at=7, image=image) for image in IMAGES)
    return ledger


def images(ledger, *conditions):
    """Give those that fulfil conditions, and their texts as SQL has them."""
    c = tables.claims.c
    found = sa.select(c.image, text_of(c.image)).where(*conditions)
    with ledger._engine.connect() as connection:
        rows = connection.execute(found.order_by(c.image)).all()
    assert all(image == text for image, text in rows)
    return [image for image, _ in rows]


def test_images_are_read_in_the_order_of_their_text(ledger):
    assert images(ledger) == IMAGES
    span = Span(Bound(0), END)
    assert [claim.image for claim in ledger.page(span, 9)] == IMAGES


@pytest.mark.parametrize("text", [*BOUNDS, *IMAGES])
@pytest.mark.parametrize("more", ["", "0"])
def test_a_bound_that_is_no_image_divides_them_as_text(ledger, text, more):
    bound = text + more
    before = [image for image in IMAGES if image < bound]

    assert images(ledger, below(tables.claims.c.image, bound)) == before
    span = Span(Bound(7, bound), END)
    rest = IMAGES[len(before) :]
    assert [claim.image for claim in ledger.page(span, 9)] == rest
    assert ledger.print_of(span).count == len(rest)


def test_those_that_begin_alike_are_found(ledger):
    c = tables.claims.c

    assert images(ledger, begins_with(c.image, "0000000")) == IMAGES[:3]
    assert images(ledger, begins_with(c.image, "ffffffff-ff")) == [LAST_IMAGE]


def test_a_text_is_a_key_where_tables_meet(ledger):
    text = sa.literal(IMAGES[2], sa.String())

    assert images(ledger, tables.claims.c.image == key_of(text)) == [IMAGES[2]]


@pytest.mark.parametrize("text", ["nobody", "ümläut", "abc", "deadbeef00"])
def test_what_is_no_image_is_looked_up_and_not_found(ledger, text):
    """A row of a sink may say anything."""
    assert ledger.claims([text]) == {}
    assert set(ledger.claims([text, IMAGES[3]])) == {IMAGES[3]}


def test_what_was_made_here_is_found_once_however_often_it_was_news(engine):
    ledger = Ledger(engine, Scheme(b"test"))
    ledger.record([Claim(claimed_at=7, image=IMAGES[1])])
    for kind in (None, Kind.AKI, Kind.AMI):
        seen = Sighting(image=IMAGES[2], uuid=IMAGES[2], kind=kind)
        assert ledger.see([seen]).news == 1

    assert ledger.queries.own_claims_after(0).count == 1
    with ledger.cursors.reader("publisher") as reader:
        (claim,), upto = reader.own_claims(10)
    assert (claim.image, upto) == (IMAGES[2], ledger.head().revision)
    assert ledger.queries.own_claims_after(upto).count == 0
