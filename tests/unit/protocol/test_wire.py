"""Messages: what goes out comes back, and nothing else gets in."""

import base64
import contextlib
import dataclasses
import gzip
import json
import random
import tracemalloc
import zlib

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.signing import PublicKey, SigningKey
from ec2map_sync.protocol.spans import sketch_to_json
from ec2map_sync.rules.claims import (
    Bound,
    Claim,
    Print,
    Range,
    SeenKind,
    Span,
    Wanted,
)
from ec2map_sync.rules.ec2id import Kind
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.sketches import Shape, sketch_of

NOW = 1_800_000_000_000_000
KEY = SigningKey.generate()
PEN = wire.Pen(region="one", scheme="s", key=KEY, clock=lambda: NOW)
TRUST = wire.Trust(sender="one", keys=(PublicKey(KEY.public),), scheme="s")
IMAGE = "2a3d51d7-356a-45c5-aa8e-34d805812a68"

stamps = st.integers(1, NOW)
claims = st.builds(
    Claim,
    claimed_at=stamps,
    image=st.uuids().map(str),
    wanted=st.none() | st.builds(Wanted, stamps, st.integers(1, 2**30 - 1)),
    kind=st.none() | st.builds(SeenKind, stamps, st.sampled_from(Kind)),
)


def sent(message, pen=PEN):
    return wire.encode(message, pen)


def received(headers, body, trust=TRUST):
    return wire.decode(headers, body, {trust.sender: trust}, NOW).message


@given(st.lists(claims))
def test_claims_come_back_as_they_went(batch):
    message = messages.Claims(claims=tuple(batch))

    assert received(*sent(message)) == message


def test_a_heartbeat_comes_back_as_it_went():
    message = messages.Heartbeat(
        until=NOW - 5, before=Print(3, 9), total=Print(4, 12), newest=NOW
    )

    assert received(*sent(message)) == message


def test_the_spelling_travels_apart_from_the_key():
    claim = Claim(claimed_at=1, image=IMAGE, spelling=IMAGE.upper())

    (back,) = received(*sent(messages.Claims(claims=(claim,)))).claims
    assert back == claim


def test_unknown_fields_are_ignored():
    body = json.dumps(
        {"claims": [{"image": IMAGE, "claimed_at": 1, "new": 1}], "x": {}}
    ).encode()

    assert received(*signed(body)).claims[0].image == IMAGE


def signed(body: bytes, **changed):
    headers = {
        "version": 1,
        "type": "claims",
        "sender": "one",
        "scheme": "s",
        "sent_at": NOW,
    } | changed
    signature = KEY.sign(wire._signed(headers, body))
    return headers | {"signature": base64.b64encode(signature).decode()}, body


@pytest.mark.parametrize(
    "name", ["version", "type", "sender", "scheme", "sent_at", "signature"]
)
def test_a_changed_header_is_refused(name):
    headers, body = sent(messages.Claims(claims=()))

    for value in (None, 7, "x", [], b"\xff"):
        with pytest.raises(BadMessage):
            received({**headers, name: value}, body)
    del headers[name]
    with pytest.raises(BadMessage):
        received(headers, body)


def test_a_changed_body_is_refused():
    headers, body = sent(messages.Claims(claims=()))

    with pytest.raises(BadMessage, match="key"):
        received(headers, body + b" ")


def test_an_unsigned_message_is_refused():
    pen = dataclasses.replace(PEN, key=None)

    with pytest.raises(BadMessage, match="signature"):
        received(*sent(messages.Claims(claims=()), pen))


def test_another_hash_key_is_named():
    pen = dataclasses.replace(PEN, scheme="t")

    with pytest.raises(BadMessage, match="hash_key"):
        received(*sent(messages.Claims(claims=()), pen))


def test_either_of_two_keys_is_believed_while_a_peer_rotates():
    new = SigningKey.generate()
    trust = dataclasses.replace(
        TRUST, keys=(PublicKey(new.public), PublicKey(KEY.public))
    )
    pen = dataclasses.replace(PEN, key=new)

    received(*sent(messages.Claims(claims=()), pen), trust)
    received(*sent(messages.Claims(claims=())), trust)


@pytest.mark.parametrize(
    "bad",
    [
        {"image": "x", "claimed_at": 1},
        {"image": IMAGE},
        {"image": IMAGE, "claimed_at": True},
        {"image": IMAGE, "claimed_at": 0},
        {"image": IMAGE, "claimed_at": NOW + messages.MAX_AHEAD},
        {"image": IMAGE, "claimed_at": 1, "wanted": [1, 2**30]},
        {"image": IMAGE, "claimed_at": 1, "wanted": [1, 0]},
        {"image": IMAGE, "claimed_at": 1, "kind": [1, "iso"]},
        {"image": IMAGE, "claimed_at": 1, "kind": 3},
        {"image": IMAGE, "claimed_at": 1, "kind": []},
        {"image": IMAGE, "claimed_at": 1, "wanted": 0},
        {"image": IMAGE, "claimed_at": 1, "wanted": False},
        {"image": IMAGE, "claimed_at": 1, "wanted": [NOW * 2, 7]},
        {"image": IMAGE, "claimed_at": 1, "wanted": {}},
        {"image": IMAGE, "claimed_at": {"a": [[]]}},
        {"image": "\ud800" * 36, "claimed_at": 1},
        {"image": None, "claimed_at": 1},
        7,
        None,
    ],
)
def test_one_bad_claim_costs_only_itself(bad):
    good = {"image": IMAGE, "claimed_at": 1}
    body = json.dumps({"claims": [good, bad, good]}).encode()

    message = received(*signed(body))

    assert len(message.claims) == 2
    assert len(message.bad) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"claims": 3}',
        b'{"claims": [], "claims": []}',
        b'{"claims": NaN}',
        b"[" * 100_000,
        b'{"claims": ' + b"9" * 5000 + b"}",
        b"\xff\xfe",
        b"x" * (wire.MAX_BODY + 1),
    ],
)
def test_a_malformed_body_is_refused(body):
    with pytest.raises(BadMessage):
        received(*signed(body))


@given(st.lists(claims, min_size=3))
def test_deflated_claims_come_back_as_they_went(batch):
    message = messages.Claims(claims=tuple(batch))
    headers, body = wire.encode(message, PEN, reads=wire.DEFLATED)

    assert headers["version"] == wire.DEFLATED
    assert received(headers, body) == message


def test_what_deflating_would_make_longer_stays_as_it_is():
    message = messages.Claims(claims=())

    assert wire.encode(message, PEN, reads=wire.DEFLATED) == sent(message)


def test_what_deflates_too_well_stays_as_it_is():
    """It would be taken for a bomb."""
    same = (Claim(claimed_at=1, image=IMAGE),) * 5000
    message = messages.Claims(claims=same)
    headers, body = wire.encode(message, PEN, reads=wire.DEFLATED)

    assert headers["version"] == wire.VERSION
    assert received(headers, body) == message


def bomb(size: int) -> bytes:
    return zlib.compress(b'{"claims": []' + b" " * size + b"}", 9)


@pytest.mark.parametrize(
    "size", [2**20, 2**22, pytest.param(2**28, marks=pytest.mark.search)]
)
def test_a_bomb_is_refused_before_it_goes_off(size):
    headers, body = signed(bomb(size), version=wire.DEFLATED)
    tracemalloc.start()

    try:
        with pytest.raises(BadMessage, match="it inflates to more than"):
            received(headers, body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 3 * wire.MAX_INFLATED


def test_no_more_is_inflated_than_a_body_may_have():
    noise = random.Random(1).randbytes(wire.MAX_INFLATED // 2).hex()
    text = json.dumps({"claims": [], "noise": noise}).encode()
    headers, body = signed(zlib.compress(text), version=wire.DEFLATED)
    assert len(text) < wire.MAX_INFLATION * len(body)

    with pytest.raises(BadMessage, match=f"than {wire.MAX_INFLATED} bytes"):
        received(headers, body)


GOOD = zlib.compress(b'{"claims": []}')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"claims": []}',
        GOOD[:-1],
        GOOD + b"x",
        GOOD + GOOD,
        GOOD[:5] + bytes([GOOD[5] ^ 1]) + GOOD[6:],
        GOOD[2:-4],  # without its head
        gzip.compress(b'{"claims": []}', mtime=0),
        zlib.compress(GOOD),
        zlib.compress(b"[]"),
        zlib.compress(b"[" * 20_000 + b"x" * 20),
        b"\x78\xbb" + bytes(10),  # asks for a dictionary
    ],
)
def test_what_is_deflated_and_malformed_is_refused(body):
    with pytest.raises(BadMessage, match="malformed claims"):
        received(*signed(body, version=wire.DEFLATED))


def test_nothing_is_inflated_that_no_peer_has_signed(monkeypatch):
    headers, body = signed(bomb(2**20), version=wire.DEFLATED)
    monkeypatch.delattr(wire.zlib, "decompressobj")

    with pytest.raises(BadMessage, match="signed with a key"):
        received(headers, body + b" ")
    with pytest.raises(BadMessage, match="signed with a key"):
        received(headers | {"version": wire.VERSION}, body)


@given(st.binary(max_size=200))
def test_any_deflated_bytes_are_read_or_refused(text):
    for body in (text, zlib.compress(text)):
        with contextlib.suppress(BadMessage):
            received(*signed(body, version=wire.DEFLATED))


@pytest.mark.parametrize("reads", [0, -1, True, "2", None, 2**31, [2]])
def test_what_is_no_version_that_somebody_reads_is_refused(reads):
    body = json.dumps({"id": "x", "ranges": [], "reads": reads}).encode()

    with pytest.raises(BadMessage, match="reads is"):
        received(*signed(body, type="compare"))


@given(st.sets(st.integers(0, 2**40 - 1), max_size=30), st.integers(0, 40))
def test_a_sketch_comes_back_as_it_went(hashes, differences):
    sketch = sketch_of(hashes, Shape.draw(differences))
    question = messages.Compare(id="x", ranges=(), reads=2, sketch=sketch)

    for reads in (1, 2):
        assert received(*wire.encode(question, PEN, reads)) == question


SKETCH = sketch_to_json(sketch_of([1, 2, 3], Shape(size=9, keys=(2**30,) * 3)))


@pytest.mark.parametrize(
    "changed",
    [
        {"size": 10},
        {"size": 0},
        {"size": 3001},
        {"size": 10**9},
        {"size": True},
        {"size": None},
        {"keys": [2**30] * 2},
        {"keys": [2**30] * 4},
        {"keys": [2**30, 2**30, 1]},
        {"keys": [2**30, 2**30, 0]},
        {"keys": [2**30, 2**30, 2**31]},
        {"keys": [2**30, 2**30, "7"]},
        {"keys": 7},
        {"buckets": ""},
        {"buckets": "%%%"},
        {"buckets": "\u00e4" * 360},
        {"buckets": 7},
        {"buckets": SKETCH["buckets"] + "AAAA"},
        {"buckets": "B" + SKETCH["buckets"][1:]},  # of other claims
    ],
)
def test_what_is_no_sketch_is_refused_before_anything_is_counted(changed):
    fields = {"id": "x", "ranges": [], "sketch": SKETCH | changed}
    body = json.dumps(fields).encode()

    with pytest.raises(BadMessage):
        received(*signed(body, type="compare"))
    good = json.dumps(fields | {"sketch": SKETCH}).encode()
    received(*signed(good, type="compare"))


@pytest.mark.parametrize("sketch", [7, [], {}, "x", True])
def test_what_is_not_even_like_a_sketch_is_refused(sketch):
    body = json.dumps({"id": "x", "ranges": [], "sketch": sketch}).encode()

    with pytest.raises(BadMessage):
        received(*signed(body, type="compare"))


@pytest.mark.parametrize("kind", ["claims", "answer"])
def test_a_claim_nested_as_deep_as_can_be_costs_only_itself(kind):
    deep = "[" * 900 + "]" * 900
    good = {"image": IMAGE, "claimed_at": 1}
    fields = {"id": "x", "ranges": [], "rest": [], "claims": [good, "deep"]}
    body = json.dumps(fields).replace('"deep"', deep).encode()

    message = received(*signed(body, type=kind))

    assert [c.image for c in message.claims] == [IMAGE]
    assert len(message.bad) == 1


def test_of_many_bad_claims_only_some_are_kept():
    good = {"image": IMAGE, "claimed_at": 1}
    body = json.dumps({"claims": [*[7] * 100_000, good]}).encode()

    message = received(*signed(body))

    assert len(message.claims) == 1
    assert len(message.bad) == messages.MAX_BAD + 1
    assert message.bad[-1].reason.startswith("99900 more")


@pytest.mark.parametrize("item", ["7", "{}", '"a,b"'])
def test_what_takes_long_to_parse_is_refused_unread(item, monkeypatch):
    monkeypatch.setattr(wire, "_verify", None)
    text = ",".join([item] * (wire.MAX_COMMAS + 2))

    with pytest.raises(BadMessage, match="commas"):
        received(*signed(f'{{"claims":[{text}]}}'.encode()))


def test_the_largest_page_is_not_taken_for_rubbish():
    claim = Claim(
        claimed_at=NOW,
        image=IMAGE,
        spelling=IMAGE.upper(),
        wanted=Wanted(NOW, 17),
        kind=SeenKind(NOW, Kind.AKI),
    )
    bound = Bound(NOW, IMAGE)
    part = Range(span=Span(bound, bound), print=Print(10**6, 2**61))
    answer = messages.Answer(
        id="x" * messages.MAX_ID,
        claims=(claim,) * 10_000,
        ranges=(part,) * messages.MAX_PARTS,
        rest=(part.span,) * messages.MAX_PARTS,
    )

    assert received(*sent(answer)) == answer


@pytest.mark.parametrize("value", ["\ud800", "x\udfff"])
@pytest.mark.parametrize("name", ["type", "sender", "scheme", "signature"])
def test_half_a_surrogate_pair_is_no_text(name, value):
    headers, body = sent(messages.Claims(claims=()))

    with pytest.raises(BadMessage, match=name):
        received({**headers, name: value}, body)


@pytest.mark.parametrize("kind", ["compare", "answer"])
def test_more_ranges_than_anybody_asks_for_are_refused(kind):
    one = [[0, ""], [1, ""], 1, 1]
    body = json.dumps(
        {"id": "x", "ranges": [one] * 3000, "claims": [], "rest": []}
    ).encode()

    with pytest.raises(BadMessage, match="3000 ranges"):
        received(*signed(body, type=kind))


@pytest.mark.parametrize("kind", ["compare", "answer"])
@pytest.mark.parametrize(
    "spans",
    [
        [((0, ""), (9, "")), ((0, ""), (9, ""))],
        [((5, ""), (9, "")), ((0, ""), (5, "0"))],
        [((0, ""), (1, "")), ((2, ""), (9, "")), ((3, ""), (4, ""))],
    ],
)
def test_nobody_is_made_to_look_at_claims_more_than_once(kind, spans):
    ranges = [[start, stop, 1, 1] for start, stop in spans]
    fields = {"id": "x", "ranges": ranges, "claims": [], "rest": []}

    with pytest.raises(BadMessage, match="overlap"):
        received(*signed(json.dumps(fields).encode(), type=kind))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


FIELDS = {
    "claims": ["claims"],
    "heartbeat": ["until", "count", "sum", "total", "total_sum", "newest"],
    "compare": ["id", "ranges", "sketch"],
    "answer": ["id", "ranges", "claims", "rest", "differences"],
    "nonsense": ["claims"],
}
odd_numbers = st.sampled_from([0, 1, NOW, 2**30, 2**62, 2**63, 10**40, -1])
odd_claims = st.fixed_dictionaries(
    {},
    optional={
        "image": st.just(IMAGE) | st.just(IMAGE.upper()) | json_values,
        "claimed_at": odd_numbers | json_values,
        "wanted": st.tuples(odd_numbers, odd_numbers) | json_values,
        "kind": st.tuples(odd_numbers, st.sampled_from(["ami", ""]))
        | json_values,
    },
)
odd_bounds = st.tuples(
    odd_numbers, st.sampled_from(["", IMAGE, "~", "z" * 99])
)
odd_ranges = st.tuples(odd_bounds, odd_bounds, odd_numbers, odd_numbers)
odd_values = (
    json_values
    | odd_numbers
    | st.lists(odd_claims | odd_ranges | st.tuples(odd_bounds, odd_bounds))
)
bodies = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda kind: st.tuples(
        st.just(kind),
        st.fixed_dictionaries(dict.fromkeys(FIELDS[kind], odd_values)).map(
            lambda fields: json.dumps(fields).encode()
        )
        | st.binary(),
    )
)
header_values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary()
    | st.text(st.characters(codec=None))
    | st.dictionaries(st.text(), st.integers())
)


@settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(bodies)
def test_nothing_but_bad_message_leaves_the_decoder(message):
    kind, body = message
    with contextlib.suppress(BadMessage):
        received(*signed(body, type=kind))


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["version", "type", "sender", "scheme", "sent_at", "signature"]
        ),
        header_values,
    )
)
def test_nothing_but_bad_message_comes_of_any_headers(strange):
    headers, body = sent(messages.Claims(claims=()))

    with contextlib.suppress(BadMessage):
        received(headers | strange, body)
