"""Whatever happens between the regions, they come to the same mapping.

Each history is a seed: see `histories.py` for running one again, or many.
"""

import os

import pytest
from histories import attempt_all
from simulation.history import ANY, PUSHED, SERIAL, Outcome, Profile, run

HISTORIES = int(os.environ.get("EC2MAP_SYNC_HISTORIES", "100"))
FIRST_SEED = int(os.environ.get("EC2MAP_SYNC_FIRST_SEED", "0"))


def outcomes(profile: Profile, count: int) -> list[Outcome]:
    results = list(attempt_all(range(FIRST_SEED, FIRST_SEED + count), profile))
    wrong = [result for result in results if isinstance(result, str)]
    if wrong:
        pytest.fail(f"{len(wrong)} of {count}; the first:\n{wrong[0]}")
    return [result for result in results if isinstance(result, Outcome)]


def test_after_all_faults_every_region_has_what_all_claims_give():
    found = outcomes(ANY, HISTORIES)

    # Else it would show nothing: numbers collide, and everything happens.
    assert sum(outcome.moved for outcome in found) > HISTORIES
    happened = {name for outcome in found for name in outcome.counts}
    assert happened >= {"restore", "join", "leave", "adopt", "cut"}


def test_no_number_moves_if_each_claim_is_everywhere_before_the_next():
    found = outcomes(SERIAL, HISTORIES // 3)

    assert sum(outcome.claims for outcome in found) > HISTORIES


def test_what_is_pushed_arrives_across_crashes_without_comparing():
    outcomes(PUSHED, HISTORIES // 3)


def test_a_history_is_the_same_every_time():
    assert run(7, ANY) == run(7, ANY)
