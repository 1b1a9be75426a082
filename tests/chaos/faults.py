"""The faults, one of each kind: what is done, and what ends it.

A kind is a generator: what is before its `yield` does the fault, what is
behind ends it. It yields what it was done to. Where only the end tells
whether anybody was hit, it says `NotDone` there, and nothing is counted.
"""

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import amqp.exceptions
import kombu
import next_release
import older_release
import sqlalchemy as sa
from checker import BOUND, STATUS, UNRULY, Finding
from fleet import INFO, S3_IMAGES, Region
from ground import AWAY, Ground, NotDone
from one_set import delete_queue, dump, queue_of, restore
from patience import wait_until, within
from proxy import Way
from servers import Server, ServerError
from stand import Host

Cause = Callable[[Ground, Random, float], Iterator[str]]


@dataclass(frozen=True)
class Kind:
    """A kind of fault: how often there is one, and how long it lasts."""

    name: str
    weight: float
    lasts: tuple[float, float]
    cause: Cause
    settles: float = 0.0
    """Seconds that its end needs until all is quiet, beyond the usual."""


KINDS: dict[str, Kind] = {}


def kind(
    name: str,
    weight: float,
    lasts: tuple[float, float] = (0.0, 0.0),
    settles: float = 0.0,
) -> Callable[[Cause], Cause]:
    """Make a function a kind of fault."""

    def made(cause: Cause) -> Cause:
        KINDS[name] = Kind(name, weight, lasts, cause, settles)
        return cause

    return made


def drawn(ground: Ground, chance: Random) -> Host:
    """Draw a host."""
    return chance.choice(ground.stand.hosts)


def running(host: Host) -> None:
    """Make sure that a host's agent is there.

    :raises NotDone: it is not.
    """
    if not host.runs:
        raise NotDone(f"{host.name} does not run")


def state_of(pid: int) -> str:
    """Tell the state of a process, as the kernel has it; "" if it is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0]
    return ""


def halt(pids: list[int]) -> list[int]:
    """Stop processes; those that do stand still."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(state_of(p) in {"T", "", "Z"} for p in pids), 5)
    return [pid for pid in pids if state_of(pid) == "T"]


def wake(pids: list[int]) -> None:
    """Let processes go on."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@kind("service killed", 20)
def service_killed(ground: Ground, chance: Random, _s: float) -> Iterator[str]:
    """Kill one process of an agent, which is to start it anew."""
    host = drawn(ground, chance)
    with ground.alone(host.name):
        running(host)
        pid, name = service(host, chance)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: state_of(pid) in {"", "Z"}, 5)
    yield f"{name} of {host.name}"


def service(host: Host, chance: Random) -> tuple[int, str]:
    """Draw a service that runs."""
    found = sorted(host.services().items(), key=lambda item: item[1])
    if not found:
        raise NotDone(f"{host.name} has no service yet")
    return chance.choice(found)


@kind("service halted", 14, (1, 9))
def service_halted(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Let one process of an agent stand still for a while."""
    host = drawn(ground, chance)
    with ground.alone(host.name):
        running(host)
        pid, name = service(host, chance)
        if not halt([pid]):
            raise NotDone(f"{name} of {host.name} has gone")
        ground.sleep(s)
        wake([pid])
    yield f"{name} of {host.name}"


@kind("host halted", 6, (1, 9))
def host_halted(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Let a whole host stand still for a while."""
    host = drawn(ground, chance)
    with ground.alone(host.name):
        running(host)
        pids = host.processes()
        if not halt(pids):
            raise NotDone(f"{host.name} has gone")
        ground.sleep(s)
        wake(pids)
    yield host.name


@kind("host killed", 4, (0, 6))
def host_killed(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Take a host's power."""
    host = drawn(ground, chance)
    with ground.alone(host.name):
        running(host)
        host.kill()
        ground.sleep(s)
        host.start()
    yield host.name


@kind("supervisor killed", 3, (0, 4))
def supervisor_killed(
    ground: Ground, chance: Random, s: float
) -> Iterator[str]:
    """Kill an agent's first process; its services are to end by themselves."""
    host = drawn(ground, chance)
    with ground.alone(host.name):
        running(host)
        first, *others = host.processes()
        os.kill(first, signal.SIGKILL)
        try:
            wait_until(lambda: all(state_of(p) in {"", "Z"} for p in others))
        except TimeoutError:
            left = [p for p in others if state_of(p)]
            text = f"{host.name}: {left} outlive their supervisor"
            ground.findings.append(Finding(UNRULY, text))
        host.kill()
        ground.sleep(s)
        host.start()
    yield host.name


@kind("host restarted", 3, (0, 3))
def host_restarted(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """End a host's agent in order, and start it again."""
    host = drawn(ground, chance)
    with ground.alone(host.name):
        running(host)
        code = host.stop()
        ground.sleep(s)
        host.start()
    if code:
        text = f"{host.name} ended with {code}"
        ground.findings.append(Finding(UNRULY, text))
    yield host.name


@kind("release changed", 3)
def release_changed(
    ground: Ground, chance: Random, _s: float
) -> Iterator[str]:
    """Let a host run another release from now on: older, newer, today's."""
    host = drawn(ground, chance)
    others = {
        "today's": ("today",),
        "an older one": (older_release.__file__,),
        "a newer one": (next_release.__file__, "1"),
    }
    name = chance.choice([n for n, r in others.items() if r != host.release])
    with ground.alone(host.name):
        running(host)
        host.stop()
        host.release = others[name]
        host.start()
    yield f"{host.name}: {name}"


@kind("host's disk full", 5, (2, 8))
def host_disk_full(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Let a host's agent write no byte into any file for a while."""
    host = drawn(ground, chance)
    with ground.alone(host.name):
        running(host)
        limited = sum(_limit(pid, 0) for pid in host.processes())
        if not limited:
            raise NotDone(f"{host.name} has gone")
        ground.sleep(s)
        # The first one first: those that it starts from now on have room.
        for pid in [*host.processes()[:1], *host.processes()]:
            _limit(pid, resource.RLIM_INFINITY)
    yield host.name


def _limit(pid: int, size: int) -> bool:
    with suppress(ProcessLookupError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
        return True
    return False


STEPS = (-600.0, -20.0, -2.0, 2.0, 20.0, 600.0, 7200.0, 40 * 86400.0)


@kind("host's clock stepped", 5, (2, 10))
def clock_stepped(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Let a host's clock be wrong for a while; it is set twice."""
    host, step = drawn(ground, chance), chance.choice(STEPS)
    with ground.alone(host.name):
        running(host)
        host.set_clock(step)
        try:
            ground.sleep(s)
        finally:
            host.set_clock(0)
    yield f"{host.name} by {step:+.0f} s"


@kind("key rotated", 2)
def key_rotated(ground: Ground, chance: Random, _s: float) -> Iterator[str]:
    """Let a region sign with its other key, one host after the other."""
    region = chance.choice(list(ground.stand.regions.values()))
    hosts = ground.stand.hosts_of(region.name)
    one = f"signing_key_file = {region.directory}/{region.name}.key\n"
    two = one.replace(".key\n", ".second.key\n")
    with ground.alone(*(h.name for h in hosts)):
        for host in hosts:
            running(host)
        old = hosts[0].region.config_file.read_text()
        before, after = (one, two) if one in old else (two, one)
        for host in hosts:
            text = host.region.config_file.read_text()
            assert before in text
            fresh = text.replace(before, after)
            host.region.config_file.write_text(fresh)
            host.stop()
            host.start()
    yield region.name


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
rabbit_disk_monitor:set_disk_free_limit("900TB"),
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
        if pid is None or not _limit(pid, 0):
            raise NotDone("the database does not run")
        try:
            wait_until(lambda: server.pid is None, 3)
        except TimeoutError:
            _limit(pid, resource.RLIM_INFINITY)
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


def a_link(ground: Ground, chance: Random) -> tuple[str, Host]:
    """Draw a link: where it leads, and from which host."""
    host = drawn(ground, chance)
    return chance.choice(list(host.links)), host


@kind("link cut", 14, (0, 6))
def link_cut(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Cut a link that is in use; nothing gets through for a while."""
    where, host = a_link(ground, chance)
    with ground.alone(f"{host.name} to {where}"):
        link = host.links[where]
        found = link.sever()
        try:
            if not found:
                raise NotDone("nobody uses it")
            ground.sleep(s)
        finally:
            link.heal()
    yield f"{host.name} to {where}, {found} connections"


@kind("link slow", 10, (2, 8))
def link_slow(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Let everything on a link come later."""
    where, host = a_link(ground, chance)
    delay = chance.choice((0.05, 0.2, 0.5))
    with ground.alone(f"{host.name} to {where}"):
        link = host.links[where]
        link.slow(delay)
        ground.sleep(s)
        hit = link.hit
        link.heal()
    if not hit:
        raise NotDone("nobody uses it")
    yield f"{host.name} to {where} by {delay} s, {hit} times"


@kind("link one-way", 10, (1, 12))
def link_one_way(ground: Ground, chance: Random, s: float) -> Iterator[str]:
    """Let nothing through in one direction of a link."""
    where, host = a_link(ground, chance)
    way = chance.choice(list(Way))
    with ground.alone(f"{host.name} to {where}"):
        link = host.links[where]
        link.hold(way)
        ground.sleep(s)
        hit = link.hit
        link.heal()
    if not hit:
        raise NotDone("nobody uses it")
    yield f"{host.name} to {where}, {way.name.lower()}"


@kind("queue deleted", 6)
def queue_deleted(ground: Ground, chance: Random, _s: float) -> Iterator[str]:
    """Delete a queue of ours: that of a peer, or that of questions."""
    region = chance.choice(list(ground.stand.regions.values()))
    peers = ground.stand.peers_of(region.name)
    name = chance.choice([queue_of(p) for p in peers] + [f"{BUS}.requests"])
    with ground.alone(f"broker of {region.name}"):
        if not _has_queue(region, name):
            raise NotDone(f"there is no {name}")
        delete_queue(region, name)
    yield f"{name} of {region.name}"


BUS = "ec2map_sync"


def _has_queue(region: Region, name: str) -> bool:
    with kombu.Connection(region.bus_url, connect_timeout=5) as connection:
        try:
            connection.default_channel.queue_declare(name, passive=True)
        except amqp.exceptions.NotFound:
            return False
    return True


GARBAGE = (
    "",
    "no JSON",
    "[]",
    "{}",
    '{"oslo.version": "2.0", "oslo.message": "{"}',
    '{"oslo.version": "2.0", "oslo.message": "[1, 2]"}',
    '{"event_type": "image.create", "payload": null}',
    '{"event_type": "image.create", "payload": {"id": "no uuid"}}',
    '{"event_type": "image.create", "payload": {"id": 7}}',
    '{"event_type": 1, "payload": {}}',
    "[" * 3000,
    '{"payload": "' + "x" * 200_000 + '"}',
    "\x00\udcff".encode("utf-8", "surrogatepass").decode("latin-1"),
)


@kind("poison notified", 8)
def poison_notified(
    ground: Ground, chance: Random, _s: float
) -> Iterator[str]:
    """Put what is no notification among Glance's."""
    region = chance.choice(list(ground.stand.regions.values()))
    some = chance.sample(GARBAGE, 4)
    with ground.alone(f"broker of {region.name}"):
        region.glance.send((INFO, body) for body in some)
    yield f"{len(some)} at {region.name}"


@kind("poison at a peer's queue", 6)
def poison_queued(ground: Ground, chance: Random, _s: float) -> Iterator[str]:
    """Put what nobody has signed among a region's messages."""
    region = chance.choice(list(ground.stand.regions.values()))
    peer = chance.choice(ground.stand.peers_of(region.name))
    some = chance.sample(GARBAGE, 4)
    with (
        ground.alone(f"broker of {region.name}"),
        kombu.Connection(
            region.bus_url,
            connect_timeout=5,
            transport_options={"confirm_publish": True},
        ) as connection,
    ):
        connection.connect()
        producer = kombu.Producer(connection.channel())
        for body in some:
            producer.publish(body, routing_key=queue_of(peer))
    yield f"{len(some)} for {peer.name} at {region.name}"


EDITS = (
    "DELETE FROM claims WHERE image = '{image}'",
    "UPDATE claims SET claimed_at = 1 WHERE image = '{image}'",
    "UPDATE claims SET claimed_at = claimed_at + 9 WHERE image = '{image}'",
    "UPDATE claims SET kind = 'xyz' WHERE image = '{image}'",
    "UPDATE claims SET hash = hash + 1 WHERE image = '{image}'",
    "UPDATE claims SET number = 77 WHERE image = '{image}'",
    "UPDATE claims SET number = NULL WHERE image = '{image}'",
    "DELETE FROM numbers WHERE wish_image = '{image}'",
    "UPDATE numbers SET wish_image = NULL WHERE wish_image = '{image}'",
    "UPDATE head SET total_sum = total_sum + 1",
    "UPDATE head SET total_count = total_count - 1",
    "UPDATE head SET last_stamp = 3",
    "DELETE FROM head",
)


@kind("ledger edited", 1.5, settles=120)
def ledger_edited(ground: Ground, chance: Random, _s: float) -> Iterator[str]:
    """Change a row of a ledger behind the agent's back; one in a round."""
    region = chance.choice(list(ground.stand.regions.values()))
    edit = chance.choice(EDITS)
    with ground.alone(f"ledger of {region.name}"):
        found = region.sql("ledger", "SELECT image FROM claims LIMIT 200")
        if not found:
            raise NotDone("the ledger is empty")
        (image,) = chance.choice(found)
        ground.once("ledger changed by hand")
        engine = sa.create_engine(region.ledger, poolclass=sa.NullPool)
        with engine.begin() as session:
            done = session.exec_driver_sql(edit.format(image=image))
        ground.edited(region.name)
    if not done.rowcount:
        raise NotDone("no row was changed")
    yield f"{region.name}: {edit.format(image=image)}"


@kind("ledger restored", 0.7, settles=60)
def ledger_restored(
    ground: Ground, chance: Random, _s: float
) -> Iterator[str]:
    """Make a ledger what it was some seconds ago, with no agent there.

    All that it knows has to be known to a peer, or nobody could bring it.
    """
    region = chance.choice(list(ground.stand.regions.values()))
    hosts = ground.stand.hosts_of(region.name)
    locks = [h.name for h in hosts]
    locks += [f"{w} of {region.name}" for w in ("ledger", "database")]
    announcer = ground.announcers[region.name]
    front = ground.stand.fronts[region.name]
    with ground.alone(*locks, seconds=8), ExitStack() as stack:
        ground.once("ledger changed by hand")
        path = ground.backups / f"{region.name}.sql"
        dump(front, region, path)  # type: ignore[arg-type]
        ground.sleep(2)
        stack.callback(announcer.go_on)
        if not announcer.rest(10):
            raise NotDone("its Glance does not rest")
        if not _known_elsewhere(ground, region):
            raise NotDone("it knows what nobody else does")
        for host in hosts:
            host.kill()
        ground.edited(region.name)
        restore(front, region, path)  # type: ignore[arg-type]
        for host in hosts:
            host.start()
    yield region.name


def _known_elsewhere(ground: Ground, region: Region) -> bool:
    images = set(ground.announced.of(region.name, time.monotonic()))
    peers = ground.stand.peers_of(region.name)
    until = time.monotonic() + within(5)
    while time.monotonic() < until:
        for peer in peers:
            held = peer.sql("ledger", "SELECT image FROM claims")
            if images <= {str(image) for (image,) in held}:
                return True
        ground.sleep(0.5)
    return False


@kind("cell restored", 1.5, settles=40)
def cell_restored(ground: Ground, chance: Random, _s: float) -> Iterator[str]:
    """Put what a backup had in the place of a cell's table, all at once."""
    region = chance.choice(list(ground.stand.regions.values()))
    cell = chance.choice(list(region.cells))
    with ground.alone(f"{cell} of {region.name}"):
        rows = region.sql(cell, "SELECT count(*) FROM s3_images")
        left = int(str(rows[0][0])) * chance.choice((0, 1, 3)) // 4
        region.sql(cell, "DROP TABLE IF EXISTS backup, lost")
        region.sql(cell, S3_IMAGES.replace("s3_images", "backup"))
        region.sql(
            cell,
            "INSERT INTO backup SELECT * FROM s3_images "
            f"ORDER BY uuid LIMIT {left}",
        )
        ground.edited(region.name)
        region.sql(cell, "RENAME TABLE s3_images TO lost, backup TO s3_images")
    yield f"{cell} of {region.name}, {left} of {rows[0][0]} rows left"


@kind("region away for long", 0.5, settles=20)
def region_away(ground: Ground, chance: Random, _s: float) -> Iterator[str]:
    """Let a region's agents stand still until status has to say so."""
    region = chance.choice(list(ground.stand.regions.values()))
    hosts = ground.stand.hosts_of(region.name)
    with ground.alone(*(h.name for h in hosts), seconds=8):
        ground.once("away for long")
        pids = [pid for host in hosts for pid in host.processes()]
        if not halt(pids):
            raise NotDone("it does not run")
        began = time.monotonic()
        silent = _says(ground, region, began)
        wake(pids)
    if not silent:
        text = f"{region.name} stood still for {BOUND:.0f} s, and is healthy"
        ground.findings.append(Finding(STATUS, text))
    yield f"{region.name}: status said so after {silent or 0:.0f} s"


def _says(ground: Ground, region: Region, began: float) -> float | None:
    """Wait until no loop of a region is said to work; after how long."""
    while time.monotonic() < began + BOUND:
        with suppress(*AWAY):  # nobody says that all is fine
            lines = ground.watch.lines(region.name)
            if not any(line.state == "works" for line in lines):
                return time.monotonic() - began
        ground.sleep(1)
    return None
