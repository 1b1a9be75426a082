"""What an agent tells Prometheus and probes is what has happened."""

import os
import signal
import socket
import subprocess

import pytest
from fleet import INFO, S3_IMAGES, Load, Region, create_envelope, pair, running
from patience import wait_until
from scraping import Exporter
from servers import MariaDB, find_program, free_port

pytestmark = pytest.mark.services


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Where the processes count: agents that are killed leave it behind."""
    place = tmp_path / "run"
    place.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(place))
    return place


@pytest.fixture(scope="module")
def pair_of_regions(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    """Two regions that are each other's peers, and where they answer.

    The first one has two listeners, which read small batches.
    """
    one, two = pair(
        rabbit_a, rabbit_b, mariadb, tmp_path_factory.mktemp("metrics")
    )
    at_one, at_two = Exporter(free_port()), Exporter(free_port())
    one.configure(
        two,
        extra=f"{at_one.option}[notifications]\nworkers = 2\n"
        "batch_size = 50\n",
    )
    two.configure(one, extra=at_two.option)
    one.glance.declare()
    two.glance.declare()
    return one, two, at_one, at_two


@pytest.fixture
def alone(rabbit_a, mariadb, tmp_path):
    """A region without peers, and where it answers."""
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    exporter = Exporter(free_port())
    region.configure(extra=exporter.option)
    return region, exporter


def await_ready(*exporters):
    for exporter in exporters:
        wait_until(exporter.answers)
        wait_until(lambda e=exporter: e.get("/readyz").status == 200)


def await_value(exporter, expected, name, **labels):
    """Wait until the sum of some series is this, and no more."""
    wait_until(lambda: exporter.scrape().sum(name, **labels) >= expected)
    assert exporter.scrape().sum(name, **labels) == expected


def test_under_load_the_numbers_are_the_truth(pair_of_regions):
    one, two, at_one, at_two = pair_of_regions
    with running(one, two):
        await_ready(at_one, at_two)
        images = one.glance.create(400) | two.glance.create(100)
        repeated = create_envelope(next(iter(images)))
        one.glance.send(
            [(INFO, repeated), (INFO, "{}"), (INFO, create_envelope("no"))]
        )
        one.await_images(images)
        two.await_images(images)

        await_value(at_one, 403, "notifications_total")
        await_value(at_two, 100, "notifications_total")
        await_value(at_one, 400, "claims_published_total")
        for exporter in (at_one, at_two):
            for cell in one.cells:
                sink = f"nova:{cell}"
                await_value(exporter, 500, "sink_rows_total", sink=sink)
                await_value(exporter, 0, "sink_lag_numbers", sink=sink)
        scrape = at_one.scrape()
        assert scrape.one("notification_batch_size_sum") == 403
        assert scrape.sum("notifications_total", outcome="taken") == 401
        assert scrape.sum("notifications_total", outcome="quarantined") == 2
        assert scrape.one("quarantined_total", source="glance") == 2
        assert scrape.one("quarantine_entries", source="glance") == 2
        recorded = {
            origin: scrape.one("claims_recorded_total", origin=origin)
            for origin in ("notifications", "peers", "audit", "sinks")
        }
        assert recorded == {
            "notifications": 400,
            "peers": 100,
            "audit": 0,
            "sinks": 0,
        }
        assert scrape.one("claims") == 500
        assert scrape.one("process_starts_total", process="listener") == 2
        assert set(scrape.all("process_up")) == {1}
        assert scrape.all("listening") == [1, 1]
        assert scrape.one("peer_state", state="agrees") == 1
        assert scrape.sum("moves_total") == 0
        assert scrape.one("peer_claim_to_ledger_seconds_count") >= 1
        checked = subprocess.run(
            [find_program("promtool", "prometheus"), "check", "metrics"],
            input=scrape.text,
            text=True,
            capture_output=True,
            check=False,
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def test_nothing_falls_when_a_process_is_killed(pair_of_regions):
    one, two, at_one, at_two = pair_of_regions
    with running(one, two):
        await_ready(at_one, at_two)
        with Load(one.glance) as load:
            load.await_more()
            before = at_one.scrape()
            for name in ("listener", "writer", "follower", "metrics"):
                os.kill(one.services()[name], signal.SIGKILL)
                load.await_more()
                wait_until(at_one.answers)
                wait_until(lambda: at_one.get("/healthz").status == 200)
                after = at_one.scrape()
                counters = counters_of(before)
                assert counters
                fallen = {
                    key: (value, counters_of(after).get(key))
                    for key, value in counters.items()
                    if counters_of(after).get(key, -1) < value
                }
                assert not fallen
                before = after
        one.await_images(load.confirmed)
        starts = at_one.scrape()
        for name, count in (("listener", 3), ("writer", 2), ("metrics", 2)):
            assert starts.one("process_starts_total", process=name) == count
        # Killed between its commit and its acknowledgement, a listener gets
        # the batch again.
        wait_until(
            lambda: (
                at_one.scrape().one(
                    "claims_recorded_total", origin="notifications"
                )
                >= len(load.confirmed) - 50
            )
        )


def counters_of(scrape):
    """Give everything that may only rise: name and labels, value."""
    rising = ("_total", "_count", "_sum", "_bucket")
    return {
        (s.name, *sorted(s.labels.items())): s.value
        for s in scrape.samples
        if s.name.endswith(rising)
    }


def test_a_dead_peer_is_silent_and_then_agrees_again(pair_of_regions):
    one, two, at_one, at_two = pair_of_regions
    with running(one):
        with running(two):
            await_ready(at_one, at_two)
            wait_until(
                lambda: at_one.scrape().one("peer_state", state="agrees") == 1
            )
        lag = at_one.scrape().one("peer_agreement_lag_seconds")
        wait_until(
            lambda: at_one.scrape().one("peer_state", state="silent") == 1, 60
        )
        scrape = at_one.scrape()
        assert sum(scrape.all("peer_state")) == 1
        assert scrape.one("peer_heartbeat_age_seconds") > 20
        assert scrape.one("peer_agreement_lag_seconds") > lag + 10
        assert at_one.get("/readyz").status == 200
        with running(two):
            wait_until(
                lambda: at_one.scrape().one("peer_state", state="agrees") == 1
            )


def test_an_empty_region_is_ready_and_counts_nothing(alone, place):
    region, exporter = alone
    region.glance.declare()
    with running(region):
        await_ready(exporter)
        # The queues are looked at every few seconds.
        wait_until(lambda: exporter.scrape().one("notifications_waiting") == 0)
        scrape = exporter.scrape()
        for name in (
            *("claims", "notifications_total", "sink_rows_total"),
            *("sink_lag_numbers", "sink_lag_seconds", "divergences"),
            *("quarantined_total", "retries_total", "moves_total"),
        ):
            assert scrape.sum(name) == 0, name
        assert scrape.one("ledger_up") == 1
        assert scrape.all("peer_state") == []
        assert exporter.get("/healthz").text == "ok\n"
        assert exporter.get("/nothing").status == 404
        assert len(list(place.iterdir())) == 1
        assert region.stop() == 0
    assert list(place.iterdir()) == []


def test_a_process_that_stays_dead_is_named(alone):
    region, exporter = alone
    region.glance.declare()
    with running(region):
        await_ready(exporter)
        agent, writer = region.agent.pid, region.services()["writer"]
        os.kill(agent, signal.SIGSTOP)  # it would start a new one
        try:
            os.kill(writer, signal.SIGKILL)
            wait_until(lambda: exporter.get("/healthz").status == 503)
            assert exporter.get("/healthz").text == "writer-0 does not run\n"
            scrape = exporter.scrape()
            assert scrape.one("process_up", process="writer-0") == 0
            assert scrape.one("process_up", process="listener-0") == 1
        finally:
            os.kill(agent, signal.SIGCONT)
        wait_until(lambda: exporter.get("/healthz").status == 200)


def test_an_agent_that_was_killed_begins_to_count_anew(alone):
    region, exporter = alone
    region.glance.declare()
    with running(region):
        await_ready(exporter)
        region.await_images(region.glance.create(5))
        await_value(exporter, 5, "sink_rows_total", sink="nova:cell1")
        region.kill()
        assert not exporter.answers()
        region.start()
        await_ready(exporter)
        scrape = exporter.scrape()
        assert scrape.sum("sink_rows_total") == 0
        assert scrape.one("process_starts_total", process="writer") == 1
        assert scrape.one("claims") == 5


def test_a_dead_cell_is_behind_and_the_other_is_not(
    rabbit_a, mariadb, tmp_path
):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    exporter = Exporter(free_port())
    with MariaDB(tmp_path / "cell") as cell:
        region.cells["cell1"] = cell.create_database("cell1")
        region.sql("cell1", S3_IMAGES)
        region.configure(extra=exporter.option)
        region.glance.declare()
        with running(region):
            await_ready(exporter)
            region.await_images(region.glance.create(3))
            cell.stop()
            region.glance.create(10)
            await_value(exporter, 10, "sink_lag_numbers", sink="nova:cell1")
            await_value(exporter, 13, "sink_rows_total", sink="nova:cell0")
            wait_until(
                lambda: (
                    exporter.scrape().one(
                        "sink_lag_seconds", sink="nova:cell1"
                    )
                    > 2
                )
            )
            scrape = exporter.scrape()
            assert scrape.one("sink_lag_numbers", sink="nova:cell0") == 0
            assert scrape.one("sink_lag_seconds", sink="nova:cell0") == 0
            loop = "writer of nova:cell1"
            assert scrape.one("loop_working", loop=loop) == 0
            assert scrape.one("retries_total", loop=loop, cause="database")
            assert exporter.get("/healthz").status == 200
            cell.start()
            await_value(exporter, 13, "sink_rows_total", sink="nova:cell1")
            await_value(exporter, 0, "sink_lag_numbers")


def test_without_the_ledger_it_is_not_ready_but_answers(alone, mariadb):
    region, exporter = alone
    region.glance.declare()
    with running(region):
        await_ready(exporter)
        region.await_images(region.glance.create(5))
        await_value(exporter, 5, "notifications_total")
        mariadb.stop()
        try:
            response = exporter.get("/readyz")
            assert response.status == 503
            assert response.text.startswith("a database does not answer: ")
            scrape = exporter.scrape()
            assert scrape.one("ledger_up") == 0
            assert scrape.one("notifications_total") == 5
            assert scrape.all("claims") == scrape.all("loop_working") == []
            assert exporter.get("/healthz").status == 200
        finally:
            mariadb.start()
        wait_until(lambda: exporter.get("/readyz").status == 200)
        assert exporter.scrape().one("claims") == 5
    assert "Traceback" not in region.log()


def test_until_it_listens_it_says_what_it_waits_for(
    rabbit_a, rabbit_b, mariadb, tmp_path
):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    dead = Region("RegionTwo", rabbit_b, mariadb, tmp_path)
    exporter = Exporter(free_port())
    region.configure(dead, extra=exporter.option)
    with region.config_file.open("a") as file:
        file.write("[bus]\nclaim_wait = 5\n")
    with running(region):
        wait_until(exporter.answers)
        waits = "listener-0: claims wait until every peer was compared with\n"
        assert exporter.get("/readyz").text == waits
        wait_until(
            lambda: (
                exporter.get("/readyz").text
                == "listener-0: Glance's exchange 'glance' is not there yet: "
                "waiting for Glance's first notification "
                "([oslo_messaging_notifications] driver = messagingv2 in "
                "glance-api.conf)\n"
            )
        )
        assert exporter.scrape().one("listening") == 0
        region.glance.declare()
        await_ready(exporter)


def test_a_port_that_is_taken_is_one_line_and_the_agent_works(alone):
    region, exporter = alone
    region.glance.declare()
    with socket.create_server(("127.0.0.1", exporter.port)), running(region):
        region.await_log("metrics waits and tries again")
        region.await_images(region.glance.create(3))
        lines = [
            line
            for line in region.log().splitlines()
            if f"listen = 127.0.0.1:{exporter.port}" in line
        ]
        assert len(lines) == 1
        assert lines[0].endswith("Address already in use")
    with running(region):
        await_ready(exporter)
    assert "Traceback" not in region.log()
