"""--dry-run: whatever changes something can also only say what it would."""

import json
from importlib.metadata import entry_points

import pytest
import sqlalchemy as sa
from commands import SmallRegion, run
from frozen import dump

from ec2map_sync.ledger import Quarantined
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.rows import Divergence, RowClass

READ_ONLY = {
    "agreement history",
    "agreement prove",
    "agreement show",
    "agreement verify",
    "config check",
    "config from-glance",
    "db version",
    "demo",  # keeps nothing
    "divergence list",
    "explain",
    "id",
    "key generate",  # never replaces a file
    "ledger export",
    "list",
    "peer list",
    "quarantine list",
    "quarantine show",
    "rehearse",
    "show",
    "sink export",
    "status",
}
COMMANDS = {
    point.name.replace("_", " ")
    for point in entry_points(group="ec2map_sync.cli")
}


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


@pytest.fixture
def region(tmp_path):
    """A region where there is something to do for every command."""
    region = SmallRegion(tmp_path)
    region.ledger.record(
        [Claim(claimed_at=n, image=image(n)) for n in range(1, 9)]
    )
    region.write_sinks()
    gone, other = (region.scheme.derive(image(n)) for n in (2, 5))
    region.sql("cell1", f"DELETE FROM s3_images WHERE id = {gone}")
    region.sql(
        "cell1", f"INSERT INTO s3_images (id, uuid) VALUES (7, '{image(5)}')"
    )
    region.ledger.divergences.replace(
        "nova:cell1",
        0,
        100,
        [
            Divergence(
                sink="nova:cell1",
                number=7,
                image=image(5),
                row_class=RowClass.LEGACY,
                settled=other,
            )
        ],
    )
    payload = {"id": image(99), "container_format": "bare"}
    body = json.dumps({"event_type": "image.create", "payload": payload})
    region.ledger.quarantine.put(
        [Quarantined(source="glance", reason="x", body=body.encode())]
    )
    return region


def everything(region):
    found = []
    for database in ("ledger", "cell1"):
        engine = sa.create_engine(region.url(database), poolclass=sa.NullPool)
        with engine.connect() as connection:
            found.append(dump(connection))
    return found


@pytest.mark.parametrize("command", sorted(COMMANDS - READ_ONLY))
def test_what_changes_something_has_a_dry_run(command):
    assert "--dry-run" in run(*command.split(), "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["adopt"], 0),
        (["db", "restamp"], 0),
        (["db", "upgrade"], 0),
        (["divergence", "resolve", "keep", "--all"], 0),
        (["divergence", "resolve", "rewrite", "--all"], 0),
        (["quarantine", "retry", "--all"], 0),
        (["quarantine", "drop", "--all"], 0),
        (["replay", "--sink", "nova:cell1"], 0),
        (["replay", "--push"], 0),
        (["verify", "--sinks", "--repair"], 1),
    ],
)
def test_a_dry_run_changes_nothing(region, arguments, code):
    before = everything(region)

    done = region.run(*arguments, "--dry-run", code=code)

    assert done.stdout
    assert everything(region) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["divergence", "resolve", "keep", "--all"],
        ["divergence", "resolve", "rewrite", "--all"],
        ["quarantine", "retry", "--all"],
        ["quarantine", "drop", "--all"],
        ["replay", "--sink", "nova:cell1"],
        ["verify", "--sinks", "--repair"],
    ],
)
def test_without_it_something_would_change(region, arguments):
    before = everything(region)

    region.run(*arguments)

    assert everything(region) != before
