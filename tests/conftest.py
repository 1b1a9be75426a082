import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import hypothesis
import pytest
from certificates import read_once
from patience import within
from servers import Epmd, MariaDB, PostgreSQL, RabbitMQ, RabbitMQ4
from xdist.scheduler import LoadFileScheduling

# How long an example takes tells more of the machine than of the code.
hypothesis.settings.register_profile("tests", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tests")


LONGEST = 25
"""Files whose time is told at the end of a run."""


class OneCloud(LoadFileScheduling):
    """Gives files to processes; those that share a cloud to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("tests/openstack/"):
            return "tests/openstack"
        return super()._split_scope(nodeid)


def pytest_configure() -> None:
    read_once()
    # Under nohup, and in the background of a shell, SIGINT is ignored, and
    # so it would be in the programs that are to be interrupted. What has a
    # handler is back to the default in every child.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)


def _lasts(item: pytest.Item) -> bool:
    """Tells whether a file takes long, however few its tests are."""
    served = item.get_closest_marker("services") is not None
    return served or item.path.parent.name in {"convergence", "world"}


def _leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves what takes long to `tox -e everything`; pytest counts it."""
    left = [item for item in items if item.get_closest_marker("long")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    if "EC2MAP_SYNC_LONG" not in os.environ:
        _leave_out(config, items)
    # So that all processes of a run are done at about the same time.
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not _lasts(item))
    if config.getoption("timeout") is not None:
        return
    for item in items:
        own = item.get_closest_marker("timeout")
        seconds = own.args[0] if own else config.getini("timeout")
        patient = pytest.mark.timeout(within(float(seconds)))
        item.add_marker(patient, append=False)


def pytest_terminal_summary(
    terminalreporter: "pytest.TerminalReporter",  # not in each release
) -> None:
    # A run of several processes is as long as the files that take longest.
    if terminalreporter.config.getoption("dist") != "loadfile":
        return
    taken: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                taken[report.nodeid.partition("::")[0]] += report.duration
    terminalreporter.section("seconds of a file")
    for name, seconds in taken.most_common(LONGEST):
        terminalreporter.line(f"{seconds:6.0f} {name}")


def pytest_xdist_make_scheduler(
    config: pytest.Config, log: object
) -> LoadFileScheduling | None:
    if config.getoption("dist") != "loadfile":
        return None
    return OneCloud(config, log)


@pytest.fixture(scope="session")
def epmd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Epmd]:
    with Epmd(tmp_path_factory.mktemp("epmd")) as server:
        yield server


@pytest.fixture(scope="session")
def rabbit_a(
    tmp_path_factory: pytest.TempPathFactory, epmd: Epmd
) -> Iterator[RabbitMQ]:
    with RabbitMQ(tmp_path_factory.mktemp("a"), "a", epmd) as server:
        yield server


@pytest.fixture(scope="session")
def rabbit_b(
    tmp_path_factory: pytest.TempPathFactory, epmd: Epmd
) -> Iterator[RabbitMQ]:
    with RabbitMQ(tmp_path_factory.mktemp("b"), "b", epmd) as server:
        yield server


@pytest.fixture(scope="session")
def rabbit_4(
    tmp_path_factory: pytest.TempPathFactory, epmd: Epmd
) -> Iterator[RabbitMQ4]:
    with RabbitMQ4(tmp_path_factory.mktemp("4"), "four", epmd) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PostgreSQL]:
    directory = tmp_path_factory.mktemp("postgresql")
    with PostgreSQL(directory) as server:
        yield server


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("mariadb", marks=pytest.mark.services),
        pytest.param("postgresql", marks=pytest.mark.services),
    ]
)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind; its URL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/database"
    server = request.getfixturevalue(request.param)
    url: str = server.create_database(f"test_{uuid4().hex}")
    return url
