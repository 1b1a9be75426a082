"""A server that refuses the locks we need is named before anything waits."""

from contextlib import contextmanager

import pytest
import schemas
import sqlalchemy as sa

from ec2map_sync.ledger import schema
from ec2map_sync.operate.checks import databases
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.rules.errors import SchemaError
from ec2map_sync.settings.config import Cell
from ec2map_sync.sinks import lock
from ec2map_sync.sql.database import create_engine, parse_url

STRICT = (
    "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1105, MESSAGE_TEXT = "
    "'Percona-XtraDB-Cluster prohibits use of GET_LOCK'"
)


@contextmanager
def changing(change):
    """Send other statements than asked for, so that servers refuse them."""

    def replace(_connection, _cursor, statement, parameters, *_):
        changed = change(statement)
        return changed, parameters if changed == statement else ()

    sa.event.listen(sa.Engine, "before_cursor_execute", replace, retval=True)
    yield
    sa.event.remove(sa.Engine, "before_cursor_execute", replace)


@pytest.fixture
def engine(database):
    engine = create_engine(parse_url(database, "x"))
    schemas.create(engine, schemas.S3_IMAGES, schemas.ITEMS)
    schema.upgrade(engine)
    yield engine
    engine.dispose()


def cell(engine):
    return databases._cell(Cell(name="cell1", url=engine.url))


def test_whoever_holds_a_lock_it_is_in_order(engine):
    with lock.alone(engine, "cell1"):
        if engine.dialect.name != "sqlite":
            assert cell(engine).good
            assert databases._ec2api(engine.url).good
    assert cell(engine).good
    assert databases._ledger(engine, Scheme(b"x")).good
    with lock.alone(engine, "cell1"):
        pass


@pytest.mark.services
def test_a_cluster_that_refuses_get_lock_is_wrong(mariadb):
    engine = create_engine(parse_url(mariadb.create_database("strict"), "x"))
    schemas.create(engine, schemas.S3_IMAGES, schemas.ITEMS)

    with changing(lambda text: STRICT if "get_lock" in text else text):
        found = cell(engine), databases._ec2api(engine.url)

    for finding in found:
        assert not finding.good
        assert "prohibits use of GET_LOCK" in finding.found
        assert "pxc_strict_mode" in finding.advice
    engine.dispose()


@pytest.mark.services
def test_a_server_that_knows_no_skip_locked_is_named_at_once(mariadb):
    engine = create_engine(parse_url(mariadb.create_database("old"), "x"))
    schema.upgrade(engine)

    with (
        changing(lambda text: text.replace("SKIP LOCKED", "SKIPPED LOCKS")),
        pytest.raises(SchemaError, match=r"MariaDB 10\.6 and MySQL 8\.0"),
    ):
        databases._ledger(engine, Scheme(b"x"))
    engine.dispose()
