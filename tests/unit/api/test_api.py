"""Look-ups by HTTP say what the ledger says, as they are described."""

import json
import threading
import time

import jsonschema
import pytest
import sqlalchemy as sa
from asking import client, described
from commands import SmallRegion
from falcon import testing
from patience import within

from ec2map_sync.api.operations import OPERATIONS
from ec2map_sync.rules.claims import Claim, SeenKind, Wanted
from ec2map_sync.rules.ec2id import Kind, format_id


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


def at(n):
    """A stamp: 2026-01-01, and n seconds."""
    return 1_767_225_600_000_000 + n * 1_000_000


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Ten images; the last is an aki with an adopted id, the first moved."""
    region = SmallRegion(tmp_path_factory.mktemp("api"))
    record = region.ledger.record
    record([Claim(claimed_at=at(n), image=image(n)) for n in range(9)])
    region.ledger.record(
        [
            Claim(
                claimed_at=at(9),
                image=image(0xABC),
                spelling=image(0xABC).upper(),
                wanted=Wanted(at(20), 42),
                kind=SeenKind(at(9), Kind.AKI),
            )
        ]
    )
    region.write_sinks()
    for number in (77, 78):
        record(
            [
                Claim(
                    claimed_at=at(0),
                    image=image(0),
                    wanted=Wanted(at(155 - number), number),
                )
            ]
        )
    return region


@pytest.fixture(scope="module")
def asked(filled):
    return CheckedClient(client(filled))


class CheckedClient:
    """Asks, and holds each answer against the description of the API."""

    def __init__(self, asked: testing.TestClient) -> None:
        self._client = asked
        self.document = described(asked)
        self.seen = set()

    def ask(self, path, code=200, method="GET", operation=None, **more):
        answer = self._client.simulate_request(method, path, **more)
        assert answer.status_code == code, answer.text
        assert answer.headers["x-openstack-request-id"].startswith("req-")
        found = answer.json
        self.seen.add((operation, code))
        if operation:
            self._check(operation, code, found)
        return found

    def _check(self, name, code, found):
        (operation,) = (
            one
            for path in self.document["paths"].values()
            for one in path.values()
            if one["operationId"] == name
        )
        content = operation["responses"][str(code)]["content"]
        schema = content["application/json"]["schema"]
        jsonschema.validate(
            found, {**schema, "components": self.document["components"]}
        )


def test_an_image_is_found_by_either_name(asked, filled):
    number = filled.scheme.derive(image(3))

    by_uuid = asked.ask(f"/v1/images/{image(3).upper()}", operation="image")
    by_id = asked.ask(
        f"/v1/images/{format_id(number, Kind.ARI)}", operation="image"
    )

    assert by_uuid == by_id
    assert by_uuid == {
        "image": image(3),
        "ec2_id": format_id(number),
        "number": number,
        "kind": None,
        "claimed_at": "2026-01-01T00:00:03.000000Z",
    }
    adopted = asked.ask("/v1/images/aki-0000002a", operation="image")
    assert adopted["image"] == image(0xABC).upper()
    assert adopted["kind"] == "aki"


@pytest.mark.parametrize(
    ("name", "code", "detail"),
    [
        (image(99), 404, "not known in RegionOne"),
        ("ami-3fffffff", 404, "no image has the id ami-3fffffff"),
        ("ami-ffffffffffffffff", 404, "no image has the id"),
        ("ami-xyz", 400, "not an EC2 image id"),
        ("nonsense", 400, "not an image UUID"),
        ("%00%ff", 400, "not an image UUID"),
    ],
)
@pytest.mark.parametrize("what", ["image", "explanation"])
def test_what_cannot_be_found_is_an_error(asked, name, code, detail, what):
    rest = "/explanation" if what == "explanation" else ""
    found = asked.ask(f"/v1/images/{name}{rest}", code, operation=what)

    (fault,) = found["errors"]
    assert fault["status"] == code
    assert detail in fault["detail"]


def test_an_id_that_has_moved_says_where_to(asked, filled):
    old = format_id(filled.scheme.derive(image(0)))

    found = asked.ask(f"/v1/images/{old}", 410, operation="image")

    assert found["moved_to"] == "ami-0000004e"
    assert found["image"] == image(0)
    again = asked.ask("/v1/images/ami-0000004d", 410, operation="image")
    assert again["moved_to"] == "ami-0000004e"


def test_an_answer_that_is_known_is_not_sent_again(filled):
    ask = client(filled)
    first = ask.simulate_get(f"/v1/images/{image(3)}")

    second = ask.simulate_get(
        f"/v1/images/{image(3)}",
        headers={"If-None-Match": first.headers["etag"]},
    )
    other = ask.simulate_get(
        f"/v1/images/{image(4)}",
        headers={"If-None-Match": first.headers["etag"]},
    )

    assert (second.status_code, second.text) == (304, "")
    assert other.status_code == 200
    assert first.headers["cache-control"] == "private, max-age=60"
    missing = ask.simulate_get(f"/v1/images/{image(99)}")
    assert missing.headers["cache-control"] == "no-store"


def pages(asked, query=""):
    """Follow the pages of a list to their end."""
    found = []
    answer = asked.ask(f"/v1/images?limit=3{query}", operation="images")
    while answer["images"]:
        assert len(answer["images"]) <= 3
        found += [one["image"] for one in answer["images"]]
        answer = asked.ask(
            f"/v1/images?limit=3&since={answer['next']}", operation="images"
        )
    return found, answer["next"]


def test_pages_have_each_image_once_in_the_order_of_the_feed(asked, filled):
    found, end = pages(asked)

    assert sorted(found, key=str.lower) == [image(n) for n in range(9)] + [
        image(0xABC).upper()
    ]
    assert found[-2:] == [image(0xABC).upper(), image(0)]
    behind, _ = pages(asked, f"&marker={found[3]}")
    assert behind == found[4:]
    late, _ = pages(asked, "&since=0")
    assert late == found
    filled.ledger.record([Claim(claimed_at=at(90), image=image(90))])
    news = asked.ask(f"/v1/images?since={end}", operation="images")
    assert [one["image"] for one in news["images"]] == [image(90)]


@pytest.mark.parametrize(
    ("query", "code", "detail"),
    [
        ("limit=0", 400, "1 to 1000"),
        ("limit=1001", 400, "1 to 1000"),
        ("limit=x", 400, "no number"),
        ("limit=", 400, "no number"),
        ("wait=31", 400, "0 to 30"),
        ("since=x", 400, "no cursor"),
        ("since=1.-2", 400, "no cursor"),
        ("since=0&marker=ami-0000002a", 400, "exclude each other"),
        (f"marker={image(99)}", 404, "not known"),
        ("since=999999.1", 410, "was restored"),
    ],
)
def test_a_page_that_there_cannot_be_is_an_error(asked, query, code, detail):
    found = asked.ask(f"/v1/images?{query}", code, operation="images")

    assert detail in found["errors"][0]["detail"]


def test_who_waits_for_news_gets_them_when_they_come(asked, filled):
    _, end = pages(asked)
    found = []
    waiting = threading.Thread(
        target=lambda: found.append(
            asked.ask(f"/v1/images?since={end}&wait=30", operation="images")
        )
    )

    waiting.start()
    time.sleep(0.3)  # so that it waits; if it does not yet, all is well too
    filled.ledger.record([Claim(claimed_at=at(91), image=image(91))])
    waiting.join(within(25))

    assert [one["image"] for one in found[0]["images"]] == [image(91)]


def test_many_are_looked_up_at_once(asked, filled):
    old = format_id(filled.scheme.derive(image(0)))
    names = [
        image(5),
        "aki-0000002a",
        old,
        image(99),
        "ami-3fffffff",
        image(2),
    ]
    names += ["ami-fffffffffff", image(5)]

    found = asked.ask(
        "/v1/images:lookup",
        method="POST",
        operation="lookup",
        body=json.dumps({"images": names}),
    )

    assert [one["image"] for one in found["images"]] == [
        image(5),
        image(0xABC).upper(),
        image(2),
    ]
    assert found["moved"] == [
        {"ec2_id": old, "image": image(0), "moved_to": "ami-0000004e"}
    ]
    assert found["unknown"] == [image(99), "ami-3fffffff", "ami-fffffffffff"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", 400),
        ("{", 400),
        ("[" * 60_000, 400),
        ("[]", 400),
        ('{"images": "x"}', 400),
        ('{"images": [1]}', 400),
        ('{"images": ["x"]}', 400),
        (json.dumps({"images": [image(1)] * 1001}), 400),
        (" " * 200_000, 413),
    ],
)
def test_what_is_no_lookup_is_an_error(asked, body, code):
    asked.ask("/v1/images:lookup", code, "POST", operation="lookup", body=body)


def test_as_many_as_it_takes_are_looked_up(asked):
    found = asked.ask(
        "/v1/images:lookup",
        method="POST",
        operation="lookup",
        body=json.dumps({"images": [image(n) for n in range(1000, 2000)]}),
    )

    assert len(found["unknown"]) == 1000


def test_it_explains_as_the_command_does(asked, filled):
    said = json.loads(filled.run("explain", image(3), "-f", "json").stdout)

    found = asked.ask(
        f"/v1/images/{image(3)}/explanation", operation="explanation"
    )

    assert found["steps"] == [
        {"what": step["what"], "detail": step["detail"]} for step in said
    ]


def test_status_is_what_the_command_says(asked, filled):
    said = json.loads(filled.run("status", "-f", "json", code=1).stdout)

    found = asked.ask("/v1/status", operation="status")

    assert [(one["what"], one["name"], one["state"]) for one in said] == [
        (one["what"], one["name"], one["state"]) for one in found["lines"]
    ]
    assert found["healthy"] is False
    assert [move["new"] for move in found["moves"]] == [
        "ami-0000004e",
        "ami-0000004d",
    ]


def test_regions_are_told(asked):
    found = asked.ask("/v1/regions", operation="regions")

    assert found["seen_from"] == "RegionOne"
    (row,) = (one for one in found["regions"] if one["name"] == "RegionOne")
    assert [(p["name"], p["state"]) for p in row["peers"]] == [
        ("RegionTwo", "never heard")
    ]


@pytest.mark.parametrize("path", ["/v1", "/v1/"])
def test_the_version_is_told(asked, path):
    assert asked.ask(path, operation="version")["id"] == "v1.0"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v2/images", 404),
        ("PUT", "/v1/images", 405),
        ("GET", "/v1/images:lookup", 405),
        ("DELETE", f"/v1/images/{image(3)}", 405),
    ],
)
def test_what_there_is_not_is_an_error_too(asked, method, path, code):
    found = asked.ask(path, code, method)

    assert found["errors"][0]["status"] == code


def test_every_operation_was_asked_and_described(asked):
    """Needs the tests above: all answers were held against this."""
    assert {one.name for one in OPERATIONS} == {
        one["operationId"]
        for path in asked.document["paths"].values()
        for one in path.values()
    }
    if len(asked.seen) > 5:  # not one test alone
        assert {o.name for o in OPERATIONS} <= {name for name, _ in asked.seen}


def test_without_its_ledger_it_says_so_and_goes_on(tmp_path, caplog):
    region = SmallRegion(tmp_path)
    region.ledger.record([Claim(claimed_at=at(1), image=image(1))])
    ask = client(region)
    kept = region.ledger_file.with_suffix(".kept")
    region.ledger._engine.dispose()
    with sa.create_engine(region.url("ledger")).connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    region.ledger_file.rename(kept)
    region.ledger_file.mkdir()

    for _ in range(3):
        lost = ask.simulate_get(f"/v1/images/{image(1)}")
        assert lost.status_code == 503
        assert lost.headers["retry-after"] == "1"
        assert str(tmp_path) not in lost.text
    region.ledger_file.rmdir()
    kept.rename(region.ledger_file)
    found = ask.simulate_get(f"/v1/images/{image(1)}")

    assert found.status_code == 200
    assert caplog.text.count("look-ups wait") == 1
