"""template check: the program on files, a ledger and a cell in SQLite."""

import json

import pytest
from commands import SmallRegion

from ec2map_sync.rules.claims import Claim, Wanted

OLD_HELD, NEW = "ami-0000002a", "moved to ami-0000002a"


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


@pytest.fixture
def region(tmp_path):
    region = SmallRegion(tmp_path)
    region.configure(peers="")
    region.ledger.record(
        [Claim(claimed_at=n, image=image(n)) for n in range(1, 4)]
    )
    return region


@pytest.fixture
def ids(region):
    """Give the id of image 1, and the one that image 2 had before a move."""
    found = [region.ledger.queries.by_image(image(n)).ec2_id for n in (1, 2)]
    region.ledger.record(
        [Claim(claimed_at=2, image=image(2), wanted=Wanted(50, 42))]
    )
    return found


def check(region, *arguments, code=0):
    done = region.run(
        "template", "check", *map(str, arguments), "-f", "json", code=code
    )
    return json.loads(done.stdout), done.stderr


def test_every_id_is_told_with_its_place_and_its_image(region, ids, tmp_path):
    path = tmp_path / "stack.yaml"
    path.write_text(f"image: {ids[0]}\nother: [{ids[1]},\n  ami-7fffffff]\n")

    rows, _ = check(region, path, code=1)

    assert rows == [
        {
            "file": str(path),
            "line": line,
            "column": column,
            "id": ec2_id,
            "image": of,
            "verdict": verdict,
        }
        for line, column, ec2_id, of, verdict in [
            (1, 8, ids[0], image(1), "ok"),
            (2, 9, ids[1], image(2), NEW),
            (
                3,
                3,
                "ami-7fffffff",
                None,
                "on demand: nowhere else the same",
            ),
        ]
    ]


def test_files_in_order_are_code_0(region, ids, tmp_path):
    (tmp_path / "a.tf").write_text(f'ami = "{ids[0]}"')
    (tmp_path / "b.tf").write_text("no id; ami-0123456789abcdef0 is AWS's\n")

    rows, said = check(region, tmp_path / "a.tf", tmp_path / "b.tf")

    assert [row["verdict"] for row in rows] == ["ok"]
    assert "b.tf: 1 ids of AWS" in said


def test_what_cannot_be_read_is_a_line_and_spoils_nothing(
    region, ids, tmp_path
):
    (tmp_path / "binary").write_bytes(b"\x00\x01ami-1f2e3d4c")
    (tmp_path / "directory").mkdir()
    (tmp_path / "good").write_text(ids[0])
    names = ["binary", "directory", "missing", "good"]

    rows, said = check(region, *(tmp_path / name for name in names), code=2)

    assert [row["file"] for row in rows] == [str(tmp_path / "good")]
    assert len(said.splitlines()) == 3
    for name in names[:3]:
        assert str(tmp_path / name) in said


def test_a_peer_that_does_not_answer_makes_no_id_ok(region, ids, tmp_path):
    region.configure()
    (tmp_path / "a").write_text(ids[0])

    rows, said = check(region, tmp_path / "a", code=2)

    assert [row["verdict"] for row in rows] == ["not asked: RegionTwo"]
    assert "RegionTwo" in said
    assert "Traceback" not in said


def test_fix_writes_copies_and_leaves_the_files_alone(region, ids, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    one, two = tmp_path / "one/x.sh", tmp_path / "two/x.sh"
    text = f"x={ids[1]}\r\ny={ids[0]}\r\nz=ami-7fffffff"
    one.write_bytes(text.encode())
    one.chmod(0o750)
    two.write_text("nothing")
    new = tmp_path / "new"

    check(region, one, two, "--fix", new, "--dry-run", code=1)
    assert not new.exists()
    _, said = check(region, one, two, "--fix", new, code=1)

    copy = new / "one/x.sh"
    assert copy.read_bytes() == text.replace(ids[1], OLD_HELD).encode()
    assert copy.stat().st_mode & 0o777 == 0o750
    assert (new / "two/x.sh").read_text() == "nothing"
    assert one.read_bytes() == text.encode()
    assert f"{copy} was written, with 1 ids changed" in said
    check(region, new / "two/x.sh")


@pytest.mark.parametrize("way", ["itself", "link"])
def test_fix_never_writes_over_a_file_that_it_reads(
    region, ids, tmp_path, way
):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/a"
    path.write_text(ids[1])
    into = tmp_path / "in"
    if way == "link":
        into = tmp_path / "out"
        into.mkdir()
        (into / "a").symlink_to(path)

    done = region.run(
        "template", "check", str(path), "--fix", str(into), code=2
    )

    assert path.read_text() == ids[1]
    assert "would be overwritten" in done.stderr
    assert not done.stdout


def test_a_directory_that_is_a_file_is_one_line(region, ids, tmp_path):
    (tmp_path / "a").write_text(ids[1])
    (tmp_path / "b").write_text("")

    done = region.run(
        "template",
        "check",
        str(tmp_path / "a"),
        "--fix",
        str(tmp_path / "b"),
        code=2,
    )

    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path / "b") in done.stderr
