"""A question is answered by whom it is for, in time, and once."""

import time
from dataclasses import replace

import pytest
from two_ends import Arrived, Inbox, Outlet

from ec2map_sync.peers.addressee import TIME_LIMIT, Addressee, Answered
from ec2map_sync.peers.answerer import Answerer
from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.signing import PublicKey, SigningKey

NOW = 1_800_000_000_000_000
SECOND = 1_000_000
HOUR = 3600 * SECOND
KEY = SigningKey.generate()
QUESTION = messages.Compare(id="q", ranges=())


class Region:
    """RegionOne as far as it answers; three is a peer of it, and of two."""

    def __init__(self, ledger):
        self.inbox, self.outlet = Inbox(), Outlet()
        trust = wire.Trust(
            sender="three", keys=(PublicKey(KEY.public),), scheme="s"
        )
        self.ledger = ledger
        self.answerer = Answerer(
            ledger,
            self.inbox,
            self.outlet,
            wire.Pen(
                region="one",
                scheme="s",
                key=SigningKey.generate(),
                clock=lambda: NOW,
            ),
            {"three": trust},
            patience=0,
        )

    def ask(self, *questions):
        """Put questions into its queue; gives how many it has answered."""
        before = len(self.outlet.sent)
        self.inbox.arrived += [Arrived(*question) for question in questions]
        self.answerer.step()
        return len(self.outlet.sent) - before


@pytest.fixture
def one(ledger):
    return Region(ledger)


def signed(question=QUESTION, *, sent_at=NOW, **fields):
    pen = wire.Pen(region="three", scheme="s", key=KEY, clock=lambda: sent_at)
    return wire.encode(replace(question, **fields), pen)


def reasons(region):
    return [entry.reason for entry in region.ledger.quarantine.newest(9)]


def test_a_question_is_answered_once_however_often_it_comes(one):
    question = signed(to="one", until=NOW + TIME_LIMIT)

    assert one.ask(*[question] * 20) == 1
    assert one.ask(question) == 0
    assert one.ask(signed()) == 1
    assert reasons(one) == []


def test_who_had_no_answer_asks_again_under_the_same_id(one):
    until = NOW + TIME_LIMIT

    assert one.ask(signed(to="one", until=until)) == 1
    assert one.ask(signed(to="one", until=until + 1, sent_at=NOW + 1)) == 1


def test_who_asks_a_lot_makes_nobody_look_through_it():
    now = [0.0]
    pen = wire.Pen(region="one", scheme="s", key=KEY, clock=lambda: NOW)
    answered = Answered(pen, lambda: now[0])

    def asked(n):
        return wire.Received(sender="three", sent_at=n, message=QUESTION)

    def looks(times=200):
        begun = time.thread_time()
        for _ in range(times):
            assert answered.knows(asked(1), b"")
        return time.thread_time() - begun

    answered.note(asked(1), b"")
    alone = looks()
    now[0] = 60.0
    for n in range(2, 50_000):
        answered.note(asked(n), b"")
    among_many = looks()
    now[0] = 150.0

    assert among_many < 100 * alone
    assert not answered.knows(asked(1), b"")
    assert answered.knows(asked(2), b"")
    now[0] = 200.0
    assert not answered.knows(asked(2), b"")
    assert not answered._known


def test_a_signature_that_is_written_otherwise_makes_no_other_question(one):
    headers, body = signed()
    last = headers["signature"][85]
    others = [
        {**headers, "signature": headers["signature"][:85] + c + "=="}
        for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        if c != last
    ]

    answered = one.ask((headers, body), *((h, body) for h in others))

    assert answered == 1


def test_what_was_not_answered_for_an_outage_is_answered_when_it_comes_again(
    one,
):
    one.outlet.broken = True
    with pytest.raises(ConnectionResetError):
        one.ask(signed())
    one.outlet.broken = False

    assert one.ask(signed()) == 1


@pytest.mark.parametrize("to", ["two", "One", "one ", "three"])
def test_a_question_to_another_region_is_refused(one, to):
    assert one.ask(signed(to=to, until=NOW + TIME_LIMIT)) == 0
    assert "not to us" in reasons(one)[0]


@pytest.mark.parametrize("age", [61 * SECOND, HOUR, 30 * 24 * HOUR, -HOUR])
@pytest.mark.parametrize("to", ["", "one"])
def test_a_question_of_another_time_is_refused(one, age, to):
    limit = {"until": NOW - age + TIME_LIMIT} if to else {}

    assert one.ask(signed(to=to, sent_at=NOW - age, **limit)) == 0
    assert "it is old, or a clock is wrong" in reasons(one)[0]


@pytest.mark.parametrize("hours", [-30, -1, 0, 1, 30])
def test_who_has_heard_us_may_ask_by_any_clock(one, hours):
    now = [0.0]
    there = NOW + hours * HOUR
    addressee = Addressee("one", lambda: there, lambda: now[0])
    question = addressee.address(QUESTION)
    assert one.ask(signed(question, sent_at=there)) == (hours == 0)

    addressee.heard(NOW - 100 * SECOND)
    now[0] += 100
    question = addressee.address(QUESTION)

    assert one.ask(signed(question, sent_at=there + 1)) == 1


@pytest.mark.parametrize("body", [{"to": 7}, {"until": "x"}, {"until": -1}])
def test_an_address_that_is_none_holds_nothing_up(one, body, monkeypatch):
    monkeypatch.setitem(
        messages.TO_JSON,
        messages.Compare,
        lambda _q: ("compare", {"id": "q", "ranges": []} | body),
    )
    bad = signed()
    monkeypatch.undo()

    assert one.ask(bad, signed(sent_at=NOW + 1)) == 1
    assert len(reasons(one)) == 1
