"""Look-ups by HTTP, one core each for the API and for who asks.

Beside what the same server does with an answer that costs nothing, and what
the ledger's database does without HTTP.
"""

import http.client
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager

from figures import Line, percentile
from fleet import Region
from scale import ledger_of
from servers import free_port
from stand import Size, Stand, cpu, in_turns, memory

ASKERS = 4
QUESTIONS = 4000
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

    def __init__(self, region: Region, what: str) -> None:
        self.port = free_port()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", SERVE),
                *(region.config_file, str(self.port), what),
            ]
        )
        self.rates: list[float] = []
        self.delays: list[float] = []
        self.cpu: list[float] = []
        self.memory: list[float] = []

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()

    def round(self, paths: Sequence[str]) -> None:
        """Ask for all of them, by several at a time."""
        pid = self._process.pid
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
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        for path in paths:
            began = time.perf_counter()
            client.request("GET", path)
            answer = client.getresponse()
            answer.read()
            delays.append(time.perf_counter() - began)
            assert answer.status == 200, path
        client.close()

    def awaited(self) -> "Asked":
        """Wait until it answers."""
        for _ in range(300):
            try:
                self._ask(["/v1/"], [])
            except OSError:
                time.sleep(0.1)
            else:
                return self
        raise TimeoutError


@contextmanager
def on_one_core():
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
    asked = {name: Asked(large, name) for name in ("api", "nothing")}
    bare: list[float] = []

    def without_http(_paths: Sequence[str]) -> None:
        began = time.perf_counter()
        for number, _ in some:
            queries.by_number(number)
        bare.append(len(some) / (time.perf_counter() - began))

    turns: dict[str, Callable[[Sequence[str]], None]] = {
        name: one.awaited().round for name, one in asked.items()
    } | {"bare": without_http}
    with on_one_core():
        for turn in range(size.rounds):
            for name in in_turns(turns, turn):
                turns[name](paths)
            stand.say(f"questions: {asked['api'].rates[-1]:,.0f}/s")
    for one in asked.values():
        one.close()
    api, nothing = asked["api"], asked["nothing"]
    return [
        Line(
            key="questions.rate",
            what="look-ups by HTTP, one core",
            unit="/s",
            ours=api.rates,
            beside={
                "the same server, an empty answer": nothing.rates,
                "the ledger without HTTP": bare,
            },
            goal=">= 1,000/s",
            more={"memory": api.memory},
        ),
        Line(
            key="questions.p99",
            what="p99 until the answer",
            unit="ms",
            ours=api.delays,
            beside={"an empty answer": nothing.delays},
            goal="<= 10 ms",
        ),
        Line(
            key="questions.cpu",
            what="CPU of the API for a look-up",
            unit="µs",
            ours=api.cpu,
            beside={"an empty answer": nothing.cpu},
        ),
    ]
