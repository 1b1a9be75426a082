"""A listener that ends again and again waits before it takes anything."""

import pytest

from ec2map_sync.glance.attempts import (
    FREE,
    AttemptError,
    Attempts,
    pause_after,
)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def born(tmp_path, clock):
    """What a process has that was just started."""
    return lambda: Attempts(tmp_path / "attempts", clock)


def end_amid(born, times):
    for _ in range(times):
        born().begin()


def test_who_ends_a_few_times_waits_for_nothing(born):
    end_amid(born, FREE)

    born().require_rest()


def test_who_ends_more_often_waits_longer_each_time(born, clock):
    end_amid(born, FREE + 1)

    attempts = born()
    with pytest.raises(AttemptError, match=r"4 times in a row .* for 5 s"):
        attempts.require_rest()
    clock.now += 5
    attempts.require_rest()
    attempts.begin()
    with pytest.raises(AttemptError, match=r"5 times in a row .* for 15 s"):
        born().require_rest()


def test_what_comes_to_its_end_is_forgotten(born):
    end_amid(born, FREE + 1)
    attempts = born()
    attempts.begin()
    attempts.end()

    attempts.require_rest()
    attempts.begin()  # what comes later is no sign of being stuck
    born().require_rest()


def test_twenty_deliveries_take_ten_hours():
    assert sum(map(pause_after, range(20))) > 10 * 3600


@pytest.mark.parametrize("text", ["", "many", "\0"])
def test_a_file_that_was_cut_says_nothing(tmp_path, text):
    file = tmp_path / "attempts"
    file.write_text(text)

    Attempts(file).require_rest()


def test_where_nothing_can_be_written_nothing_waits(tmp_path):
    attempts = Attempts(tmp_path / "no" / "attempts")

    attempts.begin()
    attempts.require_rest()
    attempts.end()
