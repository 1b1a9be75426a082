"""Breaking the package must be noticed: else the histories show nothing."""

from dataclasses import replace

import pytest
from histories import SKIRMISH, attempt
from simulation.history import ANY, LOSSY, PUSHED, SERIAL, Profile
from simulation.region import Parts

from ec2map_sync.ledger import PUBLISHING, recording
from ec2map_sync.peers.agreement import Agreement
from ec2map_sync.peers.compare import Pull
from ec2map_sync.peers.follower import Follower
from ec2map_sync.peers.gate import Gate
from ec2map_sync.peers.publisher import Publisher
from ec2map_sync.protocol.messages import Claims
from ec2map_sync.rules import claims as claims_module
from ec2map_sync.rules.errors import TooManyEvictions
from ec2map_sync.sinks.writer import Writer

TRIES = 60


def is_caught(
    profile: Profile, parts: Parts | None = None, tries: int = TRIES
) -> bool:
    return any(
        isinstance(attempt(seed, profile, parts), str) for seed in range(tries)
    )


class NeverPulls(Agreement):
    def next_span(self, _heartbeat):
        return None


class DoesNotCompare(Follower):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._agreement = NeverPulls("somebody")


def test_a_follower_that_never_pulls_is_caught():
    assert is_caught(LOSSY, Parts(follower=DoesNotCompare))


class AcknowledgesFirst(Follower):
    def _take(self, messages):
        self._inlet.acknowledge(messages)
        return super()._take(messages)


def test_a_follower_that_acknowledges_before_it_records_is_caught():
    assert is_caught(PUSHED, Parts(follower=AcknowledgesFirst))


class AdvancesFirst(Publisher):
    """Its cursor is committed before the broker has the claims."""

    def step(self):
        with self._ledger.cursors.reader(PUBLISHING) as reader:
            claims, upto = reader.own_claims(self._batch_size)
            reader.advance(upto)
        for claim in claims:
            self._send("claims", Claims(claims=(claim,)))
        return super().step()


@pytest.mark.long
def test_a_publisher_that_advances_before_it_sends_needs_comparing():
    parts = Parts(publisher=AdvancesFirst)

    assert is_caught(PUSHED, parts)
    assert not is_caught(ANY, parts, tries=10)


class WritesLast(Writer):
    """Its cursor is committed before the sink has the rows."""

    def step(self):
        with self._ledger.cursors.reader(self._sink.name) as reader:
            upto, _ = reader.numbers(1000)
            changed = reader.changed(upto)
            reader.advance(upto)
        self.write([held.number for held in changed])
        return False


def test_a_writer_that_advances_before_the_sink_commits_is_caught():
    assert is_caught(ANY, Parts(writer=WritesLast))


class AlwaysOpen(Gate):
    def is_open(self):
        return True


@pytest.mark.long
def test_claims_made_before_comparing_are_caught():
    assert is_caught(SERIAL, Parts(gate=AlwaysOpen))


def test_a_join_that_keeps_the_last_kind_is_caught(monkeypatch):
    def join(one, other):
        return replace(claims_module.join(one, other), kind=other.kind)

    monkeypatch.setattr(recording, "join", join)

    assert is_caught(ANY)


def test_moves_that_are_not_recorded_are_caught(monkeypatch):
    monkeypatch.setattr(
        recording.Recording, "write_moves", lambda *_args: None
    )

    assert is_caught(ANY)


def test_evictions_that_nobody_counts_are_caught(monkeypatch):
    monkeypatch.setattr(recording, "spend", lambda *_args: None)

    assert is_caught(SKIRMISH)


def test_evictions_that_are_counted_for_each_message_are_caught(monkeypatch):
    def spend(_connection, evictions, allowance, _now):
        if len(evictions) > allowance.max_evictions:
            blamed = (e.blamed for e in evictions)
            raise TooManyEvictions("", frozenset().union(*blamed))

    monkeypatch.setattr(recording, "spend", spend)

    assert is_caught(SKIRMISH)


def test_an_agreement_that_is_taken_for_granted_is_caught(monkeypatch):
    judge = Agreement.judge

    def believe(self, heartbeat, _own, own_total, *, sound):
        return judge(self, heartbeat, heartbeat.before, own_total, sound=sound)

    monkeypatch.setattr(Agreement, "judge", believe)

    assert is_caught(SKIRMISH)


@pytest.mark.long
def test_a_clock_that_does_not_follow_is_caught(monkeypatch):
    def next_stamp(self):
        self.last_stamp = self._clock()
        return self.last_stamp

    monkeypatch.setattr(recording.Recording, "next_stamp", next_stamp)

    assert is_caught(SERIAL)


def test_a_pull_that_forgets_what_did_not_fit_is_caught(monkeypatch):
    take = Pull.take
    monkeypatch.setattr(
        Pull,
        "take",
        lambda self, reply: take(self, replace(reply, rest=(), ranges=())),
    )

    assert is_caught(ANY)
