"""ec2-api's own database code judges what we write into its table."""

import json
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from patience import within

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.operate.adopt import Adoption
from ec2map_sync.rules.claims import Sighting
from ec2map_sync.rules.ec2id import (
    DERIVED,
    Kind,
    Scheme,
    format_id,
    is_beyond,
    wanted_number,
)
from ec2map_sync.sinks.audit import Sweep
from ec2map_sync.sinks.ec2api import Ec2ApiSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
JUDGE = ROOT / "tests/support/ec2api_judge.py"
DRIVERS = {"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}
SCHEME = Scheme(b"tests")
OWNER, OTHER = "owner", "other"


@pytest.fixture(scope="module")
def interpreter():
    """Python with ec2-api 17 and SQLAlchemy 1.4."""
    made = subprocess.run(
        [ROOT / "tools/ec2api-env"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=within(540),
    )
    return Path(made.stdout.strip()) / "bin/python"


class Judge:
    """ec2-api's database functions, in a process of their own."""

    def __init__(self, interpreter, url):
        driver = DRIVERS.get(url.get_backend_name(), "sqlite")
        address = url.set(drivername=driver)
        self.process = subprocess.Popen(
            [
                interpreter,
                "-W",
                "ignore",
                JUDGE,
                address.render_as_string(hide_password=False),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.ask(OWNER, "get_items", "ami") == []

    def ask(self, project, function, *arguments):
        question = json.dumps([project, function, arguments])
        self.process.stdin.write(f"{question}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "ec2-api has ended"
        return json.loads(answer)

    def id_of(self, image, kind="ami"):
        """Do as os_id_to_ec2_id: look it up, or make an id up."""
        found = self.ask(OTHER, "get_items_ids", kind, None, [image])
        if found:
            return found[0][0]
        return self.ask(OTHER, "add_item_id", kind, image)

    def use(self, image, kind="ami"):
        """Do as the owner's first call: fill in the image's row."""
        return self.ask(OWNER, "add_item", kind, {"os_id": image})

    def promise(self, *, beyond):
        """Do as CreateImage does first; ids are drawn at random."""
        while True:
            promised = self.ask(OWNER, "add_item", "ami", {"is_public": False})
            if is_beyond(promised["id"]) is beyond:
                return promised

    def close(self):
        self.process.stdin.close()
        self.process.wait(within(30))
        self.process.stdout.close()


class Region:
    """A ledger, and what brings ec2-api's table up to date."""

    def __init__(self, ledger, engine):
        self.ledger = ledger
        self.sink = Ec2ApiSink(engine)
        self.writer = Writer(ledger, self.sink, rewrite=False)

    def see(self, kind=None, image=None, ec2_id=None):
        image = image or str(uuid4())
        self.ledger.see(
            [
                Sighting(
                    image=image,
                    uuid=image,
                    kind=kind,
                    wanted=wanted_number(ec2_id),
                    promised=is_beyond(ec2_id),
                )
            ]
        )
        while self.writer.step():
            pass
        return image

    def audit(self):
        sweep = Sweep(self.ledger, self.sink, self.writer)
        while not sweep.complete:
            sweep.step()

    def number(self, image):
        return self.ledger.numbers_of([image])[image]


@pytest.fixture
def engine(database):
    engine = create_engine(parse_url(database, "x"))
    yield engine
    engine.dispose()


@pytest.fixture
def judge(engine, interpreter):
    judge = Judge(interpreter, engine.url)
    yield judge
    judge.close()


@pytest.fixture
def region(engine, tmp_path):
    """A region beside ec2-api, who makes its table itself."""
    own = create_engine(parse_url(f"sqlite:///{tmp_path}/ledger", "x"))
    schema.upgrade(own)
    yield Region(Ledger(own, SCHEME), engine)
    own.dispose()


@pytest.mark.parametrize("kind", Kind)
def test_our_id_is_what_ec2_api_answers_and_what_its_owner_keeps(
    region, judge, kind
):
    image = region.see(kind)
    ours = format_id(SCHEME.derive(image), kind)

    assert judge.id_of(image, kind) == ours
    assert judge.use(image, kind)["id"] == ours
    region.audit()
    assert judge.ask(OWNER, "get_item_by_id", ours)["os_id"] == image
    assert judge.id_of(image, kind) == ours


def test_before_the_kind_is_known_nothing_is_in_the_owners_way(region, judge):
    image = region.see()
    assert judge.ask(OWNER, "get_items_ids", "ami", None, [image]) == []

    region.see(Kind.AKI, image)

    ours = format_id(SCHEME.derive(image), Kind.AKI)
    assert judge.use(image, "aki")["id"] == ours


def test_a_late_format_puts_right_what_would_fail_the_owners_call(
    region, judge
):
    image = region.see(Kind.AMI)
    assert judge.use(image, "ari") == "NoResultFound"

    region.see(Kind.ARI, image)

    ours = format_id(SCHEME.derive(image), Kind.ARI)
    assert judge.use(image, "ari")["id"] == ours


def test_an_id_that_ec2_api_made_up_first_is_left_alone(region, judge):
    image = str(uuid4())
    theirs = judge.id_of(image)

    region.see(Kind.AMI, image)
    region.audit()

    assert judge.id_of(image) == theirs
    assert judge.use(image)["id"] == theirs


def test_an_adopted_id_of_ec2_api_is_that_of_the_region(region, judge):
    while True:
        image = str(uuid4())
        theirs = judge.id_of(image)
        number = wanted_number(theirs)
        if number is not None:
            break
    assert number < DERIVED.stop
    region.see(Kind.AMI, image)

    list(Adoption(region.ledger, dry_run=False).go_through(region.sink))
    region.see(Kind.AMI)

    assert region.number(image) == number
    assert judge.id_of(image) == theirs


@pytest.mark.parametrize("beyond", [False, True])
def test_create_image_gets_the_id_that_it_has_promised(region, judge, beyond):
    promised = judge.promise(beyond=beyond)

    # Glance tells of the image before ec2-api has put it into its row.
    image = region.see(Kind.AMI, ec2_id=promised["id"])
    region.audit()
    done = judge.ask(OWNER, "update_item", {**promised, "os_id": image})

    assert done["os_id"] == image
    region.audit()
    assert judge.id_of(image) == promised["id"]
    wanted = SCHEME.derive(image) if beyond else int(promised["id"][4:], 16)
    assert region.number(image) == wanted


def test_a_row_that_ec2_api_has_deleted_comes_back(region, judge):
    image = region.see(Kind.AMI)
    ours = judge.use(image)["id"]

    # Its owner did not see the image for a moment: it was hidden.
    judge.ask(OWNER, "delete_item", ours)
    assert judge.ask(OWNER, "get_items", "ami") == []
    region.audit()

    assert judge.id_of(image) == ours
    assert judge.use(image)["id"] == ours


def test_a_random_id_that_hits_one_of_ours_stays_whose_it_is(
    region, judge, engine
):
    image, other = str(uuid4()), str(uuid4())
    hit = format_id(SCHEME.derive(image))
    judge.ask(OWNER, "restore_item", "ami", {"id": hit, "os_id": other})

    region.see(Kind.AMI, image)
    region.audit()

    assert judge.id_of(other) == hit
    (found,) = region.ledger.divergences.found([other])
    assert (found.row_class, found.number) == ("taken", SCHEME.derive(image))
    # And the other way round it is ec2-api that has to draw again.
    third = region.see(Kind.AMI)
    ours = {"id": format_id(region.number(third)), "os_id": str(uuid4())}
    said = judge.ask(OWNER, "restore_item", "ami", ours)
    assert said == "EC2DBDuplicateEntry"
    with engine.connect() as connection:
        count = sa.text("SELECT count(*) FROM items")
        assert connection.scalar(count) == 2
