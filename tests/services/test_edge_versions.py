"""The edge with the oldest and the newest releases that we may meet."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
EDGE = ["tests/unit/broker/test_inside.py", "tests/services/test_edge.py"]
VERSIONS = """
from importlib.metadata import version
print(version("kombu"), version("oslo.messaging"))
"""
OURS = f"{version('kombu')} {version('oslo.messaging')}\n"
SHORT = "not who_waits_longer"


def run(which, *arguments):
    """Run Python with the oldest or newest kombu and oslo.messaging."""
    made = subprocess.run(
        [ROOT / "tools/edge-env", which],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTEST_")
    } | {"PYTHONPATH": made.stdout.strip()}
    return subprocess.run(
        # -P: the package is the installed one also there.
        [sys.executable, "-P", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def least(package):
    """Give the lower bound that we promise."""
    text = (ROOT / "setup.cfg").read_text()
    return re.search(rf"^ *{package}>=([\d.]+)", text, re.M).group(1)


def test_the_oldest_are_those_of_our_lower_bounds():
    kombu, messaging = run("oldest", "-c", VERSIONS).stdout.split()

    assert kombu == f"{least('kombu')}.0"
    assert messaging == f"{least('oslo.messaging')}.0"


@pytest.mark.parametrize(
    "which", [pytest.param("oldest", marks=pytest.mark.long), "newest"]
)
def test_the_edge_holds_in_both_ways(which):
    if run(which, "-c", VERSIONS).stdout == OURS:
        pytest.skip("they are those of this run, which shows it already")

    # Each run shows the rest of them with the releases that it has.
    few = [] if "EC2MAP_SYNC_LONG" in os.environ else ["-k", SHORT]
    options = ["-q", "-p", "no:cacheprovider", *few]
    done = run(which, "-m", "pytest", *options, *EDGE)

    assert done.returncode == 0, done.stdout + done.stderr
