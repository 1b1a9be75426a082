"""Metrics are served, whoever asks and whatever is away."""

import socket
import threading
import urllib.request

import pytest
from scraping import get
from servers import free_port, wait_until

from ec2map_sync.agent.host import Host
from ec2map_sync.monitor.exporter import Agent, Answer, CannotListen, Front
from ec2map_sync.running.roll import roll
from ec2map_sync.settings import addresses


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
