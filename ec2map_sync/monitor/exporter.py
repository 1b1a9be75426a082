"""The agent's answers to Prometheus and to probes, by HTTP."""

import logging
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from wsgiref.simple_server import WSGIRequestHandler
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app
from prometheus_client.registry import Collector

from ec2map_sync.broker import link
from ec2map_sync.glance.broker import Queues
from ec2map_sync.monitor.gauges import Family, Gauge, Measured, families
from ec2map_sync.rules.errors import Ec2MapError
from ec2map_sync.running.roll import Roll
from ec2map_sync.settings.addresses import Listen

LOG = logging.getLogger(__name__)

REQUEST_TIMEOUT = 10.0
"""Seconds that a client may take for its request."""

INFO = Gauge("info", "Always 1; what runs here.", ("region", "scheme"))
PROCESS_UP = Gauge("process_up", "Whether a process lives.", ("process",))
LISTENING = Gauge("listening", "Whether a listener listens.", ("process",))
WAITING = Gauge(
    "notifications_waiting",
    "Notifications in our queues that no listener has got yet.",
)


class CannotListen(Ec2MapError):
    """The address cannot be had; the text says why."""


class Agent(Collector):
    """How the agent's processes are, told by their roll.

    ``trouble`` says in a line what the listeners wait for, if that is known;
    ``silent`` names the processes of which nothing is heard.
    """

    def __init__(
        self,
        roll: Roll | None,
        expected: Sequence[str],
        info: tuple[str, str],
        waiting: "Waiting | None",
        trouble: Callable[[], str | None] = lambda: None,
        *,
        silent: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._roll = roll
        # Without a roll nobody can tell who lives.
        self._expected = expected if roll is not None else ()
        self._info = info
        self._waiting = waiting
        self._trouble = trouble
        self._silent = silent

    def dead(self) -> list[str]:
        """Says which processes should live, or do something, and do not."""
        gone = [p for p in self._expected if not self._has(p)]
        hung = [p for p in self._silent() if p not in gone]
        return [
            *(f"{process} does not run" for process in gone),
            *(f"nothing is heard of {process}" for process in hung),
        ]

    def deaf(self) -> list[str]:
        """Says of the listeners that do not listen why that is."""
        return [
            f"{process}: {self._why_deaf(process)}"
            for process in self._listeners()
            if not self._has(f"{process}.listening")
        ]

    def _why_deaf(self, process: str) -> str:
        if not self._has(f"{process}.open"):
            return "claims wait until every peer was compared with"
        return self._trouble() or "waits for Glance's exchange or its broker"

    def collect(self) -> Iterable[Family]:
        """Looks at each process."""
        return families(self._samples())

    def _samples(self) -> Iterator[Measured]:
        yield INFO, 1.0, self._info
        yield WAITING, self._waiting.count if self._waiting else None, ()
        for process in self._expected:
            yield PROCESS_UP, float(self._has(process)), (process,)
        for process in self._listeners():
            listening = self._has(f"{process}.listening")
            yield LISTENING, float(listening), (process,)

    def _listeners(self) -> list[str]:
        return [p for p in self._expected if p.startswith("listener-")]

    def _has(self, name: str) -> bool:
        return self._roll is not None and self._roll.has(name)


class Waiting:
    """How many notifications wait; None while the broker does not say."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self.count: int | None = None

    def step(self) -> None:
        """Asks the broker; that it is away, the listener says."""
        try:
            self.count = self._queues.waiting()
        except link.BROKEN:
            self.forget()

    def forget(self) -> None:
        """Knows nothing and connects anew."""
        self.count = None
        self._queues.close()


def answers(
    registry: CollectorRegistry,
    probes: Mapping[str, Callable[[], Sequence[str]]],
) -> WSGIApplication:
    """Makes what answers under each path; probes say in lines what lacks."""
    metrics: WSGIApplication = make_wsgi_app(registry)

    def answer(
        environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        # Theirs also refuses whatever is not GET.
        if path == "/metrics" or environ["REQUEST_METHOD"] != "GET":
            return metrics(environ, start_response)
        status, lines = HTTPStatus.OK, ["ok"]
        if path not in probes:
            status, lines = HTTPStatus.NOT_FOUND, ["not found"]
        elif lacking := probes[path]():
            status, lines = HTTPStatus.SERVICE_UNAVAILABLE, [*lacking]
        start_response(
            f"{status} {status.phrase}",
            [("Content-Type", "text/plain; charset=utf-8")],
        )
        return ["".join(f"{line}\n" for line in lines).encode()]

    return answer


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT

    def log_message(self, *_arguments: object) -> None:
        """Says nothing: a scrape is no news."""


class Server(ThreadingWSGIServer):
    """Answers each client in a thread of its own."""

    timeout = 0.5  # seconds until `handle_request` looks up

    def __init__(self, listen: Listen, application: WSGIApplication) -> None:
        self.set_app(application)
        try:
            found = socket.getaddrinfo(
                listen.host,
                listen.port,
                type=socket.SOCK_STREAM,
                flags=socket.AI_PASSIVE,
            )
            self.address_family, _, _, _, address = found[0]
            super().__init__(address[:2], _Handler)  # type: ignore[arg-type]
        except OSError as error:
            raise CannotListen(
                f"[metrics] listen = {listen}: {error.strerror or error}"
            ) from error

    def handle_error(self, _request: object, client: object) -> None:
        """Says nothing of who hangs up."""
        if not isinstance(sys.exception(), OSError):
            LOG.exception("no answer for %s", client)


class Front:
    """Holds the address, and answers who comes."""

    def __init__(self, listen: Listen, application: WSGIApplication) -> None:
        self._listen = listen
        self._application = application
        self._server: Server | None = None

    def step(self) -> bool:
        """Waits a little for a client."""
        if self._server is None:
            self._server = Server(self._listen, self._application)
            LOG.info("metrics at http://%s/metrics", self._listen)
        self._server.handle_request()
        return True

    def close(self) -> None:
        """Gives the address back."""
        server, self._server = self._server, None
        if server is not None:
            server.server_close()
