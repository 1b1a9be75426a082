"""The checker of the chaos finds what it is there for."""

import time
from uuid import uuid4

import checker
import pytest
from announcer import Announced, Told
from checker import (
    BOUND,
    CHANGED,
    DIFFERENT,
    DOUBLED,
    LOGGED,
    LOST,
    STATUS,
    STRANGE,
    Checker,
    Logs,
    Watch,
)
from commands import SmallRegion

from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.claims import Sighting


class Judged(SmallRegion):
    """A small region as the checker asks it."""

    name = "RegionOne"
    cells = ("cell1",)

    def rows(self, cell):
        return self.sql(cell, "SELECT id, uuid FROM s3_images ORDER BY id")

    def uuids(self, cell):
        return [uuid for _, uuid in self.rows(cell)]


@pytest.fixture
def region(tmp_path):
    return Judged(tmp_path)


@pytest.fixture
def announced(region):
    announced = Announced()
    for image in (str(uuid4()) for _ in range(5)):
        announced.tried.add(image)
        announced.note(image, region.name)
        see(region.ledger, image)
    region.write_sinks()
    return announced


@pytest.fixture
def judge(region, announced):
    judge = Checker([region], announced)
    judge.remember()
    return judge


def see(ledger: Ledger, image: str) -> None:
    ledger.see([Sighting(image=image, uuid=image)])


def found(judge: Checker) -> set[str]:
    return {finding.what for finding in judge.complaints()}


def test_a_region_in_order_has_nothing_to_complain_of(judge):
    assert found(judge) == set()


@pytest.mark.parametrize(
    ("database", "statement", "what"),
    [
        (
            "cell1",
            "DELETE FROM s3_images WHERE id = (SELECT min(id) FROM s3_images)",
            {LOST, DIFFERENT},
        ),
        (
            "cell1",
            "INSERT INTO s3_images (id, uuid) "
            "SELECT 5, uuid FROM s3_images LIMIT 1",
            {DOUBLED, DIFFERENT},
        ),
        (
            "ledger",
            "UPDATE claims SET number = number + 1 "
            "WHERE image = (SELECT min(image) FROM claims)",
            {CHANGED, DIFFERENT},
        ),
        (
            "ledger",
            "DELETE FROM claims WHERE image = (SELECT min(image) FROM claims)",
            {LOST, CHANGED, DIFFERENT},
        ),
        ("ledger", "UPDATE head SET total_sum = total_sum + 1", {DIFFERENT}),
    ],
)
def test_what_is_changed_by_hand_is_found(
    region, judge, database, statement, what
):
    region.sql(database, statement)

    assert found(judge) == what


def test_an_image_that_nobody_has_announced_is_found(region, judge):
    see(region.ledger, str(uuid4()))
    region.write_sinks()

    assert found(judge) == {STRANGE}


def test_an_image_that_was_announced_in_vain_is_found(announced, judge):
    announced.note(str(uuid4()), "RegionOne")

    assert found(judge) == {LOST}


def test_a_recorded_move_is_no_change_without_a_record(region, judge):
    ((image, old),) = region.sql(
        "ledger", "SELECT image, number FROM claims LIMIT 1"
    )
    region.sql(
        "ledger",
        f"UPDATE claims SET number = {old + 1} WHERE image = '{image}'",
    )
    assert CHANGED in found(judge)

    region.sql(
        "ledger",
        "INSERT INTO moves (at, revision, image, old, new, cause) "
        f"VALUES (1, 1, '{image}', {old}, {old + 1}, '{image}')",
    )

    assert CHANGED not in found(judge)


@pytest.mark.parametrize(("age", "what"), [(1, []), (BOUND + 5, [STATUS])])
def test_who_is_healthy_for_long_without_a_row_is_found(
    region, announced, monkeypatch, age, what
):
    monkeypatch.setattr(checker.Watch, "amiss", lambda *_: [])
    told = Told(region.name, time.monotonic() - age)
    announced.confirmed[str(uuid4())] = told

    watch = Watch([region], announced)

    assert [finding.what for finding in watch.look(region)] == what
    watch.close()


def test_a_row_that_has_gone_just_now_is_not_missed_yet(
    region, announced, monkeypatch
):
    monkeypatch.setattr(checker.Watch, "amiss", lambda *_: [])
    watch = Watch([region], announced)
    (image, *_) = announced.confirmed
    announced.confirmed[image] = Told(region.name, time.monotonic() - 999)
    assert list(watch.look(region)) == []

    region.sql("cell1", f"DELETE FROM s3_images WHERE uuid = '{image}'")

    assert list(watch.look(region)) == []
    monkeypatch.setattr(checker, "BOUND", 0)
    assert [finding.what for finding in watch.look(region)] == [STATUS]
    watch.close()


def test_status_of_a_region_without_an_agent_is_amiss(region, announced):
    watch = Watch([region], announced)

    assert {line.state for line in watch.amiss(region.name)} >= {"never heard"}
    assert list(watch.look(region)) == []
    watch.close()


def test_a_traceback_is_found_once_and_an_outage_is_none(tmp_path):
    path = tmp_path / "agent.log"
    at = "2026-01-31 12:00:00.000 7"
    path.write_text(f"{at} WARNING ec2map_sync.running.loop [-] waits\n")
    logs = Logs([path])
    assert list(logs.news()) == []

    with path.open("a") as log:
        log.write(
            f"{at} ERROR ec2map_sync.running.loop [-] notary failed\n"
            f"{at} ERROR ec2map_sync.running.loop Traceback (most recent\n"
            "Exception in thread 1\nTraceback (most recent call last):\n"
        )

    first, second = logs.news()
    assert first.what == second.what == LOGGED
    assert first.text.endswith("notary failed")
    assert second.text.endswith("Exception in thread 1")
    assert list(logs.news()) == []
