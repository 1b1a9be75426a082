"""What a user of Glance writes into an image, into a real ledger."""

from collections.abc import Iterator
from contextlib import contextmanager

import made
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ec2map_sync.glance.audit import Survey
from ec2map_sync.glance.catalogue import _image
from ec2map_sync.glance.listener import Recorder
from ec2map_sync.ledger import Ledger, tables
from ec2map_sync.rules.canaries import canary_of
from ec2map_sync.rules.ec2id import Kind, Scheme
from ec2map_sync.sql.database import create_engine, parse_url

IMAGE = "aaaaaaaa-0000-4000-8000-000000000001"
OTHER = "aaaaaaaa-0000-4000-8000-000000000002"

ODD = [
    None,
    7,
    2**70,
    -0.5,
    True,
    [],
    [[[[]]]],
    {},
    {"ec2_id": {"ec2_id": "ami-00000001"}},
    "",
    "\0",
    "\ud800",
    "x" * 5_000_000,
    "9999-99-99T99:99:99Z",
    "'; DROP TABLE claims; --",
]
"""No type, length or bytes that a value might have is left out."""

FIELDS = [
    "name",
    "created_at",
    "updated_at",
    "visibility",
    "properties",
    "status",
    "size",
    "owner",
    "deleted_at",
    "tags",
]


class Incoming:
    def __init__(self, message):
        self.message = message
        self.lapsed = False


@contextmanager
def opened(path) -> Iterator[tuple[Engine, Ledger]]:
    engine = create_engine(parse_url(f"sqlite:///{path}", "x"))
    made.make(engine)
    yield engine, Ledger(engine, Scheme())
    engine.dispose()


def note(image=IMAGE, **fields):
    payload = {"id": image, "container_format": "bare", **fields}
    return Incoming({"event_type": "image.create", "payload": payload})


@pytest.mark.parametrize("field", FIELDS)
def test_no_value_of_a_field_costs_the_image_its_id(tmp_path, field):
    images = [f"aaaaaaaa-0000-4000-8000-{n:012x}" for n in range(len(ODD))]
    with opened(tmp_path / "ledger") as (_, ledger):
        recorder = Recorder(ledger, lambda: None)

        recorder.dispatch(
            [
                note(image, **{field: odd})
                for image, odd in zip(images, ODD, strict=True)
            ]
        )

        assert ledger.claims(images).keys() == set(images)
        assert ledger.quarantine.count() == 0


@pytest.mark.parametrize("field", ["id", "container_format"])
@pytest.mark.parametrize("odd", ODD)
def test_a_value_that_cannot_be_costs_no_other_image_its_id(
    tmp_path, field, odd
):
    with opened(tmp_path / "ledger") as (_, ledger):
        recorder = Recorder(ledger, lambda: None)

        recorder.dispatch([note(**{field: odd}), note(OTHER)])

        assert OTHER in ledger.claims([IMAGE, OTHER])


@pytest.mark.parametrize("odd", ODD)
def test_nor_does_the_audit_stumble(odd):
    survey = Survey(None)
    for field in ("container_format", "visibility", "ec2_id", "id"):
        images = [
            _image({"id": IMAGE, field: odd}),
            _image({"id": OTHER, "container_format": "bare"}),
        ]

        assert OTHER in {s.image for s in survey.sightings(images)}


@pytest.mark.parametrize("spelled", [str.lower, str.upper])
def test_an_image_that_passes_for_a_canary_leaves_nothing_behind(
    tmp_path, spelled
):
    canary = spelled(canary_of("RegionOne", 1))
    with opened(tmp_path / "ledger") as (engine, ledger):
        before = rows(engine)
        recorder = Recorder(ledger, lambda: None)

        for n in range(3):
            recorder.dispatch([note(canary, name=n)])

        assert rows(engine) == before
        recorder.dispatch([note(canary), note(OTHER)])
        assert ledger.head().total.count == 1
        assert ledger.quarantine.count() == 0


def rows(engine):
    with engine.connect() as connection:
        return {
            table.name: connection.scalar(
                sa.select(sa.func.count()).select_from(table)
            )
            for table in tables.metadata.sorted_tables
        }


@pytest.mark.parametrize("at_once", [1, 100])
def test_a_format_changed_back_and_forth_leaves_nothing_behind(
    tmp_path, at_once
):
    flips = [note(container_format=f) for f in ("aki", "ari", "ami", "aki")]
    with opened(tmp_path / "ledger") as (engine, ledger):
        recorder = Recorder(ledger, lambda: None)
        recorder.dispatch(flips[:1])
        revision = ledger.head().revision
        with ledger.cursors.reader("publisher"):
            pass  # its cursor is a row too
        before = rows(engine)

        for start in range(0, 200, at_once):
            recorder.dispatch(
                [flips[n % 4] for n in range(start, start + at_once)]
            )

        assert rows(engine) == before
        assert ledger.head().revision - revision <= 200 // at_once
        with ledger.cursors.reader("publisher") as reader:
            claims, _ = reader.own_claims(1000)
        assert [claim.image for claim in claims] == [IMAGE]
        assert claims[0].kind.kind is Kind.AKI
