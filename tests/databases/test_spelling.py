"""How a UUID is spelled is a matter of each region's own Glance.

Nova and ec2-api look up by it; SQLite and PostgreSQL tell cases apart.
"""

import pytest
import schemas
import sqlalchemy as sa

from ec2map_sync.ledger import Ledger, schema, tables
from ec2map_sync.operate.adopt import Adoption
from ec2map_sync.rules.claims import EVERYTHING, Claim, SeenKind, Sighting
from ec2map_sync.rules.ec2id import Kind, Scheme, format_id
from ec2map_sync.sinks.audit import Sweep
from ec2map_sync.sinks.ec2api import Ec2ApiSink
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url

SCHEME = Scheme()
LOWER = "abcdefab-0000-4000-8000-00000000000a"
UPPER = LOWER.upper()
MIXED = LOWER.replace("a", "A")
NUMBER = SCHEME.derive(LOWER)


class Region:
    """A ledger of its own, a cell and an ec2-api."""

    def __init__(self, ledger_url, sinks_url):
        of_ledger = create_engine(parse_url(ledger_url, "x"))
        schema.upgrade(of_ledger)
        self.engine = create_engine(parse_url(sinks_url, "x"))
        self.ledger = Ledger(of_ledger, SCHEME)
        self.engines = [of_ledger, self.engine]
        self.sinks = [NovaSink("cell1", self.engine), Ec2ApiSink(self.engine)]

    def announce(self, *uuids, **fields):
        """Let the region's Glance tell of images, all at once."""
        return self.ledger.see(
            [
                Sighting(image=LOWER, uuid=uuid, kind=Kind.AMI, **fields)
                for uuid in uuids
            ]
        )

    def hear(self, spelling):
        """Let a peer tell of the image."""
        spelling = "" if spelling == LOWER else spelling
        kind = SeenKind(5, Kind.AMI)
        claim = Claim(claimed_at=5, image=LOWER, spelling=spelling, kind=kind)
        self.ledger.record([claim])

    def rows(self):
        """Bring the sinks up to date; how they spell the image."""
        found = set()
        for sink in self.sinks:
            writer = Writer(self.ledger, sink, rewrite=False)
            while writer.step():
                pass
            sweep = Sweep(self.ledger, sink, writer)
            while not sweep.complete:
                sweep.step()
            found |= {row.uuid for row in sink.rows([NUMBER])}
        return found

    def own_revision(self):
        with self.ledger.cursors.reader("publisher") as reader:
            claims, upto = reader.own_claims(100)
            reader.advance(upto)
        return claims


@pytest.fixture
def region(database, tmp_path):
    region = Region(f"sqlite:///{tmp_path}/ledger", database)
    schemas.create(region.engine, schemas.ITEMS, schemas.S3_IMAGES)
    yield region
    for engine in region.engines:
        engine.dispose()


@pytest.mark.parametrize(("here", "there"), [(LOWER, UPPER), (UPPER, MIXED)])
def test_a_peers_spelling_never_changes_ours(region, here, there):
    region.announce(here)
    assert region.rows() == {here}

    region.hear(there)

    assert region.rows() == {here}
    assert region.ledger.queries.by_image(LOWER).uuid == here


@pytest.mark.parametrize(("here", "there"), [(LOWER, MIXED), (UPPER, UPPER)])
@pytest.mark.parametrize("stored", ["before", "now"])
def test_the_spelling_of_the_key_is_stored_as_one_character(
    region, here, there, stored
):
    """What a release of before has stored in full is read as well."""
    region.announce(here)
    engine = region.ledger.cursors._engine
    with engine.begin() as connection:
        spelled = sa.select(tables.claims.c.spelled)
        expected = "-" if here == LOWER else UPPER
        assert connection.scalar(spelled) == expected
        if stored == "before":
            full = sa.update(tables.claims).values(spelled=here)
            connection.execute(full)

    region.hear(there)

    assert region.rows() == {here}
    assert region.ledger.queries.by_image(LOWER).uuid == here
    assert region.ledger.queries.settled(0, 2**31, 10) == [(NUMBER, here)]
    (mapped,) = region.ledger.queries.mappings(EVERYTHING, 10)
    assert mapped.uuid == here


def test_nor_does_one_that_came_first(region):
    region.hear(UPPER)
    assert region.rows() == {UPPER}

    region.announce(LOWER, fills_only=True)

    assert region.rows() == {LOWER}


def test_where_glance_has_said_nothing_a_row_stays_as_it_is(region, tmp_path):
    """As after a ledger was lost: the rows are there, and peers tell."""
    region.announce(LOWER)
    assert region.rows() == {LOWER}
    url = f"sqlite:///{tmp_path}/again"
    again = Region(url, region.engine.url.render_as_string(False))

    again.hear(UPPER)

    assert again.rows() == {LOWER}
    again.announce(LOWER)
    assert again.rows() == {LOWER}
    for engine in again.engines:
        engine.dispose()


@pytest.mark.parametrize(("one", "other"), [(LOWER, UPPER), (UPPER, LOWER)])
@pytest.mark.parametrize("together", [False, True])
def test_of_two_in_one_glance_the_first_has_the_row(
    region, one, other, together
):
    """Where its database lets two ids differ in nothing but case."""
    if together:
        region.announce(one, other)
    else:
        region.announce(one)
        assert region.rows() == {one}
        region.announce(other)

    assert region.rows() == {one}
    for _ in range(3):
        region.announce(other)
        region.announce(one, fills_only=True)
    assert region.rows() == {one}


def test_nor_does_it_matter_who_has_claimed_the_image(region):
    region.hear(LOWER)
    region.announce(LOWER)

    region.announce(UPPER)

    assert region.rows() == {LOWER}


def test_a_spelling_that_changes_nothing_is_no_news(region):
    region.hear(LOWER)
    region.rows()
    revision = region.ledger.head().revision

    assert region.announce(LOWER).news == 0

    assert region.ledger.head().revision == revision + 1
    assert region.own_revision() == []
    again = region.announce(LOWER)
    assert (again.news, again.revision) == (0, None)


def test_regions_that_spell_otherwise_hold_the_same_claims(region, tmp_path):
    region.announce(LOWER)
    (claim,) = region.own_revision()
    url = f"sqlite:///{tmp_path}/two"
    two = Region(url, f"sqlite:///{tmp_path}/rows")
    two.announce(UPPER)
    (other,) = two.own_revision()

    region.ledger.record([other])
    two.ledger.record([claim])

    assert region.ledger.head().total == two.ledger.head().total
    for engine in two.engines:
        engine.dispose()


def test_a_row_of_a_sink_does_not_say_how_glance_spells(region):
    """A tenant may have booted by another spelling before."""
    with region.engine.begin() as connection:
        row = {"id": 7, "uuid": UPPER, "deleted": 0}
        connection.execute(sa.insert(schemas.S3_IMAGES).values(**row))
    list(Adoption(region.ledger, dry_run=False).go_through(region.sinks[0]))
    assert region.ledger.queries.by_image(LOWER).uuid == UPPER

    region.announce(LOWER)

    assert region.ledger.queries.by_image(LOWER).uuid == LOWER


def test_the_sinks_are_verified_by_what_is_spelled_here(region):
    region.announce(UPPER)
    region.rows()
    region.hear(MIXED)

    settled = region.ledger.queries.settled(0, 2**31, 10)

    assert settled == [(NUMBER, UPPER)]
    assert region.sinks[0].numbers_of(UPPER) == [NUMBER]
    assert format_id(NUMBER) == region.ledger.queries.by_image(LOWER).ec2_id
