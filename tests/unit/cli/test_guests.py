"""verify --guests: what guests see, and who carries another id."""

import json

import pytest
import schemas
import sqlalchemy as sa
from commands import SmallRegion

from ec2map_sync.rules.claims import Claim, Wanted
from ec2map_sync.rules.ec2id import ON_DEMAND, format_id
from ec2map_sync.rules.rows import Divergence, RowClass
from ec2map_sync.sinks import guests, memory

START = 1_767_225_600_000_000
"""2026-01-01 00:00:00 UTC, when the images were claimed."""


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


@pytest.fixture
def region(tmp_path):
    """Ten images with their rows, made at the start of the year."""
    region = SmallRegion(tmp_path)
    region.ledger.record(
        Claim(claimed_at=START + n, image=image(n)) for n in range(1, 11)
    )
    region.write_sinks()
    engine = sa.create_engine(region.cell)
    schemas.create(engine, schemas.INSTANCES)
    engine.dispose()
    region.sql("cell1", "UPDATE s3_images SET created_at = '2026-01-01'")
    return region


def number(region, n):
    return region.ledger.numbers_of([image(n)])[image(n)]


def row(region, number, uuid, made="2026-01-01"):
    region.sql(
        "cell1",
        "INSERT INTO s3_images (id, uuid, created_at) VALUES "
        f"({number}, '{uuid}', '{made} 00:00:00')",
    )


def boot(region, n, at, *, drive=False, uuid=None, **columns):
    columns = {
        "uuid": uuid or image(0xF000 + n),
        "project_id": "project",
        "image_ref": image(n),
        "config_drive": "True" if drive else "",
        "created_at": f"{at} 00:00:00",
        "launched_at": f"{at} 00:00:00",
        "deleted": 0,
    } | columns
    names, values = ", ".join(columns), ", ".join(map(repr, columns.values()))
    region.sql("cell1", f"INSERT INTO instances ({names}) VALUES ({values})")


def verified(region, *arguments, code=0):
    done = region.run(
        "verify", "--guests", "-f", "json", *arguments, code=code
    )
    lines = {line["what"]: line for line in json.loads(done.stdout)}
    return lines, done.stderr


def counts(lines, what):
    names = ("checked", "missing", "different")
    return tuple(lines[what][name] for name in names)


def test_all_is_said_to_be_well_where_it_is(region):
    boot(region, 1, "2026-02-01")
    boot(region, 2, "2026-02-01", drive=True)

    lines, said = verified(region)

    assert lines.keys() == {"guests", "instances"}
    assert lines["guests"]["name"] == "nova:cell1"
    assert counts(lines, "guests") == (10, 0, 0)
    assert counts(lines, "instances")[::2] == (2, 0)
    assert said == ""


def test_of_several_rows_the_one_that_nova_finds_counts(region):
    row(region, 7, image(1))
    row(region, 9, image(1))
    row(region, ON_DEMAND.first + 1, image(1))
    row(region, ON_DEMAND.first + 2, image(2))
    row(region, 11, image(99))

    lines, said = verified(region, code=1)

    assert counts(lines, "guests") == (10, 0, 1)
    assert "see ami-00000007, from its rows" in said
    assert image(1) in said
    assert image(2) not in said


def test_rows_on_many_pages_are_counted_once(region, monkeypatch):
    monkeypatch.setattr(guests, "PAGE", 3)
    for n in range(1, 11):
        row(region, n, image(n))
        row(region, 100 + n, image(n))
        boot(region, n, "2026-02-01")

    lines, _ = verified(region, code=1)

    assert counts(lines, "guests") == (10, 0, 10)
    assert counts(lines, "instances")[::2] == (10, 10)


def test_an_image_without_a_row_is_missing(region):
    region.sql("cell1", f"DELETE FROM s3_images WHERE uuid = '{image(3)}'")
    region.sql("cell1", f"DELETE FROM s3_images WHERE uuid = '{image(4)}'")
    row(region, ON_DEMAND.first, image(4))

    lines, said = verified(region, code=1)

    assert counts(lines, "guests") == (10, 1, 1)
    assert f"image {image(3)} has no row" in said


def test_what_the_operator_keeps_is_in_order(region):
    row(region, 7, image(1))
    found = Divergence(
        sink="nova:cell1",
        number=7,
        image=image(1),
        row_class=RowClass.LEGACY,
        settled=number(region, 1),
    )
    region.ledger.divergences.replace("nova:cell1", 0, 2**32, [found])
    region.ledger.divergences.keep([found])

    assert counts(verified(region)[0], "guests") == (10, 0, 0)


def test_a_memo_counts_before_the_rows(region, monkeypatch):
    text = region.config_file.read_text()
    region.config_file.write_text(
        text.replace("[nova]\n", "[nova]\nmemcached_servers = one\n")
    )
    held = {image(1): {0x1267}, image(2): {number(region, 2)}}
    monkeypatch.setattr(
        memory,
        "remembered",
        lambda _servers, images, _tls: {
            i: held[i] for i in images if i in held
        },
    )
    boot(region, 1, "2026-02-01")
    boot(region, 1, "2026-02-01", drive=True, uuid=image(0xE))

    lines, said = verified(region, code=1)

    assert counts(lines, "guests") == (10, 0, 1)
    assert "see ami-00001267, as memcached remembers" in said
    assert counts(lines, "instances")[::2] == (2, 1)


def test_memcached_that_is_away_is_said_and_spoils_no_other_line(region):
    text = region.config_file.read_text()
    region.config_file.write_text(
        text.replace("[nova]\n", "[nova]\nmemcached_servers = 127.0.0.1:1\n")
    )

    _, said = verified(region, code=2)

    assert "memcached does not answer at 127.0.0.1:1" in said


def test_a_config_drive_has_the_id_of_its_boot(region, tmp_path):
    settled = format_id(number(region, 1))
    row(region, ON_DEMAND.first + 5, image(1), made="2025-06-01")
    for n, at in enumerate(("2025-05-01", "2025-07-01", "2026-01-01"), 1):
        boot(region, 1, at, drive=True, uuid=f"boot-{n}")
        boot(region, 1, at, uuid=f"served-{n}")
    boot(region, 1, "2025-07-01", drive=True, uuid="gone", deleted=6)
    boot(region, 77, "2025-07-01", drive=True, uuid="of nobody's image")
    file = tmp_path / "carriers"

    lines, said = verified(region, "--instances", str(file), code=1)

    assert counts(lines, "instances")[::2] == (7, 2)
    assert counts(lines, "guests") == (10, 0, 0)
    told = {
        line["instance"]: line
        for line in map(json.loads, file.read_text().splitlines())
    }
    assert told.keys() == {"boot-1", "boot-2"}
    assert told["boot-2"] == {
        "sink": "nova:cell1",
        "instance": "boot-2",
        "project": "project",
        "config_drive": True,
        "image": image(1),
        "carries": format_id(ON_DEMAND.first + 5),
        "settled": settled,
    }
    assert told["boot-1"]["carries"] is None
    assert "instance boot-2 of project project carries ami-40000005" in said


def test_a_kernel_is_an_image_too(region):
    boot(region, 1, "2025-07-01", drive=True, kernel_id=image(2))

    lines, said = verified(region, code=1)

    assert counts(lines, "instances")[::2] == (1, 1)
    assert image(2) in said


def test_what_was_booted_before_a_move_carries_the_old_id(region):
    old = number(region, 1)
    boot(region, 1, "2026-01-15", drive=True)
    region.ledger.record(
        [Claim(claimed_at=START, image=image(1), wanted=Wanted(START, 4711))]
    )
    region.write_sinks()

    lines, said = verified(region, code=1)

    assert counts(lines, "instances")[::2] == (1, 1)
    assert f"carries {format_id(old)}, in its config drive, of" in said
    assert "ami-00001267 is settled" in said


def test_an_adopted_id_was_what_guests_saw_all_the_time(region):
    row(region, 4711, image(1), made="2025-06-01")
    boot(region, 1, "2025-07-01", drive=True)
    region.ledger.record(
        [Claim(claimed_at=START, image=image(1), wanted=Wanted(START, 4711))]
    )
    region.write_sinks()

    assert counts(verified(region)[0], "instances")[::2] == (1, 0)


def test_a_row_that_gave_way_is_what_was_burnt_in(region):
    row(region, 7, image(1), made="2025-06-01")
    boot(region, 1, "2026-02-01", drive=True)
    boot(region, 1, "2026-02-01", uuid="served")
    found = Divergence(
        sink="nova:cell1",
        number=7,
        image=image(1),
        row_class=RowClass.LEGACY,
        settled=number(region, 1),
    )
    region.ledger.divergences.replace("nova:cell1", 0, 2**32, [found])
    region.run("divergence", "resolve", "rewrite", image(1))
    boot(region, 1, "2999-02-01", drive=True, uuid="later")

    lines, said = verified(region, code=1)

    assert counts(lines, "guests") == (10, 0, 0)
    assert counts(lines, "instances")[::2] == (3, 1)
    assert "carries ami-00000007, in its config drive, of" in said


def test_guests_are_looked_at_only_when_asked_for(region):
    done = region.run("verify", "--sinks", "-f", "json")

    assert [line["what"] for line in json.loads(done.stdout)] == ["sink"]
    region.run("verify", "--instances", "x", code=2)
    region.run("verify", "--guests", "--nova-config-file", "x", code=2)


def test_a_nova_that_is_not_there_is_said(region):
    lines, said = verified(region, "--nova-python", "/nowhere", code=2)

    assert "/nowhere: " in said
    assert counts(lines, "guests") == (10, 0, 0)


def explained(region, n):
    done = region.run("explain", image(n), "-f", "json")
    return {line["what"]: line["detail"] for line in json.loads(done.stdout)}


def test_an_image_is_explained_with_what_its_guests_have(region):
    boot(region, 1, "2026-02-01")
    boot(region, 1, "2025-07-01", drive=True, uuid="boot-2")
    boot(region, 2, "2025-07-01", drive=True, uuid="boot-3")

    steps = explained(region, 1)

    said = "2, of which 1 carry another id: boot-2"
    assert steps["instances nova:cell1"] == said
    assert "memo nova:cell1" not in steps
    said = "0, none of which carries another id"
    assert explained(region, 3)["instances nova:cell1"] == said
