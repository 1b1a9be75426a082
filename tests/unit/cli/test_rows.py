"""adopt, divergence: what an operator does about rows of Nova's."""

import json
import time

import pytest
from commands import SmallRegion
from small_cell import image, see

from ec2map_sync.rules.ec2id import format_id
from ec2map_sync.sinks.audit import Sweep
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url


@pytest.fixture
def region(tmp_path):
    region = SmallRegion(tmp_path)
    region.configure(peers="")
    return region


def put(region, number, n):
    region.sql(
        "cell1",
        f"INSERT INTO s3_images (id, uuid) VALUES ({number}, '{image(n)}')",
    )


def rows(region):
    return set(region.sql("cell1", "SELECT id, uuid FROM s3_images"))


def sweep(region):
    engine = create_engine(parse_url(region.url("cell1"), "cell1"))
    sink = NovaSink("cell1", engine)
    audit = Sweep(
        region.ledger, sink, Writer(region.ledger, sink, rewrite=False)
    )
    while not audit.complete:
        audit.step()
    engine.dispose()


def listed(region, *arguments, code=0):
    done = region.run(*arguments, "-f", "json", code=code)
    return json.loads(done.stdout)


def test_a_dry_run_of_adopt_reports_and_changes_nothing(region):
    put(region, 5, 1)
    put(region, 2**30 + 3, 2)

    assert listed(region, "adopt", "--dry-run") == [
        {"class": "adopt", "count": 1, "example": f"{image(1)} 5"},
        {
            "class": "on demand",
            "count": 1,
            "example": f"{image(2)} {2**30 + 3}",
        },
    ]
    assert region.ledger.head().revision == 0


def test_adopted_ids_are_the_images_ids(region):
    put(region, 5, 1)

    region.run("adopt")

    (found,) = listed(region, "list")
    assert found["ec2_id"] == "ami-00000005"


def test_adopting_waits_for_all_peers_to_agree(region):
    region.configure(peers="RegionTwo")
    put(region, 5, 1)

    done = region.run("adopt", code=2)

    assert "RegionTwo does not agree" in done.stderr
    now = time.time_ns() // 1000
    peer = region.ledger.journal
    # What it said counts from the moment of which it spoke, and from when
    # we heard it: it may have lain in a queue.
    hour = 3600 * 1_000_000
    peer.note_peer(
        "RegionTwo", agrees_until=now + hour, received_at=now - hour
    )
    region.run("adopt", code=2)
    peer.note_peer("RegionTwo", agrees_until=now - hour, received_at=now)
    region.run("adopt", code=2)
    peer.note_peer("RegionTwo", compared_at=now)
    region.run("adopt")
    peer.note_peer("RegionTwo", differs_since=now)
    region.run("adopt", code=2)


def test_a_legacy_row_is_listed_with_what_a_guest_sees(region):
    see(region.ledger, 1)
    put(region, 5, 1)
    sweep(region)

    (found,) = listed(region, "divergence", "list")

    assert found == {
        "sink": "nova:cell1",
        "image": image(1),
        "class": "legacy",
        "found": "ami-00000005",
        "settled": format_id(region.scheme.derive(image(1))),
        "guest_sees": "ami-00000005",
    }


def test_rewriting_leaves_only_what_is_settled(region):
    see(region.ledger, 1, 2)
    put(region, 5, 1)
    put(region, region.scheme.derive(image(2)), 9)
    sweep(region)
    before = rows(region)

    region.run("divergence", "resolve", "rewrite", "--all", "--dry-run")
    assert rows(region) == before
    done = region.run("divergence", "resolve", "rewrite", "--all")

    assert "restart" in done.stderr
    assert rows(region) == {
        (region.scheme.derive(image(n)), image(n)) for n in (1, 2)
    }
    assert listed(region, "divergence", "list") == []


def test_keeping_changes_no_row(region):
    see(region.ledger, 1)
    put(region, 5, 1)
    sweep(region)
    before = rows(region)

    region.run("divergence", "resolve", "keep", image(1))

    assert rows(region) == before
    (found,) = listed(region, "divergence", "list")
    assert found["class"] == "legacy, kept"


def test_an_image_without_divergence_is_said_to_be_so(region):
    done = region.run("divergence", "resolve", "keep", image(1), code=1)

    assert "no divergence" in done.stderr


def test_resolve_wants_images_or_all(region):
    done = region.run("divergence", "resolve", "keep", code=2)

    assert "--all" in done.stderr
