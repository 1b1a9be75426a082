"""The agent's answers to Prometheus and to probes, by HTTP."""

import logging
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.engine import Engine

from ec2map_sync.agent.host import Host
from ec2map_sync.broker import link
from ec2map_sync.glance.broker import Queues, broker_address
from ec2map_sync.ledger import schema
from ec2map_sync.monitor.gauges import Family, Gauge, LedgerGauges, families
from ec2map_sync.outages import cause_of, describe
from ec2map_sync.region import Region
from ec2map_sync.rules.errors import Ec2MapError
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.running.loop import Loop, Wake
from ec2map_sync.running.threads import Threads
from ec2map_sync.settings.addresses import Listen
from ec2map_sync.settings.config import Config

LOG = logging.getLogger(__name__)

PATIENCE = 5
"""Seconds for the ledger to answer: Prometheus waits for ten by default."""

REQUEST_TIMEOUT = 10.0
"""Seconds that a client may take for its request."""

QUEUE_INTERVAL = 5.0
"""Seconds between two looks at how many notifications wait."""

INFO = Gauge("info", "Always 1; what runs here.", ("region", "scheme"))
PROCESS_UP = Gauge("process_up", "Whether a process lives.", ("process",))
LISTENING = Gauge("listening", "Whether a listener listens.", ("process",))
WAITING = Gauge(
    "notifications_waiting",
    "Notifications in our queues that no listener has got yet.",
)
ALL = (INFO, PROCESS_UP, LISTENING, WAITING)


class CannotListen(Ec2MapError):
    """The address cannot be had; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client gets."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "text/plain; charset=utf-8"


class Agent(Collector):
    """How the agent's processes are, told by their roll."""

    def __init__(
        self, host: Host, info: tuple[str, str], waiting: "Waiting | None"
    ) -> None:
        self._host = host
        self._info = info
        self._waiting = waiting

    def dead(self) -> list[str]:
        """Name the processes that should live and do not."""
        return [p for p in self._expected() if not self._has(p)]

    def deaf(self) -> list[str]:
        """Say of the listeners that do not listen why that is."""
        return [
            f"{process}: waits for Glance's exchange or its broker"
            if self._has(f"{process}.open")
            else f"{process}: claims wait until every peer was compared with"
            for process in self._listeners()
            if not self._has(f"{process}.listening")
        ]

    def collect(self) -> Iterable[Family]:
        """Look at each process."""
        waiting = self._waiting.count if self._waiting else None
        return families(
            ALL,
            [
                (INFO, 1.0, self._info),
                (WAITING, waiting, ()),
                *(
                    (PROCESS_UP, float(self._has(p)), (p,))
                    for p in self._expected()
                ),
                *(
                    (LISTENING, float(self._has(f"{p}.listening")), (p,))
                    for p in self._listeners()
                ),
            ],
        )

    def _listeners(self) -> list[str]:
        return [p for p in self._expected() if p.startswith("listener-")]

    def _expected(self) -> list[str]:
        """Name the processes there should be; none without a roll of them."""
        return self._host.expected if self._host.roll is not None else []

    def _has(self, name: str) -> bool:
        return self._host.roll is not None and self._host.roll.has(name)


class Waiting:
    """How many notifications wait; None while the broker does not say."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self.count: int | None = None

    def step(self) -> bool:
        """Ask the broker; that it is away, the listener says."""
        try:
            self.count = self._queues.waiting()
        except link.OUTAGES:
            self.forget()
        return False

    def forget(self) -> None:
        """Know nothing, and connect anew."""
        self.count = None
        self._queues.close()


class Answers:
    """What is answered under each path."""

    def __init__(
        self, engine: Engine, agent: Agent, registry: CollectorRegistry
    ) -> None:
        self._engine = engine
        self._agent = agent
        self._registry = registry

    def paths(self) -> Mapping[str, Callable[[str], Answer]]:
        """Give what answers, by path; it is told what a client accepts."""
        return {
            "/metrics": self._metrics,
            "/healthz": lambda _accept: _verdict(
                [f"{name} does not run" for name in self._agent.dead()]
            ),
            "/readyz": lambda _accept: _verdict(
                [*self._ledger_trouble(), *self._agent.deaf()]
            ),
        }

    def _metrics(self, accept: str) -> Answer:
        encode, content_type = choose_encoder(accept)
        return Answer(body=encode(self._registry), content_type=content_type)

    def _ledger_trouble(self) -> Iterable[str]:
        try:
            schema.require(self._engine)
        except Exception as error:
            text = describe(error, database="a database does not answer")
            if text is None:
                raise
            yield text


def _verdict(lacking: Iterable[str]) -> Answer:
    text = "".join(f"{line}\n" for line in lacking)
    if text:
        return Answer(
            body=text.encode(), status=HTTPStatus.SERVICE_UNAVAILABLE
        )
    return Answer(body=b"ok\n")


class _Handler(BaseHTTPRequestHandler):
    server: "Server"
    timeout = REQUEST_TIMEOUT
    server_version = "ec2map-sync"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        respond = self.server.paths.get(self.path.partition("?")[0])
        if respond is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        answer = respond(self.headers.get("Accept", ""))
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: a scrape is no news."""


class Server(ThreadingHTTPServer):
    """Answers each client in a thread of its own."""

    daemon_threads = True
    block_on_close = False
    timeout = 0.5  # seconds until `handle_request` looks up

    def __init__(
        self, listen: Listen, paths: Mapping[str, Callable[[str], Answer]]
    ) -> None:
        self.paths = paths
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
        """Say what is a mistake of ours; who hangs up is none."""
        if not isinstance(sys.exception(), OSError):
            LOG.exception("no answer for %s", client)


class Front:
    """Holds the address, and answers who comes."""

    def __init__(
        self, listen: Listen, paths: Mapping[str, Callable[[str], Answer]]
    ) -> None:
        self._listen = listen
        self._paths = paths
        self._server: Server | None = None

    def step(self) -> bool:
        """Wait a little for a client."""
        if self._server is None:
            self._server = Server(self._listen, self._paths)
            LOG.info("metrics at http://%s/metrics", self._listen)
        self._server.handle_request()
        return True

    def close(self) -> None:
        """Give the address back."""
        server, self._server = self._server, None
        if server is not None:
            server.server_close()


def exporter(config: Config, host: Host) -> Threads:
    """Answer Prometheus, and probes."""
    listen = config.metrics
    assert listen is not None
    region = Region(config, patience=PATIENCE)
    broker = broker_address(config.conf)
    waiting = Waiting(Queues(broker, config.notifications))
    info = (config.region, config.scheme.fingerprint)
    agent = Agent(host, info, waiting)
    registry = CollectorRegistry()
    if host.roll is not None:
        counted: Any = MultiProcessCollector  # which has no types
        counted(registry, str(host.roll.directory))
    registry.register(agent)
    registry.register(
        LedgerGauges(
            region.ledger,
            region.bus,
            lambda: region.sink_names,
            socket.gethostname(),
            since=host.started_at,
            clock=wall_clock,
        )
    )
    front = Front(listen, Answers(region.engine, agent, registry).paths())
    return Threads(
        [
            _loop("metrics", front.step, front.close),
            _loop(
                "metrics' look at the queues",
                waiting.step,
                waiting.forget,
                interval=QUEUE_INTERVAL,
            ),
        ]
    )


def _loop(
    name: str,
    step: Callable[[], bool],
    release: Callable[[], None],
    *,
    interval: float = 1.0,
) -> Loop:
    """Make a loop that does not need the ledger, unlike all others."""
    return Loop(
        name,
        step,
        wake=Wake(),
        interval=interval,
        describe=describe,
        cause_of=cause_of,
        release=release,
    )
