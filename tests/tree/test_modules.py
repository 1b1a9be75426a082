"""Whatever tests import by its name alone has a name of its own."""

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
ON_PATH = (
    "benchmarks",
    "tests/chaos",
    "tests/convergence",
    "tests/openstack",
    "tests/support",
)
PROGRAMS = {"conftest", "run"}
"""Which nobody imports."""


def test_no_two_modules_on_the_path_have_one_name():
    names = Counter(
        file.stem
        for folder in ON_PATH
        for file in (ROOT / folder).glob("*.py")
        if file.stem not in PROGRAMS
    )

    assert names["servers"] == 1
    assert [name for name, count in names.items() if count > 1] == []
