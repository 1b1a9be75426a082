"""What an image's property ec2_id can do: what ec2-api's own table says."""

import pytest
import schemas
import sqlalchemy as sa

from ec2map_sync.glance.listener import Recorder
from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.operate.adopt import Adoption, AdoptionClass
from ec2map_sync.rules.claims import Sighting
from ec2map_sync.rules.ec2id import Kind, Scheme, format_id
from ec2map_sync.sinks import promises
from ec2map_sync.sinks.ec2api import Ec2ApiSink
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.promises import Promises
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url

SCHEME = Scheme()
PUBLIC = "00000000-0000-4000-8000-000000000001"
TENANTS = "00000000-0000-4000-8000-00000000bad1"
ITEMS, ROWS = schemas.ITEMS, schemas.S3_IMAGES
LEGACY = 5
BEYOND = 0xDEADBEEF


class Incoming:
    def __init__(self, message):
        self.message = message
        self.lapsed = False


class Region:
    """A ledger, a cell and an ec2-api, and the Listener's way in."""

    def __init__(self, ledger, engine):
        self.ledger, self.engine = ledger, engine
        self.cell = NovaSink("cell1", engine)
        self.ec2api = Ec2ApiSink(engine)
        self.asked = 0
        self.now = 0.0
        promised = Promises(
            ledger, self.ec2api, self.sinks, monotonic=lambda: self.now
        )
        self.recorder = Recorder(ledger, lambda: None, believe=promised.judged)

    def sinks(self):
        self.asked += 1
        return [self.cell, self.ec2api]

    def tell(self, image, ec2_id, event="image.create", recorder=None):
        """Let Glance tell of an image that names an id."""
        payload = {
            "id": image,
            "container_format": "bare",
            "properties": {"ec2_id": ec2_id},
        }
        note = {"event_type": event, "payload": payload}
        (recorder or self.recorder).dispatch([Incoming(note)])

    def claim(self, image):
        return self.ledger.claims([image])[image]

    def wanted(self, image):
        wanted = self.claim(image).wanted
        return wanted and wanted.number

    def put(self, table, **values):
        with self.engine.begin() as connection:
            connection.execute(sa.insert(table).values(**values))

    def item(self, number, uuid, kind=Kind.AMI):
        """Let ec2-api make a row."""
        id_ = format_id(number, kind)
        self.put(ITEMS, id=id_, os_id=uuid, project_id="p", data="{}")

    def finish(self, number, uuid):
        """Let ec2-api write an image into the row that waits for it."""
        row = ITEMS.c.id == format_id(number)
        with self.engine.begin() as connection:
            connection.execute(sa.update(ITEMS).where(row).values(os_id=uuid))

    def items(self):
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(ITEMS.c.id, ITEMS.c.os_id))
            return dict(map(tuple, found))

    def write(self, *, rewrite):
        for sink in (self.cell, self.ec2api):
            writer = Writer(self.ledger, sink, rewrite=rewrite)
            while writer.step():
                pass
        numbers = [LEGACY, *map(SCHEME.derive, (PUBLIC, TENANTS))]
        return {row.number: row.uuid for row in self.cell.rows(numbers)}

    def adopt(self):
        adoption = Adoption(self.ledger, dry_run=False)
        list(adoption.go_through(self.cell))
        return adoption.counted.count


@pytest.fixture
def region(database, tmp_path):
    of_ledger = create_engine(parse_url(f"sqlite:///{tmp_path}/ledger", "x"))
    schema.upgrade(of_ledger)
    engine = create_engine(parse_url(database, "x"))
    schemas.create(engine, ITEMS, ROWS)
    yield Region(Ledger(of_ledger, SCHEME), engine)
    engine.dispose()
    of_ledger.dispose()


@pytest.mark.parametrize("rewrite", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_a_tenants_property_takes_no_legacy_row(region, rewrite, known):
    region.put(ROWS, id=LEGACY, uuid=PUBLIC, deleted=0)
    if known:
        region.ledger.see([Sighting(image=PUBLIC, uuid=PUBLIC)])

    region.tell(TENANTS, format_id(LEGACY))

    rows = region.write(rewrite=rewrite)
    assert region.wanted(TENANTS) is None
    assert rows[LEGACY] == PUBLIC
    assert rows[SCHEME.derive(TENANTS)] == TENANTS
    assert region.adopt() == {AdoptionClass.ADOPT: 1}
    assert region.ledger.numbers_of([PUBLIC]) == {PUBLIC: LEGACY}


def test_nor_a_number_that_nobody_has_yet(region):
    """Else the image that derives it later would go without."""
    squatted = SCHEME.derive(PUBLIC)

    region.tell(TENANTS, format_id(squatted))
    region.ledger.see([Sighting(image=PUBLIC, uuid=PUBLIC)])

    assert region.ledger.numbers_of([PUBLIC]) == {PUBLIC: squatted}


def test_an_id_of_ec2_apis_own_table_is_wanted(region):
    region.item(7, TENANTS)

    region.tell(TENANTS, format_id(7))

    assert region.ledger.numbers_of([TENANTS]) == {TENANTS: 7}
    assert region.claim(TENANTS).kind.kind is Kind.AMI


@pytest.mark.parametrize("named", [8, 9, BEYOND])
def test_not_if_the_table_says_otherwise(region, named):
    """It has another one for the image, another's, or none at all."""
    region.item(7, TENANTS)
    region.item(8, PUBLIC)

    region.tell(TENANTS, format_id(named))

    assert region.wanted(TENANTS) is None
    assert region.claim(TENANTS).kind.kind is Kind.AMI


@pytest.mark.parametrize("number", [7, BEYOND])
def test_an_image_waits_until_ec2_api_has_written_it_down(region, number):
    """Glance tells of it first; ec2-api could not write beside our row."""
    region.item(number, None)

    region.tell(TENANTS, format_id(number))

    assert region.claim(TENANTS).kind is None
    region.write(rewrite=True)
    assert region.items() == {format_id(number): None}
    region.finish(number, TENANTS)
    region.tell(TENANTS, format_id(number), "image.upload")
    assert region.wanted(TENANTS) == (7 if number == 7 else None)
    region.write(rewrite=False)
    assert region.items() == {format_id(number): TENANTS}


@pytest.mark.parametrize("other", [Kind.AKI, Kind.ARI])
def test_it_waits_also_beside_an_id_with_another_prefix(region, other):
    region.item(7, None)
    region.item(7, PUBLIC, other)
    before = region.items()

    region.tell(TENANTS, format_id(7))
    region.write(rewrite=True)

    assert region.items() == before


@pytest.mark.parametrize("other", [Kind.AKI, Kind.ARI])
def test_not_if_another_image_has_the_number_with_another_prefix(
    region, other
):
    """A cell has one row of a number, whatever the prefix."""
    region.item(7, TENANTS)
    region.item(7, PUBLIC, other)

    region.tell(TENANTS, format_id(7))

    assert region.wanted(TENANTS) is None


def test_not_if_a_row_of_another_image_stands_there(region):
    """What ec2-api has drawn at random, a cell gave away long ago."""
    region.put(ROWS, id=LEGACY, uuid=PUBLIC, deleted=0)
    region.item(LEGACY, TENANTS)

    region.tell(TENANTS, format_id(LEGACY))

    assert region.wanted(TENANTS) is None
    assert region.adopt() == {AdoptionClass.ADOPT: 1}


def test_not_if_it_is_settled_for_another_image(region):
    number = SCHEME.derive(PUBLIC)
    region.ledger.see([Sighting(image=PUBLIC, uuid=PUBLIC)])
    region.item(number, TENANTS)

    region.tell(TENANTS, format_id(number))

    assert region.wanted(TENANTS) is None


def test_where_there_is_no_ec2_api_nobody_is_believed(region):
    region.item(7, TENANTS)

    plain = Recorder(region.ledger, lambda: None)
    region.tell(TENANTS, format_id(7), recorder=plain)

    assert region.wanted(TENANTS) is None


def test_an_ec2_api_that_is_away_holds_up_nobody(region, caplog):
    region.item(7, TENANTS)
    with region.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE items RENAME TO away"))

    region.tell(TENANTS, format_id(7))
    region.tell(PUBLIC, format_id(8))

    assert region.claim(TENANTS).kind is None  # nothing of ours stands there
    assert caplog.text.count("ids that ec2-api has promised wait") == 1
    with region.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE away RENAME TO items"))
    region.now += promises.RETRY
    region.tell(TENANTS, format_id(7), "image.update")
    assert region.wanted(TENANTS) == 7


def test_an_image_without_the_property_costs_no_question(region):
    statements = []
    sa.event.listen(
        region.engine,
        "before_cursor_execute",
        lambda *found: statements.append(found[2]),
    )

    region.tell(TENANTS, None)

    assert statements == []
