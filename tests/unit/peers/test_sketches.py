"""Comparing by sketches: what is missing comes in two or three questions."""

import random
import secrets
import shutil
from dataclasses import replace

import made
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings, strategies as st
from sqlalchemy.engine import Engine

from ec2map_sync.ledger import Ledger
from ec2map_sync.peers import compare
from ec2map_sync.peers.compare import FIRST_PATIENCE, Pull, answer
from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import EVERYTHING, Claim, SeenKind, Span
from ec2map_sync.rules.ec2id import Kind, Scheme
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.sql.database import create_engine, parse_url

SCHEME = Scheme(b"test")
NOW = 1_800_000_000_000_000
WHERE = "WHERE image = :image"


def claim(n, at=0, kind=None):
    return Claim(
        claimed_at=NOW + 7_000_000 * n + at,
        image=f"00000000-0000-4000-8000-{n:012x}",
        kind=kind and SeenKind(NOW + at, kind),
    )


SHARED = [claim(n) for n in range(0, 20_000, 2)]


def opened(path, claims) -> tuple[Engine, Ledger]:
    there = path.exists()
    engine = create_engine(parse_url(f"sqlite:///{path}", "x"))
    if not there:
        made.make(engine)
    ledger = Ledger(engine, SCHEME)
    ledger.record(claims)
    return engine, ledger


@pytest.fixture(scope="module")
def shared_file(tmp_path_factory):
    """A ledger of what is shared: sooner copied than filled."""
    path = tmp_path_factory.mktemp("shared") / "db"
    engine, _ = opened(path, SHARED)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


@pytest.fixture
def new_ledger(tmp_path, shared_file):
    engines = []

    def make(*claims, shared=False) -> Ledger:
        path = tmp_path / f"db{len(engines)}"
        if shared:
            shutil.copy(shared_file, path)
        engine, ledger = opened(path, claims)
        assert ledger.head().total.count >= shared * len(SHARED)
        engines.append(engine)
        return ledger

    yield make
    for engine in engines:
        engine.dispose()


def told(question, *, older=False):
    """Give a question as it arrives, there at an older release if so."""
    if older:
        return replace(question, reads=1, sketch=None)
    return question


def pull_into(ours, theirs, *, older=False, asked=None, span=EVERYTHING):
    """Compare; gives the pull, its questions and its answers."""
    asked = [] if asked is None else asked
    pull = Pull(ours, asked.append, span=span, monotonic=lambda: 0.0)
    pull.step()
    answers = []
    while not pull.complete:
        question = told(asked[len(answers)], older=older)
        answers.append(answer(theirs, question))
        assert pull.take(answers[-1])
        pull.found += ours.record(answers[-1].claims).news
    return pull, asked, answers


def test_what_is_missing_anywhere_comes_with_the_second_answer(new_ledger):
    extra = [claim(n, 1) for n in range(1, 20_000, 200)]
    ours, theirs = new_ledger(shared=True), new_ledger(*extra, shared=True)

    pull, asked, answers = pull_into(ours, theirs)

    assert pull.found == 100
    assert asked[1].sketch
    assert len(asked) <= 3  # of a hundred such sketches, two are too small
    assert sum(len(one.claims) for one in answers) == 100
    assert ours.head().total == theirs.head().total


def test_what_either_lacks_comes_with_the_third_answer(new_ledger):
    one = [claim(n, 1) for n in range(1, 20_000, 200)]
    two = [claim(n, 2) for n in range(101, 20_000, 200)]
    ours, theirs = new_ledger(*one, shared=True), new_ledger(*two, shared=True)

    pull, asked, _ = pull_into(ours, theirs)
    pull_into(theirs, ours)

    assert pull.found == 100
    assert len(asked) <= 4
    assert ours.head().total == theirs.head().total


def test_claims_that_say_different_things_are_told_apart(new_ledger):
    newer = [claim(n, 0, Kind.AKI) for n in range(0, 20_000, 400)]
    ours, theirs = new_ledger(shared=True), new_ledger(*newer, shared=True)

    pull, asked, _ = pull_into(ours, theirs)

    assert pull.found == 50
    assert len(asked) <= 4
    assert ours.head().total == theirs.head().total


def test_more_than_one_sketch_can_tell_comes_with_several(
    new_ledger, monkeypatch
):
    monkeypatch.setattr(compare, "MOST_DIFFERENCES", 30)
    extra = [claim(n, 1) for n in range(1, 20_000, 200)]
    ours, theirs = new_ledger(shared=True), new_ledger(*extra, shared=True)

    pull, asked, _ = pull_into(ours, theirs)

    assert pull.found == 100
    assert all(
        question.sketch is None or question.sketch.shape.size < 40
        for question in asked
    )
    assert ours.head().total == theirs.head().total


@pytest.mark.parametrize("most", [100, 1000])
def test_no_sketch_is_made_of_more_than_a_database_reads_in_time(
    new_ledger, monkeypatch, most
):
    """First it is split: at the most, into parts of some 300 claims."""
    monkeypatch.setattr(compare, "MOST_SKETCHED", most)
    extra = [claim(n, 1) for n in range(1, 20_000, 200)]
    ours, theirs = new_ledger(shared=True), new_ledger(*extra, shared=True)

    pull, asked, _ = pull_into(ours, theirs)
    sketched = [question.ranges for question in asked if question.sketch]

    assert pull.found == 100
    assert ours.head().total == theirs.head().total
    assert sketched or most == 100
    assert all(sum(r.print.count for r in some) <= most for some in sketched)


def test_a_peer_of_a_release_before_is_asked_as_ever(new_ledger):
    extra = [claim(n, 1) for n in range(1, 20_000, 1000)]
    ours, theirs = new_ledger(shared=True), new_ledger(*extra, shared=True)

    pull, asked, answers = pull_into(ours, theirs, older=True)

    assert pull.found == 20
    assert {question.sketch for question in asked} == {None}
    assert {question.version for question in asked} == {wire.VERSION}
    assert {(one.reads, one.differences) for one in answers} == {(1, 0)}


@pytest.fixture(autouse=True)
def same_keys(monkeypatch):
    """Of one sketch in some thousands, too little can be told: not here."""
    monkeypatch.setattr(secrets, "randbelow", random.Random(1).randrange)


def begun(ours, theirs):
    """Begin a pull that is about to ask with a sketch."""
    asked, now = [], [0.0]
    pull = Pull(ours, asked.append, span=EVERYTHING, monotonic=lambda: now[0])
    pull.step()
    pull.take(answer(theirs, asked[0]))
    assert asked[1].sketch
    return pull, asked, now


@pytest.fixture
def differing(new_ledger):
    extra = [claim(n, 1) for n in range(1, 2000, 100)]
    return new_ledger(*SHARED[:1000]), new_ledger(*SHARED[:1000], *extra)


def test_another_host_of_an_older_release_is_asked_without(differing):
    pull, asked, now = begun(*differing)

    now[0] += 2 * FIRST_PATIENCE
    pull.step()

    assert asked[2] == replace(asked[1], sketch=None)
    assert asked[2].version == wire.VERSION
    assert pull.take(answer(differing[1], told(asked[2], older=True)))
    assert asked[3].sketch is None


def test_whichever_answer_to_a_repeated_question_comes_first_counts(
    differing,
):
    ours, theirs = differing
    pull, asked, now = begun(ours, theirs)
    now[0] += 2 * FIRST_PATIENCE
    pull.step()

    found = answer(theirs, asked[1])

    assert pull.take(found)
    assert pull.complete
    assert not pull.take(answer(theirs, asked[2]))
    assert len(found.claims) == 20


@pytest.mark.parametrize(
    "more", [{"claims": (claim(1),)}, {"rest": (EVERYTHING,)}]
)
def test_how_many_there_are_is_said_alone(differing, more):
    pull, asked, _ = begun(*differing)

    with pytest.raises(BadMessage, match="sketch"):
        pull.take(messages.Answer(id=asked[1].id, differences=9, **more))


def test_how_many_there_are_is_said_of_a_sketch_only(differing):
    asked = []
    pull = Pull(
        differing[0], asked.append, span=EVERYTHING, monotonic=lambda: 0.0
    )
    pull.step()

    with pytest.raises(BadMessage, match="sketch"):
        pull.take(messages.Answer(id=asked[0].id, differences=9))


@pytest.mark.parametrize("differences", [1, 10, 10_000, 2**61])
def test_a_peer_that_can_tell_nothing_of_sketches_is_asked_for_all(
    differing, differences
):
    ours, theirs = differing
    pull, asked, _ = begun(ours, theirs)
    at = 1
    while not pull.complete:
        question = asked[at]
        reply = answer(theirs, replace(question, sketch=None))
        if question.sketch:
            reply = messages.Answer(
                id=question.id, differences=differences, reads=2
            )
        assert pull.take(reply)
        pull.found += ours.record(reply.claims).news
        at += 1

    assert pull.found == 20
    assert ours.head().total == theirs.head().total
    assert sum(question.sketch is not None for question in asked) < at


def test_a_claim_that_was_changed_by_hand_is_told_to_nobody(new_ledger):
    extra = [claim(n, 1) for n in range(1, 2000, 100)]
    ours, theirs = new_ledger(shared=True), new_ledger(*extra, shared=True)
    edit = f"UPDATE claims SET wanted = 7, wanted_at = 7 {WHERE}"
    with theirs._engine.begin() as connection:
        connection.execute(sa.text(edit), {"image": extra[3].image})

    pull, _, _ = pull_into(ours, theirs)

    assert pull.complete
    assert pull.found == 19


def test_of_what_is_asked_about_only_that_is_answered(new_ledger):
    extra = [claim(n, 1) for n in range(1, 20_000, 200)]
    ours, theirs = new_ledger(shared=True), new_ledger(*extra, shared=True)
    span = Span(claim(3001).bound, claim(9000).bound)

    pull, _, _ = pull_into(ours, theirs, span=span)

    assert pull.found == sum(
        span.start <= one.bound < span.stop for one in extra
    )


lacks = st.lists(st.integers(0, 999), max_size=40, unique=True)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)
@given(lacks, lacks, lacks, st.integers(0, 2**32))
def test_whatever_is_lost_both_hold_the_same_in_the_end(
    new_ledger, mine, yours, changed, seed
):
    """Questions and answers are lost, late and doubled; hosts differ."""
    rng = random.Random(seed)
    kinds = [claim(n, 5, Kind.ARI) for n in changed]
    every = [claim(n) for n in range(1000)]
    ledgers = (
        new_ledger(*(c for n, c in enumerate(every) if n not in mine)),
        new_ledger(*(c for n, c in enumerate(every) if n not in yours)),
    )
    ledgers[seed % 2].record(kinds)

    for ours, theirs in (ledgers, ledgers[::-1]):
        asked, now, late = [], [0.0], []
        pull = Pull(
            ours,
            asked.append,
            span=EVERYTHING,
            monotonic=lambda now=now: now[0],
        )
        while not pull.complete:
            now[0] += 100.0
            pull.step()
            question = told(rng.choice(asked[-2:]), older=rng.random() < 0.1)
            late.append(answer(theirs, question))
            if rng.random() < 0.7:
                reply = rng.choice(late[-3:])
                if pull.take(reply):
                    pull.found += ours.record(reply.claims).news

    assert ledgers[0].head().total == ledgers[1].head().total
