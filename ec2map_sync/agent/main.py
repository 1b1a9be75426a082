"""The daemon: one process for each service of a region (cotyledon)."""

import gc
import io
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, ClassVar, TextIO

import cotyledon
from oslo_config import cfg
from oslo_log import log

from ec2map_sync.agent import api, metrics, secrecy, services
from ec2map_sync.agent.host import Host
from ec2map_sync.agent.watchdog import sentry
from ec2map_sync.broker import inside
from ec2map_sync.glance import listener
from ec2map_sync.rules.errors import Ec2MapError
from ec2map_sync.running.roll import roll as made_roll
from ec2map_sync.running.threads import Threads
from ec2map_sync.settings import config
from ec2map_sync.settings.config import Config
from ec2map_sync.settings.loading import load
from ec2map_sync.settings.services import SERVICES, processes

if TYPE_CHECKING:  # not in each release
    from cotyledon.types import WorkerId

LOG = logging.getLogger(__name__)

GRACE = 30
"""Seconds that a service has to finish what it has begun."""

YOUNG = 50_000
"""Objects between two searches for cycles among them: as a batch makes."""


class Worker(cotyledon.Service):
    """A process that runs one service until it is told to stop."""

    graceful_shutdown_timeout = GRACE
    build: ClassVar[Callable[[Config, Host], Threads]]

    def __init__(
        self, worker_id: "WorkerId", conf: Config, host: Host
    ) -> None:
        super().__init__(worker_id)
        self._done = threading.Event()
        host.enter(f"{self.name}-{worker_id}", str(self.name))
        self._beat = host.beat
        # After the fork: no connection is shared between processes.
        self._service = type(self).build(conf, host)
        # Batches are many small values without cycles: by default Python
        # would search them hundreds of times, for a fifth of our CPU.
        gc.freeze()
        gc.set_threshold(YOUNG)

    def run(self) -> None:
        """Runs the service."""
        LOG.info("%s started", self.name)
        self._service.run(self._beat)
        self._done.set()

    def terminate(self) -> None:
        """Stops the service; whatever hangs is left to crash recovery."""
        self._service.stop()
        self._done.wait(GRACE - 5)
        LOG.info("%s stopped", self.name)


BUILDERS: Mapping[str, Callable[[Config, Host], Threads]] = {
    "listener": services.listener,
    "auditor": services.auditor,
    "publisher": services.publisher,
    "follower": services.follower,
    "writer": services.writer,
    "metrics": metrics.exporter,
    "api": api.lookups,
}
"""What each of `SERVICES` is built by."""


def workers(conf: Config) -> list[tuple[type[Worker], int]]:
    """Returns which services a region has, and how many of each.

    Each as a class of its own: cotyledon takes the name from there.
    """
    return [
        (
            type(
                f"{service.name.title()}Worker",
                (Worker,),
                {
                    "name": service.name,
                    "build": staticmethod(BUILDERS[service.name]),
                },
            ),
            count,
        )
        for service in SERVICES
        if (count := service.count(conf))
    ]


def run(conf: Config) -> None:
    """Runs a region's services until SIGTERM."""
    with made_roll(conf.state_path) if conf.metrics else nullcontext() as roll:
        _run(conf, Host(roll, processes(conf)))


def _run(conf: Config, host: Host) -> None:
    threading.excepthook = _end_with_a_thread(os.getpid())
    manager = cotyledon.ServiceManager(
        graceful_shutdown_timeout=GRACE + 5,
        # Python 3.14 no longer forks unless asked to.
        mp_context=multiprocessing.get_context("fork"),
    )
    for service, count in workers(conf):
        manager.add(service, workers=count, args=(conf, host))
    # Before cotyledon, which takes systemd's address out of the environment.
    if watchdog := sentry(os.environ, host.pulse.silent):
        watchdog.start()
    manager.run()


def _end_with_a_thread(
    first: int,
) -> Callable[[threading.ExceptHookArgs], None]:
    """Lets the first process end when a thread of it does.

    One of cotyledon's starts the others, and anew what has ended. Without it,
    an agent would be there that does nothing, and nobody would start another.
    """
    usual = threading.excepthook

    def hook(ended: threading.ExceptHookArgs) -> None:
        if os.getpid() != first:
            usual(ended)
            return
        error = ended.exc_value
        # What the machine refuses, such as memory, is no mistake of ours.
        trace = None if isinstance(error, OSError) else error
        LOG.critical(
            "no process can be started, so all end: %s", error, exc_info=trace
        )
        os._exit(1)

    return hook


class _Stream(io.TextIOWrapper):
    """A standard stream, of which a full disk stops nobody.

    What it has not taken is tried again with what comes next. But whoever
    forks flushes it before, and would fail.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(
            stream.buffer, stream.encoding, stream.errors, line_buffering=True
        )

    def flush(self) -> None:
        """Writes what has not been written, if that can be."""
        with suppress(OSError):
            super().flush()


def _register(conf: cfg.ConfigOpts) -> None:
    log.register_options(conf)
    log.set_defaults(
        default_log_levels=[
            *log.get_default_log_levels(),
            "alembic=WARN",
            "kombu=WARN",
            # What they warn of, we say ourselves, once: the broker's driver
            # has a line for every second that a broker is away.
            "oslo.messaging._drivers.impl_rabbit=CRITICAL",
            "oslo_messaging._drivers.amqpdriver=ERROR",
            "sqlalchemy.pool=CRITICAL",
            "keystoneauth=ERROR",
            "openstack=ERROR",
        ]
    )
    listener.register_options(conf)


def main() -> None:
    """Starts the daemon in the foreground."""
    # Until cotyledon has its own: a stop so early is a clean one too.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    secrecy.shut()
    try:
        conf = load(sys.argv[1:], prepare=_register)
        conf.check()
        listener.check_options(conf.conf)
    except Ec2MapError as error:
        print(f"{config.PROJECT}-agent: {error}", file=sys.stderr)
        sys.exit(2)
    for name in ("stdout", "stderr"):
        if stream := getattr(sys, name):  # else it is closed
            setattr(sys, name, _Stream(stream))
    log.setup(conf.conf, config.PROJECT)
    secrecy.warn_of_open_files(conf.conf)
    inside.install()
    LOG.info("region %s, scheme %s", conf.region, conf.scheme.fingerprint)
    run(conf)
