"""The programs that contributors run, as they lie there."""

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from servers import find_program

ROOT = Path(__file__).parents[2]
TOOLS = sorted(t for t in (ROOT / "tools").iterdir() if t.suffix != ".py")
# dpkg runs these, as root.
TOOLS += sorted((ROOT / "debian").glob("p*"))


@pytest.mark.parametrize("tool", TOOLS, ids=lambda p: p.name)
def test_shellcheck_has_nothing_to_say(tool):
    shellcheck = find_program("shellcheck", "shellcheck")

    done = subprocess.run(
        [shellcheck, "-x", "--severity=style", "--exclude=SC2119", tool],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == ""


def test_a_lane_that_there_is_not_is_named_in_one_line():
    lanes = ROOT / "tools" / "lanes"

    done = subprocess.run(
        [lanes, "--quick", "3.11", "jython"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr == "lanes: there is no lane jython\n"
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ('tests="9" failures="0" errors="0"', "9 passed, 0 failed"),
        ('tests="9" failures="2" errors="1"', "6 passed, 3 failed"),
        (None, "no test was run"),
    ],
)
def test_a_line_of_a_lane_says_what_ran_with_what(tmp_path, counts, said):
    report = tmp_path / "report.xml"
    if counts is not None:
        report.write_text(f"<testsuites><testsuite {counts}/></testsuites>")
    line = [ROOT / "tools/lane_line.py", "3.99", report]

    told = subprocess.run(
        [sys.executable, *line], capture_output=True, text=True, check=True
    ).stdout

    assert told.startswith(f"3.99     Python {platform.python_version()}, ")
    assert f", kombu {version('kombu')}: {said}\n" in told


def test_the_lab_says_in_one_line_how_it_is_used():
    lab = ROOT / "tools" / "lab"

    done = subprocess.run(
        [lab, "sideways"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr == "lab: usage: tools/lab up | status | down\n"
    assert done.stdout == ""
