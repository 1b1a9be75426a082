"""The canary's way: claimed once, recorded by a peer, told back."""

import pytest
from commands import SmallRegion

from ec2map_sync.monitor.canaries import canary_views
from ec2map_sync.peers.canary import Canary
from ec2map_sync.peers.echoes import Echoes
from ec2map_sync.protocol.messages import Heartbeat
from ec2map_sync.protocol.seen import Seen
from ec2map_sync.rules.canaries import canary_of
from ec2map_sync.rules.claims import EVERYTHING, Claim, Print
from ec2map_sync.settings.loading import load

SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND
INTERVAL = 60


@pytest.fixture
def clock():
    return [NOW]


@pytest.fixture
def region(tmp_path, clock):
    region = SmallRegion(tmp_path)
    with region.config_file.open("a") as file:
        file.write(f"[canary]\ninterval = {INTERVAL}\n")
    region.ledger._clock = region.ledger.journal._clock = lambda: clock[0]
    return region


def canary(region, clock, recorded=lambda: None):
    return Canary(
        region.ledger,
        "RegionOne",
        interval=INTERVAL,
        recorded=recorded,
        clock=lambda: clock[0],
    )


def echoes(region, clock):
    return Echoes(
        region.ledger,
        region="RegionOne",
        peer="RegionTwo",
        clock=lambda: clock[0],
    )


def heartbeat(*seen):
    nothing = Print(0, 0)
    return Heartbeat(
        until=1, before=nothing, total=nothing, newest=1, sees=seen
    )


def told(at, there=None):
    return heartbeat(
        Seen(name="RegionThree", state="agrees", canary=NOW, canary_at=NOW),
        Seen(name="RegionOne", state="agrees", canary=at, canary_at=there),
    )


def view(region, clock):
    bus = load([], files=[str(region.config_file)]).bus
    (found,) = canary_views(region.ledger, bus, clock[0])
    return found


def state(region):
    return region.ledger.journal.peer_states()["RegionTwo"]


def test_each_moment_has_one_whoever_comes_first(region, clock):
    recorded = []
    hosts = [canary(region, clock, lambda: recorded.append(1)) for _ in "ab"]
    for seconds in (0, 1, 59, 60, 61, 119, 180):
        clock[0] = NOW + seconds * SECOND
        for host in hosts:
            host.step()
    canary(region, clock).step()  # the agent was started anew

    images = [claim.image for claim in region.ledger.page(EVERYTHING, 9)]
    moment = NOW // SECOND // INTERVAL
    assert images == [canary_of("RegionOne", moment + n) for n in (0, 1, 3)]
    assert len(recorded) == 3


def test_a_ledger_that_is_away_is_asked_again(region, clock, monkeypatch):
    worker = canary(region, clock)
    with monkeypatch.context() as patch:
        patch.setattr(type(region.ledger), "see", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            worker.step()
    worker.step()

    assert region.ledger.head().total.count == 1


def test_the_newest_of_the_peer_s_is_noted_and_no_other_s(region, clock):
    ear = echoes(region, clock)
    ear.recorded(
        [
            Claim(claimed_at=NOW - 9, image=canary_of("RegionTwo", 1)),
            Claim(claimed_at=NOW - 7, image=canary_of("RegionTwo", 2)),
            Claim(claimed_at=NOW - 5, image=canary_of("RegionThree", 3)),
            Claim(claimed_at=NOW - 3, image="0" * 8 + "-0000" * 3 + "0" * 12),
        ]
    )
    echoes(region, clock).recorded(  # after a start, by a compare
        [Claim(claimed_at=NOW - 9, image=canary_of("RegionTwo", 1))]
    )

    assert (state(region).canary, state(region).canary_at) == (NOW - 7, NOW)


def test_what_took_how_long_is_told(region, clock):
    before = view(region, clock)
    clock[0] = NOW + 4 * SECOND
    echoes(region, clock).heard(told(NOW, NOW + SECOND))
    clock[0] = NOW + 9 * SECOND
    echoes(region, clock).heard(told(NOW, NOW + SECOND))  # said again

    found = view(region, clock)
    assert (before.state, before.healthy) == ("never came back", False)
    assert (found.state, found.healthy) == ("comes back", True)
    assert (found.there_after, found.back_after) == (1.0, 4.0)
    assert found.overdue == 0


@pytest.mark.parametrize("seconds", [0, 59, 61, 119, 121, 10_000])
def test_one_that_does_not_come_back_is_missed(region, clock, seconds):
    echoes(region, clock).heard(told(NOW, NOW))
    clock[0] = NOW + seconds * SECOND

    found = view(region, clock)

    assert found.overdue == max(0, seconds - INTERVAL)
    assert found.healthy == (seconds < INTERVAL + 60)


@pytest.mark.parametrize(
    "heard",
    [
        heartbeat(),
        heartbeat(Seen(name="RegionOne", state="agrees")),
        told(NOW + 3600 * SECOND, NOW),
    ],
)
def test_what_tells_nothing_hides_nothing(region, clock, heard):
    echoes(region, clock).heard(heard)

    assert view(region, clock).state == "never came back"


def test_a_peer_that_lies_of_times_to_come_hides_nothing(region, clock):
    ear = echoes(region, clock)
    ear.heard(told(NOW, NOW))
    ear.heard(told(NOW + 3600 * SECOND, NOW))

    assert state(region).echoed == NOW


def test_stamps_that_a_fast_clock_has_set_ahead_hide_nothing_either(
    region, clock
):
    ear = echoes(region, clock)
    for n in range(3):
        clock[0] = NOW + n * INTERVAL * SECOND
        ahead = clock[0] + 3600 * SECOND
        image = canary_of("RegionTwo", n)
        ear.recorded([Claim(claimed_at=ahead, image=image)])

        known = state(region)
        assert (known.canary, known.canary_at) == (clock[0], clock[0])
