"""What a region makes of the heartbeats of a peer."""

import made
import pytest

from ec2map_sync.ledger import Ledger, PeerState, Quarantined
from ec2map_sync.peers.agreement import (
    FAR_BEHIND,
    MOST_PATIENT_HEARTBEATS,
    PATIENT_HEARTBEATS,
    Agreement,
)
from ec2map_sync.peers.compare import FIRST_PATIENCE, Pull
from ec2map_sync.peers.gate import Gate, is_compared, late
from ec2map_sync.protocol import messages
from ec2map_sync.rules.claims import (
    BEGINNING,
    END,
    EVERYTHING,
    Bound,
    Print,
    Span,
)
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.sql.database import create_engine, parse_url

START = 1_800_000_000_000_000
NOW = START + 2
OWN = Print(7, 70)


@pytest.fixture
def ledger(tmp_path):
    engine = create_engine(parse_url(f"sqlite:///{tmp_path}/ledger", "x"))
    made.make(engine)
    yield Ledger(engine, Scheme(b"test"))
    engine.dispose()


def heartbeat(before=OWN, total=OWN):
    return messages.Heartbeat(
        until=START, before=before, total=total, newest=START
    )


@pytest.mark.parametrize(
    ("state", "compared"),
    [
        ({"received_at": 1}, False),
        ({"compared_at": 1}, True),
        ({"compared_at": -1}, False),
        ({"compared_at": 3}, False),
        ({"received_at": 1, "agrees_until": 1}, True),
        # Its clock is behind, or this has lain in a queue: nobody can tell.
        ({"received_at": 1, "agrees_until": -3600}, False),
        ({"received_at": -1, "agrees_until": 1}, False),
        ({"received_at": 3, "agrees_until": 3}, False),
        ({"received_at": 1, "agrees_until": 1, "differs_since": 1}, False),
    ],
)
def test_agent_and_commands_ask_the_same_of_a_peer(ledger, state, compared):
    state = {name: START + at for name, at in state.items()}
    gate = Gate(
        ledger,
        ["two"],
        started=0.0,
        wait=9,
        clock=lambda: NOW,
        monotonic=lambda: 2e-6,
    )
    ledger.journal.note_peer("two", **state)

    known = PeerState(name="two", **state)
    assert is_compared(known, START, NOW) is compared
    assert late(ledger, ["two"], START, NOW) == ([] if compared else ["two"])
    assert gate.is_open() is compared


def test_who_was_never_heard_was_not_compared_with(ledger):
    assert not is_compared(None, START, NOW)
    assert late(ledger, ["two"], START, NOW) == ["two"]


def test_what_is_held_of_a_peer_may_be_all_it_differs_by(ledger):
    differs = {"received_at": START, "differs_since": START}
    ledger.journal.note_peer("two", **differs)
    ledger.journal.note_peer("three", **differs)
    held = Quarantined(source="peer:two", reason="held")
    ledger.quarantine.put([held])
    peers = ["two", "three"]

    assert late(ledger, peers, START, NOW) == peers
    assert late(ledger, peers, START, NOW, but_for_held=True) == ["three"]


def test_who_could_not_hear_asks_again_soon(ledger):
    now, sent = [0.0], []
    pull = Pull(ledger, sent.append, span=EVERYTHING, monotonic=lambda: now[0])
    pull.step()
    for _ in range(4):
        now[0] += 100
        pull.step()
    now[0] += FIRST_PATIENCE
    pull.step()
    asked = len(sent)

    pull.hurry()
    pull.step()

    assert len(sent) == asked + 1


def test_if_only_totals_differ_what_agrees_is_not_compared_again():
    agreement = Agreement("two")
    for _ in range(PATIENT_HEARTBEATS - 1):
        assert agreement.judge(heartbeat(total=Print(9, 90)), OWN, OWN)

    assert not agreement.judge(heartbeat(total=Print(9, 90)), OWN, OWN)

    span = agreement.next_span(heartbeat(total=Print(9, 90)))
    assert span == Span(Bound(START), END)


def test_if_what_is_old_differs_too_long_everything_is_compared():
    agreement = Agreement("two")
    other = heartbeat(before=Print(9, 90), total=Print(9, 90))
    spans = []
    for _ in range(PATIENT_HEARTBEATS):
        assert not agreement.judge(other, OWN, OWN)
        spans.append(agreement.next_span(other))

    assert spans[0] == Span(BEGINNING, Bound(START))
    assert spans[-1] == EVERYTHING


def test_while_claims_are_always_on_their_way_their_tail_is_rarely_compared():
    agreement = Agreement("two")
    compares = []
    for beat in range(1, 201):
        busy = heartbeat(total=Print(beat, beat))
        if not agreement.judge(busy, OWN, OWN):
            assert agreement.next_span(busy) == Span(Bound(START), END)
            compares.append(beat)

    assert compares[0] == PATIENT_HEARTBEATS
    assert len(compares) <= 8

    agreement.judge(heartbeat(), OWN, OWN)  # once, nothing is on its way
    for _ in range(PATIENT_HEARTBEATS - 1):
        assert agreement.judge(heartbeat(total=Print(9, 90)), OWN, OWN)
    assert not agreement.judge(heartbeat(total=Print(9, 90)), OWN, OWN)


def test_nothing_is_agreed_upon_while_our_ledger_is_doubtful():
    agreement = Agreement("two")

    assert not agreement.judge(heartbeat(), OWN, OWN, sound=False)
    assert agreement.fields(heartbeat(), OWN, START)["differs_since"] == START

    assert agreement.judge(heartbeat(), OWN, OWN)
    assert agreement.fields(heartbeat(), OWN, START)["differs_since"] is None


@pytest.mark.parametrize("total", [Print(6, 60), Print(7, 71)])
def test_once_our_ledger_was_put_right_the_peer_is_asked_again(ledger, total):
    agreement = Agreement("two")
    other = heartbeat(before=Print(8, 80), total=Print(8, 80))
    agreement.judge(other, OWN, OWN)
    assert agreement.next_span(other)
    barren = Pull(ledger, print, span=EVERYTHING, monotonic=lambda: 0.0)
    agreement.compared(barren)
    agreement.judge(other, OWN, OWN)
    assert agreement.next_span(other) is None

    agreement.judge(other, total, total)

    assert agreement.next_span(other)


def spans_asked(agreement, counts, own):
    """Which of a peer's heartbeats, with so many claims each, lead to what."""
    spans = []
    for count in counts:
        other = heartbeat(Print(count, 1), Print(count, 1))
        agreement.judge(other, own, own)
        spans.append(agreement.next_span(other))
    return spans


def test_a_peer_that_takes_over_all_is_left_alone_until_it_has():
    own = Print(2 * FAR_BEHIND, 5)
    few = range(1000, FAR_BEHIND, 1000)

    first, *meanwhile = spans_asked(agreement := Agreement("two"), few, own)
    nearly = spans_asked(agreement, [FAR_BEHIND + 1], own)

    assert first
    assert meanwhile == [None] * len(meanwhile)
    assert all(nearly)


def test_a_peer_that_lacks_much_and_gets_no_further_is_asked():
    own = Print(2 * FAR_BEHIND, 5)

    assert all(spans_asked(Agreement("two"), [1000] * 5, own))


def test_a_peer_that_takes_over_for_long_is_asked_now_and_then():
    count = 4 * MOST_PATIENT_HEARTBEATS + 1
    own = Print(2 * FAR_BEHIND, 5)

    asked = spans_asked(Agreement("two"), range(1, count + 1), own)

    assert sum(span is not None for span in asked) == 5
