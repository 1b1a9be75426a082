"""Whatever stands in a field of what a peer signs, others are heard."""

import base64
import copy
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from two_ends import Arrived, Inbox, Outlet

from ec2map_sync.peers.answerer import Answerer
from ec2map_sync.peers.follower import Follower
from ec2map_sync.peers.throttle import Throttle
from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.agreements import Terms
from ec2map_sync.protocol.notes import Note, sign
from ec2map_sync.protocol.seen import Seen
from ec2map_sync.protocol.signing import PublicKey, SigningKey
from ec2map_sync.protocol.statements import first
from ec2map_sync.rules.canaries import canary_of
from ec2map_sync.rules.claims import (
    BEGINNING,
    Bound,
    Claim,
    Print,
    Range,
    SeenKind,
    Span,
    Wanted,
)
from ec2map_sync.rules.ec2id import Kind
from ec2map_sync.rules.sketches import Shape, sketch_of
from ec2map_sync.sql.statements import batched

NOW = 1_800_000_000_000_000
IMAGE = "2a3d51d7-356a-45c5-aa8e-34d805812a68"
OTHER = "aaaaaaaa-0000-4000-8000-000000000001"
KEY = SigningKey.generate()

ODD = [
    None,
    True,
    -1,
    2**62 - 1,
    2**64,
    10**400,
    1.5,
    [],
    {},
    "",
    "\0",
    "\ud800",
    [[0, ""], [NOW, ""], 1, 1],
    ["one", "agrees", 1, 1, NOW, 2**62 - 1],
]


def signed(text):
    return str(Note(text=text, signatures=(sign(text, "two", KEY),)))


TERMS = Terms(
    scheme="s", until=NOW, count=3, claims=bytes(32), mapping=bytes(32)
)
CLAIM = Claim(
    claimed_at=NOW - 5,
    image=IMAGE,
    spelling=IMAGE.upper(),
    wanted=Wanted(NOW - 4, 7),
    kind=SeenKind(NOW - 3, Kind.AKI),
)
RANGE = Range(span=Span(BEGINNING, Bound(NOW, OTHER)), print=Print(3, 77))
SAID: list[messages.Message] = [
    messages.Heartbeat(
        until=NOW - 3,
        before=Print(1, 2),
        total=Print(1, 2),
        newest=NOW - 3,
        note=signed(TERMS.text),
        statement=signed(first("two", NOW, length=1, text=TERMS.text).text),
        sees=(Seen(name="one", state="agrees", canary=NOW - 9, canary_at=1),),
    ),
    messages.Claims(
        claims=(CLAIM, Claim(claimed_at=NOW, image=canary_of("two", 1)))
    ),
    messages.Answer(id="a", ranges=(RANGE,), differences=1, reads=2),
    messages.Answer(id="a", claims=(CLAIM,), rest=(RANGE.span,)),
]
ASKED = messages.Compare(
    id="a",
    ranges=(RANGE,),
    to="one",
    until=NOW + 1000,
    reads=2,
    sketch=sketch_of([1, 2, 3], Shape.draw(3)),
)


class Inlet(Inbox):
    """Gives out what has arrived, and knows what was asked."""

    def ask(self, _headers, _body):
        pass


def pen(region):
    return wire.Pen(region=region, scheme="s", key=KEY, clock=lambda: NOW)


TRUST = wire.Trust(sender="two", keys=(PublicKey(KEY.public),), scheme="s")


def places(value, at=()) -> Iterator[tuple]:
    yield at
    inside = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for key, one in inside:
        yield from places(one, (*at, key))


def with_one(fields, at, odd):
    if not at:
        return odd
    fields = inner = copy.deepcopy(fields)
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = odd
    return fields


def arrived(message, fields):
    headers, _ = wire.encode(message, pen("two"))
    body = json.dumps(fields).encode()
    data = wire._signed(headers, body)
    signature = base64.b64encode(KEY.sign(data)).decode()
    return Arrived({**headers, "signature": signature}, body)


def oddities(message):
    _, fields = wire.TO_JSON[type(message)](message)
    return [
        arrived(message, with_one(fields, at, odd))
        for at in places(fields)
        for odd in ODD
    ]


@pytest.mark.parametrize("said", SAID, ids=["beat", "claims", "far", "near"])
def test_a_follower_goes_on(ledger, said):
    inlet = Inlet()
    follower = Follower(
        ledger,
        inlet,
        TRUST,
        pen("one"),
        recorded=lambda: None,
        patience=0,
        max_moves=100,
        max_evictions=100,
        throttle=Throttle(cpu=lambda: 0.0),
    )
    ledger._clock = ledger.journal._clock = lambda: NOW
    follower.step()
    # Of answers to one question only the first is looked at.
    at_once = 1 if isinstance(said, messages.Answer) else 50
    for some in batched(oddities(said), at_once):
        if follower._pull:
            follower._pull._id = "a"
        inlet.arrived = list(some)
        follower.step()

    good = Claim(claimed_at=NOW, image=OTHER)
    told = messages.Claims(claims=(good,))
    inlet.arrived = [Arrived(*wire.encode(told, pen("two")))]
    follower.step()
    assert ledger.claims([OTHER]) == {OTHER: good}


def test_an_answerer_goes_on(ledger):
    inbox, outlet = Inbox(), Outlet()
    answerer = Answerer(
        ledger,
        inbox,
        outlet,
        pen("one"),
        {"two": TRUST},
        patience=0,
        throttle=Throttle(cpu=lambda: 0.0),
    )
    inbox.arrived = oddities(ASKED)
    answerer.step()

    answered = len(outlet.sent)
    inbox.arrived = [Arrived(*wire.encode(replace(ASKED, id="b"), pen("two")))]
    answerer.step()
    assert len(outlet.sent) == answered + 1
