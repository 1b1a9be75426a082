"""The services of a region: wiring, and nothing else."""

import logging
import os

from ec2map_sync.agent.host import Host
from ec2map_sync.agent.parts import POLL, Parts
from ec2map_sync.agent.writers import Writers
from ec2map_sync.glance.attempts import Attempts
from ec2map_sync.glance.audit import Auditor
from ec2map_sync.glance.broker import Queues, broker_address
from ec2map_sync.glance.catalogue import Catalogue
from ec2map_sync.glance.fit import look
from ec2map_sync.glance.listener import Listener, Recorder
from ec2map_sync.glance.watch import Watchdog
from ec2map_sync.ledger.bookkeeper import Bookkeeper
from ec2map_sync.monitor.lookout import Lookout
from ec2map_sync.monitor.queues import queue_lines
from ec2map_sync.monitor.status import Examination, Line
from ec2map_sync.monitor.views import seen_from_here
from ec2map_sync.peers import bus
from ec2map_sync.peers.answerer import Answerer
from ec2map_sync.peers.canary import Canary
from ec2map_sync.peers.follower import Follower
from ec2map_sync.peers.notary import Notary
from ec2map_sync.peers.publisher import Publisher
from ec2map_sync.rules import names
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.running.loop import Loop
from ec2map_sync.running.threads import Threads
from ec2map_sync.settings.config import Config
from ec2map_sync.settings.services import loops
from ec2map_sync.settings.values import Peer

LOG = logging.getLogger(__name__)

GATE_POLL = 0.2
"""Seconds between two looks whether claims may be made already."""

WATCH = 5.0
"""Seconds, at most, between two looks whether the listener has stalled."""

LOOKOUT = 20.0
"""Seconds between two looks whether everything moves."""

BOOKKEEPING = 1.0
"""Seconds between two pages of rows of which the copies are looked at."""

PATIENCE = 0.5
"""Seconds that a Follower waits for a message before it looks up."""


def listener(config: Config, host: Host) -> Threads:
    """Carries Glance's notifications into the ledger."""
    parts = Parts(config, host)
    recorder = Recorder(
        parts.ledger,
        host.recorded_here,
        config.selection,
        parts.region.believe,
        Attempts(config.state_path / f"{config.region}.attempts"),
    )
    options = config.notifications
    ears = Listener(config.conf, options, recorder)
    gate = parts.gate()

    def step() -> None:
        # Once it listens, oslo.messaging's own threads do the work.
        if ears.listening and not ears.hold_back():
            return
        if gate.is_open():
            host.tell("open")
            ears.start()
            host.tell("listening")

    threads = [
        parts.loop(names.LISTENER, step, interval=GATE_POLL),
        parts.loop(names.MEMORY, parts.check_memory),
        parts.loop(
            names.BOOKKEEPER,
            Bookkeeper(parts.ledger).step,
            interval=BOOKKEEPING,
        ),
        parts.loop(names.LOOKOUT, _lookout(parts).step, interval=LOOKOUT),
    ]
    if not broker_address(config.conf).in_memory:
        threads.append(_watch(parts, recorder, ears))
    return Threads(threads, ears.stop)


def _watch(parts: Parts, recorder: Recorder, ears: Listener) -> Loop:
    options = parts.config.notifications
    conf = parts.config.conf
    queues = Queues(broker_address(conf), options)

    def heal(text: str) -> None:
        parts.report(names.LISTENERS_WATCH)(text)
        _end_process()

    watchdog = Watchdog(
        recorder,
        queues,
        patience=options.stall_timeout,
        heal=heal,
        look=lambda: look(queues.open(), conf, options),
    )
    return parts.loop(
        names.LISTENERS_WATCH,
        lambda: ears.listening and watchdog.step(),
        interval=min(WATCH, options.stall_timeout / 2),
        release=queues.close,
    )


def _lookout(parts: Parts) -> Lookout:
    def lines() -> list[Line]:
        examination = Examination(
            parts.ledger,
            parts.region.bus,
            sinks := parts.region.sink_names,
            expected=loops(parts.config, sinks),
            clock=wall_clock,
        )
        return [*examination.lines(), *queue_lines(parts.config)]

    return Lookout(lines)


def _end_process() -> None:
    """Ends at once; the agent starts the service anew.

    Stopping in order would wait for the threads that do not move. Nothing
    is lost: what is not acknowledged, the broker delivers again.
    """
    logging.shutdown()
    os._exit(1)


def auditor(config: Config, host: Host) -> Threads:
    """Carries into the ledger what Glance has and did not tell."""
    parts = Parts(config, host)
    options = config.glance
    assert options is not None
    report = parts.report(names.AUDITOR)
    worker = Auditor(
        parts.ledger,
        Catalogue(config.conf, options),
        recorded=host.recorded_here,
        remark=report.remark,
        audit_interval=options.audit_interval,
        poll_interval=options.poll_interval,
        believe=parts.region.believe,
    )
    gate = parts.gate()
    loop = parts.loop(
        names.AUDITOR,
        lambda: gate.is_open() and worker.step(),
        interval=min(POLL, options.poll_interval),
        release=worker.reset,
        report=report,
    )
    return Threads([loop])


def publisher(config: Config, host: Host) -> Threads:
    """Carries the ledger's own claims to the peers, and answers them."""
    parts = Parts(config, host)
    options = parts.region.bus
    assert options.broker is not None
    outlet = bus.Outlet(options.broker, options.exchange)
    worker = Publisher(
        parts.ledger,
        outlet,
        parts.region.pen,
        batch_size=options.batch_size,
        heartbeat_interval=options.heartbeat_interval,
        sees=lambda: seen_from_here(parts.ledger, options, wall_clock()),
    )
    answerer = Answerer(
        parts.ledger,
        bus.Inbox(options.broker, options.exchange),
        bus.Outlet(options.broker, options.exchange),
        parts.region.pen,
        parts.region.trusted,
        patience=PATIENCE,
    )
    threads = [
        parts.loop(
            names.PUBLISHER,
            worker.step,
            wake=host.publisher,
            interval=min(POLL, options.heartbeat_interval),
            release=outlet.close,
        ),
        parts.loop(names.ANSWERER, answerer.step, release=answerer.close),
        _notary(parts),
    ]
    if options.canary_interval:
        threads.append(_canary(parts))
    return Threads(threads)


def _notary(parts: Parts) -> Loop:
    worker = Notary(
        parts.ledger,
        parts.region.pen,
        [peer.name for peer in parts.region.bus.peers],
        interval=parts.config.agreement_interval,
        pause=2 * parts.region.bus.heartbeat_interval,
    )
    gate = parts.gate()

    def step() -> None:
        # Not what a ledger knew that has yet to hear what it has lost.
        if gate.is_open():
            worker.step()

    return parts.loop(names.NOTARY, step)


def _canary(parts: Parts) -> Loop:
    worker = Canary(
        parts.ledger,
        parts.config.region,
        interval=parts.region.bus.canary_interval,
        recorded=parts.host.publisher.set,
        clock=wall_clock,
    )
    gate = parts.gate()
    return parts.loop(
        names.CANARY, lambda: worker.step() if gate.is_open() else None
    )


def follower(config: Config, host: Host) -> Threads:
    """Carries the peers' claims into the ledger."""
    parts = Parts(config, host)
    return Threads([_follow(parts, peer) for peer in parts.region.bus.peers])


def _follow(parts: Parts, peer: Peer) -> Loop:
    worker = Follower(
        parts.ledger,
        bus.Inlet(peer, parts.region.bus),
        parts.region.trust(peer),
        parts.region.pen,
        recorded=parts.host.recorded_from_peer,
        patience=PATIENCE,
        max_moves=parts.region.bus.max_moves,
        max_evictions=parts.region.bus.max_evictions,
    )
    return parts.loop(
        names.follower_of(peer.name), worker.step, release=worker.reset
    )


def writer(config: Config, host: Host) -> Threads:
    """Carries the ledger's numbers into every sink."""
    writers = Writers(Parts(config, host))
    for cell in config.cells:
        writers.start_cell(cell)
    if config.nova_api is not None:
        writers.follow_cells(config.nova_api)
    if config.ec2api is not None:
        writers.start(writers.region.ec2api(config.ec2api))
    return writers.threads
