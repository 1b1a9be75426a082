"""Rehearsing a join: nothing is written, and it comes as was said."""

import io
import json
import sqlite3

import pytest
from commands import SmallRegion
from fake_glance import FakeGlance, FakeImage
from hypothesis import given, settings, strategies as st

from ec2map_sync.operate.rehearse import Happening, Joining, Side
from ec2map_sync.protocol import canonical
from ec2map_sync.rules.claims import (
    EVERYTHING,
    Claim,
    SeenKind,
    Wanted,
    join_all,
)
from ec2map_sync.rules.ec2id import Band, Kind, Scheme, format_id
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.settle import settle

SMALL = Scheme(b"tests", Band(2**24, 2**24 + 8))


def image(n):
    return f"abcdef00-0000-4000-8000-{n:012x}"


def claim(n, at=None, **known):
    return Claim(claimed_at=at or n, image=image(n), **known)


class Rehearsed:
    """Two or more regions, and their exports."""

    def __init__(self, directory, names, scheme=None):
        self.regions = {}
        self.directory = directory
        for name in names:
            (directory / name).mkdir()
            region = SmallRegion(directory / name)
            region.configure(peers="RegionNine")
            text = region.config_file.read_text()
            region.config_file.write_text(
                text.replace("region = RegionOne", f"region = {name}")
            )
            region.ledger.scheme = scheme or region.scheme
            self.regions[name] = region

    def __getitem__(self, name):
        return self.regions[name]

    def ids(self):
        """Give every id that a region uses now."""
        return {
            (name, m.claim.image): m.ec2_id
            for name, region in self.regions.items()
            for m in region.ledger.queries.mappings(EVERYTHING, 999)
            if m.ec2_id
        }

    def exported(self):
        files = []
        for name, region in self.regions.items():
            file = self.directory / f"{name}.jsonl"
            region.run("ledger", "export", str(file))
            files.append(str(file))
        return files

    def rehearse(self, *arguments, code):
        any_region = next(iter(self.regions.values()))
        done = any_region.run(
            "rehearse", *self.exported(), *arguments, "-f", "json", code=code
        )
        return json.loads(done.stdout) if code < 2 else done.stderr

    def join(self):
        """Let all hear what the others say, several times over."""
        for file in self.exported():
            for region in self.regions.values():
                region.run("ledger", "import", file)


@pytest.fixture
def two(tmp_path):
    return Rehearsed(tmp_path, ["RegionOne", "RegionTwo"])


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr("ec2map_sync.settings.config.Config.scheme", SMALL)
    return Rehearsed(
        tmp_path, ["RegionOne", "RegionTwo", "RegionThree"], SMALL
    )


def changed(rows):
    return {
        (row["with"], row["image"]): (row["id"], row["then"])
        for row in rows
        if row["what"] in {"move", "kind"}
    }


def test_regions_without_anything_in_common_join_without_a_word(two):
    two["RegionOne"].ledger.record([claim(1), claim(2)])
    two["RegionTwo"].ledger.record([claim(3), claim(2, at=9)])

    assert two.rehearse(code=0) == []


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_ledgers_that_are_joined_come_to_what_was_rehearsed(small, shift):
    """The band is so small that images collide."""
    kinds = list(Kind)
    for at, region in enumerate(small.regions.values()):
        region.ledger.record(
            [
                claim(
                    n,
                    at=1 + n * 3 + (at + shift) % 3,
                    kind=SeenKind(50 + n + at, kinds[(n + at) % 3]),
                    wanted=Wanted(60 + at, 17 + n) if n % 4 == at else None,
                )
                for n in range(at, 9 + at, 2)
            ]
        )
    before = small.ids()

    said = small.rehearse(code=1)
    assert small.ids() == before
    small.join()

    after = small.ids()
    assert changed(said) == {
        key: (id_, after.get(key))
        for key, id_ in before.items()
        if after.get(key) != id_
    }
    assert {row["what"] for row in said} >= {"move", "kind"}


def test_a_collision_names_both_and_who_keeps_the_number(small):
    """Two images whose first number is the same."""
    same = [
        n for n in range(1, 99) if SMALL.derive(image(n)) == SMALL.band.first
    ]
    one, two = same[:2]
    small["RegionOne"].ledger.record([claim(one, at=5)])
    small["RegionTwo"].ledger.record([claim(two, at=4)])

    move, collision = small.rehearse(code=1)

    assert move["what"] == "move"
    assert move["with"] == "RegionOne"
    assert collision == {
        "what": "collision",
        "image": image(one),
        "id": format_id(SMALL.band.first),
        "with": image(two),
        "then": move["then"],
    }


def test_adopted_ids_that_contradict_are_told(two):
    two["RegionOne"].ledger.record([claim(1, wanted=Wanted(7, 17))])
    two["RegionTwo"].ledger.record([claim(1, wanted=Wanted(8, 18))])

    move, adoption = two.rehearse(code=1)

    assert (move["id"], move["then"]) == ("ami-00000012", "ami-00000011")
    assert adoption == move | {"what": "adoption"}
    assert move["with"] == "RegionTwo"


def test_a_file_of_another_scheme_is_all_that_is_told(two):
    two["RegionOne"].ledger.record([claim(1)])
    files = two.exported()
    region = two["RegionTwo"]
    text = region.config_file.read_text()
    region.config_file.write_text(text.replace("= tests", "= others"))
    region.ledger.scheme = Scheme(b"others")
    region.run("ledger", "export", files[1])

    done = two["RegionOne"].run("rehearse", *files, "-f", "json", code=1)

    (row,) = json.loads(done.stdout)
    assert row == {
        "what": "scheme",
        "image": None,
        "id": None,
        "with": "RegionTwo",
        "then": None,
    }


def test_nothing_but_the_hash_key_is_needed(two):
    two["RegionOne"].ledger.record([claim(1)])
    files = two.exported()
    for region in two.regions.values():
        region.ledger._engine.dispose()
        region.ledger_file.unlink()

    two["RegionOne"].run("rehearse", *files)


def cell(two, name, tmp_path):
    file = tmp_path / f"{name}.rows"
    two[name].run("sink", "export", "nova:cell1", str(file))
    return file


def test_a_sink_is_exported_with_all_its_rows(two, tmp_path, monkeypatch):
    monkeypatch.setattr("ec2map_sync.operate.transfer.AT_ONCE", 3)
    region = two["RegionOne"]
    region.ledger.record([claim(n) for n in range(1, 6)])
    region.write_sinks()
    odd = 'a "quoted" uuid, é'
    with sqlite3.connect(region.directory / "cell1") as connection:
        connection.execute(
            "INSERT INTO s3_images (id, uuid) VALUES (7, ?)", [odd]
        )

    head, *rows, _ = map(
        json.loads, cell(two, "RegionOne", tmp_path).read_text().splitlines()
    )

    assert (head["of"], head["sink"]) == ("sink", "nova:cell1")
    assert head["count"] == len(rows)
    assert [(r["number"], r["uuid"]) for r in rows if "uuid" in r] == sorted(
        region.sql("cell1", "SELECT id, uuid FROM s3_images")
    )
    assert rows[0] == {"number": 7, "uuid": odd}


def test_rows_that_would_go_or_be_in_the_way_are_told(small, tmp_path):
    same = [
        n for n in range(1, 99) if SMALL.derive(image(n)) == SMALL.band.first
    ]
    lost, winner, adopted = same[0], same[1], 500
    small["RegionOne"].ledger.record([claim(lost, at=5)])
    small["RegionTwo"].ledger.record(
        [claim(winner, at=4), claim(adopted, wanted=Wanted(600, 17))]
    )
    small["RegionOne"].write_sinks()
    small["RegionOne"].sql(
        "cell1", "INSERT INTO s3_images (id, uuid) VALUES (17, 'x')"
    )
    file = cell(small, "RegionOne", tmp_path)

    said = small.rehearse("--sink", str(file), code=1)

    rows = [row for row in said if row["what"].startswith("row")]
    assert rows == [
        {
            "what": "row removed",
            "image": image(lost),
            "id": format_id(SMALL.band.first),
            "with": "nova:cell1 of RegionOne",
            "then": image(winner),
        },
        {
            "what": "row taken",
            "image": image(adopted),
            "id": format_id(17),
            "with": "nova:cell1 of RegionOne",
            "then": "x",
        },
    ]
    small.join()
    small["RegionOne"].write_sinks()
    held = dict(
        small["RegionOne"].sql("cell1", "SELECT id, uuid FROM s3_images")
    )
    assert held[SMALL.band.first] == image(winner)
    assert held[17] == "x"


@pytest.mark.parametrize("name", [".", "missing"])
def test_what_cannot_be_read_is_said_in_one_line(two, tmp_path, name):
    (file, other) = two.exported()
    for arguments in (
        [file, str(tmp_path / name)],
        [file, other, "--sink", str(tmp_path / name)],
    ):
        done = two["RegionOne"].run("rehearse", *arguments, code=2)

        assert done.stderr.count("\n") == 1
        assert str(tmp_path) in done.stderr


def test_files_in_the_wrong_place_are_refused(two, tmp_path):
    one, other = two.exported()
    rows = str(cell(two, "RegionOne", tmp_path))
    cut = tmp_path / "cut"
    cut.write_bytes(io.FileIO(one).read()[:-9])
    for arguments, said in (
        ([one, one], "two exports are of RegionOne"),
        ([one, rows], "an export of a sink"),
        ([one, other, "--sink", other], "an export of a ledger"),
        ([other, other + "x"], "No such file"),
        ([other, "--sink", rows], "no ledger of RegionOne"),
        ([other, str(cut)], "not as it was written"),
    ):
        done = two["RegionOne"].run("rehearse", *arguments, code=2)

        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    done = two["RegionOne"].run("ledger", "import", rows, code=2)
    assert "an export of a sink" in done.stderr


STAMPS = st.integers(1, 12)
SETS = st.lists(
    st.builds(
        Claim,
        claimed_at=STAMPS,
        image=st.integers(0, 20).map(image),
        spelling=st.just(""),
        wanted=st.none() | st.builds(Wanted, STAMPS, st.integers(1, 9)),
        kind=st.none() | st.builds(SeenKind, STAMPS, st.sampled_from(Kind)),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=300)
@given(sets=st.lists(SETS, min_size=1, max_size=4))
def test_whatever_joins_each_change_is_told_once(sets):
    sides = {f"R{n}": join_all(claims) for n, claims in enumerate(sets)}
    joining = Joining(
        SMALL, {r: Side.of(claims, SMALL) for r, claims in sides.items()}
    )
    joined = join_all(claim for claims in sets for claim in claims)
    mapping = settle(joined.values(), SMALL)

    told = [
        one
        for one in joining.foreseen()
        if one.what in {Happening.MOVE, Happening.KIND}
    ]

    expected = []
    for region, claims in sides.items():
        for name, number in settle(claims.values(), SMALL).items():
            was = claims[name].ec2_id(number)
            then = joined[name].ec2_id(mapping.get(name))
            if was != then:
                expected.append((region, name, was, then))
    assert sorted(expected) == sorted(
        (one.beside, one.image, one.id, one.then) for one in told
    )


def exported_with_contents(two, contents):
    """Export what each region has, and what its Glance says of it."""
    files = []
    for name, hashes in contents.items():
        region, file = two[name], two.directory / f"{name}.contents"
        with FakeGlance() as glance:
            glance.images = [
                FakeImage(id=i, os_hash_algo="sha512", os_hash_value=value)
                for i, value in hashes.items()
            ]
            config = region.config_file.read_text()
            url = f"[glance]\nauth_type = none\nendpoint = {glance.url}/v2/\n"
            region.config_file.write_text(config + url)
            region.run("ledger", "export", str(file), "--contents")
            region.config_file.write_text(config)
        files.append(str(file))
    return files


def test_the_same_content_under_two_uuids_is_told(two):
    two["RegionOne"].ledger.record([claim(1), claim(2), claim(3)])
    two["RegionTwo"].ledger.record([claim(4), claim(2), claim(5)])
    a, b, c = ("abc"[n] * 128 for n in range(3))
    files = exported_with_contents(
        two,
        {
            "RegionOne": {image(1).upper(): a, image(2): b},
            "RegionTwo": {image(4): a, image(2): b, image(5): c},
        },
    )

    done = two["RegionOne"].run("rehearse", *files, "-f", "json")

    ids = {key: id_ for (_, key), id_ in two.ids().items()}
    one, four = image(1), image(4)
    assert [tuple(line.values()) for line in json.loads(done.stdout)] == [
        ("same content", one, ids[one], f"{four} of RegionTwo", ids[four]),
        ("same content", four, ids[four], f"{one} of RegionOne", ids[one]),
    ]
    assert "unknown" not in done.stderr
    # The claims are the same, whatever stands beside them.
    for file in files:
        two["RegionOne"].run("ledger", "import", file)
    assert two["RegionOne"].ledger.head().total.count == 5


def test_where_no_glance_was_asked_contents_are_unknown(two):
    two["RegionOne"].ledger.record([claim(1)])
    files = two.exported()

    done = two["RegionOne"].run("rehearse", *files, "-f", "json")

    assert "of RegionOne, RegionTwo have the same content" in done.stderr
    assert "is unknown" in done.stderr
    refused = two["RegionOne"].run(
        "ledger", "export", files[0], "--contents", code=2
    )
    assert "[glance] says neither" in refused.stderr


@pytest.mark.parametrize("content", ["", "md5:", "md5:xyz", 'a:"}'])
def test_what_is_no_hash_is_refused(content):
    text = canonical.with_content(canonical.line_of(claim(1)), content)

    with pytest.raises(BadMessage):
        canonical.without_content(text)
