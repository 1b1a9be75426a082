"""Who is on the roll of an agent lives."""

import subprocess
import sys

import pytest
from patience import wait_until

from ec2map_sync.running.roll import Roll


@pytest.fixture
def living(tmp_path):
    """A process that has entered a roll, and can be killed."""
    code = (
        "import pathlib, signal\nfrom ec2map_sync.agent.host import Roll\n"
        f"roll = Roll(pathlib.Path({str(tmp_path)!r}))\n"
        "roll.enter('writer-0')\nsignal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        yield process
        process.kill()


def test_who_is_killed_is_off_the_roll_at_once(tmp_path, living):
    there = Roll(tmp_path)
    wait_until(lambda: there.has("writer-0"))
    assert not there.has("writer-1")

    living.kill()
    living.wait()

    assert not there.has("writer-0")
    there.enter("writer-0")
    assert Roll(tmp_path).has("writer-0")
