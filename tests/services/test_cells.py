"""Sinks of every kind: cells that come and go, dead ones, and ec2-api.

The ledger is in PostgreSQL here, the cells in both.
"""

from uuid import uuid4

import pytest
import schemas
import sqlalchemy as sa
from fleet import INFO, Region, create_envelope, running
from patience import wait_until
from servers import free_port

from ec2map_sync.rules.ec2id import Kind, format_id
from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services

TEMPLATE = "{scheme}://{username}@{hostname}:{port}/"
SECONDS = 30


class Api:
    """Nova's API database."""

    def __init__(self, url):
        self.url = url
        self.engine = create_engine(parse_url(url, "x"))
        schemas.create(self.engine, schemas.CELL_MAPPINGS)

    def add(self, uuid, name, url):
        with self.engine.begin() as connection:
            connection.execute(
                sa.insert(schemas.CELL_MAPPINGS).values(
                    uuid=uuid, name=name, database_connection=url
                )
            )

    def remove(self, uuid):
        table = schemas.CELL_MAPPINGS
        with self.engine.begin() as connection:
            connection.execute(sa.delete(table).where(table.c.uuid == uuid))


@pytest.fixture(scope="module")
def api(mariadb):
    api = Api(mariadb.create_database("cells_api"))
    yield api
    api.engine.dispose()


@pytest.fixture(scope="module")
def items(postgresql):
    """ec2-api's database."""
    url = parse_url(postgresql.create_database("ec2api"), "x")
    engine = create_engine(url)
    schemas.create(engine, schemas.ITEMS)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def plain(rabbit_a, mariadb, postgresql, tmp_path_factory):
    """A region whose ledger is in PostgreSQL."""
    region = Region(
        "RegionOne", rabbit_a, mariadb, tmp_path_factory.mktemp("cells")
    )
    region.ledger = postgresql.create_database("cells_ledger")
    region.configure()
    return region


@pytest.fixture(scope="module")
def region(plain, mariadb, api, items):
    region = plain
    before, _, _ = region.config_file.read_text().partition("[nova]\n")
    region.config_file.write_text(
        f"{before}[nova]\napi_connection = {api.url}\n"
        f"cell_template_connection = {mariadb.url('nova')}\n"
        "cells_interval = 1\n"
        "[ec2api]\n"
        f"connection = {items.url.render_as_string(hide_password=False)}\n"
    )
    # cell0 has no name, as it may; the other cells' addresses are templates.
    for name in ("cell0", "cell1"):
        database = sa.make_url(region.cells[name]).database
        api.add(name, None if name == "cell0" else name, TEMPLATE + database)
    nobody = f"mysql+pymysql://nova:hunter2@127.0.0.1:{free_port()}/nova"
    api.add("dead", "dead", nobody)
    with running(region):
        yield region


def uuids(engine):
    with engine.connect() as connection:
        return set(connection.scalars(sa.select(schemas.S3_IMAGES.c.uuid)))


def test_a_dead_cell_holds_up_nobody(region):
    images = region.glance.create(20)

    region.await_images(images, SECONDS)
    region.await_log("writer of nova:dead waits", SECONDS)
    assert "hunter2" not in region.log()


def test_ec2_api_gets_the_same_ids_when_the_kinds_are_known(region, items):
    def ids():
        with items.connect() as connection:
            rows = connection.execute(
                sa.select(schemas.ITEMS.c.os_id, schemas.ITEMS.c.id)
            )
            return {row.os_id: row.id for row in rows}

    def in_nova(kinds):
        numbers = {uuid: number for number, uuid in region.rows("cell1")}
        return {
            uuid: format_id(numbers[uuid], kind)
            for uuid, kind in kinds.items()
            if uuid in numbers
        }

    kinds = dict.fromkeys(region.uuids("cell1"), Kind.AMI)
    late = str(uuid4())
    region.glance.send([(INFO, create_envelope(late, None))])
    region.await_images([late], SECONDS)
    wait_until(lambda: ids() == in_nova(kinds), SECONDS)
    assert len(kinds) == 20

    # As another notification; the same one again would be dropped.
    known = create_envelope(late, "ari").replace(
        late.replace("-", ""), uuid4().hex
    )
    region.glance.send([(INFO, known)])

    kinds[late] = Kind.ARI
    wait_until(lambda: ids() == in_nova(kinds), SECONDS)


def test_a_new_cell_is_filled_and_a_removed_one_left_alone(
    region, api, postgresql
):
    url = postgresql.create_database("new_cell")
    engine = create_engine(parse_url(url, "x"))
    schemas.create(engine, schemas.S3_IMAGES)

    api.add("new", "new", url)

    images = set(region.uuids("cell1"))
    assert len(images) > 20
    wait_until(lambda: uuids(engine) == images, SECONDS)
    region.await_images(more := region.glance.create(3), SECONDS)
    wait_until(lambda: uuids(engine) == images | more, SECONDS)

    api.remove("new")
    region.await_log("cell new is gone", SECONDS)
    region.await_images(region.glance.create(3), SECONDS)
    assert uuids(engine) == images | more
    assert region.stop() == 0
    engine.dispose()
