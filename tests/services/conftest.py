from collections.abc import Iterator

import pytest
from servers import Epmd, MariaDB, RabbitMQ


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
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        yield server
