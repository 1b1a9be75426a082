"""A new region takes over what another one has, all of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import median
from threading import Event, Thread

import sqlalchemy as sa
from figures import Line
from filling import SCHEME
from fleet import Region, running
from latency import Side
from patience import wait_until
from servers import MariaDB
from stand import (
    CELL,
    Notifier,
    Progress,
    Size,
    Stand,
    cpu,
    give_room,
    memory,
)

WRITER = f"nova:{CELL}"

ROUNDS = 3
"""Rounds at most, of two take-overs each."""

REST = 0.1
"""Seconds of CPU that an agent without work needs, in a second, at most."""

SAMPLE = 0.5
"""Seconds between two looks at the memory of each process."""

LOOK = 0.05
"""Seconds between two looks whether all has been taken over."""

PAUSE = 0.5
"""Seconds between two images of the giving region."""

GLANCE = 0.002
"""Seconds between two looks for such an image's row: more would be a load."""

BEFORE = 20
"""Images of the giving region before a take-over."""

APART, TOGETHER = "a server of its own", "on one server with the giver"


@dataclass(frozen=True, kw_only=True)
class _TakenOver:
    """What a take-over has cost."""

    seconds: float
    """For a million claims."""
    cpu: dict[str, float]
    """Microseconds of each process for a claim."""
    memory: dict[str, list[float]]
    before: float
    """Milliseconds to the row of an image of the giving region's own."""
    meanwhile: float


def measure(stand: Stand, old: Region, size: Size) -> list[Line]:
    """Start regions that know nothing beside one that knows much, in turn.

    Their databases are on a server of their own, as those of regions are,
    and then on that of the other one.
    """
    found: dict[str, list[_TakenOver]] = {APART: [], TOGETHER: []}
    with MariaDB(stand.directory / "another") as another:
        give_room(another)
        for turn in range(min(size.rounds, ROUNDS)):
            for place, server in (
                (APART, another),
                (TOGETHER, stand.mariadb),
            ):
                new = stand.region(f"Fresh{turn}{place[0]}", server)
                found[place].append(_take_over(old, new))
                stand.say(
                    f"take-over of {size.images:,}, {place}: "
                    f"{found[place][-1].seconds:.1f} s per million"
                )
                for url in (new.ledger, *new.cells.values()):
                    name = sa.make_url(url).database
                    server.execute(f"DROP DATABASE {name}")
    return _lines(found[APART], found[TOGETHER], size)


def _lines(
    apart: list[_TakenOver], together: list[_TakenOver], size: Size
) -> list[Line]:
    return [
        Line(
            key="take-over",
            what=f"take-over of {size.images:,}, {APART}",
            unit="s per million",
            ours=[one.seconds for one in apart],
            beside={TOGETHER: [one.seconds for one in together]},
            goal="<= 30",
            more={
                "us of CPU for a claim": [one.cpu for one in apart],
                f"the same, {TOGETHER}": [one.cpu for one in together],
            },
        ),
        Line(
            key="take-over delay",
            what="the giver's own images meanwhile, p50",
            unit="ms",
            ours=[one.meanwhile for one in apart],
            beside={"before": [one.before for one in apart]},
            goal="<= 2 x",
        ),
        Line(
            key="memory",
            what="largest process meanwhile",
            unit="MB",
            ours=[
                max(v for some in one.memory.values() for v in some)
                for one in (*apart, *together)
            ],
            goal="< 200",
            more={"memory over time, the last": together[-1].memory},
        ),
    ]


def _take_over(old: Region, new: Region) -> _TakenOver:
    # It has been there for long: it does not wait for the new one.
    old.configure(new, extra="\n[bus]\nclaim_wait = 0\n")
    new.configure(old)
    old.glance.declare()
    said = len(old.log())
    with running(old), Progress(old, [WRITER]) as given:
        wait_until(lambda: "publisher started" in old.log(said), 60)
        wait_until(lambda: "listening on" in old.log(said), 60)
        _await_rest(old)
        own = Side(
            Notifier(old.rabbit.transport_url(old.vhost)),
            SCHEME.derive,
            old.cells[CELL],
            old.cells[CELL],
            pause=GLANCE,
        )
        own.create()
        before = [own.create()[0] for _ in range(BEFORE)]
        images = given.total()
        used, begun = _cpu(old, new), time.monotonic()
        with (
            running(new),
            _memory(old, new) as seen,
            _creating(own) as meanwhile,
            Progress(new, [WRITER]) as progress,
        ):
            progress.await_done(images, 3600, LOOK)
            seconds = time.monotonic() - begun
            spent = _cpu(old, new)
    return _TakenOver(
        seconds=seconds / images * 1e6,
        cpu={
            name: (spent[name] - used.get(name, 0)) / images * 1e6
            for name in spent
        },
        memory=seen,
        before=median(before),
        meanwhile=median(meanwhile),
    )


def _await_rest(region: Region) -> None:
    """Wait until an agent has looked through its cell, as it does first."""
    seen = [0.0]

    def rests() -> bool:
        before = seen[-1]
        seen.append(sum(map(cpu, region.services().values())))
        time.sleep(1)
        return seen[-1] - before < REST

    wait_until(rests, 120)


def _cpu(old: Region, new: Region) -> dict[str, float]:
    """Give the seconds of CPU that each process has used, by name."""
    servers = {
        f"{which}, MariaDB": cpu(region.mariadb.pid)
        for which, region in (("new", new), ("old", old))
        if region.mariadb.pid
    }
    if new.mariadb is old.mariadb:
        servers = {"both, MariaDB": servers.popitem()[1]}
    broker = cpu(old.rabbit.pid) if old.rabbit.pid else 0.0
    return {
        **servers,
        "RabbitMQ": broker,
        **{name: cpu(pid) for name, pid in _services(old, new).items()},
    }


def _services(old: Region, new: Region) -> dict[str, int]:
    return {
        f"{which}, {name}": pid
        for which, region in (("new", new), ("old", old))
        if region.agent
        for name, pid in region.services().items()
    }


@contextmanager
def _creating(own: Side) -> Iterator[list[float]]:
    """Create one image after another; gives how long each has waited."""
    found: list[float] = []

    def create() -> None:
        found.append(own.create()[0])

    with _again_and_again(create, PAUSE):
        yield found


@contextmanager
def _memory(old: Region, new: Region) -> Iterator[dict[str, list[float]]]:
    """Look at the memory of each service from time to time."""
    seen: dict[str, list[float]] = {}

    def look() -> None:
        for name, pid in _services(old, new).items():
            with suppress(OSError):
                seen.setdefault(name, []).append(memory(pid))

    with _again_and_again(look, SAMPLE):
        yield seen


@contextmanager
def _again_and_again(work: Callable[[], None], pause: float) -> Iterator[None]:
    stop = Event()

    def run() -> None:
        while not stop.wait(pause):
            work()

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
