"""A ledger that was restored or emptied comes back to the common set."""

import json

import pytest
from fleet import INFO, await_reading, create_envelope, pair, running
from one_set import (
    await_equal,
    await_same_cells,
    claim_many,
    colliding,
    dump,
    empty,
    moves,
    open_ledger,
    restore,
)
from patience import wait_until, within

from ec2map_sync.rules.stamps import wall_clock

pytestmark = pytest.mark.services

SIGNING = "[agreement]\ninterval = 1\n"
AN_HOUR = 3600 * 1_000_000


@pytest.fixture
def regions(rabbit_a, rabbit_b, mariadb, tmp_path):
    one, two = pair(rabbit_a, rabbit_b, mariadb, tmp_path)
    # However long a peer takes to start, it is waited for.
    one.configure(two, extra=f"\n[bus]\nclaim_wait = {within(60)}\n{SIGNING}")
    two.configure(one, extra=f"\n{SIGNING}")
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        yield one, two


def announce(region, *images):
    region.glance.send((INFO, create_envelope(image)) for image in images)


def await_remembered(region):
    """Wait until the agent has noted how far its ledger has come."""
    note = region.directory / f"{region.name}.ledger"

    def remembered():
        revision = open_ledger(region).head().revision
        return json.loads(note.read_text())["revision"] == revision

    wait_until(remembered)


def come_back(one, two, held, rival):
    """Start both; the one with a poor ledger first, to be tempted.

    What Glance tells meanwhile, an image among it that wishes for a number
    in use, has to wait for the peer.
    """
    new = one.glance.create(20)
    announce(one, rival)
    before = open_ledger(one).head()
    since = len(one.log())
    one.start()
    await_reading(one, two, since)
    with pytest.raises(TimeoutError):
        one.await_log("listening on", 3, since=since)
    assert open_ledger(one).head().total == before.total

    two.start()

    one.await_images([*held, *new, rival])
    two.await_images([*held, *new, rival])
    await_equal(one, two, count=len(held) + 21, seconds=30)
    await_same_cells(one, two)
    claims = open_ledger(one).claims([*held, *new, rival])
    newest = max(claims[image].newest for image in held)
    assert min(claims[i].claimed_at for i in (*new, rival)) > newest
    assert moves(one) == moves(two) == []
    return one.log(since)


def test_claims_made_after_the_dump_come_back_from_the_peer(
    regions, mariadb, tmp_path
):
    one, two = regions
    first, rival = colliding()
    early = claim_many(open_ledger(one), 300) | one.glance.create(20)
    await_equal(one, two, count=320, seconds=30)
    dump(mariadb, one, tmp_path / "dump.sql")
    announce(one, first)
    late = one.glance.create(20)
    await_equal(one, two, count=341, seconds=30)
    # Made here alone, by a clock that was wrong.
    ahead = open_ledger(one, lambda: wall_clock() + AN_HOUR)
    late |= claim_many(ahead, 300)
    held = early | late | {first}
    await_equal(one, two, count=len(held), seconds=30)
    await_remembered(one)
    one.kill()
    two.kill()
    restore(mariadb, one, tmp_path / "dump.sql")
    assert open_ledger(one).claims(held).keys() == early

    log = come_back(one, two, held, rival)

    assert "it was restored" in log
    two.await_log("RegionOne announces that its ledger is new, or was", 60)
    assert "contradicts" not in two.log()
    assert "what it has signed is refused" not in two.log()


@pytest.mark.long
def test_an_emptied_ledger_hands_out_no_number_in_use(regions, mariadb):
    one, two = regions
    first, rival = colliding()
    held = claim_many(open_ledger(one), 300) | one.glance.create(20) | {first}
    announce(one, first)
    await_equal(one, two, count=len(held), seconds=30)
    await_same_cells(one, two)
    one.kill()
    two.kill()
    empty(mariadb, one)
    one.command("db", "upgrade")
    assert open_ledger(one).head().total.count == 0

    log = come_back(one, two, held, rival)

    assert "the ledger is a new one" in log


@pytest.mark.long
def test_what_was_signed_and_lost_unnoticed_is_gone_on_from(
    regions, mariadb, tmp_path
):
    """As after a failover to a server that lacked the last seconds.

    Its peer refuses what contradicts that, and says what it was.
    """
    one, two = regions
    memory = one.directory / f"{one.name}.ledger"

    def stated():
        known = open_ledger(two).statements.of(one.name)
        if known is None:
            return (0, 0), None
        return known.position.statement.place, known.refused

    first = one.glance.create(5)
    two.await_images(first)
    await_remembered(one)
    # Before the dump: what is remembered is never more than the ledger has.
    noted = memory.read_bytes()
    dump(mariadb, one, tmp_path / "dump.sql")
    # After it: what is stated meanwhile may be in the dump, or not.
    known = open_ledger(one).statements.of(one.name)
    began, serial = known.position.statement.place
    then = one.glance.create(5)
    two.await_images(then)
    # More than one: who hears late, on a busy machine, refuses one of them.
    wait_until(lambda: stated()[0] >= (began, serial + 3), 120)
    one.stop()
    lost, refused = stated()
    assert not refused
    restore(mariadb, one, tmp_path / "dump.sql")
    memory.write_bytes(noted)
    since = len(one.log())

    one.start()

    one.await_log("peers know what was signed here, and", 60, since=since)
    wait_until(lambda: stated()[0] > lost and not stated()[1], 60)
    one.await_images([*first, *then])
    await_equal(one, two, count=10, seconds=30)
    assert "was restored" not in one.log(since)
