"""The intake: what a peer may take from images that are in use."""

import json
import random

import made
import pytest
from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync.ledger import Allowance, Ledger
from ec2map_sync.ledger.allowance import DAY
from ec2map_sync.peers.intake import Intake
from ec2map_sync.peers.refusals import Refusals
from ec2map_sync.protocol import messages
from ec2map_sync.rules.claims import (
    EVERYTHING,
    Claim,
    SeenKind,
    Sighting,
    Wanted,
    join_all,
    print_of,
)
from ec2map_sync.rules.ec2id import Band, Kind, Scheme
from ec2map_sync.rules.settle import settle
from ec2map_sync.sql.database import create_engine, parse_url

NOW = 1_800_000_000_000_000
SECOND = 1_000_000
BOUND = 5
SCHEME = Scheme(b"test", Band(100, 100 + 2**12))
"""So small that an image is soon found whose number is somebody's."""


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


class Region:
    """A real ledger, and intakes of its peers; time is given."""

    def __init__(self, path):
        self.now = NOW
        self.lived = 0.0
        self.engine = create_engine(parse_url(f"sqlite:///{path}", "x"))
        made.make(self.engine)
        self.ledger = Ledger(self.engine, SCHEME, lambda: self.now)
        self.intakes = {}

    def uses(self, count):
        """Let images be in use here; gives their numbers."""
        images = [image(n) for n in range(count)]
        self.ledger.see([Sighting(image=i, uuid=i) for i in images])
        return self.numbers(images)

    def numbers(self, images):
        return self.ledger.numbers_of(images)

    def hear(self, *batches, peer="two", max_moves=1000):
        if peer not in self.intakes:
            allowance = Allowance(
                peer=peer, max_moves=max_moves, max_evictions=BOUND
            )
            self.intakes[peer] = Intake(
                self.ledger,
                Refusals(self.ledger, f"of {peer}", lambda: self.lived),
                allowance,
                lambda: self.lived,
            )
        return self.intakes[peer].take(batches)

    def restart(self):
        self.intakes.clear()

    def held(self):
        """Give the claims that wait in the quarantine."""
        quarantine = self.ledger.quarantine
        return [
            messages.claim_from_json(fields, self.now)
            for entry in reversed(quarantine.newest())
            for fields in json.loads(quarantine.entry(entry.id).body)
        ]

    def lost(self, used):
        """Give the images that no longer have, or reserve, their numbers."""
        there = self.ledger.queries.wishes(used.values())
        return [
            i for i, n in used.items() if n not in there or there[n].image != i
        ]


@pytest.fixture
def region(tmp_path):
    region = Region(tmp_path / "ledger")
    yield region
    region.engine.dispose()


def taker(number, n, at=1, **fields):
    """Give a new image's claim that has always wanted this number."""
    return Claim(
        claimed_at=NOW, image=image(n), wanted=Wanted(at, number), **fields
    )


def always_wanted(used):
    yield [taker(number, 1000 + n) for n, number in enumerate(used.values())]


def seen_before(used):
    """Claims of the past, each of an image with the number of somebody."""
    left, claims = set(used.values()), []
    for n in range(1000, 10**6):
        if SCHEME.derive(image(n)) in left:
            left.remove(SCHEME.derive(image(n)))
            claims.append(Claim(claimed_at=n, image=image(n)))
        if not left:
            break
    yield claims


def with_news_of_the_losers(used):
    """What a loser's own claim asks for is not the loss of its number."""
    (takers,) = always_wanted(used)
    yield takers + [
        Claim(
            claimed_at=NOW,
            image=i,
            spelling=i.upper(),
            kind=SeenKind(NOW + SECOND, Kind.AKI),
        )
        for i in used
    ]


def each_the_next_one_s(used):
    images, numbers = list(used), list(used.values())
    yield [
        Claim(claimed_at=NOW, image=i, wanted=Wanted(1, number))
        for i, number in zip(images, numbers[1:] + numbers[:1], strict=True)
    ]


def in_two_steps(used):
    yield [
        Claim(claimed_at=NOW, image=i, wanted=Wanted(5, n + 1))
        for n, i in enumerate(used)
    ]
    yield from always_wanted(used)


def in_capital_letters(used):
    (takers,) = always_wanted(used)
    yield [
        Claim(
            claimed_at=c.claimed_at,
            image=c.image,
            spelling=c.image.upper(),
            wanted=c.wanted,
            kind=SeenKind(1, Kind.ARI),
        )
        for c in takers
    ]


ATTACKS = [
    always_wanted,
    seen_before,
    with_news_of_the_losers,
    each_the_next_one_s,
    in_two_steps,
    in_capital_letters,
]


def whole(claims):
    return [claims]


def one_by_one(claims):
    return [[claim] for claim in claims]


def in_threes(claims):
    return [claims[n : n + 3] for n in range(0, len(claims), 3)]


CUTS = [whole, one_by_one, in_threes]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_peer_takes_no_more_than_it_may_however_it_does_it(
    region, attack, cut, together
):
    used = region.uses(24)

    for claims in attack(used):
        batches = cut(claims)
        for some in [batches] if together else [[b] for b in batches]:
            region.hear(*some)

    assert len(region.lost(used)) <= BOUND
    said = region.ledger.queries.evictions_lately(region.now)
    assert said.get("two", 0) <= BOUND
    waiting = {c.image for c in region.held()}
    known = region.ledger.claims(c.image for c in claims)
    assert all(
        c.image in waiting or known[c.image].newest >= c.newest for c in claims
    )


def adopter(n, stamp, number):
    """Give a claim that an image has had another id all along."""
    return Claim(claimed_at=NOW, image=image(n), wanted=Wanted(stamp, number))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_peer_moves_no_more_than_it_may_in_a_day(region, size):
    """In however many messages, across restarts."""
    region.uses(42)
    for start in range(0, 42, size):
        ours = range(start, start + size)
        region.hear([adopter(n, 9, 4000 + n) for n in ours], max_moves=3)
        if start % 7 == 0:
            region.restart()

    assert region.ledger.queries.move_count() == 30
    assert len(region.held()) == 12
    assert region.ledger.queries.evictions_lately(region.now) == {}


def test_an_image_that_is_moved_again_loses_a_number_each_time(region):
    region.uses(1)
    for n in range(20):
        region.hear([adopter(0, 1000 - n, 4000 + n)])

    assert region.ledger.queries.move_count() == 1 + BOUND


def test_moves_count_for_a_day_by_whatever_clock(region):
    region.uses(12)
    for n in range(10):
        region.hear([adopter(n, 9, 4000 + n)], max_moves=1)
    region.now += 3 * SECOND * int(DAY)
    region.hear([adopter(10, 9, 5000)], max_moves=1)
    assert region.ledger.queries.move_count() == 10

    region.lived += DAY
    region.hear([adopter(11, 9, 5001)], max_moves=1)

    assert region.numbers([image(11)]) == {image(11): 5001}


def test_kinds_that_change_back_and_forth_are_moves(region):
    """The number stays; the id that people know does not."""
    region.uses(4)
    kinds = [Kind.AKI, Kind.ARI]
    known = [SeenKind(NOW + 1, Kind.AMI)] * 4
    region.hear(
        [
            Claim(claimed_at=NOW, image=image(n), kind=kind)
            for n, kind in enumerate(known)
        ],
        max_moves=2,
    )
    for n in range(40):
        kind = SeenKind(NOW + 2 + n, kinds[n // 4 % 2])
        region.hear(
            [Claim(claimed_at=NOW, image=image(n % 4), kind=kind)], max_moves=2
        )
        if n % 7 == 0:
            region.restart()

    there = region.ledger.claims([image(n) for n in range(4)]).values()
    assert {claim.kind.kind for claim in there} == {Kind.AKI}  # the fifth
    assert {claim.kind.kind for claim in region.held()} == {Kind.ARI}
    assert region.ledger.queries.move_count() == 0


def test_moves_of_one_peer_leave_another_its_own(region):
    region.uses(12)
    for n in range(11):
        region.hear([adopter(n, 9, 4000 + n)], max_moves=1)
    region.hear([adopter(11, 9, 5002)], peer="three", max_moves=1)

    assert region.numbers([image(11)]) == {image(11): 5002}
    assert region.ledger.queries.move_count() == 11


def test_what_takes_nothing_flows(region):
    used = region.uses(12)
    (mixed,) = with_news_of_the_losers(used)
    new = [Claim(claimed_at=NOW, image=image(500 + n)) for n in range(9)]

    taken = region.hear([*new, *mixed])

    assert (taken.news, taken.held) == (21, 12)
    assert region.numbers(used) == used
    kinds = {c.kind.kind for c in region.ledger.claims(used).values()}
    assert kinds == {Kind.AKI}
    assert region.numbers(c.image for c in new).keys() == {
        c.image for c in new
    }


def test_all_who_are_after_one_number_are_held_and_nobody_else(region):
    used = region.uses(6)
    crowd = [
        taker(number, 1000 + 100 * k + n, at=1 + n)
        for k, number in enumerate(used.values())
        for n in range(50)
    ]
    new = Claim(claimed_at=NOW, image=image(500))

    taken = region.hear([*crowd, new])

    assert (taken.news, taken.held) == (1, 300)


def test_whoever_makes_way_for_who_makes_way_counts(region):
    """A takes the number of B, and B then that of C."""
    one, other = same_number(2)
    third = next(
        i
        for i in map(image, range(10**6))
        if SCHEME.derive(i) == SCHEME.probe(other, 1)
    )
    region.ledger.record([Claim(claimed_at=100, image=other)])
    region.ledger.record([Claim(claimed_at=200, image=third)])
    done = region.hear([Claim(claimed_at=10, image=one)])

    assert done.news == 1
    assert region.ledger.queries.evictions_lately(NOW) == {"two": 2}


def same_number(count):
    """Give images of which the first probes are the same number."""
    found = {}
    for n in range(10**6):
        some = found.setdefault(SCHEME.derive(image(n)), [])
        some.append(image(n))
        if len(some) == count:
            return some
    raise AssertionError


def test_a_restart_and_another_host_begin_no_new_day(region):
    used = region.uses(24)
    (claims,) = always_wanted(used)

    for claim in claims:
        region.hear([claim])
        region.restart()

    assert len(region.lost(used)) == BOUND


def test_two_peers_take_twice_as_much_at_most(region):
    used = region.uses(24)
    (claims,) = always_wanted(used)

    for n, claim in enumerate(claims):
        region.hear([claim], peer=("two", "three")[n % 2])
        region.hear([claim], peer=("three", "two")[n % 2])

    assert len(region.lost(used)) == 2 * BOUND


def test_a_day_later_there_is_another_allowance(region):
    used = region.uses(24)
    (claims,) = always_wanted(used)
    region.hear(*one_by_one(claims))

    region.lived += DAY
    region.now += int(DAY) * SECOND
    region.hear(*one_by_one(claims))

    assert len(region.lost(used)) == 2 * BOUND


@pytest.mark.parametrize("hours", [-1000, -30, 30, 1000])
def test_a_clock_that_is_set_begins_no_new_day(region, hours):
    used = region.uses(24)
    (claims,) = always_wanted(used)
    region.hear(*one_by_one(claims))

    region.now += hours * 3600 * SECOND
    region.hear(*one_by_one(claims))

    assert len(region.lost(used)) == BOUND


def test_a_clock_that_goes_to_and_fro_gives_one_more_day_at_most(region):
    """Also if the agent is started anew each time, and remembers nothing."""
    used = region.uses(24)
    (claims,) = always_wanted(used)

    for hours in (0, 30, 0, 30, 0, 30):
        region.now = NOW + hours * 3600 * SECOND
        region.restart()
        region.hear(*one_by_one(claims))

    assert len(region.lost(used)) == 2 * BOUND


def test_what_is_held_is_said_once_however_it_is_cut(region, caplog):
    (claims,) = always_wanted(region.uses(24))
    said = f"[bus] max_evictions is {BOUND} a day, 0 of which two has used"

    for shift in range(3):
        region.hear(claims[shift:] + claims[:shift])

    assert len(region.held()) == 24
    (line,) = [m for m in caplog.messages if "held" in m]
    assert said in line
    assert "'ec2map-sync quarantine retry' takes them" in line


def test_all_of_a_large_message_is_kept_whole(region):
    crowd = [
        Claim(
            claimed_at=NOW,
            image=image(10_000 + n),
            spelling=image(10_000 + n).upper(),
            wanted=Wanted(NOW - 1, 100 + n % 24),
            kind=SeenKind(NOW, Kind.AMI),
        )
        for n in range(9_000)
    ]

    refusals = Refusals(region.ledger, "of two", lambda: region.lived)
    assert refusals.hold("two", crowd, "too many") == 9_000

    assert {c.image for c in region.held()} == {c.image for c in crowd}


def test_what_could_not_be_put_away_comes_again(region, monkeypatch):
    (claims,) = always_wanted(region.uses(24))
    with monkeypatch.context() as patch:
        patch.setattr(region.ledger.quarantine, "put", fail)
        with pytest.raises(SQLAlchemyError):
            region.hear(claims)

    region.hear(claims)

    assert len(region.held()) == 24


def fail(_entries):
    raise SQLAlchemyError


@pytest.fixture
def another(tmp_path):
    region = Region(tmp_path / "another")
    yield region
    region.engine.dispose()


def whole_set(region):
    return {c.image: c for c in region.ledger.page(EVERYTHING, 10**6)}


def exchange(one, other):
    """Let two regions compare, as long as that brings something."""
    while (
        one.hear(list(whole_set(other).values()), peer="other").news
        or other.hear(list(whole_set(one).values()), peer="other").news
    ):
        pass


def test_what_two_regions_hold_they_have_in_common_once_it_is_taken(
    region, another
):
    """Until then, each has settled what it has recorded."""
    used = region.uses(24)
    exchange(region, another)
    (claims,) = always_wanted(used)
    new = [Claim(claimed_at=NOW, image=image(500 + n)) for n in range(9)]

    region.hear(*one_by_one(claims + new), peer="hostile")
    another.hear(*one_by_one(claims[::-1] + new), peer="hostile")
    are_settled_and_differ(region, another)
    exchange(region, another)
    assert len(region.lost(used)) == len(another.lost(used)) == 2 * BOUND
    another.ledger.record(another.held())
    exchange(region, another)

    are_settled_and_differ(region, another)
    assert {c.image for c in new} <= whole_set(region).keys()
    assert len(region.lost(used)) == 2 * BOUND

    region.ledger.record(region.held())
    exchange(region, another)

    assert whole_set(region) == whole_set(another)
    everything = list(whole_set(region))
    assert region.numbers(everything) == another.numbers(everything)
    assert len(region.lost(used)) == len(another.lost(used)) == 24


def are_settled_and_differ(*regions):
    for one in regions:
        recorded = whole_set(one)
        assert one.numbers(recorded) == settle(recorded.values(), SCHEME)
    one, other = (region.ledger.head().total for region in regions)
    assert one != other


def test_a_day_apart_costs_two_regions_less_than_they_may(region, another):
    """60 images each in 2^12 numbers collide 130 times as often as 2,700
    in 2^30: 0.9 times, where a tenth of the usual bound is allowed here.
    """
    images = [image(n) for n in range(10_000, 10_120)]
    for one, some in ((region, images[:60]), (another, images[60:])):
        one.ledger.see([Sighting(image=i, uuid=i) for i in some])

    exchange(region, another)

    assert whole_set(region) == whole_set(another)
    assert region.held() == another.held() == []


def random_claims(rng, count):
    return [
        Claim(
            claimed_at=NOW + rng.randrange(-90, 90),
            image=image(rng.randrange(60)),
            wanted=Wanted(NOW + rng.randrange(-90, 90), rng.randrange(90, 160))
            if rng.random() < 0.4
            else None,
        )
        for _ in range(count)
    ]


@pytest.mark.search
@pytest.mark.parametrize("seed", range(20))
def test_in_a_crowd_no_more_is_lost_and_nothing_is_forgotten(
    tmp_path, monkeypatch, seed
):
    """All that is claimed is recorded or waits; taken, all is as settled."""
    monkeypatch.setitem(globals(), "SCHEME", Scheme(b"c", Band(100, 164)))
    rng = random.Random(seed)
    region = Region(tmp_path / "ledger")
    used = region.uses(30)
    said = list(region.ledger.claims(used).values())
    for _ in range(25):
        claims = random_claims(rng, rng.choice([1, 3, 10]))
        said += claims
        region.hear(claims)
        if rng.random() < 0.2:
            region.restart()

    assert region.ledger.queries.evictions_lately(NOW)["two"] <= BOUND
    assert len(region.lost(used)) <= BOUND
    region.ledger.record(region.held())
    everything = join_all(said)
    assert region.ledger.head().total == print_of(everything.values())
    assert region.numbers(everything) == settle(everything.values(), SCHEME)
    region.engine.dispose()
