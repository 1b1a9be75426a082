"""Faults of many kinds befall real agents, brokers and databases: `run.py`."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from faults import KINDS
from patience import wait_until, within
from plan import Plan

RUN = Path(__file__).with_name("run.py")
MINUTES = float(os.environ.get("EC2MAP_SYNC_CHAOS_MINUTES", "2"))
SEED = int(os.environ.get("EC2MAP_SYNC_FIRST_SEED", "0"))
SIZE = ("--regions", 2) if MINUTES < 5 else ()

pytestmark = pytest.mark.timeout(600 + 120 * MINUTES)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, RUN, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr)
    return done


@pytest.mark.services
def test_after_faults_of_many_kinds_all_is_as_it_must_be():
    done = run("--minutes", MINUTES, "--seed", SEED, "--pause", 1.2, *SIZE)

    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r": (\d+) faults of (\d+) kinds", done.stdout)
    assert int(counted[1]) >= 10
    assert int(counted[2]) >= 5
    assert "lost 0, doubled 0, changed without a record 0" in done.stdout


@pytest.mark.long
@pytest.mark.services
def test_an_image_that_nobody_was_told_of_is_missed(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = run("--minutes", 0.1, "--seed", 5, *SIZE, "--forget", "--quiet", 2)

    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^seed 5: .* not as they must be$", done.stdout, re.M)
    assert "lost: RegionOne has no claim of" in done.stdout
    (kept,) = re.findall(r"^the logs are in (.*)$", done.stdout, re.M)
    assert Path(kept).parent == tmp_path
    assert list(Path(kept).glob("regions/*.log"))


@pytest.mark.services
def test_whoever_is_told_to_end_leaves_nothing(tmp_path):
    place = {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, RUN, "--seed", "1", *map(str, SIZE)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | place,
    ) as running:
        try:
            assert "seed 1" in running.stdout.readline()
            wait_until(lambda: any(started(tmp_path)), 60)

            running.terminate()

            assert running.wait(within(60)) == 128 + signal.SIGTERM
        finally:
            running.kill()
    wait_until(lambda: not any(started(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def started(place: Path) -> list[str]:
    """Give the command lines of what works in a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_text().replace("\0", " "))
    return [line for line in found if str(place) in line]


def test_the_plan_is_what_the_seed_says():
    one, again, other = (Plan(seed, 600, 2.0) for seed in (1, 1, 2))

    assert one.events(1) == again.events(1)
    assert one.events(1) != one.events(2)
    assert one.events(1) != other.events(1)


def test_an_hour_has_a_thousand_faults_of_each_kind_some():
    plan = Plan(0, 3600, 2.0)

    events = [e for n in range(1, plan.rounds + 1) for e in plan.events(n)]

    assert len(events) > 1000
    assert len(KINDS) >= 20
    assert {event.kind.name for event in events} == set(KINDS)


def test_what_takes_longer_to_settle_than_a_run_is_left_out_and_named():
    plan = Plan(0, 60, 2.0)

    assert "ledger edited" in plan.left_out
    assert not {e.kind.name for e in plan.events(1)} & set(plan.left_out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "a flood"], "there is no kind of fault 'a flood'"),
        (["--minutes", "0"], "are more than 0"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments, said):
    done = run(*arguments)

    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
