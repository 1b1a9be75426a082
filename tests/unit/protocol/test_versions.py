"""Agents of two releases in one fleet: what each may say to the other.

tests/data/messages has a message of each type as a release wrote it. What
stands there is never edited: if one of these tests fails, regions that are
upgraded one after the other would stop to understand each other.
"""

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ec2map_sync.protocol import wire
from ec2map_sync.protocol.messages import (
    FROM_JSON,
    Answer,
    Claims,
    Compare,
    Heartbeat,
)
from ec2map_sync.protocol.seen import Seen, seen_from_json, seen_to_json
from ec2map_sync.protocol.signing import PublicKey, SigningKey
from ec2map_sync.rules.claims import (
    Bound,
    Claim,
    Print,
    Range,
    SeenKind,
    Span,
    Wanted,
)
from ec2map_sync.rules.ec2id import Kind, Scheme
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.sketches import Shape, sketch_of

FOLDER = Path(__file__).parents[2] / "data" / "messages"
NOW = 1_767_225_600_000_007
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
PEN = wire.Pen(
    region="RegionOne",
    scheme=Scheme(b"example").fingerprint,
    key=KEY,
    clock=lambda: NOW,
)
TRUST = wire.Trust(
    sender=PEN.region, keys=(PublicKey(KEY.public),), scheme=PEN.scheme
)
AT = 1_767_225_600_000_000
CLAIMS = (
    Claim(claimed_at=AT, image="ed72087d-e6b1-4b41-a695-a7a6034b1e73"),
    Claim(
        claimed_at=AT + 1,
        image="2a3d51d7-356a-45c5-aa8e-34d805812a68",
        spelling="2A3D51D7-356A-45C5-AA8E-34D805812A68",
        wanted=Wanted(AT + 2, 42),
        kind=SeenKind(AT + 3, Kind.AKI),
    ),
)
SPAN = Span(Bound(AT), Bound(AT + 9, CLAIMS[0].image))
MESSAGES = {
    "claims": Claims(claims=CLAIMS),
    "heartbeat": Heartbeat(
        until=AT, before=Print(3, 9), total=Print(4, 2**61), newest=AT + 3
    ),
    "compare": Compare(id="q1", ranges=(Range(span=SPAN, print=Print(2, 7)),)),
    "answer": Answer(
        id="q1",
        ranges=(Range(span=SPAN, print=Print(1, 5)),),
        claims=CLAIMS,
        rest=(SPAN,),
    ),
}


SIGNED = {
    "note": "a note\n\n\u2014 RegionOne =\n",
    "statement": "another\n\n\u2014 RegionOne =\n",
}


def golden(kind):
    kept = json.loads((FOLDER / f"{wire.VERSION}-{kind}.json").read_text())
    return kept["headers"], kept["body"].encode()


def received(headers, body):
    return wire.decode(headers, body, {TRUST.sender: TRUST}, NOW).message


def signed(headers, body):
    signature = KEY.sign(wire._signed(headers, body))
    return headers | {"signature": base64.b64encode(signature).decode()}


def with_news(value):
    """Add to every object what only a newer release would know."""
    if isinstance(value, dict):
        fields = {name: with_news(field) for name, field in value.items()}
        return {"new": {"a": [1]}, **fields, "newer": None}
    if isinstance(value, list):
        return [with_news(item) for item in value]
    return value


def test_a_message_of_every_type_is_kept():
    assert MESSAGES.keys() == FROM_JSON.keys()


@pytest.mark.parametrize("kind", MESSAGES)
def test_what_an_older_release_wrote_is_understood(kind):
    assert received(*golden(kind)) == MESSAGES[kind]


@pytest.mark.parametrize("kind", MESSAGES)
def test_what_we_write_is_what_older_releases_read(kind):
    headers, body = wire.encode(MESSAGES[kind], PEN)
    old_headers, old_body = golden(kind)

    # Fields may be added; those that were there stay as they are.
    assert json.loads(body) == json.loads(body) | json.loads(old_body)
    assert {**headers, **old_headers, "signature": headers["signature"]} == (
        headers
    )


def test_a_question_without_an_address_is_one_of_a_release_of_before():
    question = received(*golden("compare"))

    assert (question.to, question.until) == ("", 0)


def test_whom_a_question_is_for_stands_where_older_releases_do_not_look():
    question = replace(MESSAGES["compare"], to="RegionTwo", until=AT)
    headers, body = wire.encode(question, PEN)
    old_headers, old_body = golden("compare")

    assert headers.keys() == old_headers.keys()
    assert json.loads(body) == json.loads(old_body) | {
        "to": "RegionTwo",
        "until": AT,
    }
    assert received(headers, body) == question
    assert received(*golden("compare-addressed")) == question


def test_what_the_asker_reads_stands_where_older_releases_do_not_look():
    question = replace(MESSAGES["compare"], reads=wire.DEFLATED)
    headers, body = wire.encode(question, PEN)
    old_headers, old_body = golden("compare")

    assert headers.keys() == old_headers.keys()
    assert json.loads(body) == json.loads(old_body) | {"reads": 2}
    assert received(headers, body) == question
    assert received(*golden("compare")).reads == wire.VERSION


SKETCHED = replace(
    MESSAGES["compare"],
    reads=2,
    sketch=sketch_of(
        [claim.hash for claim in CLAIMS],
        Shape(size=8, keys=(2**30, 2**31 - 1, 1_500_000_001)),
    ),
)


def test_a_sketch_stands_where_older_releases_do_not_look():
    headers, body = wire.encode(SKETCHED, PEN)
    _, old_body = golden("compare")

    assert json.loads(body) == json.loads(body) | json.loads(old_body)
    assert received(headers, body) == SKETCHED
    assert received(*golden("compare-sketched")) == SKETCHED


def test_how_much_differs_stands_where_older_releases_do_not_look():
    answer = replace(MESSAGES["answer"], differences=7, reads=2)
    _, body = wire.encode(answer, PEN)
    _, old_body = golden("answer")

    assert json.loads(body) == json.loads(old_body) | {
        "differences": 7,
        "reads": 2,
    }


def test_an_answer_that_was_deflated_is_understood():
    kept = json.loads((FOLDER / "2-answer.json").read_text())
    body = base64.b64decode(kept["body"])

    assert received(kept["headers"], body) == MESSAGES["answer"]


@pytest.mark.parametrize("kind", MESSAGES)
def test_only_for_those_who_read_it_is_anything_deflated(kind):
    plain = wire.encode(MESSAGES[kind], PEN)
    headers, body = wire.encode(MESSAGES[kind], PEN, reads=wire.DEFLATED)

    assert plain[0]["version"] == wire.VERSION
    assert headers["version"] == wire.DEFLATED
    assert len(body) < len(plain[1])
    assert received(headers, body) == received(*plain) == MESSAGES[kind]


def test_a_note_stands_where_older_releases_do_not_look():
    signed = replace(MESSAGES["heartbeat"], **SIGNED)
    headers, body = wire.encode(signed, PEN)
    old_headers, old_body = golden("heartbeat")

    assert headers.keys() == old_headers.keys()
    assert json.loads(body) == json.loads(old_body) | SIGNED
    assert received(headers, body) == signed
    assert received(*golden("heartbeat-signed")) == signed
    assert received(*golden("heartbeat")).note == ""


@pytest.mark.parametrize("kind", MESSAGES)
def test_what_only_a_newer_release_knows_is_ignored(kind):
    headers, body = golden(kind)
    more = json.dumps(with_news(json.loads(body))).encode()
    headers = signed({**headers, "new": "header"}, more)

    assert received(headers, more) == MESSAGES[kind]


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        (wire.DEFLATED + 1, "upgrade ec2map-sync here"),
        (wire.VERSION - 1, "upgrade ec2map-sync in the sender's region"),
    ],
)
def test_another_version_says_on_which_side_to_upgrade(version, advice):
    headers, body = golden("claims")

    with pytest.raises(BadMessage, match=advice):
        received(signed({**headers, "version": version}, body), body)


@pytest.mark.parametrize("version", [None, True, 1.0, "1", [1]])
def test_what_is_no_version_is_refused(version):
    headers, body = golden("claims")

    with pytest.raises(BadMessage, match=r"we speak 1 and 2$"):
        received(signed({**headers, "version": version}, body), body)


def test_a_type_of_a_newer_release_is_refused_as_such():
    headers, body = golden("claims")

    with pytest.raises(BadMessage, match="a newer release may know it"):
        received(signed({**headers, "type": "news"}, body), body)


def test_how_peers_are_seen_stands_where_older_releases_do_not_look():
    views = (
        Seen(name="RegionTwo", state="agrees", agrees_until=AT, lag=0),
        Seen(name="RegionThree", state="silent"),
        Seen(name="RegionFour", state="differs", holds="its note"),
    )
    heartbeat = replace(MESSAGES["heartbeat"], sees=views)
    headers, body = wire.encode(heartbeat, PEN)
    old_headers, old_body = golden("heartbeat")

    assert headers.keys() == old_headers.keys()
    assert json.loads(body) == json.loads(old_body) | {
        "sees": [
            ["RegionTwo", "agrees", AT, 0],
            ["RegionThree", "silent", None, None],
            [
                "RegionFour",
                "differs",
                None,
                None,
                None,
                None,
                "its note",
            ],
        ]
    }
    assert received(headers, body) == heartbeat


@pytest.mark.parametrize(
    ("sees", "read"),
    [
        (None, 0),
        ("x", 0),
        ({}, 0),
        ([1, None, [], ["x"], [1, 2, 3, 4]], 0),
        ([["", "agrees", 1, 1]], 0),
        ([["x" * 65, "agrees", 1, 1]], 0),
        ([["x", "<b>", 1, 1]], 0),
        ([["x", "agrees", "1", -1], ["y", "late", True, 2**70, "new"]], 2),
        ([["x", "late", {}, [], 0, 0, 5], ["y", *["\ud800"] * 3]], 1),
        ([["x", "late", {}, [], 0, 0, "\ud800"], ["y", "late", -1, ""]], 2),
        ([[f"x{n % 900}", "agrees", 1, 1] for n in range(1000)], 64),
    ],
)
def test_a_malformed_view_refuses_no_heartbeat(sees, read):
    headers, body = golden("heartbeat")
    told = json.dumps(json.loads(body) | {"sees": sees}).encode()

    message = received(signed(headers, told), told)

    assert replace(message, sees=()) == MESSAGES["heartbeat"]
    assert len(message.sees) == read
    if read == 2:
        for one in message.sees:
            assert (one.agrees_until, one.lag, one.holds) == (None, None, "")


def test_whatever_a_peer_sees_fits_where_it_is_kept():
    """64 KiB, in MySQL; of what it holds, what is held of us is kept."""
    worst = [
        ["\U0001f600" * 60 + f"{n:04}", "never heard", *[2**62 - 1] * 4, ""]
        for n in range(64)
    ]
    worst[0][-1] = "\U0001f600" * 512

    views = seen_from_json([*worst, *worst])

    assert len(views) == 64
    assert [len(one.holds) for one in views] == [512] + [0] * 63
    assert len(json.dumps(seen_to_json(views))) < 2**16
    assert not seen_from_json([["x", "late", 1, 1, 1, 1, "x" * 513]])[0].holds
