"""Every command of an operator, against two regions that are alive."""

import json
from uuid import uuid4

import amqp.exceptions
import kombu
import pytest
from commands import run
from fleet import await_reading, pair, running
from patience import wait_until

from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.signing import SigningKey
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.ec2id import DERIVED, Scheme, format_id, parse_id
from ec2map_sync.rules.stamps import wall_clock

pytestmark = pytest.mark.services

COLUMNS = {
    name: columns.split()
    for name, columns in {
        "show": "image ec2_id number kind claimed_at wanted sinks",
        "list": "image ec2_id kind claimed_at",
        "explain": "step what detail",
        "status": "what name state position lag lag_seconds last_error",
        "verify": "what name checked missing foreign different",
        "replay": "what name examined missed",
        "quarantine list": "id at source reason",
        "peer list": "name state agrees_until missing_here missing_there "
        "heartbeat_age",
    }.items()
}
IMAGES = 40


@pytest.fixture(scope="module")
def regions(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    directory = tmp_path_factory.mktemp("commands")
    one, two = pair(rabbit_a, rabbit_b, mariadb, directory)
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        yield one, two


@pytest.fixture(scope="module")
def images(regions):
    """What both regions have seen, written everywhere and agreed upon."""
    one, two = regions
    images = one.glance.create(IMAGES // 2) | two.glance.create(IMAGES // 2)
    for region in regions:
        region.await_images(images)
    for region in regions:
        await_agreement(region)
    return images


def command(region, *arguments, code=0):
    """Run a command, which has to end with this code."""
    done = run(*arguments, "--config-file", str(region.config_file))
    assert done.code == code, done
    return done


def ask(region, *arguments, code=0):
    """Give the rows that a command answers, and what it says beside."""
    done = command(region, *arguments, "-f", "json", code=code)
    return json.loads(done.stdout), done.stderr


def await_agreement(region):
    def agrees():
        (peer,), _ = ask(region, "peer", "list")
        known = region.sql("ledger", "SELECT count(*) FROM claims")[0][0]
        return (
            peer["state"] == "agrees"
            and counted(region)["claims", region.name] == known
        )

    wait_until(agrees, 30)


def counted(region):
    lines = json.loads(command_any(region, "status", "-f", "json").stdout)
    return {(line["what"], line["name"]): line["position"] for line in lines}


def command_any(region, *arguments):
    return run(*arguments, "--config-file", str(region.config_file))


def test_what_is_asked_for_has_the_promised_columns(regions, images):
    one, _ = regions
    image = min(images)
    arguments = {
        "show": [image],
        "explain": [image],
        "replay": ["--dry-run"],
    }
    for name, columns in COLUMNS.items():
        if name == "quarantine list":
            one.sql(
                "ledger",
                "INSERT INTO quarantine (at, source, reason, body) "
                "VALUES (1, 'glance', 'x', 'x')",
            )
        words = [*name.split(), *arguments.get(name, [])]

        rows, _ = ask(one, *words)
        table = command(one, *words).stdout

        row = rows if isinstance(rows, dict) else rows[0]
        assert list(row) == columns, name
        heads = [column for column in columns if column in table]
        assert heads == columns, name
        assert "None" not in table, name
    assert len(ask(one, "quarantine", "drop", "--all")[0]) == 1


def test_the_program_does_so_too(regions, images):
    """As an operator starts it: all else here runs in the tests' process."""
    one, _ = regions

    rows = json.loads(one.command("list", "-f", "json"))

    assert {row["image"] for row in rows} == images
    one.command("show", "nonsense", code=2)


def test_show_and_list_say_what_nova_has(regions, images):
    for region in regions:
        numbers = {uuid: number for number, uuid in region.rows("cell1")}
        rows, _ = ask(region, "list", "--limit", "0")
        assert {
            row["image"]: parse_id(row["ec2_id"])[1] for row in rows
        } == numbers

    image = min(images)
    shown, _ = ask(regions[0], "show", rows[0]["ec2_id"])
    assert shown["sinks"] == dict.fromkeys(
        ("nova:cell0", "nova:cell1"), rows[0]["image"]
    )
    steps, _ = ask(regions[1], "explain", image)
    seen = [s["detail"] for s in steps if s["what"] == "guest nova:cell1"]
    assert seen == [f"sees {format_id(numbers[image])}"]


def test_a_region_that_works_is_healthy(regions, images):
    assert images
    for region, other in (regions, regions[::-1]):
        wait_until(lambda r=region: command_any(r, "status").code == 0, 30)
        lines, _ = ask(region, "status")

        by_name = {(line["what"], line["name"]): line for line in lines}
        known = region.sql("ledger", "SELECT count(*) FROM claims")[0][0]
        revision = region.sql("ledger", "SELECT revision FROM head")[0][0]
        assert by_name["claims", region.name]["position"] == known == IMAGES
        assert by_name["ledger", region.name]["position"] == revision
        peer = by_name["peer", other.name]
        assert (peer["state"], peer["lag"]) == ("agrees", 0)
        for cell in ("nova:cell0", "nova:cell1"):
            assert by_name["sink", cell]["state"] == "up to date"
            assert by_name["sink", cell]["position"] == revision


def test_all_is_verified(regions, images):
    rows, said = ask(regions[0], "verify")

    checked = {row["name"]: list(row.values())[2:] for row in rows}
    right = [len(images), 0, 0, 0]
    assert checked["RegionTwo"] == right
    assert checked["nova:cell0"] == checked["nova:cell1"] == right
    assert said == ""


def test_a_cell_with_a_missing_and_a_foreign_row_is_repaired(regions, images):
    one, _ = regions
    (gone, image), *_ = one.rows("cell1")
    foreign = DERIVED.first + 7
    one.sql("cell1", f"DELETE FROM s3_images WHERE id = {gone}")
    one.sql(
        "cell1",
        f"INSERT INTO s3_images (id, uuid) VALUES ({foreign}, 'nobody')",
    )

    rows, said = ask(one, "verify", "--sinks", code=1)
    assert list(rows[1].values()) == ["sink", "nova:cell1", IMAGES, 1, 1, 0]
    assert f"{format_id(gone)} is settled for {image}, and holds" in said
    listed, _ = ask(one, "list", "--divergent")
    assert [row["image"] for row in listed] == [image]

    ask(one, "verify", "--repair", "--sinks", code=1)
    assert (gone, image) in one.rows("cell1")
    assert (foreign, "nobody") in one.rows("cell1")

    one.sql("cell1", f"DELETE FROM s3_images WHERE id = {foreign}")
    assert ask(one, "verify", "--sinks")[0][1]["checked"] == len(images)


def lose(region, images):
    """Take images out of a region's ledger, as if never heard of."""
    names = ", ".join(f"'{image}'" for image in images)
    condition = f"image IN ({names})"
    (number, total), *_ = region.sql(
        "ledger", f"SELECT count(*), sum(hash) FROM claims WHERE {condition}"
    )
    region.sql(
        "ledger",
        "UPDATE numbers SET wish_at = NULL, wish_image = NULL, "
        f"wish_wanted = NULL WHERE wish_{condition}",
    )
    region.sql("ledger", f"DELETE FROM claims WHERE {condition}")
    region.sql(
        "ledger",
        f"UPDATE head SET total_count = total_count - {number}, "
        f"total_sum = total_sum - {total}",
    )


def test_replay_brings_what_a_deleted_queue_has_lost(regions, images):
    one, two = regions
    two.stop()
    with kombu.Connection(one.bus_url) as connection:
        connection.default_channel.queue_delete(f"ec2map_sync.{two.name}")
    more = one.glance.create(7)
    one.await_images(more)
    lost = sorted(images)[:3]
    lose(two, lost)

    planned, _ = ask(two, "replay", "--dry-run")
    span = ("--since", "1h", "--peer", one.name)
    replayed, _ = ask(two, "replay", *span)
    again, _ = ask(two, "replay", *span)

    whole = len(images | more)
    assert planned == [
        {"what": "peer", "name": one.name, "examined": whole - 10}
        | {"missed": 10}
    ]
    assert replayed[0] | {"examined": whole} == replayed[0]
    assert replayed[0]["missed"] == 10
    assert again[0]["missed"] == 0
    listed, _ = ask(two, "list")
    assert {row["image"] for row in listed} == images | more
    two.start()
    await_reading(two, one, since=len(two.log()) // 2)
    two.await_images(images | more)
    images |= more


def test_verify_tells_what_either_side_lacks(regions, images):
    one, two = regions
    await_agreement(two)
    two.stop()
    lose(two, sorted(images)[:4])

    # Nobody in two hears that it lacks something.
    rows, _ = ask(two, "verify", "--peers", code=1)

    assert list(rows[0].values()) == [
        "peer",
        one.name,
        len(images) - 4,
        4,
        0,
        0,
    ]
    ask(two, "replay")
    assert ask(two, "verify", "--peers")[0][0]["missing"] == 0
    two.start()
    await_agreement(two)


def test_own_claims_are_pushed_again(regions, images):
    one, two = regions
    own = one.sql(
        "ledger", "SELECT count(*) FROM claims WHERE own_revision IS NOT NULL"
    )[0][0]

    (planned,), _ = ask(one, "replay", "--push", "--dry-run")
    (pushed,), _ = ask(one, "replay", "--push")

    assert planned == pushed
    assert pushed == {
        "what": "push",
        "name": "ec2map_sync",
        "examined": own,
        "missed": None,
    }
    assert images
    assert ask(two, "quarantine", "list")[0] == []


def test_a_message_in_quarantine_is_retried_with_a_new_key(regions, images):
    one, two = regions
    stranger = SigningKey.generate()
    claim = Claim(claimed_at=wall_clock(), image=str(uuid4()))
    pen = wire.Pen(
        region=one.name,
        scheme=Scheme(b"tests").fingerprint,
        key=stranger,
        clock=wall_clock,
    )
    headers, body = wire.encode(messages.Claims(claims=(claim,)), pen)
    with kombu.Connection(one.bus_url) as connection:
        kombu.Producer(connection).publish(
            body,
            exchange="ec2map_sync",
            routing_key="claims",
            headers=headers,
            content_type="application/json",
            content_encoding="utf-8",
        )

    wait_until(lambda: bool(ask(two, "quarantine", "list")[0]), 20)
    (entry,), _ = ask(two, "quarantine", "list")
    assert entry["source"] == f"peer:{one.name}"
    assert "signed with a key that" in entry["reason"]
    shown, _ = ask(two, "quarantine", "show", str(entry["id"]))
    assert json.loads(shown["body"])["claims"][0]["image"] == claim.image
    (still,), _ = ask(two, "quarantine", "retry", "--all", code=1)
    assert still["reason"].startswith("stays: signed with a key that")

    text = two.config_file.read_text()
    new = text.replace(one.public_key, f"{one.public_key},{stranger.public}")
    two.config_file.write_text(new)
    (taken,), _ = ask(two, "quarantine", "retry", "--all")
    two.config_file.write_text(text)

    assert taken["reason"] == "1 claims, 1 of them news"
    assert ask(two, "quarantine", "list")[0] == []
    for region in regions:
        region.await_images([claim.image])
    images.add(claim.image)


def test_ids_in_templates_are_asked_about_elsewhere(regions, images, tmp_path):
    one, two = regions
    assert images
    rows = two.rows("cell1")[:5]
    path = tmp_path / "stack.yaml"
    path.write_text("\n".join(format_id(number) for number, _ in rows))

    told, _ = ask(two, "template", "check", str(path))

    assert [(row["image"], row["verdict"]) for row in told] == [
        (uuid, "ok") for _, uuid in rows
    ]
    await_agreement(two)
    two.stop()
    lost = rows[3][1]
    lose(one, [lost])

    told, _ = ask(two, "template", "check", str(path), code=1)

    assert {r["image"] for r in told if r["verdict"] != "ok"} == {lost}
    assert told[3]["verdict"] == f"not known in {one.name}"
    two.start()
    await_agreement(two)


def test_a_peer_that_is_dead_is_one_line(regions, images, monkeypatch):
    monkeypatch.setattr("ec2map_sync.peers.asking.DEADLINE", 2.0)
    monkeypatch.setattr("ec2map_sync.monitor.status.SILENT_AFTER", 4.0)
    one, two = regions
    assert images
    two.kill()

    rows, said = ask(one, "replay", code=2)
    assert rows == [
        {"what": "peer", "name": two.name, "examined": None, "missed": None}
    ]
    assert said.count("\n") == 1
    assert f"{two.name} does not answer within 2 s" in said
    rows, said = ask(one, "verify", "--peers", code=2)
    assert rows[0]["missing"] is None
    assert said.count("\n") == 1
    wait_until(lambda: ask(one, "peer", "list")[0][0]["state"] == "silent", 20)
    lines, _ = ask(one, "status", code=1)
    (peer,) = [line for line in lines if line["what"] == "peer"]
    assert (peer["state"], peer["lag"]) == ("silent", None)
    assert peer["lag_seconds"] > 4

    two.start()
    wait_until(lambda: ask(one, "peer", "list")[0][0]["state"] == "agrees", 30)


def test_two_replays_at_a_time_do_not_mix(regions, images):
    one, two = regions
    assert images
    with kombu.Connection(two.bus_url) as connection:
        queue = kombu.Queue(
            f"ec2map_sync.{one.name}.replay",
            exclusive=True,
            durable=False,
            channel=connection.default_channel,
        )
        queue.queue_declare()

        _, said = ask(one, "replay", code=2)

    assert f"{two.name} is being asked by another command of ours" in said


def test_a_retired_peer_is_forgotten(regions, images):
    one, two = regions
    assert images
    assert (
        "would be back at once"
        in command(one, "peer", "forget", two.name, code=2).stderr
    )
    one.stop()
    two.stop()
    text = one.config_file.read_text()
    try:
        one.config_file.write_text(
            text.partition("[peer:")[0].replace(f"peers = {two.name}", "")
        )

        planned = command(one, "peer", "forget", two.name, "--dry-run").stdout
        assert planned.startswith(
            f"{two.name}: would delete queue ec2map_sync.{two.name} with "
        )
        assert ask(one, "peer", "list")[0][0]["state"] == "not configured"
        done = command(one, "peer", "forget", two.name).stdout
        assert "deleted queue" in done
        assert ask(one, "peer", "list")[0] == []
        with (
            kombu.Connection(one.bus_url) as connection,
            pytest.raises(amqp.exceptions.NotFound),
        ):
            connection.default_channel.queue_declare(
                f"ec2map_sync.{two.name}", passive=True
            )
        again = command(one, "peer", "forget", two.name, code=1).stderr
        assert "nothing is known of a peer 'RegionTwo'" in again
    finally:
        one.config_file.write_text(text)
