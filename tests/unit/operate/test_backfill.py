"""How fast a backfill is."""

import pytest

from ec2map_sync.operate import backfill
from ec2map_sync.operate.backfill import Pace


class Clock:
    """A time that passes only for whoever sleeps."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(backfill, "time", clock)
    return clock


def test_a_rate_is_kept_to(clock):
    pace = Pace(100)

    for done in (10, 20, 30):
        pace.wait(done)

    assert clock.now == pytest.approx(0.3)


def test_who_is_slower_than_the_rate_does_not_wait(clock):
    pace = Pace(100)
    clock.now = 5.0

    pace.wait(30)

    assert clock.now == 5.0
