"""Metrics are served, whoever asks and whatever is away."""

import socket
import threading
import urllib.error
import urllib.request

import pytest
from patience import wait_until
from prometheus_client import CollectorRegistry
from scraping import Response, get
from servers import free_port

from ec2map_sync.monitor.exporter import Agent, CannotListen, Front, answers
from ec2map_sync.running.roll import Roll, roll
from ec2map_sync.settings import addresses


def test_where_nobody_can_tell_no_process_is_called_dead(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "no" / "place"))
    with roll(tmp_path) as nowhere:
        pass
    expected = ["listener-0", "writer-0"]
    agent = Agent(nowhere, expected, ("one", "s"), None)

    assert (agent.dead(), agent.deaf()) == ([], [])
    assert [f.name for f in agent.collect()] == ["ec2map_sync_info"]


def test_who_lives_and_is_not_heard_of_is_named_beside_the_dead(tmp_path):
    there = Roll(tmp_path)
    there.enter("writer-0")
    expected = ["listener-0", "writer-0"]
    agent = Agent(there, expected, ("one", "s"), None, silent=lambda: expected)

    assert agent.dead() == [
        "listener-0 does not run",
        "nothing is heard of writer-0",
    ]


@pytest.fixture(params=["127.0.0.1", "::1"])
def front(request):
    """A front that answers at once, and its address."""
    listen = addresses.Listen(request.param, free_port())
    probes = {"/x": list, "/z": lambda: ["one lacks", "so does two"]}
    front = Front(listen, answers(CollectorRegistry(), probes))
    yield front, listen
    front.close()


def test_clients_are_answered_and_who_hangs_up_is_no_news(
    front, caplog, capfd
):
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
        assert get(f"http://{listen}/x?a=b") == Response(200, "ok\n")
        assert get(f"http://{listen}/y").status == 404
        lacks = Response(503, "one lacks\nso does two\n")
        assert get(f"http://{listen}/z") == lacks
        request = urllib.request.Request(
            f"http://{listen}/metrics",
            headers={"Accept": "application/openmetrics-text"},
        )
        with urllib.request.urlopen(request) as response:
            assert response.headers["Content-Type"].startswith(
                "application/openmetrics-text"
            )
            assert response.read() == b"# EOF\n"
        posted = urllib.request.Request(f"http://{listen}/x", method="POST")
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(posted)
    finally:
        ends.set()
        thread.join()
    assert [r for r in caplog.records if r.levelname != "INFO"] == []
    assert capfd.readouterr().err == ""


def can_connect(listen):
    try:
        socket.create_connection((listen.host, listen.port)).close()
    except OSError:
        return False
    return True


def test_an_address_that_is_taken_is_one_line_that_names_it(front):
    server, listen = front
    with (
        socket.create_server(
            (listen.host, listen.port),
            family=socket.AF_INET6 if ":" in listen.host else socket.AF_INET,
        ),
        pytest.raises(CannotListen) as caught,
    ):
        server.step()

    assert str(caught.value) == (
        f"[metrics] listen = {listen}: Address already in use"
    )
