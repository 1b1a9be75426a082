"""Stamps: nobody gives one that all others would refuse."""

import pytest

from ec2map_sync.ledger import Ledger
from ec2map_sync.protocol import messages
from ec2map_sync.rules.claims import Claim, Sighting
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.stamps import MAX_AHEAD, BadStamp, next_stamp

NOW = 1_800_000_000_000_000
IMAGES = [f"00000000-0000-4000-8000-{n:012x}" for n in range(9)]


def is_refused(stamp):
    try:
        messages.stamp(stamp, NOW + MAX_AHEAD, "claimed_at")
    except BadMessage:
        return True
    return False


@pytest.mark.parametrize("ahead", [-MAX_AHEAD, 0, 1, MAX_AHEAD - 2])
def test_a_stamp_is_later_than_the_last_and_others_take_it(ahead):
    stamp = next_stamp(NOW + ahead, NOW)

    assert stamp > NOW + ahead
    assert not is_refused(stamp)


@pytest.mark.parametrize("ahead", [MAX_AHEAD - 1, 2 * MAX_AHEAD])
def test_what_others_would_refuse_is_not_stamped(ahead):
    assert is_refused(NOW + ahead + 1)
    with pytest.raises(BadStamp) as refused:
        next_stamp(NOW + ahead, NOW)

    text = str(refused.value)
    assert "the clock here says 2027-01-15T08:00:00Z" in text
    assert "set this clock" in text
    assert "\n" not in text


def see(ledger, n):
    return ledger.see([Sighting(image=IMAGES[n], uuid=IMAGES[n])]).news


def test_after_a_clock_was_days_ahead_nothing_is_claimed_until_it_is_due(
    ledger,
):
    now = [NOW + 2 * MAX_AHEAD]
    ledger = Ledger(ledger._engine, ledger.scheme, lambda: now[0])
    assert see(ledger, 0) == 1

    now[0] = NOW
    with pytest.raises(BadStamp):
        see(ledger, 1)
    assert ledger.claims([IMAGES[1]]) == {}
    assert see(ledger, 0) == 0  # no news, and no harm

    now[0] = NOW + MAX_AHEAD + 9
    assert see(ledger, 1) == 1


def test_what_a_peer_says_to_be_newest_never_keeps_us_from_claiming(ledger):
    ledger = Ledger(ledger._engine, ledger.scheme, lambda: NOW)
    for newest in (NOW + MAX_AHEAD, NOW + 9 * MAX_AHEAD, 2**62):
        ledger.journal.note_peer("two", newest=newest)

    assert see(ledger, 1) == 1
    assert ledger.head().last_stamp == NOW


def test_claims_of_others_are_joined_whatever_our_clock_says(ledger):
    ledger = Ledger(ledger._engine, ledger.scheme, lambda: NOW)
    ahead = Claim(claimed_at=NOW + 2 * MAX_AHEAD, image=IMAGES[0])

    assert ledger.record([ahead]).news == 1
