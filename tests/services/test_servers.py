"""The servers that the other tests rely on do what these tests believe."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import kombu
import pymysql
import pytest
import servers
import sqlalchemy as sa
from patience import wait_until, within
from servers import MariaDB, PostgreSQL, RabbitMQ, ServerError

from ec2map_sync.sql.database import parse_url

pytestmark = pytest.mark.services

LISTEN = "0A"
PERSISTENT = 2


def publish(rabbit: RabbitMQ, queue: str, body: str) -> None:
    with kombu.Connection(
        rabbit.url(), transport_options={"confirm_publish": True}
    ) as connection:
        connection.Producer().publish(
            body,
            routing_key=queue,
            declare=[kombu.Queue(queue, durable=True)],
            delivery_mode=PERSISTENT,
        )


def consume(rabbit: RabbitMQ, queue: str) -> str:
    with (
        kombu.Connection(rabbit.url()) as connection,
        connection.SimpleQueue(queue) as simple,
    ):
        message = simple.get(timeout=within(10))
        message.ack()
        return str(message.payload)


def processes_of(directory: Path) -> list[str]:
    """The command lines that mention a directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
            where = (entry / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(directory) in line + where:
            found.append(line.replace(b"\0", b" ").decode())
    return found


def listening(pid: int) -> set[str]:
    """The local addresses a process listens on, as /proc writes them."""
    sockets = {
        str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()
    }
    found = set()
    for table in ("tcp", "tcp6"):
        lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()
        for fields in map(str.split, lines[1:]):
            if fields[3] == LISTEN and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1])
    return found


def test_what_is_published_is_consumed(rabbit_a: RabbitMQ) -> None:
    publish(rabbit_a, "greeting", "hello")

    assert rabbit_a.queue_depths()["greeting"] == 1
    assert consume(rabbit_a, "greeting") == "hello"
    assert rabbit_a.queue_depths()["greeting"] == 0


def test_two_brokers_are_two(rabbit_a: RabbitMQ, rabbit_b: RabbitMQ) -> None:
    publish(rabbit_a, "only-a", "hello")

    assert "only-a" in rabbit_a.queue_depths()
    assert "only-a" not in rabbit_b.queue_depths()


def test_broker_stays_out_of_the_network(rabbit_a: RabbitMQ) -> None:
    assert rabbit_a.pid is not None
    loopback = "0100007F"
    expected = f"{loopback}:{rabbit_a.port:04X}"

    addresses = listening(rabbit_a.pid)

    assert expected in addresses
    assert all(address.startswith(loopback) for address in addresses)


def test_broker_restarts_in_place(rabbit_b: RabbitMQ) -> None:
    publish(rabbit_b, "kept", "over a restart")
    before = rabbit_b.url(), rabbit_b.pid

    rabbit_b.restart()

    assert rabbit_b.url() == before[0]
    assert rabbit_b.pid != before[1]
    assert consume(rabbit_b, "kept") == "over a restart"


def test_broker_survives_being_killed(rabbit_b: RabbitMQ) -> None:
    publish(rabbit_b, "confirmed", "before the kill")

    rabbit_b.kill()
    with pytest.raises(kombu.exceptions.OperationalError):
        consume(rabbit_b, "confirmed")
    rabbit_b.start()

    assert consume(rabbit_b, "confirmed") == "before the kill"


def test_started_by_a_thread_it_outlives_the_thread(
    rabbit_b: RabbitMQ,
) -> None:
    thread = threading.Thread(target=rabbit_b.restart)
    thread.start()
    thread.join()

    publish(rabbit_b, "threads", "still here")
    assert consume(rabbit_b, "threads") == "still here"


@pytest.fixture(params=["mariadb", "postgresql"])
def sql(request: pytest.FixtureRequest) -> MariaDB | PostgreSQL:
    server: MariaDB | PostgreSQL = request.getfixturevalue(request.param)
    return server


def test_database_keeps_what_was_committed(sql: MariaDB | PostgreSQL) -> None:
    url = parse_url(sql.create_database("kept"), "test")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE word (w VARCHAR(9))"))
        connection.execute(sa.text("INSERT INTO word VALUES ('☃')"))
    engine.dispose()

    for again in (sql.restart, sql.kill):
        again()
        sql.start()
        with engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT w FROM word"))
            assert rows.scalars().all() == ["☃"]
        engine.dispose()


def test_database_is_durable(mariadb: MariaDB) -> None:
    assert mariadb.execute("SELECT @@innodb_flush_log_at_trx_commit") == [(1,)]


def test_killed_database_does_not_answer(mariadb: MariaDB) -> None:
    mariadb.kill()
    with pytest.raises(pymysql.OperationalError):
        mariadb.execute("SELECT 1")
    mariadb.start()


def test_nothing_runs_after_stop(tmp_path: Path) -> None:
    with (
        RabbitMQ(tmp_path / "r") as rabbit,
        MariaDB(tmp_path / "m") as maria,
        PostgreSQL(tmp_path / "p") as postgres,
    ):
        assert rabbit.ctl("status")
        assert maria.execute("SELECT 1") == [(1,)]
        assert postgres.execute("SELECT 1") == [(1,)]
        assert len(processes_of(tmp_path)) > 2

    assert processes_of(tmp_path) == []


def test_nothing_runs_after_the_tests_are_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from servers import MariaDB, PostgreSQL, RabbitMQ\n"
        "where = Path(sys.argv[1])\n"
        "RabbitMQ(where / 'r').start()\n"
        "MariaDB(where / 'm').start()\n"
        "PostgreSQL(where / 'p').start()\n"
        "print('up', flush=True)\n"
        "time.sleep(999)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        env=os.environ | {"PYTHONPATH": str(Path(servers.__file__).parent)},
        stdout=subprocess.PIPE,
    ) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline() == b"up\n"
        assert len(processes_of(tmp_path)) > 2
        tests.send_signal(signal.SIGKILL)

    wait_until(lambda: processes_of(tmp_path) == [])


def test_missing_program_names_the_package() -> None:
    with pytest.raises(ServerError, match="apt-get install mariadb-server"):
        servers.find_program("no-such-mariadbd", "mariadb-server")


def test_failed_start_shows_the_log(tmp_path: Path) -> None:
    broken = RabbitMQ(tmp_path)

    with socket.socket() as rival:
        rival.bind(("127.0.0.1", broken.port))
        with pytest.raises(ServerError, match=r"(?s)ended.*eaddrinuse"):
            broken.start()
    broken.stop()

    assert processes_of(tmp_path) == []
