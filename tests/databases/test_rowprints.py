"""Prints of rows are the same, whichever database adds them up."""

from hashlib import sha256

import pytest
import sqlalchemy as sa

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.rules.claims import Claim, Print, Wanted
from ec2map_sync.rules.ec2id import DERIVED, LAST_IMAGE, Scheme
from ec2map_sync.sinks.nova import NovaSink, s3_images
from ec2map_sync.sql.database import create_engine, parse_url
from ec2map_sync.sql.rowprints import PART_BITS, add_up

SCHEME = Scheme(b"test")
IMAGES = [f"{n:08x}-0000-4000-8000-{n:012X}" for n in range(0, 2**32, 2**27)]


@pytest.fixture
def engine(database):
    engine = create_engine(parse_url(database, "test"))
    yield engine
    engine.dispose()


def expected(rows):
    prints = {}
    for number, uuid in rows:
        digits = sha256(f"{number}:{uuid}".encode()).hexdigest()[:10]
        one = Print(1, int(digits, 16))
        known = prints.get(number >> PART_BITS, Print(0, 0))
        prints[number >> PART_BITS] = known + one
    return prints


def test_a_ledger_and_a_cell_that_agree_have_the_same_prints(engine):
    schema.upgrade(engine)
    ledger = Ledger(engine, SCHEME)
    ledger.record(
        Claim(claimed_at=n, image=image.lower(), spelling=image)
        for n, image in enumerate(IMAGES, start=1)
    )
    ledger.record(
        [Claim(claimed_at=99, image=LAST_IMAGE, wanted=Wanted(100, 7))]
    )
    rows = [(SCHEME.derive(image.lower()), image) for image in IMAGES]
    with engine.begin() as connection:
        s3_images.create(connection)
        connection.execute(
            sa.insert(s3_images),
            [{"id": i, "uuid": uuid} for i, uuid in [*rows, (7, LAST_IMAGE)]],
        )

    ours = ledger.queries.settled_prints(DERIVED.first, DERIVED.stop)
    theirs = NovaSink("cell1", engine).prints(DERIVED.first, DERIVED.stop)

    assert ours == theirs == expected(rows)


def test_what_is_not_ascii_is_as_any_other_text(engine):
    with engine.begin() as connection:
        s3_images.create(connection)
        connection.execute(
            sa.insert(s3_images), [{"id": 2**24, "uuid": "ümläut"}]
        )

    prints = add_up(
        engine, s3_images.c.id, s3_images.c.uuid, [s3_images.c.id > 0]
    )

    assert prints == expected([(2**24, "ümläut")])
