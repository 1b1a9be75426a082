"""Counting in several processes, and what is measured in the ledger."""

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request

import kombu.exceptions
import pytest
import sqlalchemy as sa
from commands import SmallRegion
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from scraping import Scrape, get
from servers import free_port, wait_until

from ec2map_sync.agent.host import Host
from ec2map_sync.ledger import Ledger, Quarantined, ServiceState, schema
from ec2map_sync.monitor.exporter import Agent, Answer, CannotListen, Front
from ec2map_sync.monitor.gauges import LedgerGauges
from ec2map_sync.rules.claims import Claim, Sighting
from ec2map_sync.rules.errors import BadMessage, ConfigError
from ec2map_sync.rules.rows import Divergence, RowClass
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.running.loop import cause_of
from ec2map_sync.running.roll import Roll, roll
from ec2map_sync.settings import addresses, config
from ec2map_sync.sql.database import create_engine, parse_url

SECOND = 1_000_000
DIE = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )


def count(directory, process, code):
    """Let a process count, and die at once."""
    done = python(
        "import pathlib, time\nfrom ec2map_sync.running import counters\n"
        f"counters.start(pathlib.Path({str(directory)!r}), {process!r})\n"
        f"{code}\n{DIE}"
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def counted(directory):
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))
    return Scrape(generate_latest(registry).decode())


def test_a_successor_goes_on_where_a_killed_process_was(tmp_path):
    count(tmp_path, "listener-0", "counters.CLAIMS.add(3, 'peers')")
    count(tmp_path, "listener-1", "counters.CLAIMS.add(5, 'peers')")
    files = sorted(tmp_path.iterdir())

    count(tmp_path, "listener-0", "counters.CLAIMS.add(4, 'peers')")

    scrape = counted(tmp_path)
    assert scrape.one("claims_recorded_total", origin="peers") == 12
    assert scrape.one("claims_recorded_total", origin="audit") == 0
    assert sorted(tmp_path.iterdir()) == files


def test_a_clock_that_is_ahead_counts_as_no_delay(tmp_path):
    count(
        tmp_path,
        "follower-0",
        "now = time.time_ns() // 1000\n"
        "counters.PEER_DELAY.since(now + 3_600_000_000, 'B')\n"
        "counters.PEER_DELAY.since(now - 7_000_000, 'B')",
    )

    scrape = counted(tmp_path)
    name = "peer_claim_to_ledger_seconds"
    assert scrape.one(f"{name}_bucket", le="0.001") == 1
    assert scrape.one(f"{name}_bucket", le="5.0") == 1
    assert scrape.one(f"{name}_bucket", le="10.0") == 2
    assert 7 <= scrape.one(f"{name}_sum") < 60


def test_commands_pay_nothing_for_metrics():
    done = python(
        "import sys\nimport ec2map_sync.ledger, ec2map_sync.sinks.writer\n"
        "from ec2map_sync.running import counters\n"
        "counters.CLAIMS.add(3, 'peers')\ncounters.BATCH_SIZE.observe(1)\n"
        "print('prometheus_client' in sys.modules)"
    )

    assert done.stdout == "False\n", done.stderr


@pytest.fixture
def living(tmp_path):
    """A process that has entered a roll, and can be killed."""
    code = (
        "import pathlib, time\nfrom ec2map_sync.agent.host import Roll\n"
        f"roll = Roll(pathlib.Path({str(tmp_path)!r}))\n"
        "roll.enter('writer-0')\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        yield process
        process.kill()


def test_who_is_killed_is_off_the_roll_at_once(tmp_path, living):
    there = Roll(tmp_path)
    wait_until(lambda: there.has("writer-0"))
    assert not there.has("writer-1")

    living.kill()
    living.wait()

    assert not there.has("writer-0")
    there.enter("writer-0")
    assert Roll(tmp_path).has("writer-0")


def test_a_roll_is_removed_at_its_end_and_those_of_killed_agents(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    old, new = (tmp_path / f"ec2map-sync-agent-{n}" for n in ("old", "new"))
    for left in (old, new):
        left.mkdir()
        (left / "agent.lock").touch()
    os.utime(old, (0, 0))

    with roll(tmp_path) as living:
        os.utime(living.directory, (0, 0))
        with roll(tmp_path) as second:
            assert {p.name for p in tmp_path.iterdir()} == {
                new.name,  # its agent may be about to lock it
                living.directory.name,
                second.directory.name,
            }

    assert list(tmp_path.iterdir()) == [new]


def test_without_a_place_for_files_an_agent_runs_and_counts_nothing(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "no" / "place"))

    with roll(tmp_path) as nowhere:
        Host(nowhere).enter("writer-0", "writer")
    host = Host(Roll(tmp_path / "gone"))
    host.enter("writer-0", "writer")
    host.tell("listening")

    assert [record.levelname for record in caplog.records] == 2 * ["WARNING"]


def test_where_nobody_can_tell_no_process_is_called_dead(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "no" / "place"))
    with roll(tmp_path) as nowhere:
        host = Host(nowhere)
    host.expected = ["listener-0", "writer-0"]
    agent = Agent(host, ("one", "s"), None)

    assert (agent.dead(), agent.deaf()) == ([], [])
    assert [f.name for f in agent.collect()] == ["ec2map_sync_info"]


def test_who_has_no_room_to_count_still_says_how_far_it_is(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    (tmp_path / "counter_listener-0.db").mkdir()
    host = Host(Roll(tmp_path))

    host.enter("listener-0", "listener")
    host.tell("listening")

    assert Roll(tmp_path).has("listener-0")
    assert Roll(tmp_path).has("listener-0.listening")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9427", "127.0.0.1", 9427),
        ("[::1]:80", "::1", 80),
        ("one.example.org:65535", "one.example.org", 65535),
    ],
)
def test_an_address_to_listen_on_is_read(text, host, port):
    found = addresses.listen(text, "x")

    assert (found.host, found.port, str(found)) == (host, port, text)


@pytest.mark.parametrize(
    "text", ["9427", ":9427", "one:0", "one:65536", "::1:80", "http://one:80"]
)
def test_what_is_no_address_is_refused_with_the_option(text):
    with pytest.raises(ConfigError, match=r"^x: .* is not host:port"):
        addresses.listen(text, "x")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (sa.exc.OperationalError("", {}, Exception()), "database"),
        (kombu.exceptions.OperationalError(), "broker"),
        (ConnectionRefusedError(), "broker"),
        (BadMessage(), "other"),
    ],
)
def test_the_cause_of_a_retry_is_told(error, cause):
    assert cause_of(error) == cause


@pytest.fixture
def front():
    """A front that answers at once, its address, and what it says."""
    listen = addresses.Listen("127.0.0.1", free_port())
    front = Front(listen, {"/x": lambda accept: Answer(body=accept.encode())})
    yield front, listen
    front.close()


def test_clients_are_answered_and_who_hangs_up_is_no_news(front, caplog):
    server, listen = front
    ends = threading.Event()

    def serve():
        while not ends.is_set():
            server.step()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        wait_until(lambda: can_connect(listen))
        with socket.create_connection((listen.host, listen.port)) as client:
            client.sendall(b"GET /x HTTP/1.0\r\n")
            client.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
        assert get(f"http://{listen}/x").status == 200
        assert get(f"http://{listen}/y").status == 404
        request = urllib.request.Request(
            f"http://{listen}/x?a=b", headers={"Accept": "application/x"}
        )
        with urllib.request.urlopen(request) as response:
            assert response.read() == b"application/x"
    finally:
        ends.set()
        thread.join()
    assert [r for r in caplog.records if r.levelname != "INFO"] == []


def can_connect(listen):
    try:
        socket.create_connection((listen.host, listen.port)).close()
    except OSError:
        return False
    return True


def test_an_address_that_is_taken_is_one_line_that_names_it(front):
    server, listen = front
    with (
        socket.create_server((listen.host, listen.port)),
        pytest.raises(CannotListen) as caught,
    ):
        server.step()

    assert str(caught.value) == (
        f"[metrics] listen = {listen}: Address already in use"
    )


@pytest.fixture
def region(tmp_path):
    return SmallRegion(tmp_path)


def measured(region, *, since=0):
    bus = config.load([], files=[str(region.config_file)]).bus
    registry = CollectorRegistry()
    registry.register(
        LedgerGauges(
            region.ledger,
            bus,
            lambda: ["nova:cell1"],
            "here",
            since=since,
            clock=wall_clock,
        )
    )
    return Scrape(generate_latest(registry).decode())


def test_a_sink_s_lag_is_what_the_writer_has_not_come_to(region):
    region.ledger.see(
        [Sighting(image=image(n), uuid=image(n)) for n in (1, 2)]
    )
    before = measured(region)
    region.write_sinks()
    after = measured(region)

    assert before.one("sink_lag_numbers") == before.one("claims") == 2
    assert before.one("publisher_lag_claims") == 2
    assert 0 < before.one("sink_lag_seconds") < 60
    assert after.one("sink_lag_numbers") == after.one("sink_lag_seconds") == 0
    assert after.one("sink_revision") == after.one("ledger_revision") == 1


def test_moves_divergences_and_quarantine_are_counted(region):
    late = Claim(claimed_at=wall_clock(), image=image(1))
    region.ledger.record([late])
    number = region.ledger.numbers_of([image(1)])[image(1)]
    with region.ledger._writing.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO moves (at, revision, image, old, new, cause) "
                f"VALUES (1, 1, '{image(1)}', 5, {number}, '{image(2)}')"
            )
        )
    found = [
        Divergence(
            sink="nova:cell1",
            number=n,
            image=image(n),
            row_class=name,
            settled=None,
        )
        for n, name in ((1, RowClass.LEGACY), (2, RowClass.TAKEN))
    ]
    region.ledger.divergences.replace("nova:cell1", 0, 10, found)
    region.ledger.divergences.keep(found[:1])
    region.ledger.quarantine.put(
        [
            Quarantined(source=source, reason="x", body=b"x")
            for source in ("glance", "peer:RegionTwo", "glance")
        ]
    )

    scrape = measured(region)

    assert scrape.one("moves_total") == 1
    assert scrape.one("divergences", kept="true", **{"class": "legacy"}) == 1
    assert scrape.one("divergences", kept="false", **{"class": "taken"}) == 1
    assert scrape.one("quarantine_entries", source="glance") == 2
    assert scrape.one("quarantine_entries", source="peer:RegionTwo") == 1


def test_a_peer_is_in_one_state_and_a_retired_one_in_none(region):
    journal, now = region.ledger.journal, wall_clock()
    never = measured(region)
    journal.note_peer("RegionTwo", received_at=now, agrees_until=now - SECOND)
    agrees = measured(region)
    journal.note_peer("RegionTwo", differs_since=now - 90 * SECOND)
    differs = measured(region)
    journal.note_peer("RegionTwo", received_at=now - 90 * SECOND)
    journal.note_peer("Retired", received_at=now)
    silent = measured(region)

    for scrape, state in (
        (never, "never heard"),
        (agrees, "agrees"),
        (differs, "differs"),
        (silent, "silent"),
    ):
        assert scrape.one("peer_state", peer="RegionTwo", state=state) == 1
        assert scrape.sum("peer_state") == 1
    assert never.all("peer_heartbeat_age_seconds") == []
    assert 1 <= agrees.one("peer_agreement_lag_seconds") < 60
    assert 90 <= differs.one("peer_differs_seconds") < 150
    assert 90 <= silent.one("peer_heartbeat_age_seconds") < 150


def test_only_loops_of_this_host_and_this_run_are_told(region):
    now = wall_clock()
    for host, name, ago in (
        ("here", "publisher", 1),
        ("here", "writer of nova:cell1", 1),
        ("here", "writer of nova:retired", 1),
        ("here", "follower of Retired", 500),
        ("elsewhere", "listener", 1),
    ):
        region.ledger.journal.note_service(
            ServiceState(
                host=host,
                name=name,
                seen_at=now - ago * SECOND,
                working=name == "publisher",
            )
        )

    scrape = measured(region, since=now - 100 * SECOND)

    assert scrape.one("loop_working", loop="publisher") == 1
    assert scrape.one("loop_working", loop="writer of nova:cell1") == 0
    assert len(scrape.all("loop_working")) == 2


def test_every_database_is_measured_alike(region, database):
    engine = create_engine(parse_url(database, "x"))
    schema.upgrade(engine)
    region.ledger = ledger = Ledger(engine, region.scheme)
    try:
        ledger.see(
            [Sighting(image=image(n), uuid=image(n)) for n in range(30)]
        )
        found = Divergence(
            sink="nova:cell1",
            number=1,
            image=image(1),
            row_class=RowClass.TAKEN,
            settled=None,
        )
        ledger.divergences.replace("nova:cell1", 0, 10, [found])
        bad = Quarantined(source="glance", reason="x", body=b"x")
        ledger.quarantine.put([bad, bad])

        scrape = measured(region)

        head = ledger.head()
        assert ledger.queries.changed_after(0) <= head.last_stamp
        assert ledger.queries.changed_after(0) > head.last_stamp - SECOND
        assert ledger.queries.changed_after(head.revision) is None
        assert scrape.one("ledger_up") == 1
        assert scrape.one("sink_lag_numbers") == 30
        assert scrape.one("divergences", kept="false") == 1
        assert scrape.one("quarantine_entries", source="glance") == 2
        assert scrape.one("moves_total") == 0
    finally:
        engine.dispose()


def test_a_ledger_that_does_not_answer_leaves_one_gauge(region):
    region.sql("ledger", "DROP TABLE cursors")

    scrape = measured(region)

    assert scrape.one("ledger_up") == 0
    assert len(scrape.samples) == 1
