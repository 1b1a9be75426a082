"""Which cells Nova has, and what happens when that changes."""

import logging
from contextlib import suppress

import pytest
import schemas
import sqlalchemy as sa

from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.settings.loading import load
from ec2map_sync.sinks.cells import Roster, discover, fill_template
from ec2map_sync.sql.database import create_engine, parse_url

BASE = "mysql+pymysql://nova:s%40cret@Db.example:3306/nova?charset=utf8mb4"


@pytest.fixture
def api(tmp_path):
    engine = create_engine(parse_url(f"sqlite:///{tmp_path}/api", "x"))
    schemas.create(engine, schemas.CELL_MAPPINGS)
    yield engine
    engine.dispose()


def add(api, uuid, name, url):
    with api.begin() as connection:
        connection.execute(
            sa.insert(schemas.CELL_MAPPINGS).values(
                uuid=uuid, name=name, database_connection=url
            )
        )


def remove(api, uuid):
    with api.begin() as connection:
        table = schemas.CELL_MAPPINGS
        connection.execute(sa.delete(table).where(table.c.uuid == uuid))


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("sqlite:///plain", "sqlite:///plain"),
        (
            "{scheme}://{username}:{password}@{hostname}:{port}/{path}_cell0"
            "?{query}",
            "mysql+pymysql://nova:s%40cret@Db.example:3306/nova_cell0"
            "?charset=utf8mb4",
        ),
        (
            "{scheme}://{username}:{password}@other/{path}?{query}",
            "mysql+pymysql://nova:s%40cret@other/nova?charset=utf8mb4",
        ),
        ("mysql://u:{no}{}@h/d", "mysql://u:{no}{}@h/d"),
    ],
)
def test_templates_are_filled_as_nova_does(template, filled):
    assert fill_template(template, BASE) == filled


def test_an_address_of_ipv6_without_port_is_left_in_one_piece():
    url = fill_template("{scheme}://{hostname}:{port}/x", "mysql://[::1]/y")

    assert url == "mysql://[::1]:/x"


@pytest.mark.parametrize("port", [":3306", ""])
def test_brackets_of_ipv6_in_the_template_are_not_doubled(port):
    base = f"mysql://nova:p@[fd00::5]{port}/nova"
    template = "{scheme}://{username}:{password}@[{hostname}]:3306/nova_cell0"

    filled = fill_template(template, base)

    assert filled == "mysql://nova:p@[fd00::5]:3306/nova_cell0"
    assert parse_url(filled, "cell").host == "fd00::5"


def test_cells_without_a_name_of_their_own_go_by_their_uuid(api):
    add(api, "u0", None, "sqlite:///a")
    add(api, "u1", "twin", "sqlite:///b")
    add(api, "u2", "twin", "sqlite:///c")
    add(api, "u3", "with a blank", "sqlite:///d")
    add(api, "u4", "cell4", "sqlite:///e")

    cells, unusable = discover(api, None)

    assert [cell.name for cell in cells] == ["u0", "u1", "u2", "u3", "cell4"]
    assert unusable == []


def test_a_cell_that_cannot_be_used_holds_up_nobody_and_is_no_secret(api):
    add(api, "u0", "template", "{scheme}://u:hunter2@{hostname}/x")
    add(api, "u1", "broken", "mysql//u:hunter2@h/x")
    add(api, "u2", "good", "sqlite:///x")

    cells, unusable = discover(api, None)

    assert [cell.name for cell in cells] == ["good"]
    assert "cell_template_connection" in unusable[0]
    assert "broken" in unusable[1]
    assert "hunter2" not in "".join(unusable)


def test_cells_that_come_move_or_go_are_noticed(api):
    seen = []
    roster = Roster(
        api,
        None,
        start=lambda cell: seen.append(
            ("start", cell.name, cell.url.database)
        ),
        end=lambda cell: seen.append(("end", cell.name, cell.url.database)),
    )

    def step():
        seen.clear()
        roster.step()
        return list(seen)

    add(api, "u1", "one", "sqlite:///a")
    assert step() == [("start", "one", "a")]
    assert step() == []
    add(api, "u2", "two", "sqlite:///b")
    assert step() == [("start", "two", "b")]
    remove(api, "u1")
    add(api, "u1", "one", "sqlite:///c")
    assert step() == [("end", "one", "a"), ("start", "one", "c")]
    remove(api, "u2")
    assert step() == [("end", "two", "b")]


def read(tmp_path, text):
    file = tmp_path / "conf"
    file.write_text(text)
    return load([], files=[str(file)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[nova]\napi_connection = sqlite:///x\ncells = a\n"
            "[cell:a]\nconnection = sqlite:///y\n",
            "cells and api_connection are both given",
        ),
        (
            "[nova]\ncell_template_connection = sqlite:///x\n",
            "cell_template_connection is of no use",
        ),
        (
            "[nova]\napi_connection = sqlite:///x\n"
            "cell_template_connection = nonsense\n",
            "cell_template_connection",
        ),
        ("[nova]\napi_connection = oracle://h/x\n", "api_connection"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        _ = read(tmp_path, text).nova_api


def test_a_section_of_a_cell_beside_discovered_ones_is_refused(tmp_path):
    text = (
        "[nova]\napi_connection = sqlite:///x\n"
        "[cell:a]\nconnection = sqlite:///y\n"
    )

    with pytest.raises(ConfigError, match=r"\[cell:a\] is not used"):
        _ = read(tmp_path, text).cells


@pytest.mark.parametrize(
    ("url", "left"),
    [
        (
            "mysql://n@127.0.0.1:1/x?charset=utf8&plugin=dbcounter",
            {"charset"},
        ),
        ("mysql://n@127.0.0.1:1/x?use_pure=1&ssl=on", {"ssl"}),
        ("mysql://n@127.0.0.1:1/x?autocommit=1&compress=1&conv=x", set()),
        (
            "postgresql://n@127.0.0.1:1/x?sslmode=allow&a=b",
            {"sslmode"},
        ),
    ],
)
def test_arguments_that_our_driver_does_not_know_are_left_out(url, left):
    parsed = parse_url(url, "cell")

    assert parsed.query.keys() == left
    engine = create_engine(parsed)
    with suppress(sa.exc.OperationalError, FileNotFoundError):
        engine.connect().close()  # anything else, the driver would refuse


def test_what_is_left_out_is_said_at_debug_only(caplog):
    caplog.set_level(logging.DEBUG)

    parse_url("mysql://h/x?colour=green&plugin=dbcounter", "cell one")

    assert caplog.messages == ["cell one: left out: colour, plugin"]
    assert {one.levelno for one in caplog.records} == {logging.DEBUG}
