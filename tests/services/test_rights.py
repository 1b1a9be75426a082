"""The grants that the pages name are enough, and each of them is needed."""

import re
from itertools import count
from pathlib import Path

import pytest
import schemas
import sqlalchemy as sa

from ec2map_sync.operate.checks import databases
from ec2map_sync.rules.ec2id import DERIVED, Kind
from ec2map_sync.rules.rows import SinkRow
from ec2map_sync.settings.values import Cell
from ec2map_sync.sinks import Plan
from ec2map_sync.sinks.cells import discover
from ec2map_sync.sinks.ec2api import Ec2ApiSink
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services

PAGE = Path(__file__).parents[2] / "doc/source/permissions.rst"
MARIADB, POSTGRESQL = (
    re.findall(r"GRANT .*(?=;)", block)
    for block in re.findall(
        r"^\.\. code-block:: sql\n\n((?: {4}.*\n)+)",
        PAGE.read_text(),
        re.MULTILINE,
    )
)
INSTANCES = re.search(r"GRANT SELECT \(id,[^;]*(?=;)", PAGE.read_text())[0]
ROW = SinkRow(
    number=DERIVED.first,
    uuid="2a3d51d7-356a-45c5-aa8e-34d805812a68",
    kind=Kind.AMI,
)
_numbers = count()


def without(grants, statement, right):
    """Leave one right out of one statement."""
    words, on, rest = grants[statement].partition(" ON ")
    left = [r for r in words[6:].split(", ") if r != right]
    lesser = [f"GRANT {', '.join(left)}{on}{rest}"] if left else []
    return [*grants[:statement], *lesser, *grants[statement + 1 :]]


def lesser(server, grants):
    return [
        pytest.param(
            server, without(grants, n, right), id=f"{server}-{n}-{right}"
        )
        for n, statement in enumerate(grants)
        for right in statement[6:].partition(" ON ")[0].split(", ")
    ]


def account(server, grants):
    """Make a database with every table, and an account; its URL."""
    n = next(_numbers)
    name, user = f"rights_{n}", f"user_{n}"
    url = server.create_database(name)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    schemas.create(
        engine,
        schemas.S3_IMAGES,
        schemas.ITEMS,
        schemas.CELL_MAPPINGS,
        schemas.INSTANCES,
    )
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"CREATE USER {user} PASSWORD 'p'")
        else:
            connection.exec_driver_sql(f"CREATE USER {user} IDENTIFIED BY 'p'")
            # MariaDB lets nobody in who may do nothing there.
            connection.exec_driver_sql(
                f"GRANT CREATE TEMPORARY TABLES ON {name}.* TO {user}"
            )
        for grant in grants:
            text = re.sub(r"\b(nova|ec2api|nova_api)\.", f"{name}.", grant)
            connection.exec_driver_sql(text.replace("ec2map_sync", user))
    return parse_url(url, "test").set(username=user, password="p")


def act(url):
    """Do in a cell, in ec2-api and Nova's API what the agent does there."""
    engine = create_engine(url)
    try:
        for sink in (NovaSink("cell1", engine), Ec2ApiSink(engine)):
            for plan in (Plan(add=(ROW,)), Plan(remove=(ROW,))):
                with sink.session() as session:
                    session.apply(plan)
        NovaSink("cell1", engine).prints(DERIVED.first, DERIVED.stop)
        discover(engine, None)
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    ("server", "grants"), [("mariadb", MARIADB), ("postgresql", POSTGRESQL)]
)
def test_the_grants_of_the_pages_are_enough(request, server, grants):
    url = account(request.getfixturevalue(server), grants)

    act(url)

    assert databases._cell(Cell(name="cell1", url=url)).good
    assert databases._ec2api(url).good


@pytest.mark.parametrize(
    ("server", "grants"),
    [*lesser("mariadb", MARIADB), *lesser("postgresql", POSTGRESQL)],
)
def test_with_any_right_less_something_is_denied(request, server, grants):
    url = account(request.getfixturevalue(server), grants)

    with pytest.raises(sa.exc.DBAPIError, match="denied"):
        act(url)


@pytest.mark.parametrize(
    ("server", "grants"), [("mariadb", MARIADB), ("postgresql", POSTGRESQL)]
)
def test_instances_are_read_only_where_guests_are_looked_at(
    request, server, grants
):
    cell = Cell(
        name="cell1", url=account(request.getfixturevalue(server), grants)
    )
    assert databases._cell(cell).good
    lacking = databases._cell(cell, guests=True)
    assert lacking.good is False

    right = " ".join(INSTANCES.split())
    if server == "postgresql":
        right = right.replace("nova.", "")
    url = account(request.getfixturevalue(server), [*grants, right])

    assert databases._cell(Cell(name="cell1", url=url), guests=True).good
    engine = create_engine(url)
    assert NovaSink("cell1", engine).instances(0, 10) == []
    with (
        engine.connect() as connection,
        pytest.raises(sa.exc.DBAPIError, match="denied"),
    ):
        connection.exec_driver_sql("SELECT user_data FROM instances")
    engine.dispose()
    # What is advised is what the page has.
    given, page = (
        set(re.findall(r"\w+", text.partition("(")[2].partition(")")[0]))
        for text in (lacking.advice, INSTANCES)
    )
    assert given == page
