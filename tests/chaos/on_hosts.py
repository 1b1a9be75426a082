"""Faults of hosts, and of the agents there."""

import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from random import Random

import next_release
import older_release
from chaos_stand import Host
from checker import BOUND, STATUS, UNRULY, Finding
from fleet import Region
from ground import AWAY, Ground, NotDone
from kinds import drawn, halt, kind, let_write, running, state_of, wake
from patience import wait_until


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
        # Before it has begun, a program ends by the signal, as any does.
        in_order = {0} if host.services() else {0, -signal.SIGTERM}
        code = host.stop()
        ground.sleep(s)
        host.start()
    if code not in in_order:
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
        limited = sum(let_write(pid, 0) for pid in host.processes())
        if not limited:
            raise NotDone(f"{host.name} has gone")
        ground.sleep(s)
        # The first one first: those that it starts from now on have room.
        for pid in [*host.processes()[:1], *host.processes()]:
            let_write(pid, resource.RLIM_INFINITY)
        # One that was only beginning may end by that, also a little later:
        # systemd would start it.
        wait_until(lambda: not host.runs or len(host.processes()) > 1, 60)
        if not host.runs:
            host.start()
    yield host.name


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
