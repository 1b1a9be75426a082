"""show, list, explain, db: the program on a ledger and a cell in SQLite."""

import csv
import io
import json
import re

import pytest
import yaml
from commands import SmallRegion

from ec2map_sync.ledger import schema
from ec2map_sync.rules.claims import Claim, SeenKind, Wanted
from ec2map_sync.rules.ec2id import ON_DEMAND, Kind, format_id

ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


def at(n):
    """A stamp: 2026-01-01, and n seconds."""
    return 1_767_225_600_000_000 + n * 1_000_000


@pytest.fixture
def region(tmp_path):
    return SmallRegion(tmp_path)


@pytest.fixture
def filled(region):
    """Ten images, the last of them an aki with an adopted id."""
    region.ledger.record(
        [Claim(claimed_at=at(n), image=image(n)) for n in range(9)]
    )
    region.ledger.record(
        [
            Claim(
                claimed_at=at(9),
                image=image(0xABC),
                spelling=image(0xABC).upper(),
                wanted=Wanted(at(20), 42),
                kind=SeenKind(at(9), Kind.AKI),
            )
        ]
    )
    region.write_sinks()
    return region


def rival_images(scheme, count=2):
    """Give images whose first choice is the same number."""
    seen = {}
    n = 0
    while True:
        sharing = seen.setdefault(scheme.derive(image(n)), [])
        sharing.append(image(n))
        if len(sharing) == count:
            return sharing
        n += 1


def test_show_tells_everything_about_an_image(filled):
    done = filled.run("show", image(0xABC).upper(), "-f", "json")

    shown = json.loads(done.stdout)
    assert list(shown) == [
        "image",
        "ec2_id",
        "number",
        "kind",
        "claimed_at",
        "wanted",
        "sinks",
    ]
    assert shown == {
        "image": image(0xABC).upper(),
        "ec2_id": "aki-0000002a",
        "number": 42,
        "kind": "aki",
        "claimed_at": "2026-01-01T00:00:09.000000Z",
        "wanted": "aki-0000002a",
        "sinks": {"nova:cell1": image(0xABC).upper()},
    }


def test_show_finds_the_image_of_an_ec2_id_whatever_its_prefix(filled):
    number = filled.scheme.derive(image(3))

    done = filled.run("show", format_id(number).upper(), "-f", "json")

    shown = json.loads(done.stdout)
    assert shown["image"] == image(3)
    assert (shown["kind"], shown["wanted"]) == (None, None)


def test_in_a_table_times_have_seconds_and_nothing_is_empty(filled):
    done = filled.run("show", image(3))

    assert "2026-01-01T00:00:03Z" in done.stdout
    assert "None" not in done.stdout
    assert f"nova:cell1 {image(3)}" in done.stdout


def test_show_says_what_a_dead_sink_leaves_unknown(filled):
    (filled.directory / "cell1").unlink()
    (filled.directory / "cell1").mkdir()

    done = filled.run("show", image(3), "-f", "json", code=0)

    assert json.loads(done.stdout)["sinks"] == {"nova:cell1": "unknown"}
    assert "nova:cell1 does not answer" in done.stderr


@pytest.mark.parametrize("command", ["show", "explain"])
@pytest.mark.parametrize(
    ("name", "code", "line"),
    [
        (image(77), 1, "is not known in RegionOne"),
        ("ami-7fffffff", 1, "no image has the id ami-7fffffff"),
        ("nonsense", 2, "is not an image UUID"),
        ("ami-xyz", 2, "is not an EC2 image id"),
    ],
)
def test_what_is_not_there_is_one_line(filled, command, name, code, line):
    done = filled.run(command, name, code=code)

    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert line in done.stderr


def test_the_derived_number_of_an_adopted_image_is_said_to_be_reserved(filled):
    derived = format_id(filled.scheme.derive(image(0xABC)))

    done = filled.run("show", derived, code=1)

    assert f"reserved for image {image(0xABC)}" in done.stderr


def test_list_goes_by_claims_in_pages(filled):
    first = filled.run("list", "--limit", "4", "-f", "json")
    rows = json.loads(first.stdout)

    second = filled.run(
        "list", "--limit", "50", "--marker", rows[-1]["ec2_id"], "-f", "json"
    )

    assert list(rows[0]) == ["image", "ec2_id", "kind", "claimed_at"]
    assert f"--marker {image(3)}" in first.stderr
    assert second.stderr == ""
    rows += json.loads(second.stdout)
    assert [row["image"] for row in rows] == [
        *map(image, range(9)),
        image(0xABC).upper(),
    ]
    assert rows[-1]["kind"] == "aki"


def test_every_format_lists_the_same(filled):
    expected = json.loads(filled.run("list", "-f", "json").stdout)

    as_yaml = yaml.safe_load(filled.run("list", "-f", "yaml").stdout)
    as_csv = list(
        csv.DictReader(io.StringIO(filled.run("list", "-f", "csv").stdout))
    )
    values = filled.run("list", "-f", "value", "-c", "ec2_id").stdout

    assert as_yaml == expected
    assert [row["ec2_id"] for row in as_csv] == values.split()
    assert [row["ec2_id"] for row in expected] == values.split()
    assert as_csv[0]["kind"] == ""
    assert re.search(rf"\| {ISO}Z +\|", filled.run("list").stdout)


def test_list_knows_no_such_marker_and_no_negative_limit(filled):
    assert (
        "is not known"
        in filled.run("list", "--marker", image(99), code=1).stderr
    )
    assert "--limit -1" in filled.run("list", "--limit", "-1", code=2).stderr


def test_list_moved_has_only_what_has_moved(filled):
    late, early = rival_images(filled.scheme)
    filled.ledger.record([Claim(claimed_at=at(60), image=late)])
    filled.ledger.record([Claim(claimed_at=at(50), image=early)])

    done = filled.run("list", "--moved", "-f", "json")

    rows = json.loads(done.stdout)
    assert [row["image"] for row in rows] == [late]
    assert rows[0]["ec2_id"] == format_id(filled.scheme.probe(late, 1))
    old = format_id(filled.scheme.derive(late))
    assert f"{late}: {old} became {rows[0]['ec2_id']} at " in done.stderr
    assert f"because of {early}, claimed at" in done.stderr


def test_list_divergent_has_what_a_sink_holds_otherwise(filled):
    gone, other = (filled.scheme.derive(image(n)) for n in (2, 5))
    filled.sql("cell1", f"DELETE FROM s3_images WHERE id = {gone}")
    filled.sql("cell1", f"UPDATE s3_images SET uuid = 'x' WHERE id = {other}")

    done = filled.run(
        "list", "--divergent", "--limit", "0", "-f", "value", "-c", "image"
    )

    assert done.stdout.split() == [image(2), image(5)]


def test_explain_tells_the_rival_and_the_move_it_caused(filled):
    late, early = rival_images(filled.scheme)
    filled.ledger.record([Claim(claimed_at=at(60), image=late)])
    filled.write_sinks()
    filled.ledger.record([Claim(claimed_at=at(50), image=early)])
    filled.sql(
        "cell1", f"INSERT INTO s3_images (id, uuid) VALUES (7, '{late}')"
    )

    done = filled.run("explain", late, "-f", "json")

    steps = json.loads(done.stdout)
    assert list(steps[0]) == ["step", "what", "detail"]
    assert [s["step"] for s in steps] == list(range(1, len(steps) + 1))
    said = {s["what"]: s["detail"] for s in steps}
    assert f"held by {early}, which was claimed earlier" in said["probe 0"]
    assert "2026-01-01T00:00:50.000000Z" in said["probe 0"]
    assert "held by it" in said["probe 1"]
    assert "probe 2" not in said
    old, new = (format_id(filled.scheme.probe(late, k)) for k in (0, 1))
    assert said["move"].startswith(f"{old} became {new} at ")
    assert f"because of {early}" in said["move"]
    assert "holds nothing" in said["sink nova:cell1"]
    assert said["guest nova:cell1"].startswith(
        "sees ami-00000007, not as settled: an id from before"
    )
    assert f"further rows: {old}" in said["guest nova:cell1"]


def test_explain_tells_where_a_further_row_comes_from(filled):
    filled.write_sinks()
    twin = ON_DEMAND.first + 3
    filled.sql(
        "cell1",
        f"INSERT INTO s3_images (id, uuid) VALUES ({twin}, '{image(2)}')",
    )

    said = filled.run("explain", image(2)).stdout

    assert (
        f"further rows: {format_id(twin)}, an id that Nova has made on demand"
    ) in said


def test_explain_tells_of_adoption(filled):
    said = filled.run("explain", "aki-0000002a").stdout

    assert "aki-0000002a was adopted at 2026-01-01T00:00:20.000000Z" in said
    assert "it got that, and keeps the derived one in reserve" in said
    assert "sees aki-0000002a" in said


def test_a_ledger_without_tables_is_one_line(region):
    region.ledger_file.unlink()

    done = region.run("list", code=2)

    assert "run 'ec2map-sync db upgrade'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_db_upgrade_makes_the_tables_once(region):
    region.ledger_file.unlink()

    planned = region.run("db", "upgrade", "--dry-run").stdout
    before = region.run("db", "version").stdout
    done = region.run("db", "upgrade").stdout

    revisions = ", ".join(schema.revisions())
    assert planned == f"would upgrade: {revisions}\n"
    assert before == "none\n"
    assert done == f"upgraded: {revisions}\n"
    assert (
        region.run("db", "upgrade").stdout
        == f"up to date: {schema.newest()}\n"
    )
