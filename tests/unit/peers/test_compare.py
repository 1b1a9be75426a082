"""Comparing: two ledgers find what they do not share, and only that."""

import made
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings, strategies as st

from ec2map_sync.ledger import Ledger
from ec2map_sync.peers.compare import FIRST_PATIENCE, PAGE, SMALL, Pull, answer
from ec2map_sync.peers.gate import Gate
from ec2map_sync.protocol import messages
from ec2map_sync.rules.claims import (
    END,
    EVERYTHING,
    Bound,
    Claim,
    Print,
    Range,
    Span,
    print_of,
)
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.sql.database import create_engine, parse_url

SCHEME = Scheme(b"test")
NOW = 1_800_000_000_000_000


def image(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012x}"


@pytest.fixture(scope="module")
def new_ledger(tmp_path_factory):
    engines = []

    def make() -> Ledger:
        path = tmp_path_factory.mktemp("ledger") / "db"
        engines.append(create_engine(parse_url(f"sqlite:///{path}", "x")))
        made.make(engines[-1])
        return Ledger(engines[-1], SCHEME)

    yield make
    for engine in engines:
        engine.dispose()


class Peer:
    """A peer's ledger at the other end of a bus that loses nothing."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.questions: list[messages.Compare] = []
        self.claims_sent = 0

    def pull_into(self, reader: Ledger, span: Span = EVERYTHING) -> Pull:
        pull = Pull(
            reader, self.questions.append, span=span, monotonic=lambda: 0.0
        )
        pull.step()
        asked = 0
        while not pull.complete:
            reply = answer(self.ledger, self.questions[asked])
            asked += 1
            self.claims_sent += len(reply.claims)
            assert pull.take(reply)
            pull.found += reader.record(reply.claims).news
        return pull


def total(ledger: Ledger) -> Print:
    return ledger.head().total


claims = st.builds(
    Claim,
    claimed_at=st.integers(1, 2**12) | st.integers(NOW - 10**12, NOW),
    image=st.integers(0, 300).map(image),
)


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(claims, max_size=150), st.lists(claims, max_size=150))
def test_after_both_have_pulled_both_hold_the_same(new_ledger, one, two):
    ours, theirs = new_ledger(), new_ledger()
    ours.record(one)
    theirs.record(two)

    Peer(theirs).pull_into(ours)
    Peer(ours).pull_into(theirs)

    assert total(ours) == total(theirs)


@pytest.mark.search
def test_little_is_sent_for_a_few_differences_among_many(new_ledger):
    ours, theirs = new_ledger(), new_ledger()
    shared = [
        Claim(claimed_at=NOW + 7_000_000 * n, image=image(n))
        for n in range(20_000)
    ]
    extra = [
        Claim(claimed_at=NOW + 7_000_000 * n + 1, image=image(n + 50_000))
        for n in range(0, 20_000, 4000)
    ]
    ours.record(shared)
    theirs.record(shared + extra)
    peer = Peer(theirs)

    pull = peer.pull_into(ours)

    assert pull.found == len(extra)
    assert peer.claims_sent <= len(extra) * (SMALL + 1)
    assert len(peer.questions) <= 8


def test_an_empty_ledger_takes_over_page_by_page(new_ledger):
    ours, theirs = new_ledger(), new_ledger()
    count = 2 * PAGE + 10
    theirs.record(
        Claim(claimed_at=NOW + n, image=image(n)) for n in range(count)
    )
    peer = Peer(theirs)

    pull = peer.pull_into(ours)

    assert pull.found == count
    assert len(peer.questions) == 3


def test_claims_of_one_stamp_are_paged_by_image(new_ledger):
    ours, theirs = new_ledger(), new_ledger()
    theirs.record(
        Claim(claimed_at=NOW, image=image(n)) for n in range(PAGE + 100)
    )
    ours.record(
        Claim(claimed_at=NOW, image=image(n)) for n in range(0, PAGE, 1)
    )

    assert Peer(theirs).pull_into(ours).found == 100


def test_equal_ledgers_ask_once(new_ledger):
    ours = new_ledger()
    ours.record([Claim(claimed_at=NOW, image=image(1))])
    peer = Peer(ours)

    assert peer.pull_into(ours).found == 0
    assert len(peer.questions) == 1


def begun(ledger):
    """Begin a pull; gives it, what it asks, and its clock."""
    now = [0.0]
    sent: list[messages.Compare] = []
    pull = Pull(ledger, sent.append, span=EVERYTHING, monotonic=lambda: now[0])
    pull.step()
    return pull, sent, now


def test_a_question_without_an_answer_is_asked_again(new_ledger):
    pull, sent, now = begun(new_ledger())
    pull.step()
    assert len(sent) == 1

    now[0] = 100.0
    pull.step()

    assert len(sent) == 2


def test_a_late_answer_counts_and_a_second_one_does_not(new_ledger):
    pull, sent, now = begun(new_ledger())
    now[0] = 100.0
    pull.step()

    assert pull.take(messages.Answer(id=sent[0].id))

    assert pull.complete
    assert not pull.take(messages.Answer(id=sent[1].id))


def test_who_answers_slowly_is_asked_again_later(new_ledger):
    pull, sent, now = begun(new_ledger())
    now[0] = 4.0 * FIRST_PATIENCE
    part = Span(Bound(0), Bound(1000))
    pull.take(
        messages.Answer(
            id=sent[0].id, ranges=(Range(span=part, print=Print(1, 1)),)
        )
    )
    assert len(sent) == 2

    now[0] += 7.0 * FIRST_PATIENCE
    pull.step()
    assert len(sent) == 2
    now[0] += 2.0 * FIRST_PATIENCE
    pull.step()
    assert len(sent) == 3


@pytest.mark.parametrize(
    "bad",
    [
        {"rest": (EVERYTHING,)},
        {"ranges": (Range(span=EVERYTHING, print=Print(1, 1)),)},
        {
            "ranges": (
                Range(
                    span=Span(Bound(0), Bound(2**62, "a")), print=Print(1, 1)
                ),
            )
        },
    ],
)
def test_an_answer_that_leads_nowhere_is_refused(new_ledger, bad):
    sent: list[messages.Compare] = []
    pull = Pull(
        new_ledger(), sent.append, span=EVERYTHING, monotonic=lambda: 0.0
    )
    pull.step()

    with pytest.raises(BadMessage):
        pull.take(messages.Answer(id=sent[0].id, **bad))


@settings(max_examples=100, deadline=None)
@given(st.lists(claims, max_size=60), st.data())
def test_the_parts_of_a_span_make_up_the_span(new_ledger, batch, data):
    ledger = new_ledger()
    ledger.record(batch)
    held = list(ledger.claims({c.image for c in batch}).values())
    bounds = st.builds(
        Bound,
        st.sampled_from([c.claimed_at for c in batch] or [0]),
        st.sampled_from(["", *(c.image for c in batch)]),
    )
    span = Span(*sorted((data.draw(bounds), data.draw(bounds))))
    inside = [c for c in held if span.start <= c.bound < span.stop]

    parts = ledger.split(span)

    assert ledger.print_of(span) == print_of(inside)
    assert sum(p.print.count for p in parts) == len(inside)
    assert all(ledger.print_of(p.span) == p.print for p in parts)
    spans = [span, EVERYTHING, *(p.span for p in parts), span]
    assert ledger.prints_of(spans) == [ledger.print_of(s) for s in spans]
    assert ledger.page(span, 1000) == sorted(inside, key=lambda c: c.bound)
    most = [data.draw(st.integers(1, 70)) for _ in spans]
    limits = dict(zip(spans, most, strict=True))
    for one, cut in zip(spans, ledger.prints_of(spans, most), strict=True):
        whole = ledger.print_of(one)
        enough = cut.count >= limits[one] and whole.count >= cut.count
        assert cut == whole or enough


def test_what_a_newcomer_lacks_is_not_counted_again_for_each_page(new_ledger):
    ledger = new_ledger()
    ledger.record(Claim(claimed_at=NOW + n, image=image(n)) for n in range(90))
    rest = Span(Bound(NOW + 50), END)
    said = []
    note = sa.event.listens_for(sa.Engine, "before_cursor_execute")
    note(record := lambda *given: said.append((given[2], given[3])))

    try:
        reply = answer(
            ledger,
            messages.Compare(
                id="x", ranges=(Range(span=rest, print=Print(0, 0)),)
            ),
        )
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", record)

    prints, values = next(one for one in said if "count(*)" in one[0])
    assert "LIMIT" in prints
    assert SMALL + 1 in values
    assert [c.claimed_at for c in reply.claims] == [
        NOW + n for n in range(50, 90)
    ]


class Clocks:
    """That which is set, and that which is not; a gate between them."""

    def __init__(self, ledger, wait=30):
        self.wall, self.monotonic = NOW, 0.0
        self.ledger = ledger
        self.gate = Gate(
            ledger,
            ["two"],
            started=0.0,
            wait=wait,
            clock=lambda: self.wall,
            monotonic=lambda: self.monotonic,
        )

    def go_on(self, seconds):
        self.monotonic += seconds
        self.wall += int(seconds * 1_000_000)

    def set(self, seconds):
        self.wall += int(seconds * 1_000_000)

    def compared(self, ago):
        at = self.wall - int(ago * 1_000_000)
        self.ledger.journal.note_peer("two", compared_at=at)


def test_claims_wait_until_every_peer_was_compared_with(new_ledger):
    clocks = Clocks(new_ledger())
    clocks.compared(ago=1)
    assert not clocks.gate.is_open()

    clocks.go_on(1)
    clocks.compared(ago=0)

    assert clocks.gate.is_open()


@pytest.mark.parametrize("ago", [-86400, -60, 0.5, 3600, 90000])
def test_a_clock_that_is_set_lets_no_gate_open_for_a_backup(new_ledger, ago):
    """As on a machine that starts without one, and then asks the time."""
    clocks = Clocks(new_ledger())
    clocks.set(-86400)
    clocks.compared(ago=ago)
    assert not clocks.gate.is_open()

    for seconds in (2 * 86400, -3 * 86400, 86400):
        clocks.go_on(0.25)
        clocks.set(seconds)
        assert not clocks.gate.is_open()
    clocks.compared(ago=0)

    assert clocks.gate.is_open()


def test_a_peer_that_does_not_answer_is_waited_for_so_long(new_ledger):
    now = [0.0]
    gate = Gate(
        new_ledger(),
        ["two"],
        started=0.0,
        wait=30,
        clock=lambda: NOW,
        monotonic=lambda: now[0],
    )
    assert not gate.is_open()

    now[0] += 30

    assert gate.is_open()


def test_a_clock_that_is_put_back_keeps_no_gate_closed(new_ledger):
    clocks = Clocks(new_ledger())
    assert not clocks.gate.is_open()

    clocks.set(-3600)
    assert not clocks.gate.is_open()
    clocks.go_on(1)
    clocks.compared(ago=0.5)

    assert clocks.gate.is_open()


def test_what_is_waited_for_is_said_once_if_it_takes_long(new_ledger, caplog):
    caplog.set_level("INFO", "ec2map_sync.peers.gate")
    now = [0.0]
    gate = Gate(
        new_ledger(),
        ["two"],
        started=0.0,
        wait=30,
        clock=lambda: NOW,
        monotonic=lambda: now[0],
    )
    assert not gate.is_open()
    assert caplog.messages == []

    for _ in range(3):
        now[0] += 6
        assert not gate.is_open()

    (said,) = caplog.messages
    assert "compared with two, or [bus] claim_wait is over in 24 s" in said
