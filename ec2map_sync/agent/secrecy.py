"""What keeps the agent's secrets in the agent."""

import ctypes
import logging
import os
import resource
import sys

from oslo_config import cfg

from ec2map_sync.settings.files import open_to_others

LOG = logging.getLogger(__name__)

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def shut() -> None:
    """Lets no core be dumped, and no file of ours be read by others.

    A core that is piped to a program heeds no limit; so neither this
    process nor those that it forks can be dumped at all, nor looked into by
    other processes of its user.
    """
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def warn_of_open_files(conf: cfg.ConfigOpts) -> None:
    """Says which configuration files others may read."""
    for path in open_to_others(conf):
        LOG.warning(
            "%s has passwords, and everybody on this machine may read it: "
            "'chmod o-rwx %s', and change them if somebody may have",
            path,
            path,
        )
