"""The process that answers Prometheus and probes, and what it is made of."""

import socket
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync.agent.host import Host
from ec2map_sync.agent.parts import POLL, loop_of
from ec2map_sync.glance.broker import Queues, broker_address
from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.monitor.exporter import Agent, Front, Waiting, answers
from ec2map_sync.monitor.gauges import LedgerGauges
from ec2map_sync.outages import describe
from ec2map_sync.region import Region
from ec2map_sync.rules.names import LISTENER, LISTENERS_WATCH, LoopName
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.running.threads import Threads
from ec2map_sync.settings.config import Config

PATIENCE = 5
"""Seconds for the ledger to answer: Prometheus waits for ten by default."""

SILENCE = 30.0
"""Seconds after which a process that lives is taken to hang."""

QUEUE_INTERVAL = 5.0
"""Seconds between two looks at how many notifications wait."""


def exporter(config: Config, host: Host) -> Threads:
    """Answers Prometheus, and probes."""
    listen = config.metrics
    assert listen is not None
    region = Region(config, patience=PATIENCE)
    broker = broker_address(config.conf)
    waiting = Waiting(Queues(broker, config.notifications))
    info = (config.region, config.scheme.fingerprint)
    agent = Agent(
        host.roll,
        host.expected,
        info,
        waiting,
        partial(_trouble, region.ledger, LISTENER),
        silent=partial(host.pulse.silent, SILENCE),
    )

    def lacking() -> list[str]:
        found = [*_ledger_trouble(region.engine), *agent.deaf()]
        if not found and (seen := _trouble(region.ledger, LISTENERS_WATCH)):
            found = [f"{LISTENERS_WATCH}: {seen}"]
        return found

    probes = {"/healthz": agent.dead, "/readyz": lacking}
    registry = _registry(host, region, agent)
    front = Front(listen, answers(registry, probes))
    # Neither needs the ledger, unlike all other loops.
    return Threads(
        [
            loop_of("metrics", front.step, interval=POLL, release=front.close),
            loop_of(
                "metrics' look at the queues",
                waiting.step,
                interval=QUEUE_INTERVAL,
                release=waiting.forget,
            ),
        ]
    )


def _registry(host: Host, region: Region, agent: Agent) -> CollectorRegistry:
    """Returns what Prometheus is told: by all processes, and of the ledger."""
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
    return registry


def _trouble(ledger: Ledger, loop: LoopName) -> str | None:
    """Returns what a loop of this host has noted as what it waits for."""
    try:
        states = ledger.journal.service_states()
    except SQLAlchemyError:
        return None  # which has a line of its own
    here = socket.gethostname()
    for state in states:
        if (state.host, state.name) == (here, str(loop)):
            return None if state.working else state.last_error
    return None


def _ledger_trouble(engine: Engine) -> list[str]:
    try:
        schema.require(engine)
    except Exception as error:
        if text := describe(error, database="a database does not answer"):
            return [text]
        raise
    return []
