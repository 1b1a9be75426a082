"""The audit against Glance, the watchdog and the checks, for real."""

import json
import sys

import amqp.exceptions
import kombu
import odd_agent
import pytest
from commands import run
from fake_glance import FakeGlance
from fleet import (
    INFO,
    Region,
    await_reading,
    create_envelope,
    holding,
    pair,
    running,
)
from patience import wait_until
from proxy import Proxy, Way

pytestmark = pytest.mark.services


@pytest.fixture
def glance():
    with FakeGlance() as server:
        yield server


def audited(glance, **options):
    options = {"poll_interval": 0.5, "audit_interval": 600} | options
    lines = "".join(f"{k} = {v}\n" for k, v in options.items())
    return f"\n[glance]\nendpoint_override = {glance.url}\n{lines}"


def command(region, *arguments):
    done = run(*arguments, "--config-file", str(region.config_file))
    assert "Traceback" not in done.stderr
    return done


def backfill(region, *arguments):
    done = command(region, "backfill", "-f", "json", *arguments)
    assert done.code == 0, done.stderr
    (row,) = json.loads(done.stdout)
    return row


def kinds(region):
    found = region.sql("ledger", "SELECT image, kind FROM claims")
    return {str(image): kind for image, kind in found}


def revision(region):
    return region.sql("ledger", "SELECT revision FROM head")


def test_what_half_of_the_notifications_did_not_say_an_audit_finds(
    rabbit_a, rabbit_b, mariadb, tmp_path, glance
):
    one, two = pair(rabbit_a, rabbit_b, mariadb, tmp_path)
    one.configure(two, extra=audited(glance))
    images = [glance.add(os_hidden=n % 10 == 0) for n in range(40)]
    with running(one, two):
        one.glance.send(
            (INFO, create_envelope(image.id)) for image in images[::2]
        )

        for region in (one, two):
            region.await_images(image.id for image in images)

        settled = revision(one)
        one.await_log("audit of Glance: 40 images, ")
        late = glance.add(os_hidden=True)
        unknown = glance.add(container_format=None)
        known = glance.add(container_format="aki")
        two.await_images([late.id, unknown.id, known.id])
        glance.update(unknown, container_format="ari")
        glance.update(known, container_format="ari")
        wait_until(lambda: kinds(two).get(unknown.id) == "ari")

        assert kinds(two)[known.id] == "aki"
        assert revision(one) != settled
        assert backfill(one) == {
            "region": "RegionOne",
            "seen": 43,
            "claimed": 0,
            "known": 43,
        }
        assert one.rows("cell1") == two.rows("cell1")


@pytest.mark.long
def test_a_glance_that_is_away_is_waited_for(
    rabbit_a, mariadb, tmp_path, glance
):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    region.configure(extra=audited(glance, timeout=2))
    glance.page = 5
    images = [glance.add() for _ in range(30)]
    glance.fail_after = 4
    with running(region):
        region.await_log("auditor waits and tries again: Glance's API: HTTP")
        glance.stop()
        # Another trouble gets a line once it has lasted.
        region.await_log(
            "auditor waits and tries again: Glance's API: Unable", 90
        )
        glance.fail_after = None
        glance.start()

        region.await_images(image.id for image in images)

        region.await_log("auditor goes on")
        assert region.log().count("auditor waits") <= 4
        assert region.stop() == 0


def test_backfill_claims_what_is_missing_and_then_nothing(
    rabbit_a, mariadb, tmp_path, glance
):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    region.configure(extra=audited(glance))
    for n in range(30):
        glance.add(os_hidden=n % 3 == 0)
    row = {"region": "RegionOne", "seen": 30, "claimed": 30, "known": 0}

    assert backfill(region, "--dry-run") == row
    assert kinds(region) == {}
    assert backfill(region, "--rate", "1000") == row
    settled = revision(region)
    assert backfill(region) == row | {"claimed": 0, "known": 30}

    assert revision(region) == settled
    assert len(kinds(region)) == 30


def test_backfill_that_cannot_ask_glance_says_so(
    rabbit_a, mariadb, tmp_path, glance
):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    region.configure(extra=audited(glance))
    glance.status = 403

    refused = command(region, "backfill")
    glance.stop()
    away = command(region, "backfill")
    region.configure()
    unconfigured = command(region, "backfill")

    for done, said in (
        (refused, "the account needs a role"),
        (away, "Glance's API"),
        (unconfigured, "[glance] says neither"),
    ):
        assert done.code == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_backfill_claims_nothing_before_peers_were_compared(
    rabbit_a, rabbit_b, mariadb, tmp_path, glance
):
    one, two = pair(rabbit_a, rabbit_b, mariadb, tmp_path)
    one.configure(two, extra=audited(glance, poll_interval=600))
    glance.add()

    done = command(one, "backfill")

    assert done.code == 2
    assert "was not compared with RegionTwo" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert kinds(one) == {}
    with running(one, two):
        one.await_log("agrees with RegionTwo")
        late = glance.add()
        wait_until(lambda: command(one, "backfill").code == 0)
        two.await_images([late.id])


def test_what_comes_again_after_a_cut_does_not_stall_the_listener(
    rabbit_a, mariadb, tmp_path
):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    region.program = (sys.executable, odd_agent.__file__, "1")
    # One at a time, and a link that is down when it is acknowledged: left to
    # itself, oslo.messaging ignores what comes again, and gets nothing else.
    region.configure(
        extra="\n[oslo_messaging_rabbit]\n"
        "rabbit_retry_interval = 5\nkombu_reconnect_delay = 4\n"
        "[notifications]\nstall_timeout = 3600\n"
    )
    region.glance.create(1)
    with running(region):
        region.await_log("listening on")
        listener = region.services()["listener"]
        with holding(region):
            first = region.glance.create(1)
            wait_until(lambda: unacknowledged(region) == 1)
            rabbit_a.ctl(
                "close_all_connections",
                "--vhost",
                region.vhost,
                "the test breaks the link",
            )
        later = region.glance.create(5)

        region.await_images(first | later, 60)

        assert region.services()["listener"] == listener


def test_a_listener_that_has_stalled_is_started_anew(
    rabbit_a, mariadb, tmp_path
):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    region.program = (sys.executable, odd_agent.__file__, "20")
    region.configure(extra="\n[notifications]\nstall_timeout = 3\n")
    region.glance.declare()
    with Proxy(rabbit_a.port) as link:
        text = region.config_file.read_text()
        url = text.partition("transport_url = ")[2].partition("\n")[0]
        region.config_file.write_text(text.replace(url, link.url(url)))
        with running(region):
            region.await_images(region.glance.create(1))
            listener = region.services()["listener"]
            # What is sent to it is lost on the way, and nobody says so.
            link.swallow(Way.TO_READER)
            images = region.glance.create(60)
            wait_until(lambda: bool(link.swallowed))
            link.heal()

            region.await_images(images, 50)

            region.await_log("the listener has got nothing for")
            assert region.services()["listener"] != listener
            states = region.sql("ledger", "SELECT last_error FROM services")
            assert "started anew" in str(states)


def unacknowledged(region):
    what = "messages_unacknowledged"
    return region.rabbit.queue_depths(region.vhost, what).get(INFO)


def check(region):
    done = command(region, "config", "check", "-f", "json")
    rows = {row["check"]: row for row in json.loads(done.stdout)}
    assert f"{region.account}:" not in done.stdout
    return done.code, rows


def test_config_check_is_content_with_what_is_in_order(
    rabbit_a, rabbit_b, mariadb, tmp_path, glance
):
    one, two = pair(rabbit_a, rabbit_b, mariadb, tmp_path)
    one.configure(two, extra=audited(glance))
    one.glance.create(1)
    glance.add()

    code, rows = check(one)

    assert code == 0, rows
    assert rows["heartbeats of RegionTwo"]["result"] == "unknown: none yet"
    assert rows["Glance's exchange"]["result"] == "ok: glance, durable: False"
    assert "CREATE INDEX" in rows["cell cell1"]["advice"]
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        one.await_log("listening on")
        one.await_log("agrees with")
        mariadb.execute(
            f"CREATE INDEX u ON {one.vhost}_cell1.s3_images (uuid)"
        )

        code, rows = check(one)

    assert code == 0, rows
    assert all(r["result"].startswith("ok") for r in rows.values()), rows
    assert rows["cell cell1"]["advice"] == ""


def test_config_check_finds_what_is_wrong_and_changes_nothing(
    rabbit_a, rabbit_b, mariadb, tmp_path, glance
):
    one, two = pair(rabbit_a, rabbit_b, mariadb, tmp_path)
    reader = f"{tmp_path.name}_reader"[-30:].replace("-", "_")
    mariadb.execute(f"CREATE USER '{reader}'@'%' IDENTIFIED BY 'geheim'")
    mariadb.execute(
        f"GRANT SELECT, INSERT ON {one.vhost}_cell1.s3_images "
        f"TO '{reader}'@'%'"
    )
    one.cells["cell0"] = mariadb.create_database(f"{one.vhost}_api")
    one.cells["cell1"] = one.cells["cell1"].replace(
        "root@", f"{reader}:geheim@"
    )
    one.configure(two, extra=audited(glance))
    one.durable = True  # Glance is not
    one.glance.create(1)
    two.rabbit.ctl("clear_permissions", "-p", two.vhost, two.account_of(one))
    glance.status = 401
    one.configure(two, extra=audited(glance))

    code, rows = check(one)

    assert code == 1
    for name, result, advice in (
        ("Glance's exchange", "received 'true' but", "as in glance-"),
        ("cell cell0", "there is no table s3_images", "not that of the API"),
        ("cell cell1", "no right to DELETE", "GRANT SELECT, INSERT"),
        ("broker of RegionTwo", "wrong", ""),
        ("Glance's API", "it does not know us", ""),
    ):
        assert rows[name]["result"].startswith("wrong"), rows[name]
        assert result in rows[name]["result"], rows[name]
        assert advice in rows[name]["advice"], rows[name]
    assert rows["own broker"]["result"].startswith("ok")
    assert "geheim" not in json.dumps(rows)
    assert not has_exchange(one, "ec2map_sync")


def has_exchange(region, name):
    with kombu.Connection(region.bus_url) as connection:
        try:
            connection.default_channel.exchange_declare(
                name, "topic", passive=True
            )
        except amqp.exceptions.NotFound:
            return False
    return True
