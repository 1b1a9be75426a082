"""A ledger that a wrong clock has spoiled comes back, and no id changes."""

import random

import pytest
from wrong_clock import blind

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.ledger.restamping import CannotRestamp, restamp
from ec2map_sync.rules.claims import (
    EVERYTHING,
    Claim,
    SeenKind,
    Sighting,
    print_of,
)
from ec2map_sync.rules.ec2id import Band, Kind, Scheme
from ec2map_sync.rules.settle import settle
from ec2map_sync.rules.stamps import MAX_AHEAD, BadStamp, wall_clock
from ec2map_sync.sql.database import create_engine, parse_url

SMALL = Scheme(b"test", Band(100, 132))
AHEAD = 40 * 24 * 3600 * 1_000_000
IMAGES = [f"00000000-0000-4000-8000-{n:012x}" for n in range(24)]


class Clock:
    """Right, or as wrong as it is said to be."""

    ahead = 0

    def __call__(self):
        return wall_clock() + self.ahead


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Let the database's clock tell nothing: it was as wrong as ours."""
    blind(monkeypatch.setattr)


@pytest.fixture
def ledger(database, clock):
    engine = create_engine(parse_url(database, "x"))
    schema.upgrade(engine)
    yield Ledger(engine, SMALL, clock)
    engine.dispose()


def see(ledger, *images, **fields):
    return ledger.see([Sighting(image=i, uuid=i, **fields) for i in images])


def spoiled(ledger, clock, seed):
    """Let a clock run ahead while all kinds of things are claimed."""
    rng = random.Random(seed)
    ledger.record([Claim(claimed_at=5, image=IMAGES[0])])  # a peer's
    see(ledger, *IMAGES[1:10])
    clock.ahead = AHEAD
    for image in rng.sample(IMAGES, len(IMAGES)):
        see(
            ledger,
            image,
            kind=rng.choice([None, *Kind]),
            wanted=rng.choice([None, None, rng.randrange(90, 132)]),
        )
    clock.ahead = 0


def state(ledger):
    claims = ledger.claims(IMAGES)
    numbered = ledger.numbered(range(1, 200))
    return (
        ledger.numbers_of(IMAGES),
        numbered,
        {i: (c.wanted and c.wanted.number) for i, c in claims.items()},
        ledger.queries.move_count(),
    )


@pytest.mark.parametrize("seed", range(5))
def test_no_id_changes_and_new_images_get_theirs(ledger, clock, seed):
    spoiled(ledger, clock, seed)
    before = state(ledger)
    with pytest.raises(BadStamp):
        see(ledger, "f" * 8 + IMAGES[0][8:])

    done = restamp(ledger, clock(), dry_run=False)

    assert done.claims > 0
    assert done.moved == 0
    assert state(ledger) == before
    claims = ledger.claims(IMAGES)
    assert all(c.newest < clock() + MAX_AHEAD for c in claims.values())
    assert settle(claims.values(), SMALL) == before[0]
    assert ledger.head().total == print_of(claims.values())
    assert see(ledger, "f" * 8 + IMAGES[0][8:]).news == 1


@pytest.mark.parametrize("seed", range(5))
def test_who_has_refused_them_comes_to_the_same(ledger, clock, tmp_path, seed):
    url = f"sqlite:///{tmp_path}/peer"
    engine = create_engine(parse_url(url, "x"))
    schema.upgrade(engine)
    peer = Ledger(engine, SMALL, clock)
    spoiled(ledger, clock, seed)
    right = [c for c in ledger.claims(IMAGES).values() if c.newest < clock()]
    peer.record(right)

    restamp(ledger, clock(), dry_run=False)

    with ledger.cursors.reader("publisher") as reader:
        published, _ = reader.own_claims(1000)
    peer.record(published)
    assert peer.head().total == ledger.head().total
    assert peer.numbers_of(IMAGES) == ledger.numbers_of(IMAGES)
    engine.dispose()


def test_it_can_be_looked_at_first_and_done_again(ledger, clock):
    spoiled(ledger, clock, 1)
    head = ledger.head()

    would = restamp(ledger, clock(), dry_run=True)

    assert ledger.head() == head
    assert restamp(ledger, clock(), dry_run=False) == would
    head = ledger.head()
    assert restamp(ledger, clock(), dry_run=False).claims == 0
    assert ledger.head() == head


def test_a_clock_that_is_behind_now_restamps_nothing(ledger, clock):
    see(ledger, IMAGES[0])
    at = clock()
    ledger.record(
        [Claim(claimed_at=at, image=IMAGES[1], kind=SeenKind(at, Kind.AKI))]
    )
    head = ledger.head()

    with pytest.raises(CannotRestamp, match="1 claims of other regions"):
        restamp(ledger, clock() - AHEAD, dry_run=False)

    assert ledger.head() == head


def test_where_nothing_was_claimed_the_next_stamp_is_right(ledger, clock):
    clock.ahead = AHEAD
    ledger.journal.note_peer("RegionTwo", newest=clock())
    clock.ahead = 0
    with pytest.raises(BadStamp):
        see(ledger, IMAGES[0])

    restamp(ledger, clock(), dry_run=False)

    assert see(ledger, IMAGES[0]).news == 1


class Regions:
    """Some ledgers, each with its clock; what they tell each other."""

    def __init__(self, folder, count):
        self.clocks = [Clock() for _ in range(count)]
        self.ledgers = []
        for n, clock in enumerate(self.clocks):
            engine = create_engine(parse_url(f"sqlite:///{folder}/{n}", "x"))
            schema.upgrade(engine)
            self.ledgers.append(Ledger(engine, SMALL, clock))

    def close(self):
        for ledger in self.ledgers:
            ledger._engine.dispose()

    def tell_each_other(self):
        """Give everybody what he believes of all that the others have."""
        for _ in range(2):
            for ledger, clock in zip(self.ledgers, self.clocks, strict=True):
                for other in self.ledgers:
                    found = other.claims(IMAGES).values()
                    limit = clock() + MAX_AHEAD
                    ledger.record([c for c in found if c.newest < limit])


@pytest.fixture
def regions(tmp_path):
    regions = Regions(tmp_path, 3)
    yield regions
    regions.close()


@pytest.mark.parametrize("seed", range(5))
def test_regions_that_ran_ahead_together_come_back_together(regions, seed):
    """Two of three; the third has refused what they have claimed."""
    rng = random.Random(seed)
    one, two, three = regions.ledgers
    for n, ledger in enumerate(regions.ledgers):
        see(ledger, *IMAGES[n : n + 8])
    regions.tell_each_other()
    old = three.numbers_of(IMAGES)
    for clock in regions.clocks[:2]:
        clock.ahead = AHEAD + rng.randrange(10**9)
    for image in rng.sample(IMAGES, len(IMAGES)):
        ledger = rng.choice([one, two])
        see(ledger, image, kind=rng.choice([None, *Kind]))
        if rng.random() < 0.8:
            regions.tell_each_other()
    regions.tell_each_other()
    ahead = one.numbers_of(IMAGES)
    assert two.numbers_of(IMAGES) == ahead

    for clock in regions.clocks[:2]:
        clock.ahead = 0
    with pytest.raises(CannotRestamp, match="--theirs"):
        restamp(one, regions.clocks[0](), dry_run=False)
    for ledger in (one, two):
        done = restamp(ledger, wall_clock(), dry_run=False, theirs=True)
        assert done.moved == 0
        regions.tell_each_other()
    regions.tell_each_other()

    totals = {ledger.print_of(EVERYTHING).sum for ledger in (one, two)}
    assert len(totals) == 1
    for ledger in regions.ledgers:
        there = ledger.claims(IMAGES)
        assert there == one.claims(IMAGES)
        assert all(c.newest < wall_clock() + MAX_AHEAD for c in there.values())
        assert ledger.numbers_of(IMAGES) == ahead
    assert old.items() <= ahead.items()
    assert see(one, IMAGES[0].replace("0", "1", 1)).news == 1
