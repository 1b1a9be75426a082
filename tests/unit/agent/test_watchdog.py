"""What systemd's watchdog is told, on a socket as systemd's is one."""

import os
import socket

import pytest

from ec2map_sync.agent.watchdog import sentry

USUAL = {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}


class Silence:
    """The processes that are silent, and for how long one has asked."""

    def __init__(self):
        self.who = []
        self.asked = None

    def __call__(self, seconds):
        self.asked = seconds
        return self.who


@pytest.fixture
def silence():
    return Silence()


@pytest.fixture(params=["a file", "no file"])
def systemd(request, tmp_path):
    """The socket that systemd reads, and its address as it is handed on."""
    name = f"ec2map-sync-{os.getpid()}"
    path = tmp_path / "notify"
    filed = request.param == "a file"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(path) if filed else f"\0{name}")
        reader.setblocking(False)
        yield reader, str(path) if filed else f"@{name}"


def told(reader):
    """Give all that systemd has been told."""
    found = []
    while True:
        try:
            found.append(reader.recv(4096))
        except BlockingIOError:
            return found


def test_systemd_is_told_while_everybody_is_heard_of(systemd, silence):
    reader, address = systemd
    watchdog = sentry({**USUAL, "NOTIFY_SOCKET": address}, silence)

    watchdog.step()
    watchdog.step()

    assert told(reader) == 2 * [b"WATCHDOG=1"]
    assert (watchdog.interval, silence.asked) == (15, 30)


def test_systemd_is_not_told_while_somebody_is_silent(
    systemd, silence, caplog
):
    reader, address = systemd
    watchdog = sentry({**USUAL, "NOTIFY_SOCKET": address}, silence)
    silence.who = ["writer-0"]
    watchdog.step()
    watchdog.step()
    assert told(reader) == []

    silence.who = []
    watchdog.step()

    assert told(reader) == [b"WATCHDOG=1"]
    (said,) = caplog.messages
    assert said.endswith("nothing is heard of writer-0")


def test_without_anybody_to_tell_there_is_one_line(tmp_path, silence, caplog):
    nobody = str(tmp_path / "nobody")
    watchdog = sentry({**USUAL, "NOTIFY_SOCKET": nobody}, silence)

    watchdog.step()
    watchdog.step()

    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"NOTIFY_SOCKET": ""},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "²"},
        {"WATCHDOG_USEC": str(2**64 - 1)},
        {"WATCHDOG_PID": "1"},
    ],
)
def test_whom_no_watchdog_waits_for_tells_nothing(silence, other):
    environ = {**USUAL, "NOTIFY_SOCKET": "@x", **other}

    assert sentry(environ, silence) is None
