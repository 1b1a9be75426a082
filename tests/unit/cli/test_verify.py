"""verify and replay --sink: a cell against what is settled."""

import json

import pytest
from commands import SmallRegion

from ec2map_sync.rules.claims import Claim, SeenKind, Wanted
from ec2map_sync.rules.ec2id import DERIVED, ON_DEMAND, Kind, format_id
from ec2map_sync.rules.rows import Divergence, RowClass
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sql.rowprints import PART_BITS

COLUMNS = ["what", "name", "checked", "missing", "foreign", "different"]


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


def at(n):
    return 1_767_225_600_000_000 + n * 1_000_000


@pytest.fixture
def region(tmp_path):
    """Twenty images, one of them with an adopted id, all in the cell."""
    region = SmallRegion(tmp_path)
    region.ledger.record(
        [Claim(claimed_at=at(n), image=image(n)) for n in range(19)]
    )
    region.ledger.record(
        [Claim(claimed_at=at(19), image=image(19), wanted=Wanted(at(30), 42))]
    )
    region.sql("cell1", "INSERT INTO s3_images (id, uuid) VALUES (7, 'old')")
    region.write_sinks()
    return region


def ask_sinks(region, *arguments, code):
    done = region.run("verify", "--sinks", *arguments, "-f", "json", code=code)
    sinks = json.loads(done.stdout)
    assert all(list(sink) == COLUMNS for sink in sinks)
    return sinks, done.stderr


def verify(region, *arguments, code):
    (sink,), said = ask_sinks(region, *arguments, code=code)
    assert (sink["what"], sink["name"]) == ("sink", "nova:cell1")
    return tuple(sink.values())[2:], said


def number(region, n):
    return region.scheme.derive(image(n))


def spoil(region):
    """Take a row away, give one to somebody else, add one of nobody's."""
    gone, other = number(region, 3), number(region, 4)
    region.sql("cell1", f"DELETE FROM s3_images WHERE id IN ({gone}, 42)")
    region.sql(
        "cell1", f"UPDATE s3_images SET uuid = 'theirs' WHERE id = {other}"
    )
    region.sql(
        "cell1",
        "INSERT INTO s3_images (id, uuid) "
        f"VALUES ({DERIVED.first + 1}, 'nobody')",
    )


def insert(region, number, uuid):
    values = f"({number}, '{uuid}')"
    region.sql("cell1", f"INSERT INTO s3_images (id, uuid) VALUES {values}")


def rows(region):
    return dict(region.sql("cell1", "SELECT id, uuid FROM s3_images"))


def test_a_sink_as_settled_is_in_order(region):
    assert verify(region, code=0) == ((20, 0, 0, 0), "")


def test_each_difference_is_counted_and_the_first_are_told(region):
    spoil(region)

    counts, said = verify(region, code=1)

    assert counts == (20, 2, 1, 1)
    gone, other = (format_id(number(region, n)) for n in (3, 4))
    assert f"{gone} is settled for {image(3)}, and holds nothing" in said
    assert f"{other} is settled for {image(4)}, and holds theirs" in said
    assert "ami-0000002a is settled for" in said
    assert "ami-01000001 is settled for nobody, and holds nobody" in said


def test_repair_writes_what_is_missing_and_leaves_what_is_not_ours(region):
    spoil(region)

    planned = verify(region, "--repair", "--dry-run", code=1)
    assert "2 rows would be put right" in planned[1]
    assert number(region, 3) not in rows(region)

    counts, said = verify(region, "--repair", code=1)
    assert counts == (20, 2, 1, 1)
    assert "2 rows were put right" in said
    assert rows(region)[number(region, 3)] == image(3)
    assert rows(region)[42] == image(19)
    assert rows(region)[number(region, 4)] == "theirs"
    assert verify(region, code=1)[0] == (20, 0, 1, 1)


def test_repair_of_all_that_was_wrong_is_exit_code_0(region):
    region.sql("cell1", "DELETE FROM s3_images WHERE id > 7")

    assert verify(region, "--repair", code=0)[0] == (20, 20, 0, 0)
    assert verify(region, code=0)[0] == (20, 0, 0, 0)


def test_a_row_of_ours_left_over_is_different_and_is_removed(region):
    old = region.scheme.probe(image(5), 1)
    insert(region, old, image(5))

    assert verify(region, code=1)[0] == (20, 0, 0, 1)
    assert verify(region, "--repair", code=0)[0] == (20, 0, 0, 1)
    assert old not in rows(region)


def test_a_row_of_an_image_that_the_ledger_lacks_is_kept(region):
    lost = number(region, 500)
    insert(region, lost, image(500))

    verify(region, "--repair", code=1)

    assert rows(region)[lost] == image(500)


def test_a_dead_sink_is_unknown_and_exit_code_2(region):
    (region.directory / "cell1").unlink()
    (region.directory / "cell1").mkdir()

    counts, said = verify(region, code=2)

    assert counts == (None, None, None, None)
    assert said.startswith("ec2map-sync: nova:cell1: cell cell1: ")


@pytest.fixture
def items(region):
    """The region with an ec2-api, which has ids of its own in our band."""
    region.sql(
        "ec2api",
        "CREATE TABLE items (id VARCHAR(30) PRIMARY KEY, project_id TEXT, "
        "vpc_id TEXT, os_id VARCHAR(36) UNIQUE, data TEXT)",
    )
    region.sql(
        "ec2api",
        "INSERT INTO items (id, os_id, data) VALUES ('ami-01000002', 'x', '')",
    )
    with region.config_file.open("a") as file:
        file.write(f"[ec2api]\nconnection = {region.url('ec2api')}\n")
    region.ledger.record(
        [
            Claim(
                claimed_at=at(50),
                image=image(50),
                kind=SeenKind(at(50), Kind.ARI),
            )
        ]
    )
    region.write_sinks()
    return region


def test_of_ec2_api_only_what_is_settled_and_of_known_kind_is_checked(items):
    sinks, said = ask_sinks(items, code=1)

    assert [tuple(sink.values())[1:] for sink in sinks] == [
        ("nova:cell1", 21, 0, 0, 0),
        ("ec2api", 1, 1, 0, 0),
    ]
    assert image(50) in said
    ask_sinks(items, "--repair", code=0)
    assert ("ari-" + format_id(number(items, 50))[4:], image(50)) in items.sql(
        "ec2api", "SELECT id, os_id FROM items"
    )
    assert ask_sinks(items, code=0)[0][1]["missing"] == 0
    assert items.run("list", "--divergent", "-f", "value").stdout == ""
    explained = items.run("explain", image(50)).stdout
    assert f"sees ari-{number(items, 50):08x}" in explained


@pytest.fixture
def bare(region):
    """The region without peers, Glance and sinks."""
    region.configure(peers="")
    text = region.config_file.read_text()
    region.config_file.write_text(text.partition("[nova]")[0])
    return region


def test_without_options_what_is_not_configured_fails_nothing(bare):
    ledger, line = json.loads(bare.run("verify", "-f", "json").stdout)

    assert (ledger["what"], ledger["different"]) == ("ledger", 0)
    assert (line["what"], line["name"]) == ("glance", "not configured")


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (("--glance",), "[glance]"),
        (("--peers",), "[DEFAULT] peers"),
        (("--sinks",), "[ec2api]"),
        (("--repair",), "[ec2api]"),
        (("--peers", "--repair"), "add --sinks"),
    ],
)
def test_what_is_asked_for_and_cannot_be_done_is_exit_code_2(bare, asked, why):
    said = bare.run("verify", *asked, code=2).stderr

    (line,) = said.splitlines()
    assert why in line


def test_what_cannot_be_checked_spoils_nothing_that_can(region):
    done = region.run("verify", "--sinks", "--glance", "-f", "json", code=2)

    sink, glance = json.loads(done.stdout)
    assert (sink["checked"], glance["name"]) == (20, "not configured")


def test_pages_meet_wherever_rows_are_missing(region, monkeypatch):
    monkeypatch.setattr("ec2map_sync.sinks.verify.PAGE", 3)
    spoil(region)
    region.sql("cell1", "DELETE FROM s3_images WHERE id % 2 = 0")
    held = rows(region)
    settled = {42, *(number(region, n) for n in range(19))}

    counts, _ = verify(region, code=1)

    assert counts == (
        20,
        len(settled - held.keys()),
        1 if DERIVED.first + 1 in held else 0,
        1 if number(region, 4) in held else 0,
    )


def replay(region, *arguments, code=0):
    done = region.run(
        "replay", "--sink", "nova:cell1", *arguments, "-f", "json", code=code
    )
    (outcome,) = json.loads(done.stdout)
    assert list(outcome) == ["what", "name", "examined", "missed"]
    return tuple(outcome.values())


def test_replay_writes_a_range_into_a_sink_again(region):
    region.sql("cell1", "DELETE FROM s3_images WHERE id > 7")
    span = ["--since", "2026-01-01T00:00:10"]
    span += ["--until", "2026-01-01T01:00:13+01:00"]

    planned = replay(region, *span, "--dry-run")
    assert planned == ("sink", "nova:cell1", 3, 3)
    assert len(rows(region)) == 1
    assert replay(region, *span) == ("sink", "nova:cell1", 3, 3)
    assert rows(region).keys() == {
        7,
        *(number(region, n) for n in (10, 11, 12)),
    }
    assert replay(region) == ("sink", "nova:cell1", 20, 17)
    assert replay(region) == ("sink", "nova:cell1", 20, 0)


def rivals(scheme):
    """Give two images whose first choice is the same number."""
    seen = {}
    n = 1000
    while scheme.derive(image(n)) not in seen:
        seen[scheme.derive(image(n))] = image(n)
        n += 1
    return seen[scheme.derive(image(n))], image(n)


def test_replay_into_a_sink_removes_what_has_moved(region):
    late, early = rivals(region.scheme)
    contested = region.scheme.derive(late)
    region.ledger.record([Claim(claimed_at=at(60), image=late)])
    region.write_sinks()
    region.ledger.record([Claim(claimed_at=at(50), image=early)])

    assert replay(region, "--since", "2026-01-01T00:00:55")[2:] == (1, 2)
    assert rows(region)[contested] == early
    assert late in rows(region).values()


def test_relative_times_are_ago(region):
    now, hour = wall_clock(), 3600 * 1_000_000
    region.ledger.record(
        [
            Claim(claimed_at=now - hours * hour, image=image(900 + hours))
            for hours in range(1, 5)
        ]
    )

    assert replay(region, "--since", "150m", "--until", "1.5h")[2] == 1
    assert replay(region, "--since", "1d")[2] == 4


def test_rows_are_read_only_where_prints_differ(region, monkeypatch):
    read = []
    page = NovaSink.page

    def note(window, start, stop, limit):
        if start in DERIVED:
            read.append((start, stop))
        return page(window, start, stop, limit)

    monkeypatch.setattr(NovaSink, "page", note)
    assert verify(region, code=0)[0] == (20, 0, 0, 0)
    assert read == []

    gone = number(region, 3)
    region.sql("cell1", f"DELETE FROM s3_images WHERE id = {gone}")

    assert verify(region, code=1)[0] == (20, 1, 0, 0)
    ((start, stop),) = read
    assert start <= gone < stop
    assert stop - start == 1 << PART_BITS


def test_a_row_that_nova_made_on_demand_counts_until_it_is_resolved(region):
    twin = ON_DEMAND.first + 1
    region.sql(
        "cell1",
        f"INSERT INTO s3_images (id, uuid) VALUES ({twin}, '{image(3)}')",
    )

    found, said = verify(region, code=1)

    assert found == (20, 0, 1, 0)
    assert f"{format_id(twin)} is settled for nobody" in said
    region.ledger.divergences.replace(
        "nova:cell1",
        0,
        twin,
        [
            Divergence(
                sink="nova:cell1",
                number=twin,
                image=image(3),
                row_class=RowClass.ON_DEMAND,
                settled=number(region, 3),
            )
        ],
    )
    region.run("divergence", "resolve", "keep", image(3))
    assert verify(region, code=0)[0] == (20, 0, 0, 0)


def test_on_demand_rows_of_unknown_images_are_none_of_the_sinks_business(
    region,
):
    region.sql(
        "cell1",
        "INSERT INTO s3_images (id, uuid) "
        f"VALUES ({ON_DEMAND.first}, '{image(99)}')",
    )

    assert verify(region, code=0)[0] == (20, 0, 0, 0)


def edit(region):
    """Change by hand what the ledger has twice, and take a claim away."""
    region.sql("ledger", "UPDATE head SET total_sum = total_sum + 1")
    region.sql(
        "ledger", f"UPDATE claims SET number = 5 WHERE image = '{image(3)}'"
    )
    region.sql("ledger", f"DELETE FROM claims WHERE image = '{image(19)}'")


def verify_ledger(region, *arguments, code):
    done = region.run(
        "verify", "--ledger", *arguments, "-f", "json", code=code
    )
    (line,) = json.loads(done.stdout)
    assert (line["what"], line["name"]) == ("ledger", "RegionOne")
    return line, done.stderr


def test_a_ledger_that_nobody_has_touched_is_in_order(region):
    line, said = verify_ledger(region, code=0)

    assert line["checked"] >= 40
    assert (line["different"], said) == (0, "")


def test_a_ledger_that_contradicts_itself_is_told_and_put_right(region):
    before = region.ledger.numbers_of(image(n) for n in range(20))
    edit(region)

    line, said = verify_ledger(region, code=1)
    assert line["different"] >= 3
    assert image(3) in said
    assert f"the claim of {image(19)} was gone" in said
    assert "total" in said
    verify_ledger(region, "--repair", "--dry-run", code=1)
    verify_ledger(region, code=1)

    _, said = verify_ledger(region, "--repair", code=0)

    assert "put right" in said
    verify_ledger(region, code=0)
    assert region.ledger.numbers_of(before) == before
    assert verify(region, code=0)[0][1:] == (0, 0, 0)


def test_a_head_row_that_is_gone_is_told_and_made_anew(region):
    before = verify_ledger(region, code=0)[0]["checked"]
    region.sql("ledger", "DELETE FROM head")

    for command in (["status"], ["verify", "--sinks"]):
        (one,) = region.run(*command, code=2).stderr.splitlines()
        assert "'ec2map-sync verify --ledger --repair'" in one
    line, said = verify_ledger(region, code=1)
    assert line["different"] == 1
    assert "the head row was gone" in said

    line, said = verify_ledger(region, "--repair", code=0)
    assert "put right" in said
    line, said = verify_ledger(region, code=0)
    assert (line["checked"], said) == (before, "")


def test_status_says_what_was_found_in_the_ledger(region):
    edit(region)
    verify_ledger(region, "--repair", code=0)

    done = region.run("status", "-f", "json", code=1)

    line = next(
        one for one in json.loads(done.stdout) if one["what"] == "copies"
    )
    assert line["lag"] >= 3
    assert line["lag_seconds"] is not None
    assert line["last_error"] == f"the claim of {image(19)} was gone"
    assert line["state"] == "being put right"
