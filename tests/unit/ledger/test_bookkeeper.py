"""The bookkeeper: how soon it looks, where it goes on, what it says."""

import pytest
from edited import ADOPTER, ONE, SCHEME, START, edit, fill

from ec2map_sync.ledger import Ledger, bookkeeper
from ec2map_sync.ledger.bookkeeper import (
    COUNT_INTERVAL,
    ROUND_PAUSE,
    Bookkeeper,
)

ROUND = 6
"""Steps of one whole round, two rows at a time, at least."""


@pytest.fixture
def ledger(ledger, monkeypatch):
    monkeypatch.setattr(bookkeeper, "ROWS_AT_ONCE", 2)
    ledger = Ledger(ledger._engine, SCHEME, lambda: START)
    fill(ledger)
    return ledger


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def steps(keeper, ledger):
    """Go on to the end of a round; how many steps that took."""
    for n in range(1, 100):
        keeper.step()
        if not ledger.copies.state().position:
            return n
    raise AssertionError


def test_a_wrong_total_is_counted_anew_within_a_minute(ledger):
    clock = Clock()
    keeper = Bookkeeper(ledger, monotonic=clock)
    keeper.step()
    total = ledger.head().total
    edit(ledger, "UPDATE head SET total_sum = total_sum + 1")

    keeper.step()
    assert ledger.head().total != total
    clock.now += COUNT_INTERVAL
    keeper.step()

    assert ledger.head().total == total


def test_a_round_goes_on_where_another_one_was_stopped(ledger):
    whole = steps(Bookkeeper(ledger), ledger)
    assert whole >= ROUND
    keeper = Bookkeeper(ledger)
    for _ in range(3):
        keeper.step()

    assert steps(Bookkeeper(ledger), ledger) == whole - 3


def test_between_two_rounds_there_is_a_pause(ledger):
    clock = Clock()
    keeper = Bookkeeper(ledger, monotonic=clock)
    steps(keeper, ledger)
    edit(ledger, f"UPDATE claims SET number=9 WHERE image='{ONE}'")

    for _ in range(2 * ROUND):
        assert not keeper.step()
    assert ledger.copies.state().found == 0
    clock.now += ROUND_PAUSE
    keeper.step()

    assert ledger.copies.state().found


def test_once_anything_was_found_all_is_gone_through_at_once(ledger):
    clock = Clock()
    keeper = Bookkeeper(ledger, monotonic=clock)
    edit(ledger, f"DELETE FROM claims WHERE image='{ADOPTER}'")
    edit(ledger, "DELETE FROM passed")

    urgent = [keeper.step() for _ in range(4 * ROUND)]

    assert sum(urgent) >= ROUND - 1
    state = ledger.copies.state()
    assert not state.doubtful
    assert state.completed_at == START
    assert state.found
    assert state.last_found_at == START
    assert ADOPTER in state.last_found or "passed" in state.last_found


def test_until_a_whole_round_is_over_the_ledger_is_doubtful(ledger):
    keeper = Bookkeeper(ledger)
    edit(ledger, f"DELETE FROM claims WHERE image='{ADOPTER}'")
    ledger.copies.mend_totals()

    assert ledger.copies.state().doubtful
    steps(keeper, ledger)

    assert not ledger.copies.state().doubtful
