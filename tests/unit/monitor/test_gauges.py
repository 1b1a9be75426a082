"""What is measured in the ledger."""

import math
from functools import partial

import pytest
import sqlalchemy as sa
from commands import SmallRegion
from scraping import measured
from small_cell import image

from ec2map_sync.ledger import HELD, Allowance, Quarantined, ServiceState
from ec2map_sync.rules.claims import Claim, Sighting, Wanted
from ec2map_sync.rules.rows import Divergence, RowClass
from ec2map_sync.rules.stamps import wall_clock

SECOND = 1_000_000


@pytest.fixture
def region(tmp_path):
    return SmallRegion(tmp_path)


def test_a_sink_s_lag_is_what_the_writer_has_not_come_to(region):
    region.ledger.see(
        [Sighting(image=image(n), uuid=image(n)) for n in (1, 2)]
    )
    first = region.ledger.queries.changed_after(0)
    later = partial(measured, region, clock=lambda: first + 7 * SECOND)
    before = later()
    region.write_sinks()
    after = later()

    assert before.one("sink_lag_numbers") == before.one("claims") == 2
    assert before.one("publisher_lag_claims") == 2
    assert before.one("sink_lag_seconds") == 7
    assert after.one("sink_lag_numbers") == after.one("sink_lag_seconds") == 0
    assert after.one("sink_revision") == after.one("ledger_revision") == 1


def test_what_peers_have_taken_or_would_take_is_counted(region):
    now = wall_clock()
    images = [Sighting(image=image(n), uuid=image(n)) for n in range(2)]
    region.ledger.see(images)
    taker = Claim(
        claimed_at=now,
        image=image(9),
        wanted=Wanted(1, region.scheme.derive(image(0))),
    )
    allowance = Allowance(peer="RegionTwo", max_moves=9, max_evictions=9)
    region.ledger.record([taker], allowance=allowance)
    region.ledger.journal.note_peer("RegionTwo", received_at=now)
    region.ledger.quarantine.put(
        [
            Quarantined(source="peer:RegionTwo", reason=reason)
            for reason in ("no JSON", f"{HELD}claims would")
        ]
    )

    scrape = measured(region)

    assert scrape.one("peer_evictions", peer="RegionTwo") == 1
    assert scrape.one("peer_held_entries", peer="RegionTwo") == 1


def test_moves_divergences_and_quarantine_are_counted(region):
    late = Claim(claimed_at=wall_clock(), image=image(1))
    region.ledger.record([late])
    number = region.ledger.numbers_of([image(1)])[image(1)]
    with region.ledger._writing.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO moves (at, revision, image, old, new, cause) "
                f"VALUES (1, 1, '{image(1)}', 5, {number}, '{image(2)}')"
            )
        )
    found = [
        Divergence(
            sink="nova:cell1",
            number=n,
            image=image(n),
            row_class=name,
            settled=None,
        )
        for n, name in ((1, RowClass.LEGACY), (2, RowClass.TAKEN))
    ]
    region.ledger.divergences.replace("nova:cell1", 0, 10, found)
    region.ledger.divergences.keep(found[:1])
    region.ledger.quarantine.put(
        [
            Quarantined(source=source, reason="x", body=b"x")
            for source in ("glance", "peer:RegionTwo", "glance")
        ]
    )

    scrape = measured(region)

    assert scrape.one("moves_total") == 1
    assert scrape.one("divergences", kept="true", **{"class": "legacy"}) == 1
    assert scrape.one("divergences", kept="false", **{"class": "taken"}) == 1
    assert scrape.one("quarantine_entries", source="glance") == 2
    assert scrape.one("quarantine_entries", source="peer:RegionTwo") == 1


def test_a_peer_is_in_one_state_and_a_retired_one_in_none(region):
    journal, now = region.ledger.journal, wall_clock()
    measure = partial(measured, region, clock=lambda: now)
    never = measure()
    journal.note_peer("RegionTwo", received_at=now, agrees_until=now - SECOND)
    agrees = measure()
    journal.note_peer("RegionTwo", differs_since=now - 90 * SECOND)
    differs = measure()
    journal.note_peer("RegionTwo", received_at=now - 90 * SECOND)
    journal.note_peer("Retired", received_at=now)
    silent = measure()

    for scrape, state in (
        (never, "never heard"),
        (agrees, "agrees"),
        (differs, "differs"),
        (silent, "silent"),
    ):
        assert scrape.one("peer_state", peer="RegionTwo", state=state) == 1
        assert scrape.sum("peer_state") == 1
    assert never.all("peer_heartbeat_age_seconds") == []
    assert agrees.one("peer_agreement_lag_seconds") == 1
    assert differs.one("peer_differs_seconds") == 90
    assert silent.one("peer_heartbeat_age_seconds") == 90


def test_only_loops_of_this_host_and_this_run_are_told(region):
    now = wall_clock()
    for host, name, ago in (
        ("here", "publisher", 1),
        ("here", "writer of nova:cell1", 1),
        ("here", "writer of nova:retired", 1),
        ("here", "follower of Retired", 500),
        ("elsewhere", "listener", 1),
    ):
        region.ledger.journal.note_service(
            ServiceState(
                host=host,
                name=name,
                seen_at=now - ago * SECOND,
                working=name == "publisher",
            )
        )

    scrape = measured(region, since=now - 100 * SECOND)

    assert scrape.one("loop_working", loop="publisher") == 1
    assert scrape.one("loop_working", loop="writer of nova:cell1") == 0
    assert len(scrape.all("loop_working")) == 2


def test_a_loop_of_before_a_clock_was_put_back_is_never_seen_just_now(region):
    now = wall_clock()
    journal = region.ledger.journal
    for name, ahead in (("dead", 1800), ("alive", 0)):
        journal.note_service(
            ServiceState(
                host="here",
                name=name,
                seen_at=now + ahead * SECOND,
                working=True,
            )
        )

    scrape = measured(region, since=now + 900 * SECOND, clock=lambda: now)

    assert scrape.one("loop_seen_seconds", loop="dead") == math.inf
    assert scrape.one("loop_seen_seconds", loop="alive") == 0


def test_a_ledger_that_does_not_answer_leaves_one_gauge(region):
    region.sql("ledger", "DROP TABLE cursors")

    scrape = measured(region)

    assert scrape.one("ledger_up") == 0
    assert len(scrape.samples) == 1
