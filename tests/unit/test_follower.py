"""The Follower puts away what it cannot trust, each thing once."""

import base64
import json

import pytest

from ec2map_sync import messages, wire
from ec2map_sync.claims import Claim, Print
from ec2map_sync.follower import BATCH, Follower
from ec2map_sync.publisher import Answerer
from ec2map_sync.signing import PublicKey, SigningKey

NOW = 1_800_000_000_000_000
IMAGE = "2a3d51d7-356a-45c5-aa8e-34d805812a68"


class Arrived:
    def __init__(self, headers, body):
        self.headers, self.body = headers, body


class FakeInlet:
    """Gives out what is put in, once."""

    def __init__(self):
        self.arrived = []
        self.acknowledged = 0

    def read(self, _limit, _seconds):
        arrived, self.arrived = self.arrived, []
        return arrived

    def acknowledge(self, arrived):
        self.acknowledged += len(arrived)

    def ask(self, _headers, _body):
        pass


def pen(region, key, scheme="s", clock=lambda: NOW):
    return wire.Pen(region=region, scheme=scheme, key=key, clock=clock)


@pytest.fixture
def inlet():
    return FakeInlet()


@pytest.fixture
def peer_key():
    return SigningKey.generate()


@pytest.fixture
def follower(ledger, inlet, peer_key):
    trust = wire.Trust(
        sender="two", keys=(PublicKey(peer_key.public),), scheme="s"
    )
    return Follower(
        ledger,
        inlet,
        trust,
        pen("one", SigningKey.generate()),
        recorded=lambda: None,
        patience=0,
        monotonic=lambda: 0.0,
    )


def beat(until):
    return messages.Heartbeat(
        until=until, before=Print(0, 0), total=Print(0, 0), newest=0
    )


def reasons(ledger):
    return [entry.reason for entry in ledger.queries.quarantined(100)]


def test_heartbeats_under_another_hash_key_are_kept_once(
    follower, inlet, peer_key, ledger, caplog
):
    for n in range(5):
        foreign = pen("two", peer_key, scheme="other")
        inlet.arrived.append(Arrived(*wire.encode(beat(NOW - n), foreign)))
        follower.step()

    assert len(reasons(ledger)) == 1
    assert "hash_key" in reasons(ledger)[0]
    assert len([r for r in caplog.records if "quarantine" in r.message]) == 1
    assert inlet.acknowledged == 5


AHEAD_OR_BEHIND = {
    10_800: "clock is 10800 s ahead of ours",
    -10_800: "clock is 10800 s behind ours",
}


@pytest.mark.parametrize("seconds", AHEAD_OR_BEHIND)
def test_a_clock_wrong_by_hours_is_said_once_and_holds_nothing_up(
    follower, peer_key, ledger, caplog, seconds
):
    caplog.set_level("INFO")
    inlet, said = follower._inlet, AHEAD_OR_BEHIND[seconds]
    skew = seconds * 1_000_000
    wrong = pen("two", peer_key, clock=lambda: NOW + skew)
    claim = Claim(claimed_at=NOW + skew, image=IMAGE)
    for _ in range(3):
        for what in (messages.Claims(claims=(claim,)), beat(NOW + skew)):
            inlet.arrived.append(Arrived(*wire.encode(what, wrong)))
        follower.step()
    assert ledger.claims([IMAGE]) == {IMAGE: claim}
    assert reasons(ledger) == []
    assert said in ledger.journal.peer_states()["two"].clock

    right = pen("two", peer_key)
    inlet.arrived.append(Arrived(*wire.encode(beat(NOW), right)))
    follower.step()

    clocks = [m for m in caplog.messages if "clock" in m]
    assert len(clocks) == 2
    assert said in clocks[0]
    assert "agree again" in clocks[1]


def test_a_heartbeat_that_has_waited_says_nothing_of_clocks(
    follower, inlet, peer_key, caplog
):
    before = pen("two", peer_key, clock=lambda: NOW - 3600 * 1_000_000)
    late = Arrived(*wire.encode(beat(NOW), before))
    inlet.arrived = [late] * BATCH

    follower.step()

    assert not [m for m in caplog.messages if "clock" in m]


def test_different_forgeries_are_all_kept(follower, inlet, ledger):
    stranger = pen("two", SigningKey.generate())
    for n in range(3):
        headers, body = wire.encode(messages.Claims(claims=()), stranger)
        inlet.arrived.append(Arrived(headers, body + b" " * n))
    follower.step()

    assert len(reasons(ledger)) == 3


def test_an_absurd_claim_that_comes_again_is_kept_once(
    follower, inlet, peer_key, ledger
):
    absurd = {"image": IMAGE, "claimed_at": NOW + 2 * messages.MAX_AHEAD}
    for _ in range(3):
        headers, _ = wire.encode(
            messages.Claims(claims=()), pen("two", peer_key)
        )
        body = json.dumps({"claims": [absurd]}).encode()
        signature = peer_key.sign(wire._signed(headers, body))
        headers["signature"] = base64.b64encode(signature).decode()
        inlet.arrived.append(Arrived(headers, body))
        follower.step()

    assert len(reasons(ledger)) == 1
    assert ledger.head().total.count == 0


class FakeOutlet:
    """Takes no answer, since there is none to give."""

    def pump(self):
        pass


def test_questions_that_are_not_trusted_are_kept_once(
    ledger, inlet, peer_key, caplog
):
    trust = wire.Trust(
        sender="two", keys=(PublicKey(peer_key.public),), scheme="s"
    )
    answerer = Answerer(
        ledger,
        inlet,
        FakeOutlet(),
        pen("one", SigningKey.generate()),
        {"two": trust},
        patience=0,
    )
    stranger = pen("two", SigningKey.generate())
    for n in range(5):
        question = messages.Compare(id=f"q{n}", ranges=())
        inlet.arrived.append(Arrived(*wire.encode(question, stranger)))
        answerer.step()

    assert len(reasons(ledger)) == 1
    assert "questions to us" in caplog.text
    assert inlet.acknowledged == 5
