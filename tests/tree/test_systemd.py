"""The unit file is one, and gives the agent no more than it needs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from patience import within
from servers import find_program

UNIT = Path(__file__).parents[2] / "etc/systemd/ec2map-sync-agent.service"
AGENT = Path(sys.executable).parent / "ec2map-sync-agent"
EXPOSURE = 16
"""Of 100, as systemd counts: the network and a name in it are needed."""


@pytest.fixture
def unit(tmp_path):
    """The unit, for the agent that is installed here."""
    text = UNIT.read_text()
    program = re.search(r"^ExecStart=(\S+)", text, re.MULTILINE)[1]
    assert Path(program).name == AGENT.name
    path = tmp_path / UNIT.name
    path.write_text(text.replace(program, str(AGENT)))
    return path


def analyze(*arguments):
    return subprocess.run(
        [find_program("systemd-analyze", "systemd"), *arguments],
        capture_output=True,
        text=True,
        timeout=within(60),
        check=False,
    )


def test_systemd_understands_every_line(unit):
    done = analyze("verify", "--man=no", unit)

    # It reads units of the machine besides, and may have a word on those.
    said = (done.stdout + done.stderr).splitlines()
    ours = [line for line in said if UNIT.stem in line]
    assert (done.returncode, ours) == (0, [])


def test_the_agent_is_exposed_to_little(unit):
    done = analyze(
        "security", "--offline=true", f"--threshold={EXPOSURE}", unit
    )

    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout


def test_it_runs_as_a_user_of_its_own():
    text = UNIT.read_text()

    assert "\nUser=ec2map-sync\n" in text
    assert "\nNoNewPrivileges=yes\n" in text
