"""Whoever is slow, silent or many holds nobody up."""

import contextlib
import socket
import tempfile
import threading

import pytest
from patience import wait_until, within
from scraping import get
from servers import free_port

from ec2map_sync.api.server import HttpServer
from ec2map_sync.monitor.exporter import CannotListen
from ec2map_sync.settings.addresses import Listen
from ec2map_sync.settings.values import Api

OPTIONS = Api(
    auth="none", allow_unauthenticated=False, threads=2, connections=2000
)


def large(_environ, start_response):
    """Answer with more than any buffer of the kernel's takes."""
    start_response("200 OK", [("Content-Length", "8000000")])
    return [b"x" * 8_000_000]


def small(_environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


def either(environ, start_response):
    answer = large if environ["PATH_INFO"] == "/large" else small
    return answer(environ, start_response)


@contextlib.contextmanager
def serving():
    """Let a server with two threads answer; gives its port."""
    listen = Listen("127.0.0.1", free_port())
    server = HttpServer(listen, either, OPTIONS)
    ends = threading.Event()

    def serve():
        while not ends.is_set():
            server.step()
        server.close()

    thread = threading.Thread(target=serve)
    thread.start()
    wait_until(lambda: answers(listen.port))
    yield listen.port
    ends.set()
    thread.join(within(60))


@pytest.fixture
def port():
    with serving() as port:
        yield port


def answers(port):
    try:
        return get(f"http://127.0.0.1:{port}/").text == "ok"
    except OSError:
        return False


def connected(stack, port):
    client = socket.create_connection(("127.0.0.1", port))
    return stack.enter_context(client)


def test_a_thousand_open_connections_hold_nobody_up(port):
    with contextlib.ExitStack() as stack:
        for n in range(1000):
            client = connected(stack, port)
            if n % 2:  # half a question is as good as none
                client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n")

        assert answers(port)


def test_who_takes_no_answer_holds_nobody_up(port):
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            client = connected(stack, port)
            client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")

        assert answers(port)


def test_what_nobody_has_taken_is_closed_and_not_left_to_the_collector(
    monkeypatch,
):
    files = []

    def noted(*arguments):
        files.append(make(*arguments))
        return files[-1]

    make = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", noted)
    with contextlib.ExitStack() as stack:
        with serving() as port:
            client = connected(stack, port)
            client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until(lambda: files)
        assert all(file.closed for file in files)


def test_an_address_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = Listen("127.0.0.1", taken.getsockname()[1])

        with pytest.raises(CannotListen, match=r"\[api\] listen = 127"):
            HttpServer(listen, small, OPTIONS).step()
