"""A compare sends little more than what is missing."""

import runpy
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "compare_bytes.py"


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    """For 20 differences in 20,000 claims, as for 1,000 in a million."""
    measure = runpy.run_path(str(BENCHMARK))["measure"]
    return measure(tmp_path_factory.mktemp("bytes"), 20_000, 20)


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("in one hour", 7),
        ("spread over all time", 7),
        ("on either side, over all time", 14),
    ],
)
def test_few_differences_among_many_claims_cost_few_bytes(costs, name, times):
    """Of so few, what is said around them is the larger part.

    Keys are drawn by chance: one sketch of fifty is too small, and is drawn
    again, which costs as many bytes once more.
    """
    cost = costs[name]

    assert cost.found == (10 if "either" in name else 20)
    assert 1 < cost.ratio <= times
    assert cost.questions <= 5
