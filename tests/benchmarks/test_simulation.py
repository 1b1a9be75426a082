"""The simulation of many regions: converges, and costs what paper says."""

from dataclasses import replace
from random import Random

import compare_bytes
import pytest
import readers
import simulate
from paper import CLAIM_BYTES, ENVELOPE_BYTES, Paper, Plan, size
from shelf import Shelf, Universe

from ec2map_sync.peers.compare import Pull, answer
from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import EVERYTHING

SHARED = 20_000
DIFFERENT = 200


@pytest.mark.parametrize("name", simulate.QUICK)
def test_every_region_converges(name):
    outcome = simulate.play(simulate.QUICK[name], seed=1)

    assert outcome.settled is not None
    assert outcome.agreed


def test_the_same_seed_gives_the_same_figures():
    scene = simulate.QUICK["cut"]

    assert simulate.play(scene, seed=3) == simulate.play(scene, seed=3)


def test_peak_load_costs_what_the_formulas_say():
    scene = simulate.QUICK["peak"]
    paper = simulate.expected(scene)

    outcome = simulate.play(scene, seed=1)

    assert outcome.claims == pytest.approx(paper["claims"], rel=0.05)
    assert outcome.messages == pytest.approx(paper["messages"], rel=0.05)
    assert outcome.bytes_per_delivery == pytest.approx(
        paper["bytes_per_delivery"], rel=0.02
    )
    for what in ("questions", "compare_bytes"):
        assert 0.5 < getattr(outcome, what) / paper[what] < 1.2, what


def test_a_cut_is_made_up_for_as_fast_as_the_formulas_say():
    scene = simulate.QUICK["cut"]
    paper = simulate.expected(scene)

    outcome = simulate.play(scene, seed=1)

    assert outcome.missing == pytest.approx(paper["missing"], rel=0.05)
    # Readers notice within a few seconds only that the link is back.
    assert paper["settled"] / 2 < outcome.settled < paper["settled"] + 10
    assert outcome.sent_again < 3


def test_what_a_full_queue_has_dropped_comes_by_comparing(monkeypatch):
    monkeypatch.setattr(readers, "QUEUE_BYTES", 200_000)

    outcome = simulate.play(simulate.QUICK["cut"], seed=1)

    assert outcome.dropped > 0
    assert outcome.settled is not None
    assert outcome.agreed


def test_messages_grow_with_claims_times_regions_and_not_more():
    def each(regions):
        plan = Plan(regions=regions, images_per_day=100_000, peak=10)
        outcome = simulate.play(simulate.Scene(plan=plan, seconds=60), seed=1)
        said = outcome.messages * plan.peers + 2 * outcome.questions
        return said / outcome.deliveries

    few, many = each(4), each(16)

    assert many < 2 * few


def test_claims_in_few_messages_are_counted_as_they_are_encoded():
    claims = tuple(compare_bytes.some_claims(Random(1), 7, 10**15, 10**9))

    counted = 7 * CLAIM_BYTES + ENVELOPE_BYTES

    # Names of regions, and digits, are longer or shorter here and there.
    assert size(messages.Claims(claims=claims)) == pytest.approx(
        counted, rel=0.02
    )


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    measured = compare_bytes.measure(
        tmp_path_factory.mktemp("real"),
        SHARED,
        DIFFERENT,
        reads=wire.VERSION,
    )
    return list(measured.values())


@pytest.mark.parametrize("way", [0, 1])
def test_comparing_costs_here_what_it_costs_with_real_ledgers(way, costs):
    real = costs[way]

    played = _compare(*_same_claims(way))

    assert played.questions == real.questions
    assert played.claims_sent == real.claims_sent
    assert played.bytes_asked == pytest.approx(real.bytes_asked, rel=0.05)
    assert played.bytes_answered == pytest.approx(
        real.bytes_answered, rel=0.05
    )


def _same_claims(way):
    """Give the stamps that `compare_bytes` makes: shared, and different."""
    random = Random(7)
    spans = [
        (compare_bytes.BEGIN, compare_bytes.TEN_YEARS, SHARED),
        (
            compare_bytes.BEGIN + compare_bytes.TEN_YEARS // 2,
            compare_bytes.HOUR,
            DIFFERENT,
        ),
        (compare_bytes.BEGIN, compare_bytes.TEN_YEARS, DIFFERENT),
    ]
    made = [
        sorted(
            claim.claimed_at
            for claim in compare_bytes.some_claims(random, count, first, span)
        )
        for first, span, count in spans
    ]
    return made[0], made[1 + way]


def _compare(shared, different):
    """Let one shelf pull from another what it lacks; count what that costs."""
    universe = Universe([shared, different])
    theirs, ours = Shelf(universe, {}), Shelf(universe, {})
    ours.forget(1)
    cost = compare_bytes.Cost()
    asked = []
    pull = Pull(ours, asked.append, span=EVERYTHING, monotonic=lambda: 0.0)
    pull.step()
    while not pull.complete:
        question = replace(asked[-1], reads=wire.VERSION)
        reply = answer(theirs, question)
        pull.take(reply)
        for run in set(reply.claims):
            ours.fill(run.origin, run.start, run.stop)
        cost.questions += 1
        cost.claims_sent += len(reply.claims)
        cost.bytes_asked += size(question)
        cost.bytes_answered += (
            size(replace(reply, claims=())) + len(reply.claims) * CLAIM_BYTES
        )
    assert ours.print_of(EVERYTHING) == theirs.print_of(EVERYTHING)
    return cost


def test_thirty_regions_with_a_hundred_thousand_images_a_day_fit():
    plan = Plan(regions=30, images_per_day=100_000)

    paper = Paper(plan)

    assert paper.cpu < 1
    assert paper.bytes_out < 100e3
    assert paper.delay < 0.2
