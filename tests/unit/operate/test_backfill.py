"""How fast a backfill is."""

import time

from ec2map_sync.operate.backfill import Pace


def test_a_rate_is_kept_to():
    began = time.monotonic()
    pace = Pace(100)

    for done in (10, 20, 30):
        pace.wait(done)

    assert 0.3 <= time.monotonic() - began < 3
