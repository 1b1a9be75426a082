"""The demonstration: what it shows, what it answers, how it ends."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import within

PROGRAM = Path(sys.executable).parent / "ec2map-sync"
ROW = re.compile(
    r"  [0-9a-f]{8}  (a[mkr]i-[0-9a-f]{8})  (a[mkr]i-[0-9a-f]{8})"
    r"  (a[mkr]i-[0-9a-f]{8})  +(a[mkr]i-[0-9a-f]{8})  +(.*)"
)


def demo(tmp_path, *arguments):
    return subprocess.run(
        [PROGRAM, "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=within(120),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo")
    done = demo(directory, "--regions", "2", "--images", "12")
    return done, directory


def test_every_image_has_one_id_in_all_regions(shown):
    done, _ = shown

    assert (done.returncode, done.stderr) == (0, "")
    assert "All 12 images have one EC2 id in all 2 regions." in done.stdout
    rows = ROW.findall(done.stdout)
    assert len(rows) == 10
    assert {one[:3] for one, *_ in rows} == {"ami", "aki", "ari"}
    assert all(one == two for one, two, *_ in rows)
    assert any(one != two for _, _, one, two, _ in rows)


def test_it_says_what_to_do_next_and_the_readme_shows_how_it_ends(shown):
    done, _ = shown

    *_, said, copies, result, _, following = done.stdout.splitlines()
    assert said == ""
    assert "ec2map-sync config from-glance" in following
    readme = (Path(__file__).parents[2] / "README.rst").read_text()
    for line in (copies, result):
        like = re.sub(r"\d+", r"\\d+", re.escape(line))
        assert re.search(rf"^ +{like}$", readme, re.MULTILINE)


def test_the_later_of_two_rivals_moves_and_the_cause_is_told(shown):
    done, _ = shown

    told = re.search(
        r"RegionTwo has recorded: image (\w{8}) moved from (ami-\w{8}) to "
        r"(ami-\w{8}), because image (\w{8}) was claimed earlier",
        done.stdout,
    )
    assert told
    mover, old, new, cause = told.groups()
    assert re.search(f"{cause}  {old}  {old} .* stayed", done.stdout)
    assert re.search(f"{mover}  {new}  {new} .* moved", done.stdout)


def test_without_a_terminal_there_are_plain_lines_and_nothing_is_left(shown):
    done, directory = shown

    assert all(" " <= c <= "~" for c in done.stdout.replace("\n", ""))
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--regions", "1"], "ec2map-sync demo: --regions 1: it takes 2 to 6"),
        (["--images", "0"], "ec2map-sync demo: --images 0: it takes 4 to 500"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(
    tmp_path, arguments, line
):
    done = demo(tmp_path, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{line}\n"


def test_ctrl_c_ends_the_picture_cleanly(tmp_path):
    near, far = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, "demo"],
        stdin=subprocess.DEVNULL,
        stdout=far,
        stderr=far,
        env={**os.environ, "TMPDIR": str(tmp_path), "TERM": "xterm"},
    )
    os.close(far)
    out = _read_until(near, b"1. Images")

    process.send_signal(signal.SIGINT)

    out += _read_until(near, None)
    os.close(near)
    assert process.wait(within(30)) == 130
    assert "interrupted" in out
    assert "Traceback" not in out
    assert list(tmp_path.iterdir()) == []


def _read_until(terminal: int, what: bytes | None) -> str:
    out = b""
    deadline = time.monotonic() + within(60)
    while what is None or what not in out:
        assert time.monotonic() < deadline, out
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        out += part
    return out.decode(errors="replace")
