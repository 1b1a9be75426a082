"""Regions live days of trouble under a seed: see `run.py`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
MINUTES = float(os.environ.get("EC2MAP_SYNC_WORLD_MINUTES", "3"))
FIRST_SEED = int(os.environ.get("EC2MAP_SYNC_FIRST_SEED", "0"))

pytestmark = pytest.mark.timeout(900 + 4 * 60 * MINUTES)


def lived(*arguments: object) -> subprocess.CompletedProcess[str]:
    # In a process of its own: time there is not that of the tests.
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr)
    return done


def run(*arguments: object) -> str:
    done = lived(RUN, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def outcome(seed: int) -> dict[str, object]:
    told = run("--seed", seed, "--days", 1, "--outcomes").splitlines()[0]
    return json.loads(told)


def test_worlds_of_many_seeds_are_in_order_every_evening():
    told = run("--first", FIRST_SEED, "--minutes", MINUTES)

    assert "all in order" in told


def test_a_seed_is_one_history_to_the_last_switch():
    seed = FIRST_SEED + 1000

    one, other = (outcome(seed), outcome(seed))
    another = outcome(seed + 1)

    assert one == other
    assert one["switches"] > 1000
    assert one["fingerprint"] != another["fingerprint"]


def test_a_day_may_have_more_images_than_happenings_tell_of():
    told = run(
        *("--seed", 26, "--days", 1),
        *("--images", 100, "--outcomes"),
    )

    outcome = json.loads(told.splitlines()[0])
    assert outcome["images"] > 200


def test_a_batch_of_which_only_the_first_counts_is_found():
    done = lived(
        *(RUN, "--mutant", "take_the_first_of_a_batch"),
        *("--minutes", 1, "--days", 1),
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("seed ")


@pytest.mark.long
@pytest.mark.timeout(7 * 3600)
def test_the_judge_finds_again_every_mutant_that_it_has_found():
    page = RUN.parents[2] / "doc/source/mutants.rst"

    done = lived(
        *(RUN.with_name("mutate.py"), "--minutes", 10, "--again", page)
    )

    assert done.returncode == 0, done.stdout + done.stderr
