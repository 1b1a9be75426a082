"""quarantine list, show, retry, drop: from being refused to being known."""

import json

import pytest
from commands import SmallRegion

from ec2map_sync.ledger import Allowance, Quarantined
from ec2map_sync.ledger.quarantine import MOST_ENTRIES, MOST_OF_BODY
from ec2map_sync.peers.intake import Intake
from ec2map_sync.peers.refusals import Refusals
from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.signing import SigningKey
from ec2map_sync.rules.claims import Claim, Sighting, Wanted
from ec2map_sync.rules.stamps import wall_clock

COLUMNS = ["id", "at", "source", "reason"]


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


@pytest.fixture
def region(tmp_path):
    return SmallRegion(tmp_path)


def keep(region, *entries):
    region.ledger.quarantine.put(entries)


def message(region, key, *claims, source="peer:RegionTwo"):
    pen = wire.Pen(
        region="RegionTwo",
        scheme=region.scheme.fingerprint,
        key=key,
        clock=wall_clock,
    )
    headers, body = wire.encode(messages.Claims(claims=claims), pen)
    return Quarantined(
        source=source, reason="not trusted", body=body, headers=headers
    )


def notification(event="image.create", **payload):
    body = json.dumps({"event_type": event, "payload": payload})
    return Quarantined(
        source="glance", reason="not understood", body=body.encode()
    )


def act(region, *arguments, code=0):
    done = region.run("quarantine", *arguments, "-f", "json", code=code)
    rows = json.loads(done.stdout)
    assert all(list(row) == COLUMNS for row in rows)
    return [(row["id"], row["reason"]) for row in rows]


def known(region):
    return region.ledger.claims(map(image, range(10)))


def test_what_is_kept_is_listed_newest_first(region):
    keep(region, notification(), message(region, region.peer_key))

    done = region.run("quarantine", "list", "-f", "json")

    rows = json.loads(done.stdout)
    assert [list(row) for row in rows] == [COLUMNS] * 2
    assert [row["source"] for row in rows] == ["peer:RegionTwo", "glance"]
    assert rows[0]["at"].endswith("Z")
    limited = region.run("quarantine", "list", "--limit", "1")
    assert limited.stderr == "there are 1 more\n"


def test_one_is_shown_as_it_came(region):
    keep(region, message(region, region.peer_key))

    shown = json.loads(
        region.run("quarantine", "show", "1", "-f", "json").stdout
    )

    assert list(shown) == [*COLUMNS, "headers", "body"]
    assert json.loads(shown["headers"])["sender"] == "RegionTwo"
    assert json.loads(shown["body"]) == {"claims": []}
    gone = region.run("quarantine", "show", "2", code=1)
    assert gone.stderr == ("ec2map-sync: nothing in the quarantine has id 2\n")


def test_a_message_is_taken_once_its_sender_is_trusted(region):
    claim = Claim(claimed_at=wall_clock(), image=image(1))
    stranger = SigningKey.generate()
    keep(region, message(region, stranger, claim))

    ((_, reason),) = act(region, "retry", "1", code=1)
    assert reason.startswith("stays: signed with a key that [peer:RegionTwo]")
    assert not known(region)

    region.peer_key = stranger
    region.configure()
    planned = act(region, "retry", "1", "--dry-run")
    assert planned == [(1, "1 claims could be taken")]
    assert not known(region)

    assert act(region, "retry", "--all") == [(1, "1 claims, 1 of them news")]
    assert known(region) == {image(1): claim}
    assert act(region, "list") == []


def test_a_peer_does_not_speak_for_another(region):
    claim = Claim(claimed_at=wall_clock(), image=image(1))
    keep(
        region,
        message(region, region.peer_key, claim, source="peer:RegionThree"),
    )

    ((_, reason),) = act(region, "retry", "--all", code=1)

    assert reason.startswith("stays: sender 'RegionTwo'")


def test_one_claim_of_a_good_message_is_tried_alone(region):
    claim = Claim(claimed_at=wall_clock(), image=image(2))
    body = json.dumps(messages.claim_to_json(claim)).encode()
    keep(
        region,
        Quarantined(source="peer:RegionTwo", reason="ahead", body=body),
        Quarantined(source="peer:RegionTwo", reason="bad", body=b'{"image":'),
    )

    outcomes = act(region, "retry", "--all", code=1)

    assert outcomes[0] == (1, "1 claims, 1 of them news")
    assert outcomes[1][1].startswith("stays: ")
    assert known(region) == {image(2): claim}
    assert [i for i, _ in act(region, "list")] == [2]


def test_notifications_are_understood_as_if_they_came_now(region):
    keep(
        region,
        notification(id=image(3), container_format="aki"),
        notification(id=7),
        notification(event="image.delete", id=image(4)),
        Quarantined(source="glance", reason="no", body=b"['repr']"),
    )

    outcomes = dict(act(region, "retry", "--all", code=1))

    assert outcomes[1] == f"image {image(3)} is known now"
    assert outcomes[2] == "stays: image.create without the image's id"
    assert outcomes[3] == ("it tells of no image that gets an id")
    assert outcomes[4].startswith("stays: it is no JSON")
    assert known(region)[image(3)].kind.kind == "aki"
    assert [i for i, _ in act(region, "list")] == [4, 2]


def test_a_body_that_was_cut_says_so(region):
    keep(
        region,
        Quarantined(
            source="peer:RegionTwo",
            reason="x",
            body=b"x" * (MOST_OF_BODY + 1),
            headers={},
        ),
    )

    ((_, reason),) = act(region, "retry", "1", code=1)

    assert reason == "stays: only its beginning was kept: it was too long"


def test_a_question_of_the_past_is_no_longer_waited_for(region):
    pen = wire.Pen(
        region="RegionTwo",
        scheme=region.scheme.fingerprint,
        key=region.peer_key,
        clock=wall_clock,
    )
    question = messages.Compare(id="x", ranges=())
    headers, body = wire.encode(question, pen)
    keep(
        region,
        Quarantined(source="requests", reason="x", body=body, headers=headers),
    )

    assert act(region, "retry", "1") == [(1, "nobody waits for it any more")]


def test_what_a_peer_has_deflated_is_shown_inflated(region):
    pen = wire.Pen(
        region="RegionTwo",
        scheme=region.scheme.fingerprint,
        key=region.peer_key,
        clock=wall_clock,
    )
    said = messages.Answer(id="x" * 60)
    headers, body = wire.encode(said, pen, reads=wire.DEFLATED)
    cut = body[:-1]
    for one in (body, cut):
        entry = Quarantined(
            source="requests", reason="x", body=one, headers=headers
        )
        keep(region, entry)

    shown = [
        json.loads(region.run("quarantine", "show", i, "-f", "json").stdout)
        for i in ("1", "2")
    ]

    assert json.loads(shown[0]["body"])["id"] == "x" * 60
    assert shown[1]["body"] == cut.decode(errors="backslashreplace")


def test_drop_drops(region):
    keep(region, notification(), notification(), notification())

    planned = act(region, "drop", "--all", "--dry-run")
    assert planned[0] == (1, "would be dropped: not understood")
    assert act(region, "drop", "2") == [(2, "dropped: not understood")]
    assert [i for i, _ in act(region, "list")] == [3, 1]
    assert len(act(region, "drop", "--all")) == 2
    assert act(region, "list") == []
    region.run("quarantine", "drop", "2", code=1)
    region.run("quarantine", "drop", code=2)


def hold(region, claims, **bounds):
    """Let a peer claim what it may not; gives how much of it is held."""
    allowance = {"max_moves": 1000, "max_evictions": 50} | bounds
    intake = Intake(
        region.ledger,
        Refusals(region.ledger, "of RegionTwo"),
        Allowance(peer="RegionTwo", **allowance),
    )
    return intake.take([claims]).held


@pytest.mark.parametrize("which", ["1", "--all"])
def test_what_was_held_is_taken_when_an_operator_says_so(region, which):
    images = [image(n) for n in range(3)]
    region.ledger.see([Sighting(image=i, uuid=i) for i in images])
    movers = [
        Claim(claimed_at=1, image=i, wanted=Wanted(7, n + 1))
        for n, i in enumerate(images)
    ]
    assert hold(region, movers, max_moves=2) == 3

    assert act(region, "retry", which, "--dry-run") == [
        (1, "3 claims could be taken")
    ]
    assert act(region, "retry", which) == [(1, "3 claims, 3 of them news")]

    assert region.ledger.numbers_of(images) == {
        i: n + 1 for n, i in enumerate(images)
    }
    assert act(region, "list") == []


def test_an_operator_s_decision_is_bound_by_nothing_and_costs_no_peer(region):
    images = [image(n) for n in range(4)]
    region.ledger.see([Sighting(image=i, uuid=i) for i in images])
    takers = [
        Claim(claimed_at=1, image=image(90 + n), wanted=Wanted(1, number))
        for n, number in enumerate(region.ledger.numbers_of(images).values())
    ]
    assert hold(region, takers, max_evictions=3) == 4

    assert act(region, "retry", "--all") == [(1, "4 claims, 4 of them news")]

    assert region.ledger.queries.evictions_lately(wall_clock()) == {}


def test_a_flood_from_one_source_pushes_out_no_other_and_is_counted(
    region, caplog
):
    keep(region, notification())
    for _ in range(5):
        keep(
            region,
            *[
                Quarantined(source="requests", reason=str(n), body=b"x")
                for n in range(MOST_ENTRIES // 4)
            ],
        )

    done = region.run("quarantine", "list", "--limit", "0", "-f", "json")
    listed = json.loads(done.stdout)
    assert len(listed) == MOST_ENTRIES + 1
    assert listed[-1]["source"] == "glance"
    gone = MOST_ENTRIES // 4
    assert f"{gone} older entries from requests were dropped" in done.stderr
    assert f"the oldest {gone} entries from requests" in caplog.text
    status = json.loads(region.run("status", "-f", "json", code=1).stdout)
    (line,) = [line for line in status if line["what"] == "quarantine"]
    assert line["state"] == f"look at it, {gone} were dropped"
    assert line["lag"] == MOST_ENTRIES + 1


def test_large_bodies_make_room_for_newer_ones(region, monkeypatch):
    monkeypatch.setattr("ec2map_sync.ledger.quarantine.MOST_BYTES", 2500)
    for n in range(5):
        large = Quarantined(source="glance", reason=str(n), body=b"x" * 1000)
        keep(region, large)

    assert [reason for _, reason in act(region, "list")] == ["4", "3"]


def test_an_image_that_gets_no_id_gets_none_by_retrying(region):
    with region.config_file.open("a") as file:
        file.write("\n[images]\nvisibility = public\n")
    common = {"container_format": "bare", "properties": {"ec2_id": "ami-9"}}
    keep(
        region,
        notification(id=image(1), visibility="private", **common),
        notification(id=image(2), visibility="public", **common),
    )

    outcomes = dict(act(region, "retry", "--all"))

    assert outcomes[1] == "it tells of no image that gets an id"
    assert known(region).keys() == {image(2)}
    # There is no ec2-api here whose word it could be.
    assert known(region)[image(2)].wanted is None
