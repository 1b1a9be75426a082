"""What verify makes of a peer, by what it says and what we refuse."""

import pytest

from ec2map_sync.operate.verify import HEARTBEATS, check_peer
from ec2map_sync.protocol.messages import Heartbeat
from ec2map_sync.rules.claims import Claim, Print, print_of
from ec2map_sync.rules.stamps import MAX_AHEAD, wall_clock

NOW = wall_clock()


def claim(n, at=NOW - 60_000_000):
    image = f"00000000-0000-4000-8000-{n:012x}"
    return Claim(claimed_at=at, image=image)


class Peer:
    """Answers in the place of an Asker."""

    def __init__(self, *claims, refused=0, later=None):
        self.claims, self.refused = claims, refused
        self.later = later or Print(refused, 7 * refused)
        self.heard = self.pulled = 0

    def heartbeat(self):
        self.heard += 1
        own = print_of(self.claims)
        return Heartbeat(
            until=NOW, before=own, total=own + self.later, newest=NOW
        )

    def pull(self, _span, take):
        self.pulled += 1
        take(self.claims)
        return self.refused


def check(ledger, peer):
    found = check_peer(ledger, peer, "two")
    return found.missing, found.foreign, found.different, found.in_order


@pytest.fixture(autouse=True)
def ours(ledger):
    ledger.record([claim(1), claim(2)])


def test_who_holds_the_same_is_in_order_at_once(ledger):
    peer = Peer(claim(1), claim(2))

    assert check(ledger, peer) == (0, 0, 0, True)
    assert (peer.heard, peer.pulled) == (1, 0)


def test_what_is_on_its_way_is_nothing_amiss(ledger):
    peer = Peer(claim(1), claim(2), later=Print(3, 30))

    assert check(ledger, peer) == (0, 0, 0, True)
    assert peer.heard == HEARTBEATS


@pytest.mark.parametrize("refused", [1, 250])
def test_what_is_refused_of_a_peer_is_missing(ledger, refused):
    peer = Peer(claim(1), claim(2), refused=refused)

    assert check(ledger, peer) == (refused, 0, 0, False)


def test_what_is_refused_adds_to_what_is_missing(ledger):
    peer = Peer(claim(1), claim(2), claim(3), refused=2)

    assert check(ledger, peer) == (3, 0, 0, False)


def test_what_we_have_stamped_too_far_ahead_the_peer_lacks(ledger):
    ledger.record([claim(3, NOW + 2 * MAX_AHEAD)])

    assert check(ledger, Peer(claim(1), claim(2))) == (0, 1, 0, False)
