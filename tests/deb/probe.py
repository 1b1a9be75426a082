"""Tries what the agent's unit forbids; prints what comes of each attempt.

Whoever is not confined may do each of these without being root.
"""

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

STATE = Path("/var/lib/ec2map-sync")
NEW_USERS = 0x10000000  # CLONE_NEWUSER
TRACE_ME = 0  # PTRACE_TRACEME
LIBC = ctypes.CDLL(None, use_errno=True)


def called(function: str, *arguments: int) -> None:
    """Call a function of the C library."""
    if getattr(LIBC, function)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), function)


def write_beside() -> None:
    """Make a file where everybody may."""
    path = Path("/srv/probe")
    path.touch()
    path.unlink()


def write_state() -> None:
    """Make a file where the agent has to."""
    path = STATE / "probe"
    path.touch()
    path.unlink()


def become_another() -> None:
    """Make a file whose program would run as its owner."""
    path = STATE / "probe"
    path.touch()
    try:
        path.chmod(0o4700)
    finally:
        path.unlink()


ATTEMPTS: dict[str, Callable[[], object]] = {
    "write its state": write_state,
    "write elsewhere": write_beside,
    "see homes": lambda: os.listdir("/home"),
    "see others' processes": lambda: os.stat("/proc/1"),
    "make a program of data": lambda: mmap.mmap(
        -1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC
    ),
    "speak with the kernel": lambda: socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW, 0
    ).close(),
    "make a set-user-id file": become_another,
    "make a namespace": lambda: called("unshare", NEW_USERS),
    "trace a process": lambda: called("ptrace", TRACE_ME, 0, 0, 0),
}


def outcome(attempt: Callable[[], object]) -> str:
    """Make an attempt in a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            attempt()
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        return signal.Signals(-status).name
    return errno.errorcode.get(status, "may")


if __name__ == "__main__":
    json.dump(
        {what: outcome(how) for what, how in ATTEMPTS.items()}, sys.stdout
    )
