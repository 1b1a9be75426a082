"""The Answerer: questions are answered, what is none costs a rest."""

import pytest
from two_ends import Arrived, Inbox, Outlet

from ec2map_sync.peers.answerer import Answerer
from ec2map_sync.peers.throttle import Throttle
from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.signing import PublicKey, SigningKey

NOW = 1_800_000_000_000_000
QUESTION = messages.Compare(id="a", ranges=(), to="one", until=NOW + 10**7)


@pytest.fixture
def key():
    return SigningKey.generate()


@pytest.fixture
def rested():
    return []


@pytest.fixture
def answerer(ledger, key, rested):
    used = [0.0]

    def cpu():
        used[0] += 0.1  # between two looks
        return used[0]

    trust = wire.Trust(sender="two", keys=(PublicKey(key.public),), scheme="s")
    return Answerer(
        ledger,
        Inbox(),
        Outlet(),
        pen("one", SigningKey.generate()),
        {"two": trust},
        patience=60.0,
        throttle=Throttle(cpu=cpu, sleep=rested.append),
    )


def pen(region, key):
    return wire.Pen(region=region, scheme="s", key=key, clock=lambda: NOW)


def asked(key, question=QUESTION):
    return Arrived(*wire.encode(question, pen("two", key)))


def test_who_asks_for_what_we_have_costs_no_rest(answerer, key, rested):
    answerer._inbox.arrived = [asked(key)]
    answerer.step()
    answerer.step()

    assert answerer._outlet.sent == ["answer.two"]
    assert rested == []


def test_rubbish_and_what_was_answered_cost_as_much_rest(
    answerer, key, rested
):
    again = asked(key)
    rubbish = Arrived({"sender": "two"}, b"x")
    answerer._inbox.arrived = [again, again, rubbish, rubbish]
    answerer.step()
    answerer._inbox.arrived = [asked(key, QUESTION)]
    answerer.step()

    assert answerer._outlet.sent == ["answer.two"]
    assert rested == [pytest.approx(0.3)]
    assert answerer._inbox.arrived
