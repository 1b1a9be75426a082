"""What a region makes of the heartbeats of a peer."""

import pytest

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.peers.agreement import PATIENT_HEARTBEATS, Agreement
from ec2map_sync.peers.compare import FIRST_PATIENCE, Pull
from ec2map_sync.peers.gate import Gate
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
OWN = Print(7, 70)


@pytest.fixture
def ledger(tmp_path):
    engine = create_engine(parse_url(f"sqlite:///{tmp_path}/ledger", "x"))
    schema.upgrade(engine)
    yield Ledger(engine, Scheme(b"test"))
    engine.dispose()


def heartbeat(before=OWN, total=OWN):
    return messages.Heartbeat(
        until=START, before=before, total=total, newest=START
    )


@pytest.mark.parametrize(
    ("state", "is_open"),
    [
        ({"received_at": 1, "agrees_until": 1}, True),
        ({"received_at": -1, "agrees_until": 1}, False),  # its clock is fast
        ({"received_at": 1, "agrees_until": -1}, False),
        ({"received_at": 1, "agrees_until": 1, "differs_since": 1}, False),
    ],
)
def test_a_peer_that_agrees_need_not_be_compared_with(ledger, state, is_open):
    gate = Gate(ledger, ["two"], since=START, wait=9, clock=lambda: START)
    assert not gate.is_open()

    ledger.journal.note_peer(
        "two", **{name: START + at for name, at in state.items()}
    )

    assert gate.is_open() is is_open


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
