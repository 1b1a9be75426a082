"""The Follower puts away what it cannot trust, each thing once."""

import base64
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync.monitor.views import peer_views
from ec2map_sync.peers.answerer import Answerer
from ec2map_sync.peers.follower import ASK_AGAIN, PROVEN_FOR, Follower
from ec2map_sync.peers.gate import late
from ec2map_sync.peers.throttle import Throttle
from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.seen import Seen
from ec2map_sync.protocol.signing import PublicKey, SigningKey
from ec2map_sync.rules.claims import (
    BEGINNING,
    Bound,
    Claim,
    Print,
    Sighting,
    Span,
    Wanted,
    print_of,
)
from ec2map_sync.settings.values import Peer

DAY = 86_400_000_000
NOW = 1_800_000_000_000_000
IMAGE = "2a3d51d7-356a-45c5-aa8e-34d805812a68"


class Arrived:
    def __init__(self, headers, body):
        self.headers, self.body = headers, body


class FakeInlet:
    """Gives out what is put in, once."""

    def __init__(self):
        self.arrived = []
        self.asked = []
        self.acknowledged = 0

    def read(self, _limit, _seconds):
        arrived, self.arrived = self.arrived, []
        return arrived

    def acknowledge(self, arrived):
        self.acknowledged += len(arrived)

    def ask(self, headers, body):
        self.asked.append((headers, body))

    def close(self):
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
def now():
    """The seconds of the follower's clock."""
    return [0.0]


@pytest.fixture
def follower(ledger, inlet, peer_key, now):
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
        max_moves=2,
        max_evictions=2,
        monotonic=lambda: now[0],
    )


def beat(until):
    return messages.Heartbeat(
        until=until, before=Print(0, 0), total=Print(0, 0), newest=0
    )


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


def reasons(ledger):
    return [entry.reason for entry in ledger.quarantine.newest(100)]


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


KNOWN = Claim(claimed_at=NOW, image=IMAGE)
NEW = Claim(claimed_at=NOW, image=IMAGE.replace("2", "3"))


def claims(*some):
    return messages.Claims(claims=some)


def answer(*some, to="asked"):
    return messages.Answer(id=to, claims=some)


COSTS = {
    "refused": (["{"], 9.0),
    "refused beside news": ([claims(NEW), "{"], 9.0),
    "known already": ([claims(KNOWN)], 1.0),
    "known already, and a heartbeat": ([claims(KNOWN), beat(NOW)], 1.0),
    "nothing": ([claims()], 1.0),
    "an answer to nobody": ([answer(NEW, to="x")], 1.0),
    "an answer of what is known": ([answer(KNOWN)], 1.0),
    "many heartbeats": ([beat(NOW - n) for n in range(20)], 1.0),
    "news": ([claims(NEW)], 0),
    "news beside what is known": ([claims(KNOWN), claims(NEW)], 0),
    "an answer": ([answer(NEW)], 0),
    "an answer that nothing is missing": ([answer()], 0),
    "a heartbeat": ([beat(NOW)], 0),
}


@pytest.mark.parametrize("what", COSTS)
def test_a_peer_that_wastes_our_time_waits(
    follower, inlet, peer_key, ledger, what
):
    told, rests = COSTS[what]
    ledger.record([KNOWN])
    follower.step()
    follower._pull._id = "asked"
    used, rested = iter([0.0, 0.1, 0.1, 0.1]), []
    throttle = Throttle(cpu=lambda: next(used), sleep=rested.append)
    follower._throttle, follower._patience = throttle, 60.0
    for one in told:
        message = claims() if one == "{" else one
        headers, body = wire.encode(message, pen("two", peer_key))
        arrived = Arrived(headers, b"{" if one == "{" else body)
        inlet.arrived.append(arrived)

    follower.step()
    inlet.arrived = [Arrived(*wire.encode(beat(NOW), pen("two", peer_key)))]
    follower.step()

    assert bool(inlet.arrived) == bool(rests)
    assert rested == ([pytest.approx(0.1 * rests)] if rests else [])


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
    follower.step()
    answer(inlet, follower, peer_key)
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


HOURS = (-10, -1, 1, 10)


def sent(peer_key, hours):
    """Give an agreeing heartbeat that bears a time some hours from ours."""
    then = NOW + hours * 3600 * 1_000_000
    bearer = pen("two", peer_key, clock=lambda: then)
    return Arrived(*wire.encode(beat(then), bearer))


def view(ledger):
    peer = Peer(name="two", broker=None, keys=(), exchange="x")
    (found,) = peer_views(
        ledger, SimpleNamespace(peers=(peer,), heartbeat_interval=4), NOW
    )
    return found


@pytest.mark.parametrize("hours", HOURS)
@pytest.mark.parametrize("agreed_before", [False, True])
def test_an_old_heartbeat_says_nothing_of_now(
    follower, inlet, peer_key, ledger, caplog, *, hours, agreed_before
):
    if agreed_before:
        ledger.journal.note_peer(
            "two", received_at=NOW - 9 * DAY, agrees_until=NOW + 9 * DAY
        )
    for _ in range(3):
        inlet.arrived.append(sent(peer_key, hours))
        follower.step()

    assert view(ledger).state in {"silent", "never heard"}
    assert view(ledger).heartbeat_age != 0
    assert late(ledger, ["two"], NOW - 60, NOW) == ["two"]
    assert not [m for m in caplog.messages if "clock" in m or "agrees" in m]


@pytest.mark.parametrize("hours", HOURS)
def test_who_answers_agrees_however_wrong_its_clock_is(
    follower, inlet, peer_key, ledger, hours
):
    inlet.arrived.append(sent(peer_key, hours))
    follower.step()
    answer(inlet, follower, peer_key)
    assert view(ledger).state != "agrees"  # what came before the answer

    inlet.arrived.append(sent(peer_key, hours))
    follower.step()

    assert (view(ledger).state, view(ledger).heartbeat_age) == ("agrees", 0)
    assert "clock is" in view(ledger).known.clock
    assert late(ledger, ["two"], NOW, NOW) == []


def test_whose_clock_is_wrong_is_asked_every_half_minute(
    follower, inlet, peer_key, now
):
    follower.step()
    answer(inlet, follower, peer_key)
    for now[0] in range(0, 120, 4):
        inlet.arrived.append(sent(peer_key, -1))
        follower.step()
        if now[0] == 60:
            answer(inlet, follower, peer_key)
        asked = len({json.loads(body)["id"] for _, body in inlet.asked})
        assert asked <= 1 + now[0] // ASK_AGAIN
    assert asked > 2


def test_an_answer_proves_heartbeats_to_be_new_for_a_while_only(
    follower, inlet, peer_key, ledger, now
):
    follower.step()
    answer(inlet, follower, peer_key)
    now[0] = PROVEN_FOR - 1
    inlet.arrived.append(sent(peer_key, -1))
    follower.step()
    assert view(ledger).state == "agrees"

    now[0] = PROVEN_FOR + 1
    inlet.arrived.append(sent(peer_key, -1))
    follower.step()

    assert (view(ledger).state, view(ledger).heartbeat_age) == ("silent", 3600)


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


def test_what_is_still_refused_an_hour_later_is_kept_again(
    follower, inlet, peer_key, ledger, now
):
    foreign = pen("two", peer_key, scheme="other")
    for now[0] in (0.0, 3599.0, 3601.0):
        inlet.arrived.append(Arrived(*wire.encode(beat(NOW), foreign)))
        follower.step()

    assert len(reasons(ledger)) == 2


def test_heartbeats_of_a_clock_days_ahead_are_kept_once(
    follower, inlet, peer_key, ledger
):
    for n in range(3):
        ahead = beat(NOW + 2 * messages.MAX_AHEAD + n)
        say(inlet, follower, ahead, peer_key)

    assert len(reasons(ledger)) == 1
    assert "more than 24 h ahead" in reasons(ledger)[0]


@pytest.mark.parametrize("kind", [{"a": 1}, ["heartbeat"]])
def test_a_type_that_is_no_text_holds_nothing_up(
    follower, inlet, ledger, kind
):
    inlet.arrived.append(Arrived({"version": 1, "type": kind}, b"{}"))

    follower.step()

    assert reasons(ledger) == ["header type is missing, or no text"]
    assert inlet.acknowledged == 1


def rename(ledger, old, new):
    with ledger._engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")


def test_what_could_not_be_put_away_is_put_away_when_it_comes_again(
    follower, inlet, ledger
):
    forged = Arrived(
        *wire.encode(
            messages.Claims(claims=()), pen("two", SigningKey.generate())
        )
    )
    inlet.arrived.append(forged)
    rename(ledger, "quarantine", "away")
    with pytest.raises(SQLAlchemyError):
        follower.step()
    follower.reset()
    rename(ledger, "away", "quarantine")
    inlet.arrived.append(forged)  # it was not acknowledged

    follower.step()

    assert len(reasons(ledger)) == 1


def known(ledger, count):
    """Let the ledger have so many images; gives what moves each of them."""
    images = [image(n) for n in range(count)]
    ledger.see([Sighting(image=i, uuid=i) for i in images])
    return [
        Claim(claimed_at=NOW, image=i, wanted=Wanted(NOW, n + 1))
        for n, i in enumerate(images)
    ]


def numbers(ledger, claims):
    return list(ledger.numbers_of([c.image for c in claims]).values())


def say(inlet, follower, message, key):
    inlet.arrived.append(Arrived(*wire.encode(message, pen("two", key))))
    follower.step()


def test_a_message_that_moves_too_many_ids_is_held_but_for_the_rest(
    follower, inlet, peer_key, ledger
):
    movers = known(ledger, 3)
    before = numbers(ledger, movers)
    other = Claim(claimed_at=NOW, image=IMAGE)

    say(
        inlet,
        follower,
        messages.Claims(claims=(*movers[:2], other, movers[2])),
        peer_key,
    )

    assert numbers(ledger, movers) == before
    assert ledger.claims([IMAGE]) == {IMAGE: other}
    (reason,) = reasons(ledger)
    assert "would move 3 ids, [bus] max_moves is 2" in reason


def test_each_message_may_move_so_many_however_many_come_together(
    follower, inlet, peer_key, ledger
):
    movers = known(ledger, 6)
    for start in (0, 2, 4):
        two = messages.Claims(claims=tuple(movers[start : start + 2]))
        inlet.arrived.append(Arrived(*wire.encode(two, pen("two", peer_key))))
    follower.step()

    assert numbers(ledger, movers) == [1, 2, 3, 4, 5, 6]
    assert reasons(ledger) == []


def answer(inlet, follower, key, *claims):
    """Answer the follower's last question, with these claims."""
    question = json.loads(inlet.asked[-1][1])
    reply = messages.Answer(id=question["id"], claims=claims)
    say(inlet, follower, reply, key)


def differs(inlet, follower, key, *claims):
    """Send a heartbeat of a ledger that holds these claims."""
    say(
        inlet,
        follower,
        messages.Heartbeat(
            until=NOW + 1,
            before=print_of(claims),
            total=print_of(claims),
            newest=NOW,
        ),
        key,
    )


def test_what_is_held_is_not_asked_for_again_and_again(
    follower, inlet, peer_key, ledger, now
):
    movers = known(ledger, 3)
    others = [Claim(claimed_at=NOW, image=image(10 + n)) for n in range(9)]
    follower.step()
    answer(inlet, follower, peer_key, *movers, others[0])
    assert others[0].image in ledger.claims([others[0].image])
    asked = len(inlet.asked)

    # The peer's heartbeats go on to differ, each from the one before.
    for n, now[0] in enumerate((1.0, 30.0, 59.0)):
        differs(inlet, follower, peer_key, *others[: n + 1])
    assert len(inlet.asked) == asked

    now[0] = 61.0
    differs(inlet, follower, peer_key, *others)
    assert len(inlet.asked) == asked + 1
    answer(inlet, follower, peer_key, *movers, others[1])
    assert others[1].image in ledger.claims([others[1].image])
    assert len(reasons(ledger)) == 1
    state = ledger.journal.peer_states()["two"]
    assert state.compared_at is None
    assert state.differs_since == NOW


def test_a_claim_stamped_too_far_ahead_is_asked_for_until_it_is_due(
    follower, inlet, peer_key, ledger, now
):
    early = Claim(claimed_at=NOW + messages.MAX_AHEAD, image=IMAGE)
    follower.step()
    answer(inlet, follower, peer_key, early)
    assert "more than 24 h ahead" in reasons(ledger)[0]
    asked = len(inlet.asked)

    # Nothing else changes, here or there.
    now[0] = 61.0
    differs(inlet, follower, peer_key, early)

    assert len(inlet.asked) == asked + 1


def agrees(inlet, follower, key, ledger, *more):
    """Send a heartbeat of a ledger that holds ours, and more of later."""
    own = ledger.head().total
    then = messages.Heartbeat(
        until=NOW + 1, before=own, total=own + print_of(more), newest=NOW
    )
    say(inlet, follower, then, key)


@pytest.mark.parametrize("count", [1, messages.MAX_BAD + 150])
def test_nobody_agrees_whose_claims_are_refused(
    follower, inlet, peer_key, ledger, now, *, count
):
    early = [
        Claim(claimed_at=NOW + messages.MAX_AHEAD, image=image(n))
        for n in range(count)
    ]
    follower.step()
    answer(inlet, follower, peer_key, *early)
    agrees(inlet, follower, peer_key, ledger, *early)
    assert view(ledger).state == "differs"
    assert f"refuses {count} claims of it: " in view(ledger).refused
    assert view(ledger).known.missing_here == count

    # They are due, or the peer has lost them.
    now[0] = 61.0
    agrees(inlet, follower, peer_key, ledger, *early)
    answer(inlet, follower, peer_key)
    agrees(inlet, follower, peer_key, ledger)

    assert view(ledger).state == "agrees"


def test_a_page_of_claims_too_far_ahead_does_not_end_a_pull(
    follower, inlet, peer_key, ledger
):
    early = Claim(claimed_at=NOW + messages.MAX_AHEAD, image=IMAGE)
    missing = Claim(claimed_at=NOW, image=image(1))
    follower.step()
    question = json.loads(inlet.asked[-1][1])
    page = messages.Answer(
        id=question["id"],
        claims=(early,),
        rest=(Span(BEGINNING, Bound(NOW + 1)),),
    )

    say(inlet, follower, page, peer_key)

    assert json.loads(inlet.asked[-1][1])["id"] != question["id"]
    answer(inlet, follower, peer_key, missing)
    assert ledger.claims([missing.image]) == {missing.image: missing}
    assert ["more than 24 h ahead" in r for r in reasons(ledger)] == [True]


def test_what_a_peer_holds_is_kept_if_it_is_held_against_us(
    follower, inlet, peer_key, ledger
):
    sees = tuple(
        Seen(name=name, state="agrees", holds=f"of {name}")
        for name in ("three", "one")
    )

    say(inlet, follower, replace(beat(NOW), sees=sees), peer_key)

    kept = {v.name: v.holds for v in ledger.journal.peer_states()["two"].views}
    assert kept == {"three": "", "one": "of one"}


def test_a_heartbeat_with_an_absurd_newest_stamp_still_counts(
    follower, inlet, peer_key, ledger
):
    absurd = messages.Heartbeat(
        until=NOW, before=Print(0, 0), total=Print(0, 0), newest=2**62
    )

    say(inlet, follower, absurd, peer_key)

    assert ledger.journal.peer_states()["two"].agrees_until == NOW
    assert ledger.head().last_stamp < NOW
    assert reasons(ledger) == []
