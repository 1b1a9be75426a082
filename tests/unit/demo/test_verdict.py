"""Whether the regions of the demonstration agree, and how fast they were."""

import pytest

from ec2map_sync.demo.comparison import judge, spread
from ec2map_sync.sinks import SinkRow


def rows(*numbered):
    return [SinkRow(number=number, uuid=uuid) for number, uuid in numbered]


def test_equal_rows_are_good():
    same = rows((7, "a"), (9, "b"))

    comparison = judge(["a", "b"], {"one": same, "two": same[::-1]})

    assert (comparison.agree, comparison.is_good) == (2, True)


@pytest.mark.parametrize(
    ("two", "agree"),
    [
        (rows((7, "a"), (8, "b")), 1),
        (rows((7, "a")), 1),
        (rows((9, "a"), (7, "b")), 0),
        (rows((7, "a"), (9, "b"), (5, "b")), 1),
        (rows((7, "a"), (9, "b"), (5, "c")), 2),
        ([], 0),
    ],
    ids=["differs", "missing", "exchanged", "twice", "foreign", "none"],
)
def test_any_row_that_differs_is_not_good(two, agree):
    one = rows((7, "a"), (9, "b"))

    comparison = judge(["a", "b"], {"one": one, "two": two})

    assert (comparison.agree, comparison.is_good) == (agree, False)


def test_the_middle_and_the_worst_of_delays():
    told = spread([0.3, 0.1, 0.2])

    assert told is not None
    assert (told.count, told.p50, told.worst) == (3, 0.2, 0.3)
    assert spread([]) is None
