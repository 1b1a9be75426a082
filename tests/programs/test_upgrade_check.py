"""ec2map-sync-status: may the services of this release start?"""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from commands import SmallRegion
from patience import within

from ec2map_sync.ledger.quarantine import Quarantined

PROGRAM = Path(sys.executable).parent / "ec2map-sync-status"


@pytest.fixture
def region(tmp_path):
    return SmallRegion(tmp_path)


def run(region, *arguments):
    return subprocess.run(
        [PROGRAM, "--config-file", region.config_file, *arguments],
        capture_output=True,
        text=True,
        timeout=within(30),
        check=False,
    )


def checked(region):
    """Give the exit code, and what each check says."""
    done = run(region, "upgrade", "check", "--json")
    assert done.stderr == ""
    found = json.loads(done.stdout)["checks"]
    return done.returncode, {one["check"]: one["details"] for one in found}


def test_a_region_as_it_should_be_is_ready(region):
    code, details = checked(region)

    assert code == 0
    assert set(details.values()) == {None}
    assert "Result: Success" in run(region, "upgrade", "check").stdout


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ("0001", "run 'ec2map-sync db upgrade'"),
        ("9999", "a newer release has upgraded it"),
    ],
)
def test_a_ledger_of_another_release_is_not_ready(region, version, advice):
    with closing(sqlite3.connect(region.ledger_file)) as ledger, ledger:
        ledger.execute("UPDATE alembic_version SET version_num = ?", [version])

    code, details = checked(region)

    assert code == 2
    assert advice in details["Ledger"]


def test_what_this_release_may_understand_is_to_be_looked_at(region):
    region.ledger.quarantine.put(
        [Quarantined(source="peer:RegionTwo", reason="version 9", body=b"{}")]
    )

    code, details = checked(region)

    assert code == 1
    assert "quarantine retry --all" in details["Quarantine"]


def test_a_database_that_does_not_answer_is_one_line(region):
    text = region.config_file.read_text()
    region.config_file.write_text(
        text.replace(
            region.url("ledger"), "mysql+pymysql://u:pw@127.0.0.1:1/x"
        )
    )

    code, details = checked(region)

    assert code == 2
    assert "[ledger] connection" in details["Ledger"]
    assert "pw@" not in str(details)


def test_what_the_configuration_names_and_is_missing_is_said(region):
    (region.directory / "key").unlink()

    code, details = checked(region)

    assert code == 2
    assert "ec2map-sync key generate" in details["Configuration"]


def test_a_file_that_is_not_there_is_one_line(region):
    region.config_file.unlink()

    done = run(region, "upgrade", "check")

    assert done.returncode == 255
    assert done.stderr.startswith("ec2map-sync-status: no configuration file")
    assert len(done.stderr.splitlines()) == 1
