"""Look-ups by HTTP, one core each for the API and for who asks.

Beside what the same server does with an answer that costs nothing, what the
ledger's database does without HTTP, and Glance's own GET of one image.
"""

import http.client
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from figures import Line, percentile
from filling import ledger_of
from fleet import Region
from glance_api import TOKEN, Glance
from installed import Programs
from servers import free_port
from stand import QUICK, Size, Stand, cpu, in_turns, memory

ASKERS = 4
QUESTIONS = 4000
GLANCE_IMAGES = 100
GLANCE_QUESTIONS = 400
SERVE = """
import os, sys
from ec2map_sync.api.app import application, region_of
from ec2map_sync.api.server import HttpServer
from ec2map_sync.settings.addresses import Listen
from ec2map_sync.settings.loading import load

def nothing(environ, start):
    start("200 OK", [("Content-Length", "2")])
    return [b"{}"]

os.sched_setaffinity(0, {0})
config = load([], files=[sys.argv[1]])
if sys.argv[3] == "api":
    nothing = application(config, region_of(config))
server = HttpServer(Listen("127.0.0.1", int(sys.argv[2])), nothing, config.api)
while True:
    server.step()
"""


class Asked:
    """A server that is asked; what that took."""

    def __init__(
        self, port: int, pid: int, headers: Mapping[str, str] | None = None
    ) -> None:
        self._port = port
        self._pid = pid
        self._headers = dict(headers or {})
        self.rates: list[float] = []
        self.delays: list[float] = []
        self.cpu: list[float] = []
        self.memory: list[float] = []

    def round(self, paths: Sequence[str]) -> None:
        """Ask for all of them, by several at a time."""
        pid = self._pid
        before, began = cpu(pid), time.perf_counter()
        delays: list[float] = []
        threads = [
            threading.Thread(target=self._ask, args=(paths[n::ASKERS], delays))
            for n in range(ASKERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(delays) == len(paths)
        self.rates.append(len(paths) / (time.perf_counter() - began))
        self.cpu.append(1e6 * (cpu(pid) - before) / len(paths))
        self.delays.append(1e3 * percentile(delays, 99))
        self.memory.append(memory(pid))

    def _ask(self, paths: Sequence[str], delays: list[float]) -> None:
        client = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=30
        )
        for path in paths:
            began = time.perf_counter()
            client.request("GET", path, headers=self._headers)
            answer = client.getresponse()
            answer.read()
            delays.append(time.perf_counter() - began)
            assert answer.status == 200, path
        client.close()

    def awaited(self, path: str) -> "Asked":
        """Wait until it answers."""
        for _ in range(300):
            try:
                self._ask([path], [])
            except OSError:
                time.sleep(0.1)
            else:
                return self
        raise TimeoutError


@contextmanager
def served(region: Region, what: str) -> Iterator[Asked]:
    """Serve a region's API, or nothing, on the first core."""
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", SERVE),
            *(region.config_file, str(port), what),
        ]
    )
    try:
        yield Asked(port, process.pid).awaited("/v1/")
    finally:
        process.terminate()
        process.wait()


@contextmanager
def served_glance(stand: Stand) -> Iterator[tuple[Asked, list[str]]]:
    """Serve Glance, from PyPI, on the first core; the paths of its images."""
    stand.say("questions: Glance, which is installed if it is not there")
    glance = Glance(stand.directory / "glance", Programs.installed())
    broker = stand.region("Glance")
    database = stand.mariadb.create_database("glance")
    glance.configure(stand.rabbit.transport_url(broker.vhost), database)
    glance.manage("db", "sync")
    with glance:
        images = [glance.create() for _ in range(GLANCE_IMAGES)]
        assert glance.pid
        for thread in os.listdir(f"/proc/{glance.pid}/task"):
            os.sched_setaffinity(int(thread), {0})
        headers = {"X-Auth-Token": TOKEN}
        asked = Asked(glance.port, glance.pid, headers)
        yield asked, [f"/v2/images/{image}" for image in images]


@contextmanager
def on_one_core() -> Iterator[None]:
    """Leave the other one to who is asked."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores - {0} or cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def measure(stand: Stand, large: Region, size: Size) -> list[Line]:
    """Ask for images by UUID and by id, each for another one."""
    queries = ledger_of(large).queries
    known = queries.settled(0, 2**31, size.images)
    some = random.Random(1).choices(known, k=QUESTIONS)
    paths = [
        f"/v1/images/{uuid}" if n % 2 else f"/v1/images/ami-{number:08x}"
        for n, (number, uuid) in enumerate(some)
    ]
    bare: list[float] = []

    def without_http() -> None:
        began = time.perf_counter()
        for number, _ in some:
            queries.by_number(number)
        bare.append(len(some) / (time.perf_counter() - began))

    with ExitStack() as stack:
        api = stack.enter_context(served(large, "api"))
        nothing = stack.enter_context(served(large, "nothing"))
        turns: dict[str, Callable[[], None]] = {
            "api": lambda: api.round(paths),
            "nothing": lambda: nothing.round(paths),
            "bare": without_http,
        }
        glance = None
        # In quick mode nothing is installed.
        if size is not QUICK:
            glance, images = stack.enter_context(served_glance(stand))
            theirs = images * (GLANCE_QUESTIONS // len(images))
            turns["glance"] = lambda: glance.round(theirs)
        stack.enter_context(on_one_core())
        for turn in range(size.rounds):
            for name in in_turns(turns, turn):
                turns[name]()
            stand.say(f"questions: {api.rates[-1]:,.0f}/s")
    return _lines(api, nothing, bare, glance)


def _lines(
    api: Asked, nothing: Asked, bare: list[float], glance: Asked | None
) -> list[Line]:
    """Give the figures of all rounds."""
    empty = "the same server, an empty answer"
    others = {"Glance, GET of an image": glance} if glance else {}
    return [
        Line(
            key="questions.rate",
            what="look-ups by HTTP, one core",
            unit="/s",
            ours=api.rates,
            beside={empty: nothing.rates, "the ledger without HTTP": bare}
            | {name: other.rates for name, other in others.items()},
            goal=">= 1,000/s",
            more={"memory": api.memory},
        ),
        Line(
            key="questions.p99",
            what="p99 until the answer",
            unit="ms",
            ours=api.delays,
            beside={empty: nothing.delays}
            | {name: other.delays for name, other in others.items()},
            goal="<= 10 ms",
        ),
        Line(
            key="questions.cpu",
            what="CPU of the API for a look-up",
            unit="µs",
            ours=api.cpu,
            beside={empty: nothing.cpu}
            | {name: other.cpu for name, other in others.items()},
        ),
    ]
