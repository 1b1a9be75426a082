"""The programs that contributors run, as they lie there."""

import subprocess
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


def test_the_lab_says_in_one_line_how_it_is_used():
    lab = ROOT / "tools" / "lab"

    done = subprocess.run(
        [lab, "sideways"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr == "lab: usage: tools/lab up | status | down\n"
    assert done.stdout == ""
