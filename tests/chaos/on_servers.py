"""Faults of brokers and databases, and of what stands before them."""

import resource
from collections.abc import Iterator
from contextlib import suppress
from random import Random

import sqlalchemy as sa
from ground import AWAY, Ground, NotDone
from kinds import halt, kind, let_write, wake
from patience import wait_until
from servers import Server, ServerError


@kind("broker killed", 1.5, (0, 4))
def broker_killed(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Kill a broker; it comes back with what it had on its disk."""
    name = chance.choice(ground.stand.names)
    with ground.alone(f"broker of {name}"):
        ground.stand.rabbits[name].kill()
        ground.sleep(s)
        ground.stand.rabbits[name].start()
    yield f"broker of {name}"


@kind("broker halted", 3, (1, 8))
def broker_halted(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Let a broker stand still for a while."""
    name = chance.choice(ground.stand.names)
    with ground.alone(f"broker of {name}"):
        _halted(ground, ground.stand.rabbits[name], s)
    yield f"broker of {name}"


def _halted(ground: Ground, server: Server, seconds: float) -> None:
    pid = server.pid
    if pid is None or not halt([pid]):
        raise NotDone("the server does not run")
    ground.sleep(seconds)
    wake([pid])


FULL = """\
rabbit_disk_monitor:set_disk_free_limit("900000GB"),
timer:sleep({seconds}),
Alarms = rabbit_alarm:get_alarms(),
rabbit_disk_monitor:set_disk_free_limit("50MB"),
Alarms."""


@kind("broker's disk full", 1.5, (2, 8))
def broker_disk_full(
    ground: Ground, chance: Random, s: float
) -> Iterator[str]:
    """Let a broker take its disk for full, and take nothing more."""
    name = chance.choice(ground.stand.names)
    with ground.alone(f"broker of {name}"):
        rabbit = ground.stand.rabbits[name]
        try:
            said = rabbit.ctl("eval", FULL.format(seconds=int(s * 1000)))
        except ServerError as error:
            raise NotDone("the broker is away") from error
    if "disk" not in said:
        raise NotDone(f"no alarm: {said}")
    yield f"broker of {name}"


@kind("database killed", 2, (0, 5))
def database_killed(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Kill a database that has no second node."""
    name = chance.choice(ground.stand.names[:-1])
    with ground.alone(f"database of {name}"):
        (server,) = ground.stand.databases[name]
        server.kill()
        ground.sleep(s)
        server.start()
    yield f"database of {name}"


@kind("database's disk full", 1.5, (0, 5))
def database_full(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Let a database write no byte into any file, which ends it."""
    name = chance.choice(ground.stand.names)
    with ground.alone(f"database of {name}"):
        server = chance.choice(ground.stand.databases[name])
        pid = server.pid
        if pid is None or not let_write(pid, 0):
            raise NotDone("the database does not run")
        try:
            wait_until(lambda: server.pid is None, 3)
        except TimeoutError:
            let_write(pid, resource.RLIM_INFINITY)
            raise NotDone("nobody writes") from None
        server.kill()
        ground.sleep(s)
        server.start()
    yield f"database of {name}"


@kind("database halted", 3, (1, 8))
def database_halted(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Let a database stand still for a while."""
    name = chance.choice(ground.stand.names)
    with ground.alone(f"database of {name}"):
        node = chance.choice(ground.stand.databases[name])
        _halted(ground, node, s)
    yield f"database of {name}"


@kind("cluster failed over", 1.5, (1, 6))
def failed_over(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Kill or stop a node of the cluster; the other one goes on."""
    name = ground.stand.names[-1]
    with ground.alone(f"database of {name}"):
        place = chance.choice((0, 0, 1))
        node = ground.stand.databases[name][place]
        orderly = chance.random() < 0.5
        if orderly:
            node.stop()
        else:
            node.kill()
        ground.sleep(s)
        node.start()
    yield f"node {place + 1} {'stopped' if orderly else 'killed'}"


@kind("proxy killed", 1.5, (0, 4))
def proxy_killed(ground: Ground, _chance: Random, s: float) -> Iterator[str]:
    """Kill what stands before the cluster."""
    name = ground.stand.names[-1]
    with ground.alone(f"proxy of {name}"):
        ground.stand.proxy.kill()
        ground.sleep(s)
        ground.stand.proxy.start()
    yield f"proxy of {name}"


@kind("sessions ended", 6)
def sessions_ended(ground: Ground, chance: Random, _s: float) -> Iterator[str]:
    """End all sessions of a database, as an operator might."""
    name = chance.choice(ground.stand.names)
    ended = 0
    with ground.alone(f"database of {name}"):
        front = ground.stand.fronts[name]
        for (number,) in front.execute(
            "SELECT id FROM information_schema.processlist "
            "WHERE id <> connection_id() AND db IS NOT NULL"
        ):
            with suppress(*AWAY):  # it has ended by itself
                front.execute(f"KILL {number}")
                ended += 1
    if not ended:
        raise NotDone("nobody has a session")
    yield f"{ended} at the database of {name}"


@kind("ledger locked", 5, (1, 8))
def ledger_locked(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Keep the lock of a ledger's head."""
    region = chance.choice(list(ground.stand.regions.values()))
    engine = sa.create_engine(
        region.ledger, poolclass=sa.NullPool, connect_args={"read_timeout": 30}
    )
    with ground.alone(f"ledger of {region.name}"), engine.begin() as session:
        session.exec_driver_sql("UPDATE head SET revision = revision")
        ground.sleep(s)
        session.rollback()
    yield f"ledger of {region.name}"
