"""What is written into ec2-api's database, on every database."""

import pytest
import schemas
import sqlalchemy as sa

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.rules.claims import Claim, SeenKind, Sighting, Wanted
from ec2map_sync.rules.ec2id import Band, Kind, Scheme, format_id
from ec2map_sync.rules.rows import RowClass, SinkRow
from ec2map_sync.sinks import audit
from ec2map_sync.sinks.audit import Sweep
from ec2map_sync.sinks.ec2api import Ec2ApiSink
from ec2map_sync.sinks.verify import SinkCheck
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url

SMALL = Scheme(b"test", Band(100, 132))
ITEMS = schemas.ITEMS
OTHERS = {"i-00000001": "instance", "vol-00000002": None}
AMI = SeenKind(1, Kind.AMI)


def image(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012x}"


class Ec2Api:
    """ec2-api's database, and the Writer of a region that writes there."""

    def __init__(self, engine, ledger):
        self.engine = engine
        self.ledger = ledger
        self.sink = Ec2ApiSink(engine)

    def rows(self):
        """What images have: id -> UUID."""
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(ITEMS.c.id, ITEMS.c.os_id))
            rows = {row.id: row.os_id for row in found}
        assert rows.items() >= OTHERS.items()
        return {i: uuid for i, uuid in rows.items() if i not in OTHERS}

    def put(self, number, uuid, kind=Kind.AMI, **fields):
        """Let ec2-api make a row."""
        id_ = format_id(number, kind)
        with self.engine.begin() as connection:
            connection.execute(
                sa.insert(ITEMS).values(id=id_, os_id=uuid, **fields)
            )
        return id_

    def adopt(self, id_):
        """Let the owner's first call fill a row in."""
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(ITEMS)
                .where(ITEMS.c.id == id_)
                .values(project_id="p", data="{}")
            )

    def write(self, *, rewrite=False):
        """Bring it up to date."""
        while Writer(self.ledger, self.sink, rewrite=rewrite).step():
            pass
        return self.rows()

    def see(self, n, kind=None, **fields):
        """Let Glance tell of an image; its number if it is alone."""
        self.ledger.see(
            [Sighting(image=image(n), uuid=image(n), kind=kind, **fields)]
        )
        return SMALL.derive(image(n))


@pytest.fixture
def ledger(tmp_path):
    engine = create_engine(parse_url(f"sqlite:///{tmp_path}/ledger", "x"))
    schema.upgrade(engine)
    yield Ledger(engine, SMALL)
    engine.dispose()


@pytest.fixture
def api(database, ledger):
    engine = create_engine(parse_url(database, "x"))
    schemas.create(engine, ITEMS)
    with engine.begin() as connection:
        rows = [{"id": i, "os_id": uuid} for i, uuid in OTHERS.items()]
        connection.execute(sa.insert(ITEMS), rows)
    yield Ec2Api(engine, ledger)
    engine.dispose()


def rivals():
    """Two images that derive the same number, 100."""
    return [n for n in range(500) if SMALL.derive(image(n)) == 100][:2]


def test_a_row_only_maps_and_is_written_when_the_kind_is_known(api):
    number = api.see(1)
    assert api.write() == {}

    api.see(1, Kind.ARI)

    assert api.write() == {format_id(number, Kind.ARI): image(1)}
    with api.engine.connect() as connection:
        bare = sa.and_(ITEMS.c.project_id.is_(None), ITEMS.c.data.is_(None))
        of_image = sa.and_(ITEMS.c.os_id == image(1), bare)
        assert connection.scalar(sa.select(ITEMS.c.id).where(of_image))


def test_a_format_that_changes_corrects_the_prefix(api):
    number = api.see(1, Kind.AMI)
    api.write()

    api.see(1, Kind.AKI)

    assert api.write() == {format_id(number, Kind.AKI): image(1)}


def test_a_row_that_was_adopted_stays_as_it_is(api):
    number = api.see(1, Kind.AMI)
    api.write()
    api.adopt(format_id(number))

    api.see(1, Kind.AKI)

    assert api.write(rewrite=True) == {format_id(number): image(1)}


def test_a_row_of_its_own_that_an_image_has_stays_alone(api):
    mine = api.put(0xDEADBEEF, image(1), project_id="p", data="{}")
    bare = api.put(0x70000000, image(2))
    api.see(1, Kind.AMI)
    api.see(2, Kind.AMI)

    assert api.write() == {mine: image(1), bare: image(2)}


def test_a_random_id_that_hits_ours_stays_and_nothing_is_written(api):
    number = SMALL.derive(image(1))
    theirs = api.put(number, image(2), project_id="p", data="{}")
    waiting = api.put(SMALL.derive(image(3)), None, project_id="p")
    api.see(1, Kind.AMI)
    api.see(3, Kind.AMI)

    assert api.write() == {theirs: image(2), waiting: None}


def test_an_id_with_another_prefix_is_in_nobodys_way(api):
    number = SMALL.derive(image(1))
    theirs = api.put(number, image(2), Kind.AKI, project_id="p")
    api.see(1, Kind.AMI)

    assert api.write() == {theirs: image(2), format_id(number): image(1)}


def test_an_image_has_one_row_also_while_its_number_moves(api):
    late, early = rivals()
    api.ledger.record([Claim(claimed_at=20, image=image(late), kind=AMI)])
    assert api.write() == {format_id(100): image(late)}
    api.ledger.record([Claim(claimed_at=10, image=image(early), kind=AMI)])

    assert api.write() == {
        format_id(100): image(early),
        format_id(SMALL.probe(image(late), 1)): image(late),
    }


def test_a_row_of_ours_under_another_number_gives_way(api):
    """What a restored database still has."""
    api.put(SMALL.probe(image(1), 5), image(1))

    number = api.see(1, Kind.AMI)

    assert api.write() == {format_id(number): image(1)}


def test_numbers_change_hands_in_one_transaction(api):
    one, two = rivals()
    claims = [
        Claim(claimed_at=20, image=image(n), kind=AMI) for n in (one, two)
    ]
    api.ledger.record(claims)
    before = api.write()
    senior = Claim(claimed_at=10, image=max(before.values()))

    api.ledger.record([senior])
    api.ledger.record([Claim(claimed_at=5, image=min(before.values()))])

    after = api.write()
    assert set(after.values()) == set(before.values())
    assert after[format_id(100)] == min(before.values())


def test_the_id_that_ec2_api_has_promised_is_the_images_id_everywhere(api):
    promised = api.put(7, None, project_id="p", data="{}")
    api.see(1, Kind.AMI, wanted=7)

    # Were the image's row there already, CreateImage could not finish.
    assert api.write() == {promised: None}
    assert api.ledger.numbered([7])[7].uuid == image(1)


def test_a_wanted_number_is_known_to_be_ours_when_it_has_to_go(api):
    api.ledger.record(
        [Claim(claimed_at=9, image=image(1), kind=AMI, wanted=Wanted(9, 7))]
    )
    assert api.write() == {"ami-00000007": image(1)}

    api.ledger.record(
        [Claim(claimed_at=5, image=image(2), kind=AMI, wanted=Wanted(5, 7))]
    )

    assert api.write() == {
        "ami-00000007": image(2),
        format_id(SMALL.derive(image(1))): image(1),
    }


def test_a_row_is_written_as_glance_spells_the_image(api):
    key = image(0xABC)
    number = SMALL.derive(key)
    api.ledger.record([Claim(claimed_at=1, image=key, kind=AMI)])
    assert api.write() == {format_id(number): key}

    api.ledger.see([Sighting(image=key, uuid=key.upper())])

    assert api.write() == {format_id(number): key.upper()}


def test_what_ec2_api_adopts_meanwhile_is_not_lost(api):
    number = api.see(1, Kind.AMI)
    api.write()
    api.see(1, Kind.AKI)
    with api.sink.session() as session:
        settled = list(api.ledger.numbered([number]).values())
        plan = session.plan(
            settled, judge=lambda _rows: lambda _row: True, rewrite=False
        )
    api.adopt(format_id(number))

    with pytest.raises(sa.exc.IntegrityError), api.sink.session() as session:
        session.apply(plan)

    assert api.write() == {format_id(number): image(1)}


def test_the_audit_puts_rows_back_and_sees_ids_of_every_kind(api):
    for n, kind in enumerate(Kind, 1):
        api.see(n, kind)
    rows = api.write()
    assert len(rows) == 3
    with api.engine.begin() as connection:
        ids = ITEMS.c.id.in_(rows)
        connection.execute(sa.delete(ITEMS).where(ids))
    theirs = api.put(0xDDAAFFAA, image(9), Kind.ARI, project_id="p")
    writer = Writer(api.ledger, api.sink, rewrite=False)
    sweep = Sweep(api.ledger, api.sink, writer)

    for _ in range(2):
        sweep.begin()
        while not sweep.complete:
            sweep.step()

    assert api.rows() == rows | {theirs: image(9)}
    assert sweep.tally.missing == 0


@pytest.mark.parametrize("kind", [Kind.AMI, Kind.ARI, Kind.AKI])
def test_a_row_that_was_adopted_and_has_moved_is_told(api, kind, monkeypatch):
    monkeypatch.setattr(audit, "PAGE", 1)
    late, early = rivals()
    api.ledger.record([Claim(claimed_at=20, image=image(late), kind=AMI)])
    api.write()
    api.adopt(format_id(100))
    claim = Claim(claimed_at=10, image=image(early), kind=SeenKind(1, kind))
    api.ledger.record([claim])
    rows = api.write()
    sweep = Sweep(
        api.ledger, api.sink, Writer(api.ledger, api.sink, rewrite=False)
    )

    for _ in range(2):
        sweep.begin()
        while not sweep.complete:
            sweep.step()

        (told,) = api.ledger.divergences.found({image(late)})
        assert (told.number, told.row_class) == (100, RowClass.TAKEN)
        assert told.settled == SMALL.probe(image(late), 1)
    assert api.rows() == rows
    assert rows[format_id(100)] == image(late)
    assert (sweep.tally.new, sweep.tally.missing) == (0, 0)
    lacking = [
        SMALL.probe(image(late), 1),
        *([100] if kind is Kind.AMI else []),
    ]
    check = SinkCheck(api.ledger, api.sink, sleep=lambda _seconds: None)
    assert [d.number for d in check.run().differences] == sorted(lacking)


def test_every_image_whose_row_goes_gets_its_own_at_once(api):
    """Several of ours under one number, as when tables were merged."""
    one, two = rivals()
    api.see(one, Kind.AMI)
    api.see(two, Kind.AMI)
    settled = api.write()
    with api.engine.begin() as connection:
        ids = ITEMS.c.id.in_(settled)
        connection.execute(sa.delete(ITEMS).where(ids))
    wrong = SMALL.probe(image(one), 9)
    assert wrong not in api.ledger.numbered(range(100, 132))
    for kind, uuid in zip(Kind, settled.values(), strict=False):
        api.put(wrong, uuid, kind)

    Writer(api.ledger, api.sink, rewrite=False).write([wrong])

    assert api.rows() == settled


def test_all_rows_of_a_number_are_read(api):
    numbers = [SMALL.derive(image(1)), 7]
    for n, number in enumerate(numbers):
        for m, kind in enumerate(Kind):
            api.put(number, image(10 * n + m), kind)
    with api.engine.begin() as connection:
        # To MariaDB, but nobody else, it is the id that is asked for.
        connection.execute(sa.insert(ITEMS).values(id="AMI-00000008"))

    rows = api.sink.rows([*numbers, 8])

    assert sorted(rows, key=lambda row: (row.number, row.uuid)) == sorted(
        SinkRow(number=number, uuid=image(10 * n + m))
        for n, number in enumerate(numbers)
        for m in range(3)
    )
    assert {row.kind for row in rows} == set(Kind)
    assert api.sink.seen(numbers) == {row.uuid: row.number for row in rows}


def test_rows_are_scanned_in_the_order_of_their_numbers(api):
    numbers = [0x0A, 0xAA, 0xAB, 0xFE, 0xAAAAAAAA, 0xF0000000]
    for n, number in enumerate(numbers):
        api.put(number, image(n), list(Kind)[n % 3])
    with api.engine.begin() as connection:
        # Somebody's own; what has another form ends no page.
        odd = [{"id": f"{kind}-0000000f{n}"} for kind in Kind for n in (1, 2)]
        connection.execute(sa.insert(ITEMS), odd)

    found, after = [], 0
    while page := api.sink.scan(after, 2):
        found += page
        after = page[-1].number

    assert found == [
        SinkRow(number=number, uuid=image(n))
        for n, number in enumerate(numbers)
    ]
