"""A peer that knows its key, or an account, and means no good."""

import base64
import json
import zlib
from uuid import uuid4

import pytest
from fleet import INFO, await_reading, login, pair, running
from impostor import pen_of, publish
from odd import READ, TAKEN, publish as publish_odd
from patience import wait_until

from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.signing import SigningKey
from ec2map_sync.rules.claims import Claim, SeenKind, Wanted
from ec2map_sync.rules.ec2id import DERIVED, Kind, Scheme
from ec2map_sync.rules.stamps import wall_clock

pytestmark = pytest.mark.services

HOUR = 3600 * 1_000_000
DAY = 24 * HOUR
BODIES = "SELECT body FROM quarantine"
SCHEME = Scheme(b"tests").fingerprint


@pytest.fixture(scope="module")
def regions(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    """RegionOne listens; in the place of RegionTwo's agent is the test."""
    directory = tmp_path_factory.mktemp("hostile")
    one, two = pair(rabbit_a, rabbit_b, mariadb, directory)
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        one.await_log("agrees with RegionTwo")
        two.kill()
        yield one, two


@pytest.fixture
def pen(regions):
    _, two = regions
    return pen_of(two)


def signed(pen, body, kind="claims", **headers):
    """Sign whatever it is, as the peer."""
    fields = {
        "version": wire.VERSION,
        "type": kind,
        "sender": pen.region,
        "scheme": pen.scheme,
        "sent_at": wall_clock(),
    } | headers
    signature = pen.key.sign(wire._signed(fields, body))
    return fields | {"signature": base64.b64encode(signature).decode()}, body


def good(pen, **fields):
    """Give a claim, and the message that has it."""
    claim = Claim(claimed_at=wall_clock(), image=str(uuid4()), **fields)
    return claim, wire.encode(messages.Claims(claims=(claim,)), pen)


def tell(regions, many, **properties):
    """Let the peer's broker bring these to RegionOne."""
    _, two = regions
    publish(two.bus_url, many, **properties)


def drained(region, queue):
    return region.rabbit.queue_depths(region.vhost)[queue] == 0


def quarantined(region):
    found = region.sql("ledger", "SELECT reason FROM quarantine ORDER BY id")
    return [str(reason) for (reason,) in found]


def bad_messages(pen):
    stranger = wire.Pen(
        region=pen.region,
        scheme=SCHEME,
        key=SigningKey.generate(),
        clock=wall_clock,
    )
    other = wire.Pen(
        region=pen.region, scheme="other", key=pen.key, clock=wall_clock
    )
    nothing = messages.Claims(claims=())
    headers, body = wire.encode(nothing, pen)
    return {
        "broken JSON": signed(pen, b'{"claims": ['),
        "no bytes": signed(pen, b""),
        "5 MB": signed(pen, b'{"claims": [' + b" " * 5_000_000 + b"]}"),
        "a key twice": signed(pen, b'{"claims": [], "claims": []}'),
        "no list": signed(pen, b'{"claims": 7}'),
        "unknown version": signed(pen, body, version=9),
        "unknown type": signed(pen, body, kind="verdict"),
        "forged": (headers, body + b" "),
        "no headers": ({}, body),
        "unknown key": wire.encode(nothing, stranger),
        "other scheme": wire.encode(nothing, other),
        "other sender": (headers | {"sender": "RegionOne"}, body),
        "half a character": (headers | {"type": "\ud800"}, body),
        "a table for a type": (headers | {"type": {"a": 1}}, b"1"),
        "a list for a type": (headers | {"type": ["heartbeat"]}, b"2"),
        "odd version": (headers | {"version": "\x00\ud800"}, body),
        "odd names": (headers | {b"\xff\xfe": 1, "signature": None}, body),
        "long headers": (headers | {"x": "y" * 90_000, "type": 1}, body),
        "a question": wire.encode(messages.Compare(id="x", ranges=()), pen),
        "packed": (headers | {"compression": "nonsense"}, b"x"),
        "a bomb": (
            headers | {"compression": "zlib"},
            zlib.compress(bytes(200_000_000)),
        ),
    }


def test_hundreds_of_bad_messages_between_good_ones_hold_nothing_up(
    regions, pen
):
    one, _ = regions
    bad = bad_messages(pen)
    claims, queue = [], []
    for message in bad.values():
        claim, sent = good(pen)
        claims.append(claim.image)
        large = len(message[1]) > 1_000_000
        queue += [message] * (3 if large else 100) + [sent]
    follower = one.services()["follower"]

    tell(regions, queue)

    one.await_images(claims, 60)
    wait_until(lambda: drained(regions[1], "ec2map_sync.RegionOne"), 30)
    assert one.services()["follower"] == follower
    assert "Traceback" not in one.log()
    assert len(quarantined(one)) >= len(bad) - 1


@pytest.mark.parametrize("encoding", ["utf-7", "unicode_escape", "nonsense"])
def test_what_a_body_is_said_to_be_encoded_in_is_nobody_s_business(
    regions, pen, encoding
):
    one, _ = regions
    claim, sent = good(pen)

    tell(regions, [(sent[0], rb"+2AA-\ud800")], content_encoding=encoding)
    tell(regions, [sent], content_encoding=encoding)

    one.await_images([claim.image])
    assert "Traceback" not in one.log()


def test_what_py_amqp_cannot_read_is_quarantined_and_holds_nothing_up(
    regions, pen
):
    one, two = regions
    asks = login(one.bus_url, one.account_of(two))
    one.glance.declare()
    one.await_log("listening on")
    before = len(quarantined(one))
    lines = len(one.log())
    # As if it were known already, the same would be put away once.
    odd = {f"{n}".encode(): p for n, p in enumerate(TAKEN.values())}
    for body, properties in odd.items():
        publish_odd(
            two.bus_url, "ec2map_sync", "claims", b"p" + body, properties
        )
        publish_odd(
            asks, "ec2map_sync.requests", "compare", b"q" + body, properties
        )
        publish_odd(one.bus_url, "glance", INFO, b"g" + body, properties)
    for properties in READ.values():
        publish_odd(two.bus_url, "ec2map_sync", "claims", b"r", properties)
    claim, sent = good(pen)

    tell(regions, [sent])
    mine = one.glance.create(1)

    one.await_images([claim.image, *mine])
    wait_until(lambda: drained(one, "ec2map_sync.requests"))
    bodies = {bytes(b) for (b,) in one.sql("ledger", BODIES)}
    assert {w + body for w in (b"p", b"q", b"g") for body in odd} <= bodies
    assert "Traceback" not in one.log(lines)
    why = [r for r in quarantined(one)[before:] if "its properties: " in r]
    assert len(why) >= 3 * len(odd)


def test_a_routing_key_that_is_no_text_is_nobody_s_business(regions, pen):
    one, two = regions
    asks = login(one.bus_url, one.account_of(two))
    since = len(one.log())
    question = wire.encode(messages.Compare(id="y", ranges=()), pen)

    for key in (b"\xff", b"\xff\xfe.compare", b"\xc3" * 200):
        publish(asks, [question], exchange="ec2map_sync.requests", key=key)

    wait_until(lambda: drained(one, "ec2map_sync.requests"))
    assert "waits and tries again" not in one.log(since)


def test_bad_claims_cost_only_themselves(regions, pen):
    one, _ = regions
    before = len(quarantined(one))
    odd = {
        "number 0": {"wanted": 0},
        "number too high": {"wanted": [1, 2**30]},
        "number below": {"wanted": [1, -1]},
        "ahead": {"claimed_at": wall_clock() + 2 * DAY},
        "wanted ahead": {"wanted": [wall_clock() + 2 * DAY, 5]},
        "kind": {"kind": []},
        "no UUID": {"image": "x"},
    }
    items, images = [], []
    for fields in odd.values():
        image = str(uuid4())
        images.append(image)
        items.append({"image": str(uuid4()), "claimed_at": 1} | fields)
        items.append({"image": image.upper(), "claimed_at": wall_clock()})
    body = json.dumps({"claims": items}).encode()

    tell(regions, [signed(pen, body)])

    one.await_images([image.upper() for image in images])
    assert len(quarantined(one)) == before + len(odd)


def test_valid_but_absurd_claims_settle_as_any_others(regions, pen):
    one, _ = regions
    mine = sorted(one.glance.create(5))
    one.await_images(mine)
    numbers = {uuid: number for number, uuid in one.rows("cell1")}
    near = wall_clock() + DAY - 60 * 1_000_000
    images = [str(uuid4()) for _ in range(300)]
    crowd = [
        # All at the limit of time, twice in one batch, in odd spelling, all
        # after the same number: one that somebody holds.
        Claim(
            claimed_at=near,
            image=image,
            spelling=image.upper() if n % 2 else "",
            wanted=Wanted(near, numbers[mine[0]]),
            kind=SeenKind(near, Kind.AKI),
        )
        for n, image in enumerate(images + images)
    ]

    tell(regions, [wire.encode(messages.Claims(claims=tuple(crowd)), pen)])
    late = one.glance.create(3)

    one.await_images([*images[::2], *late])
    rows = one.rows("cell1")
    assert dict(rows)[numbers[mine[0]]] == mine[0]
    assert len({uuid.lower() for _, uuid in rows}) == len(rows)
    assert all(number in DERIVED for number, _ in rows)


def test_who_wants_numbers_for_everybody_s_images_is_held(regions, pen):
    one, _ = regions
    images = sorted(one.glance.create(30))
    one.await_images(images)
    one.stop()
    text = one.config_file.read_text()
    one.config_file.write_text(
        text.replace("[bus]\n", "[bus]\nmax_moves = 20\n")
    )
    since = len(one.log())
    one.start()
    one.await_log("listening on", 60, since=since)
    before = one.rows("cell1")
    claims = [
        Claim(claimed_at=wall_clock(), image=i, wanted=Wanted(n + 1, n + 1))
        for n, i in enumerate(images)
    ]
    other, _ = good(pen)

    tell(
        regions,
        [wire.encode(messages.Claims(claims=(*claims, other)), pen)] * 3,
    )

    one.await_images([other.image])
    assert [r for r in one.rows("cell1") if r[1] != other.image] == before
    one.await_log("would move 30 ids, [bus] max_moves is 20", since=since)
    held = [reason for reason in quarantined(one) if "held" in reason]
    assert len(held) == 1
    (entry,) = one.sql(
        "ledger", "SELECT id FROM quarantine WHERE reason LIKE 'held%%'"
    )
    one.command("quarantine", "retry", str(entry[0]))
    wait_until(
        lambda: (
            [uuid for number, uuid in one.rows("cell1") if number < 31]
            == images
        )
    )


def test_bad_questions_hold_up_no_other(regions, pen):
    one, two = regions
    url = login(one.bus_url, one.account_of(two))
    many = [m for m in bad_messages(pen).values() if len(m[1]) < 1_000_000]
    span = [[0, ""], [2**62, ""], 1, 1]
    flood = json.dumps({"id": "x", "ranges": [span] * 10_000}).encode()
    many.append(signed(pen, flood, kind="compare"))
    publish(url, many * 20, exchange="ec2map_sync.requests", key="compare")
    since = len(one.log())

    two_log = len(two.log())
    two.start()

    two.await_log("agrees with RegionOne", 60, since=two_log)
    # Two goes on asking: what it is after at this moment may be on its way.
    wait_until(lambda: drained(one, "ec2map_sync.requests"))
    assert "Traceback" not in one.log(since)
    two.kill()
