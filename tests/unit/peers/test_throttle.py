"""What a peer wastes of our time, it waits for."""

import pytest

from ec2map_sync.peers import throttle
from ec2map_sync.peers.throttle import KNOWN, REFUSED, Throttle


class Clock:
    """The CPU that a thread has used, and how long it has rested."""

    def __init__(self):
        self.used = 0.0
        self.rested = 0.0

    def work(self, seconds, rests):
        def done():
            self.used += seconds
            return rests

        return done

    def rest(self, seconds):
        self.rested += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttled(clock):
    return Throttle(cpu=lambda: clock.used, sleep=clock.rest)


def test_what_was_of_use_costs_no_rest(clock, throttled):
    throttled.spend(clock.work(1.0, 0))

    assert not throttled.rest(0.5)
    assert clock.rested == 0


@pytest.mark.parametrize("rests", [REFUSED, KNOWN])
def test_what_was_of_no_use_is_rested_after_bit_by_bit(
    clock, throttled, rests
):
    for _ in range(3):
        throttled.spend(clock.work(0.1, rests))

    while throttled.rest(0.25):
        pass

    assert clock.rested == pytest.approx(0.3 * rests)
    assert clock.used / (clock.used + clock.rested) == pytest.approx(
        1 / (1 + rests)
    )


def test_nobody_is_left_unheard_for_long(clock, throttled):
    throttled.spend(clock.work(100.0, REFUSED))

    while throttled.rest(0.5):
        pass

    assert clock.rested == pytest.approx(throttle.MOST)


def test_the_clock_is_that_of_the_thread_alone():
    rested = []
    mine = Throttle(sleep=rested.append)

    mine.spend(lambda: sum(range(10**6)) and REFUSED)

    assert mine.rest(60)
    assert 0 < rested[0] <= throttle.MOST
