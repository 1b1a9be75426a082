"""What a region does with Glance's exchange, and with rubbish on it."""

import json
import os
import time
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from fleet import INFO, Glance, Load, Region, create_envelope, running
from patience import wait_until

pytestmark = pytest.mark.services

_images = count(1)


def new_image():
    return f"10000000-0000-4000-8000-{next(_images):012x}"


def envelope(message):
    return json.dumps(
        {"oslo.version": "2.0", "oslo.message": json.dumps(message)}
    )


def notification(**fields):
    """An image.create that is strange in some fields."""
    outer = json.loads(create_envelope(new_image()))
    return envelope(json.loads(outer["oslo.message"]) | fields)


def payload(**fields):
    return notification(payload={"container_format": "bare"} | fields)


def unreadable():
    return {
        "no JSON": "{'id'",
        "nothing": "",
        "a list": "[]",
        "a number": "7",
        "null": "null",
        "an empty object": "{}",
        "no JSON inside": '{"oslo.version": "2.0", "oslo.message": "{"}',
        "null inside": envelope(None),
        "a list inside": envelope([]),
        "an empty object inside": envelope({}),
        "no text at all": "\x00\x01",
        "unknown version": '{"oslo.version": "9.0", "oslo.message": "{}"}',
    }


def wrong():
    return {
        "event_type null": notification(event_type=None),
        "event_type a list": notification(event_type=["image.create"]),
        "payload null": notification(payload=None),
        "payload a list": notification(payload=[]),
        "payload a number": notification(payload=7),
        "no id": payload(),
        "id null": payload(id=None),
        "id a number": payload(id=7),
        "id an object": payload(id={}),
        "id no UUID": payload(id="x" * 36),
        "id of 1 MB": payload(id="x" * 1_000_000),
        "format a list": payload(id=new_image(), container_format=["bare"]),
    }


def strange():
    return {
        "priority null": notification(priority=None),
        "priority a list": notification(priority=[]),
        "priority unknown": notification(priority="shout"),
        "publisher null": notification(publisher_id=None, timestamp=[]),
        "name of 5 MB": payload(id=new_image(), name="x" * 5_000_000),
        "a key twice": create_envelope(new_image()).replace(
            '{"oslo.version"', '{"oslo.version": "2.0", "oslo.version"'
        ),
        "unknown event": notification(event_type="image.fly"),
        "event of others": notification(
            event_type="compute.start", payload=[]
        ),
        "a sentence": notification(
            event_type="image.upload", payload="failed"
        ),
    }


@pytest.fixture(scope="module")
def region(rabbit_a, mariadb, tmp_path_factory):
    directory = tmp_path_factory.mktemp("poison")
    region = Region("RegionOne", rabbit_a, mariadb, directory)
    region.configure()
    region.glance.declare()
    with running(region):
        region.await_log("listening on")
        yield region


def drained(region):
    """No notification waits, none is in hand."""
    return region.rabbit.queue_depths(region.vhost)[INFO] == 0


def quarantined(region):
    found = region.sql("ledger", "SELECT count(*) FROM quarantine")
    return int(found[0][0])


def revision(region):
    found = region.sql("ledger", "SELECT revision FROM head")
    return int(found[0][0])


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    "poison",
    [
        pytest.param(unreadable, id="unreadable"),
        pytest.param(wrong, id="wrong"),
        pytest.param(strange, id="strange"),
    ],
)
def test_poison_between_good_notifications_holds_nothing_up(region, poison):
    bodies = poison()
    good = [new_image() for _ in range(len(bodies) + 1)]
    queue = [create_envelope(good[0])]
    for image, body in zip(good[1:], bodies.values(), strict=True):
        queue += [body, create_envelope(image)]

    region.glance.send((INFO, body) for body in queue)

    region.await_images(good)
    wait_until(lambda: drained(region))


def test_what_cannot_be_understood_stands_in_quarantine(region):
    before = quarantined(region)

    bad = [*wrong().values(), *unreadable().values()]
    region.glance.send((INFO, body) for body in bad)

    wait_until(lambda: quarantined(region) == before + len(bad))
    assert "Traceback" not in region.log()
    kept = region.sql("ledger", "SELECT body, source FROM quarantine")
    assert (b"{'id'", "glance") in kept


def test_hundreds_of_bad_ones_in_a_row_hold_nothing_up(region):
    bad = [*unreadable().values(), *wrong().values()]
    small = [body for body in bad if len(body) < 10_000]
    images = [new_image() for _ in range(3)]

    region.glance.send(
        (INFO, body)
        for image in images
        for body in [*small * 10, create_envelope(image)]
    )

    region.await_images(images)
    wait_until(lambda: drained(region))


def test_after_poison_the_agent_is_quiet(region):
    listener = region.services()["listener"]
    poison = [*unreadable().values(), *wrong().values(), *strange().values()]
    region.glance.send((INFO, body) for body in poison)
    wait_until(lambda: drained(region))
    region.await_images(region.glance.create(1))
    before = quarantined(region), len(region.log())
    cpu, began = cpu_seconds(listener), time.monotonic()

    for _ in range(10):
        region.await_images(region.glance.create(1))

    share = (cpu_seconds(listener) - cpu) / (time.monotonic() - began)
    assert share < 0.5
    assert (quarantined(region), len(region.log())) == before
    assert region.services()["listener"] == listener


def test_what_arrives_during_a_slow_commit_is_recorded_together(region):
    engine = sa.create_engine(region.ledger, poolclass=sa.NullPool)
    with engine.connect() as rival:
        rival.exec_driver_sql("UPDATE head SET revision = revision")
        with Load(region.glance) as load:
            load.await_more(100)
        before = revision(region)
        rival.rollback()

    region.await_images(load.confirmed)
    assert revision(region) - before < 20


@pytest.mark.parametrize("durable", [False, True])
def test_only_glance_creates_its_exchange(
    rabbit_a, mariadb, tmp_path, durable
):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path, durable=durable)
    region.configure()
    with running(region):
        region.await_log("Glance's exchange 'glance' is not there yet")
        assert not region.glance.has_exchange()

        images = region.glance.create(3)

        region.await_images(images)
        region.await_images(region.glance.create(3))
        assert region.log().count("is not there yet") == 1


def said(region):
    """Give what the listener has last waited for, as status shows it."""
    found = region.sql(
        "ledger", "SELECT last_error FROM services WHERE name = 'listener'"
    )
    return str(found)


def test_an_exchange_that_is_declared_otherwise_is_said_and_waited_for(
    rabbit_a, mariadb, tmp_path
):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    images = region.glance.create(3)
    region.durable = True  # as our options say; Glance is of another mind
    region.configure()
    with running(region):
        region.await_log("set amqp_durable_queues = false")
        wait_until(lambda: "our options do not fit" in said(region))
        region.stop()
        region.durable = False
        region.configure()

        region.start()

        region.await_images(images)


def test_queues_of_another_type_are_said_everywhere_and_left_alone(
    rabbit_a, mariadb, tmp_path
):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path, durable=True)
    region.glance.declare()
    region.configure()
    ours = region.config_file.read_text()
    region.config_file.write_text(
        ours.replace(
            "amqp_durable_queues = True", "rabbit_quorum_queue = true"
        )
    )
    line = f"our options do not fit the queue '{INFO}' "
    advice = "set rabbit_quorum_queue = false, amqp_durable_queues = true in "
    with running(region):
        region.await_log(line)
        region.await_log(advice)
        wait_until(lambda: line in said(region))

        checked = region.command("config", "check", code=1)

        assert line in checked
        assert advice in checked
        made = rabbit_a.queue_depths(region.vhost)
        assert [n for n in made if n.startswith("notifications")] == [INFO]
        assert "Traceback" not in region.log()
        region.stop()
        region.config_file.write_text(ours)
        region.start()
        region.await_images(region.glance.create(3))


@pytest.mark.parametrize(
    "durable", [False, pytest.param(True, marks=pytest.mark.long)]
)
def test_after_a_restart_of_the_broker_glance_makes_its_exchange(
    rabbit_a, mariadb, tmp_path, durable
):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    region.glance.declare()
    region.configure()
    with running(region):
        region.await_log("listening on")
        region.await_images(region.glance.create(1))
        since = len(region.log())

        rabbit_a.kill()
        rabbit_a.start()

        region.await_log("is not there yet", 60, since=since)
        assert not region.glance.has_exchange()
        glance = Glance(rabbit_a, region.vhost, durable=durable)
        images = glance.create(3)
        if durable:
            region.await_log("set amqp_durable_queues = true", since=since)
            images |= glance.create(3)
            wait_until(lambda: "our options do not fit" in said(region))
            region.stop()
            region.durable = True
            region.configure()
            region.start()
        region.await_images(images, 60)
