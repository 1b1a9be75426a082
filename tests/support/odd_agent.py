"""An agent that is odd in what the first argument says."""

import errno
import os
import signal
import sys
from typing import NoReturn

from ec2map_sync.agent.main import main
from ec2map_sync.broker import channels
from ec2map_sync.glance.listener import Recorder


def die(*_arguments: object) -> NoReturn:
    """End as a process does for which there is no memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def take(most: int) -> None:
    """Have no more than so many messages in hand."""
    known = channels.Channel.basic_qos

    def ask(
        self: channels.Channel, size: int, _count: int, *rest: bool
    ) -> None:
        known(self, size, most, *rest)

    channels.Channel.basic_qos = ask


def refuse() -> None:
    """Start no process for whoever has started three."""
    fork, left = os.fork, iter(range(3))

    def odd() -> int:
        for _ in left:
            return fork()
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    os.fork = odd


if __name__ == "__main__":
    how = sys.argv.pop(1)
    if how == "refused":
        refuse()
    elif how == "ending":
        Recorder._attempt = die  # type: ignore[assignment,method-assign]
    else:
        take(int(how))
    main()
