"""An agent whose listener is killed whenever it has something in hand."""

import os
import signal
from typing import NoReturn

from ec2map_sync.agent.main import main
from ec2map_sync.glance.listener import Recorder


def die(*_arguments: object) -> NoReturn:
    """End as a process does for which there is no memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


if __name__ == "__main__":
    Recorder._attempt = die  # type: ignore[assignment,method-assign]
    main()
