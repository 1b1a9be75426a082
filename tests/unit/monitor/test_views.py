"""How a peer is, before it has been silent for long."""

import pytest
from commands import SmallRegion

from ec2map_sync.ledger import Ledger, Quarantined, ServiceState
from ec2map_sync.monitor.views import peer_views, seen_from_here
from ec2map_sync.rules.names import source_of
from ec2map_sync.settings.loading import load
from ec2map_sync.sql.database import create_engine, parse_url

SECOND = 1_000_000
NOW = 1_767_225_600 * SECOND


@pytest.fixture
def region(tmp_path):
    region = SmallRegion(tmp_path)
    region.ledger.journal.note_peer(
        "RegionTwo", received_at=NOW, total=0, agrees_until=NOW - SECOND
    )
    return region


def view(region, later=0.0):
    bus = load([], files=[str(region.config_file)]).bus
    (found,) = peer_views(region.ledger, bus, NOW + int(later * SECOND))
    return found


def note(region, host, *, working):
    region.ledger.journal.note_service(
        ServiceState(
            host=host,
            name="follower of RegionTwo",
            seen_at=NOW,
            working=working,
            last_error=None if working else "a broker does not answer",
        )
    )


@pytest.mark.parametrize(
    ("seconds", "state"),
    [(10, "agrees"), (12, "late"), (19, "late"), (21, "silent")],
)
def test_a_peer_is_late_after_two_heartbeats(region, seconds, state):
    assert view(region, seconds).fresh_state == state
    assert view(region, seconds).state == (
        "silent" if state == "silent" else "agrees"
    )


def test_a_peer_whose_broker_is_away_is_late_at_once(region):
    note(region, "one", working=False)
    assert view(region).fresh_state == "late"
    assert view(region).late == "a broker does not answer"

    note(region, "two", working=True)
    assert view(region).fresh_state == "agrees"


def test_what_is_told_to_peers_is_how_they_are_seen(region):
    bus = load([], files=[str(region.config_file)]).bus
    region.ledger.journal.note_peer("Retired", received_at=NOW)

    (told,) = seen_from_here(region.ledger, bus, NOW)

    assert (told.name, told.state, told.lag) == ("RegionTwo", "agrees", 0)
    assert told.agrees_until == NOW - SECOND


@pytest.mark.parametrize(
    ("at", "why"), [(-70, None), (-1, "forged"), (1, "forged")]
)
def test_a_silent_peer_is_so_for_what_was_refused_since(region, at, why):
    entry = Quarantined(source=source_of("RegionTwo"), reason="forged")
    clock = NOW + at * SECOND
    engine = create_engine(parse_url(region.url("ledger"), "ledger"))
    Ledger(engine, region.scheme, lambda: clock).quarantine.put([entry])

    assert view(region, 30).refused == why
