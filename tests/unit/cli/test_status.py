"""status and peer list: what is measured, and when somebody has to look."""

import json

import pytest
from commands import SmallRegion

from ec2map_sync.ledger import HELD, Quarantined, ServiceState
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.stamps import wall_clock

COLUMNS = [
    "what",
    "name",
    "state",
    "position",
    "lag",
    "lag_seconds",
    "last_error",
]
LOOPS = [
    "listener",
    "memory",
    "bookkeeper",
    "publisher",
    "answerer",
    "follower of RegionTwo",
    "writer of nova:cell1",
]
SECOND = 1_000_000
NOW = wall_clock()


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


@pytest.fixture(autouse=True)
def stand_still(monkeypatch):
    """Let no time pass between what is noted and what is asked."""
    for command in ("status", "peers"):
        name = f"ec2map_sync.cli.{command}.wall_clock"
        monkeypatch.setattr(name, lambda: NOW)


@pytest.fixture
def region(tmp_path):
    return SmallRegion(tmp_path)


def note(region, name, *, host="one", ago=1, error=None):
    region.ledger.journal.note_service(
        ServiceState(
            host=host,
            name=name,
            seen_at=NOW - ago * SECOND,
            working=error is None,
            last_error=error,
            last_error_at=error and NOW,
        )
    )


def hear(region, *, ago=1, **fields):
    now = NOW - ago * SECOND
    region.ledger.journal.note_peer(
        "RegionTwo", received_at=now, sent_at=now, total=1, **fields
    )


@pytest.fixture
def healthy(region):
    """A region as an agent leaves it that works."""
    region.ledger.record([Claim(claimed_at=NOW, image=image(1))])
    region.write_sinks()
    with region.ledger.cursors.reader("publisher") as reader:
        reader.advance(0)
    for loop in LOOPS:
        note(region, loop)
    hear(region, agrees_until=NOW - 3 * SECOND, differs_since=None)
    return region


def status(region, code):
    done = region.run("status", "-f", "json", code=code)
    lines = json.loads(done.stdout)
    assert all(list(line) == COLUMNS for line in lines)
    return {(line["what"], line["name"]): line for line in lines}


def test_a_region_that_works_is_healthy(healthy):
    lines = status(healthy, 0)

    assert list(lines) == [
        ("ledger", "RegionOne"),
        ("claims", "RegionOne"),
        ("copies", "RegionOne"),
        *(("service", loop) for loop in LOOPS),
        ("peer", "RegionTwo"),
        ("sink", "nova:cell1"),
        ("publisher", "ec2map_sync"),
        ("quarantine", "quarantine"),
    ]
    assert lines["ledger", "RegionOne"]["position"] == 1
    assert lines["claims", "RegionOne"]["position"] == 1
    sink = lines["sink", "nova:cell1"]
    assert (sink["state"], sink["position"], sink["lag"]) == (
        "up to date",
        1,
        0,
    )
    peer = lines["peer", "RegionTwo"]
    assert (peer["state"], peer["lag"]) == ("agrees", 0)
    assert peer["lag_seconds"] == 1
    assert lines["quarantine", "quarantine"]["state"] == "empty"


def test_before_an_agent_ever_ran_nothing_is_assumed(region):
    lines = status(region, 1)

    assert lines["service", "listener"]["state"] == "never heard"
    peer = lines["peer", "RegionTwo"]
    assert peer["state"] == "never heard"
    assert {peer[c] for c in ("position", "lag", "lag_seconds")} == {None}
    assert lines["sink", "nova:cell1"]["state"] == "not begun"


@pytest.mark.parametrize("loop", LOOPS)
def test_a_silent_service_is_unhealthy(healthy, loop):
    note(healthy, loop, ago=25)

    lines = status(healthy, 1)

    assert lines["service", loop]["state"] == "silent"
    assert lines["service", loop]["lag_seconds"] == 25


HOUR = 3600


@pytest.mark.parametrize("back", [2, 30, 24 * 30])
def test_what_is_dead_is_not_well_because_a_clock_was_put_back(
    healthy, monkeypatch, back
):
    healthy.ledger.record([Claim(claimed_at=NOW, image=image(2))])
    healthy.ledger.quarantine.put([Quarantined(source="glance", reason="x")])
    earlier = NOW - back * HOUR * SECOND
    for module in ("status", "peers"):
        monkeypatch.setattr(
            f"ec2map_sync.cli.{module}.wall_clock", lambda: earlier
        )

    lines = status(healthy, 1)

    assert {lines["service", loop]["state"] for loop in LOOPS} == {"silent"}
    assert lines["peer", "RegionTwo"]["state"] == "silent"
    assert lines["peer", "RegionTwo"]["lag"] is None
    assert lines["sink", "nova:cell1"]["state"] == "behind"
    behind = {k: line["lag_seconds"] for k, line in lines.items() if line}
    assert behind.pop(("publisher", "ec2map_sync")) == 0
    assert set(behind.values()) == {None}
    (peer,) = json.loads(healthy.run("peer", "list", "-f", "json").stdout)
    assert (peer["state"], peer["heartbeat_age"]) == ("silent", None)


def test_clocks_of_hosts_may_differ_by_some_seconds(healthy):
    for loop in LOOPS:
        note(healthy, loop, ago=-5)
    hear(healthy, ago=-5, differs_since=None)

    status(healthy, 0)


def test_claims_of_a_peer_that_are_refused_are_counted(healthy):
    hear(healthy, differs_since=NOW - 70 * SECOND)
    healthy.ledger.journal.note_peer("RegionTwo", total=251)
    healthy.ledger.quarantine.put(
        [Quarantined(source="peer:RegionTwo", reason="too far ahead")]
    )

    peer = status(healthy, 1)["peer", "RegionTwo"]

    said = "refuses 250 claims of it: too far ahead"
    assert (peer["state"], peer["last_error"]) == ("differs", said)
    assert said in healthy.run("peer", "list").stderr


def test_a_peer_whose_claims_wait_for_a_decision_is_unhealthy(healthy):
    """Also if it says that it holds the same as we do."""
    status(healthy, 0)
    healthy.ledger.quarantine.put(
        [Quarantined(source="peer:RegionTwo", reason=f"{HELD}claims would")]
    )

    peer = status(healthy, 1)["peer", "RegionTwo"]

    said = "claims in 1 messages of it are held"
    assert peer["state"] == "agrees"
    assert peer["last_error"].startswith(said)
    assert "'ec2map-sync quarantine retry --all'" in peer["last_error"]
    assert said in healthy.run("peer", "list").stderr

    healthy.run("quarantine", "drop", "--all")
    status(healthy, 0)


def test_a_ledger_that_would_stamp_ahead_is_unhealthy(healthy):
    ahead = Claim(claimed_at=NOW + 48 * HOUR * SECOND, image=image(9))
    healthy.ledger.record([ahead])
    healthy.write_sinks()

    ledger = status(healthy, 1)["ledger", "RegionOne"]

    assert ledger["state"] == "stamped ahead"
    assert "nothing new is claimed" in ledger["last_error"]


def test_a_peer_that_differs_since_the_future_is_not_waited_for(healthy):
    hear(healthy, differs_since=NOW + HOUR * SECOND)

    assert status(healthy, 1)["peer", "RegionTwo"]["state"] == "differs"


def test_a_service_that_waits_says_for_what(healthy):
    note(healthy, "writer of nova:cell1", error="the cell is away")
    healthy.ledger.record([Claim(claimed_at=NOW, image=image(2))])

    lines = status(healthy, 1)

    service = lines["service", "writer of nova:cell1"]
    assert (service["state"], service["last_error"]) == (
        "waits",
        "the cell is away",
    )
    sink = lines["sink", "nova:cell1"]
    assert (sink["state"], sink["lag"]) == ("behind", 1)
    assert sink["last_error"] == "the cell is away"
    assert sink["lag_seconds"] >= 0


def test_a_peer_that_is_silent_is_unhealthy(healthy):
    hear(healthy, ago=30)

    peer = status(healthy, 1)["peer", "RegionTwo"]

    assert (peer["state"], peer["lag"]) == ("silent", None)
    assert peer["lag_seconds"] == 30


@pytest.mark.parametrize(("seconds", "code"), [(10, 0), (70, 1)])
def test_a_peer_may_differ_for_a_minute(healthy, seconds, code):
    hear(healthy, differs_since=NOW - seconds * SECOND)
    healthy.ledger.record([Claim(claimed_at=NOW, image=image(2))])
    healthy.write_sinks()

    peer = status(healthy, code)["peer", "RegionTwo"]

    assert (peer["state"], peer["lag"]) == ("differs", 1)


def test_what_lies_in_quarantine_is_said_and_tolerated(healthy):
    healthy.ledger.quarantine.put(
        [Quarantined(source="glance", reason="broken", body=b"x")]
    )

    line = status(healthy, 0)["quarantine", "quarantine"]

    assert (line["lag"], line["last_error"]) == (1, "broken")


def test_of_several_hosts_each_is_told(healthy):
    note(healthy, "listener", host="two", ago=30)
    note(healthy, "listener", host="three", ago=2 * 86400)

    lines = status(healthy, 1)

    assert lines["service", "listener@one"]["state"] == "works"
    assert lines["service", "listener@two"]["state"] == "silent"
    assert ("service", "listener@three") not in lines


def test_in_a_table_what_is_not_known_is_said_to_be_unknown(region):
    table = region.run("status", code=1).stdout

    shown = {
        tuple(cells[:2]): cells[2:]
        for line in table.splitlines()[3:-1]
        for cells in [[cell.strip() for cell in line.split("|")[1:-1]]]
    }
    assert shown["peer", "RegionTwo"] == [
        "never heard",
        *["unknown"] * 3,
        "",
    ]
    assert shown["service", "listener"] == [
        "never heard",
        "unknown",
        "",
        "unknown",
        "",
    ]
    assert shown["sink", "nova:cell1"] == ["not begun", "", "0", "0.0", ""]
    assert "None" not in table


def test_peer_list_tells_who_agrees_until_when(healthy):
    done = healthy.run("peer", "list", "-f", "json")

    (peer,) = json.loads(done.stdout)
    assert list(peer) == [
        "name",
        "state",
        "agrees_until",
        "missing_here",
        "missing_there",
        "heartbeat_age",
    ]
    assert (peer["name"], peer["state"]) == ("RegionTwo", "agrees")
    assert peer["agrees_until"].endswith("Z")
    assert peer["missing_here"] is None


def test_a_clock_that_is_wrong_is_told_of(healthy):
    now = NOW
    healthy.ledger.journal.note_peer(
        "RegionTwo", received_at=now, sent_at=now + 7200 * SECOND
    )

    peer = status(healthy, 0)["peer", "RegionTwo"]

    assert (peer["state"], peer["last_error"]) == (
        "agrees",
        "its clock is 7200 s ahead of ours",
    )
    assert "RegionTwo: its clock is" in healthy.run("peer", "list").stderr


def test_a_peer_that_is_no_longer_configured_is_listed_as_such(healthy):
    healthy.configure(peers="")

    (peer,) = json.loads(healthy.run("peer", "list", "-f", "json").stdout)

    assert peer["state"] == "not configured"
    assert status(healthy, 0)["peer", "RegionTwo"]["state"] == "not configured"
