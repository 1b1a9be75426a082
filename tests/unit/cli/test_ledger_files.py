"""Ledgers as files: what is exported is what comes in, or nothing is."""

import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path

import made
import pytest
from commands import SmallRegion
from frozen import dump
from hypothesis import HealthCheck, given, settings, strategies as st

from ec2map_sync.ledger import Ledger
from ec2map_sync.operate import transfer
from ec2map_sync.protocol.exports import BadExport
from ec2map_sync.rules.claims import EVERYTHING, Claim, SeenKind, Wanted
from ec2map_sync.rules.ec2id import Band, Kind, Scheme
from ec2map_sync.rules.errors import SchemeMismatch
from ec2map_sync.sql.database import create_engine, parse_url

PROGRAM = Path(sys.executable).parent / "ec2map-sync"


def image(n):
    return f"abcdef00-0000-4000-8000-{n:012x}"


@pytest.fixture
def region(tmp_path):
    (tmp_path / "one").mkdir()
    region = SmallRegion(tmp_path / "one")
    region.ledger.record(
        [
            Claim(
                claimed_at=7 + n,
                image=image(9 - n),
                spelling=image(9 - n).upper() if n == 1 else "",
                wanted=Wanted(90, 17) if n == 2 else None,
                kind=SeenKind(91, Kind.AKI) if n % 2 else None,
            )
            for n in range(9)
        ]
    )
    return region


@pytest.fixture
def other(tmp_path):
    (tmp_path / "two").mkdir()
    return SmallRegion(tmp_path / "two")


@pytest.fixture
def file(region, tmp_path):
    file = tmp_path / "export"
    region.run("ledger", "export", str(file))
    return file


def held(region):
    ledger = region.ledger
    return ledger.head().total, [
        (m.claim, m.number) for m in ledger.queries.mappings(EVERYTHING, 99)
    ]


def rows(region):
    with region.ledger._engine.connect() as connection:
        return dump(connection)


def named(region):
    return "--config-file", region.config_file


def signed(lines):
    """Put the right checksum under lines."""
    text = "".join(line + "\n" for line in lines)
    return text + f'{{"sha256":"{sha256(text.encode()).hexdigest()}"}}\n'


def imported(region, file, *arguments, code=0):
    done = region.run(
        "ledger", "import", str(file), *arguments, "-f", "json", code=code
    )
    return json.loads(done.stdout)[0] if not code else done.stderr


def test_an_export_that_is_imported_gives_an_equal_ledger(region, other, file):
    done = imported(other, file)

    assert done == {"claims": 9, "news": 9, "moved": 0, "held": 0}
    assert held(other) == held(region)
    assert imported(other, file)["news"] == 0
    assert other.ledger.head().last_stamp == region.ledger.head().last_stamp


def test_an_export_is_lines_in_order_with_a_head_and_a_checksum(file):
    head, *claims, end = map(json.loads, file.read_text().splitlines())

    assert head["count"] == len(claims) == 9
    assert (head["of"], head["version"]) == ("ledger", 1)
    assert head["scheme"] == Scheme(b"tests").fingerprint
    places = [(c["claimed_at"], c["image"].lower()) for c in claims]
    assert places == sorted(places)
    before = file.read_bytes().rsplit(b"\n", 2)[0] + b"\n"
    assert end == {"sha256": sha256(before).hexdigest()}


def test_what_is_imported_is_not_said_again_by_this_region(other, file):
    imported(other, file)

    assert other.ledger.queries.own_claims_after(0).count == 0


@pytest.mark.parametrize("page", [1, 4, 9])
def test_pages_lose_and_repeat_nothing(region, file, page, monkeypatch):
    monkeypatch.setattr("ec2map_sync.ledger.snapshot.PAGE", page)
    again = file.with_name("again")
    region.run("ledger", "export", str(again))

    assert (
        again.read_bytes().split(b"\n")[1:10]
        == (file.read_bytes().split(b"\n")[1:10])
    )


def test_what_is_claimed_meanwhile_is_not_in_an_export(region, monkeypatch):
    monkeypatch.setattr("ec2map_sync.ledger.snapshot.PAGE", 4)
    late = iter(range(100, 200))
    out = io.BytesIO()

    def advance(_count):
        n = next(late)
        region.ledger.record([Claim(claimed_at=n, image=image(n))])

    with region.ledger.snapshot() as snapshot:
        transfer.export(snapshot, "RegionOne", out.write, advance)

    assert len(list(transfer.claims_of(out, "x"))) == 9
    assert region.ledger.head().total.count > 9


def test_a_dry_run_says_what_an_import_does_and_changes_nothing(other, file):
    other.ledger.record([Claim(claimed_at=1, image=image(3))])
    other.ledger.record([Claim(claimed_at=99, image=image(9))])
    before = rows(other)

    said = imported(other, file, "--dry-run")

    assert rows(other) == before
    assert said == imported(other, file)


def test_a_dry_run_tells_who_would_move_and_why(tmp_path, monkeypatch):
    """The band is small, so that an older claim takes a number."""
    scheme = Scheme(b"tests", Band(2**24, 2**24 + 4))
    monkeypatch.setattr("ec2map_sync.settings.config.Config.scheme", scheme)
    region, other = (
        SmallRegion(tmp_path / name)
        for name in ("one", "two")
        if (tmp_path / name).mkdir() is None
    )
    for one in (region, other):
        one.ledger.scheme = scheme
    region.ledger.record(
        [Claim(claimed_at=n, image=image(n)) for n in range(1, 4)]
    )
    other.ledger.record(
        [Claim(claimed_at=n, image=image(n)) for n in range(11, 14)]
    )
    file = tmp_path / "export"
    region.run("ledger", "export", str(file))

    done = other.run("ledger", "import", str(file), "--dry-run", "-f", "json")
    (said,) = json.loads(done.stdout)
    moves = done.stderr.count("would move from")
    before = held(other)[1]
    taken = imported(other, file)

    after = {claim.image: number for claim, number in held(other)[1]}
    really = sum(after[c.image] != number for c, number in before)
    assert really > 0
    assert said["moved"] == moves == really
    assert said["news"] == taken["news"] == 3


@pytest.mark.parametrize("bound", [0, 1])
def test_moves_that_a_peer_may_not_make_are_told_and_made(other, file, bound):
    """What was adopted elsewhere moves an image here."""
    text = other.config_file.read_text()
    other.config_file.write_text(
        text.replace("[bus]\n", f"[bus]\nmax_moves = {bound}\n")
    )
    other.ledger.record([Claim(claimed_at=9, image=image(7))])

    said = imported(other, file, "--dry-run")

    assert (said["moved"], said["held"]) == (1, 1 - bound)
    assert imported(other, file) == said
    assert other.ledger.numbers_of([image(7)]) == {image(7): 17}


def test_every_byte_counts(other, file):
    """Each flipped byte is refused, and nothing is recorded."""
    whole = file.read_bytes()
    scheme = other.scheme
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 1
        with pytest.raises(BadExport):
            transfer.check(io.BytesIO(data), "x", scheme, lambda _n: None)
    transfer.check(io.BytesIO(whole), "x", scheme, lambda _n: None)


def test_every_cut_is_noticed(other, file):
    whole = file.read_bytes()
    for at in range(len(whole)):
        cut = io.BytesIO(whole[:at])
        with pytest.raises(BadExport):
            transfer.check(cut, "x", other.scheme, lambda _n: None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t[:-30], "is not as it was written"),
        (lambda t: t[:300], "was cut off: after"),
        (lambda t: t + t, "is not as it was written"),
        (lambda t: "{}\n" + t, "is no export of ec2map-sync"),
        (lambda t: t[:0], "is no export of ec2map-sync"),
        (lambda t: "[" * 900 + t, "is no export of ec2map-sync"),
        (lambda t: "\0\x1f\x8b" + t, "is no export of ec2map-sync"),
        (lambda t: t.replace('"version":1', '"version":2'), "a newer one"),
        (lambda t: t.replace(':"ledger"', ':"sink"'), "of a sink"),
        (lambda t: t.replace('"scheme":"', '"scheme":"0'), "hash_key"),
        (lambda t: t.replace('"ak', '"ax'), "line 3: malformed claim"),
        (lambda t: t.replace("\n", "\r\n"), "is no export|canonical|no JSON"),
        (lambda t: t.replace(',"kind', ', "kind'), "canonical form"),
        (lambda t: t.replace(":8,", f":{2**61},"), "line 3: .*24 h ahead"),
    ],
)
def test_what_is_no_export_of_ours_is_refused_in_one_line(
    other, file, change, said
):
    file.write_text(change(file.read_text()))
    before = rows(other)

    error = imported(other, file, code=2)

    assert error.count("\n") == 1
    assert re.search(said, error), error
    assert rows(other) == before


def test_lines_out_of_order_or_twice_are_refused(other, file):
    head, *claims, _ = file.read_text().splitlines()
    for wrong in (claims[::-1], [claims[0], *claims[:8]]):
        file.write_text(signed([head, *wrong]))

        assert "not in order" in imported(other, file, code=2)
    assert held(other)[1] == []


@pytest.mark.parametrize("name", [".", "missing/file", "file/below"])
def test_what_cannot_be_opened_is_one_line(region, tmp_path, name):
    (tmp_path / "file").touch()
    for command in ("export", "import"):
        path = tmp_path / name
        done = region.run("ledger", command, str(path), code=2)

        assert done.stderr.count("\n") == 1
        assert str(path.parent) in done.stderr


def test_a_ledger_of_another_scheme_is_not_exported(region, file):
    text = region.config_file.read_text()
    region.config_file.write_text(text.replace("= tests", "= others"))
    before = file.read_bytes()

    done = region.run("ledger", "export", str(file), code=2)

    assert "hash_key" in done.stderr
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir() if p.is_file()] == ["export"]
    with (
        pytest.raises(SchemeMismatch),
        Ledger(region.ledger._engine, Scheme(b"others")).snapshot(),
    ):
        pass


def test_an_export_replaces_an_older_one_and_keeps_its_rights(region, file):
    file.chmod(0o640)
    region.ledger.record([Claim(claimed_at=1, image=image(77))])

    region.run("ledger", "export", str(file))

    assert image(77) in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o640


def test_standard_output_and_input_carry_it_too(region, other):
    def run(region, *arguments, **kwargs):
        return subprocess.run(
            [PROGRAM, *arguments, *named(region)],
            stdout=subprocess.PIPE,
            check=True,
            **kwargs,
        ).stdout

    written = run(region, "ledger", "export", "-")
    run(other, "ledger", "import", "-", input=written)

    assert held(other) == held(region)


def test_a_pipe_is_written_and_read(region, other, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = threading.Thread(
        target=region.run, args=("ledger", "export", str(pipe)), daemon=True
    )
    # The program captures the output of the process, which has two here.
    taken = subprocess.Popen(
        [PROGRAM, "ledger", "import", pipe, *named(other)],
        stdout=subprocess.DEVNULL,
    )
    writing.start()
    assert taken.wait() == 0
    writing.join()

    assert held(other) == held(region)


STAMPS = st.integers(1, 9)
CLAIMS = st.builds(
    Claim,
    claimed_at=STAMPS,
    image=st.integers(0, 30).map(image),
    spelling=st.just(""),
    wanted=st.none() | st.builds(Wanted, STAMPS, st.integers(1, 40)),
    kind=st.none() | st.builds(SeenKind, STAMPS, st.sampled_from(Kind)),
)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Give what makes an empty ledger, whose band is small."""
    directory, count = tmp_path_factory.mktemp("ledgers"), itertools.count()

    def opened(path):
        return create_engine(parse_url(f"sqlite:///{path}", "x"))

    first = opened(directory / "empty")
    made.make(first)
    first.dispose()  # all of it is in one file then

    def empty():
        path = directory / str(next(count))
        shutil.copy(directory / "empty", path)
        return Ledger(opened(path), Scheme(b"test", Band(2**24, 2**24 + 32)))

    return empty


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    claims=st.lists(CLAIMS, max_size=30), others=st.lists(CLAIMS, max_size=30)
)
def test_any_set_comes_through_and_a_dry_run_foresees_it(make, claims, others):
    one, two, three = make(), make(), make()
    one.record(claims)
    two.record(others)
    file = io.BytesIO()
    with one.snapshot() as snapshot:
        transfer.export(snapshot, "R", file.write, lambda _n: None)
    before = two.numbers_of(c.image for c in others)

    foreseen = transfer.rehearse(two, file, "x", lambda _n: None)
    for ledger in (two, three):
        transfer.check(file, "x", ledger.scheme, lambda _n: None)
        taken = transfer.take(ledger, file, "x", lambda _n: None)

    assert taken.claims == taken.news == one.head().total.count
    assert three.head().total == one.head().total
    assert three.queries.mappings(EVERYTHING, 99) == (
        one.queries.mappings(EVERYTHING, 99)
    )
    after = two.numbers_of(before)
    moves = {i: (n, after.get(i)) for i, n in before.items()}
    assert {m.claim.image: (m.old, m.new) for m in foreseen.moves} == {
        i: move for i, move in moves.items() if move[0] != move[1]
    }
    for ledger in (one, two, three):
        ledger._engine.dispose()
