"""What does not fit is the same line in log, status, /readyz, config check."""

import json
from functools import partial

import kombu
import pytest
from fleet import INFO, Region, running
from patience import wait_until
from scraping import Exporter
from servers import free_port

pytestmark = pytest.mark.services

CASES = {
    # How Glance declares exchange and queue, and what our side has to become.
    "durable": (
        {"durable": True, "auto_delete": False},
        {},
        "set amqp_durable_queues = true in",
    ),
    "deleted": (
        {"durable": False, "auto_delete": True},
        {},
        "set amqp_auto_delete = true in",
    ),
}


@pytest.fixture
def region(rabbit_a, mariadb, tmp_path):
    return Region("RegionOne", rabbit_a, mariadb, tmp_path)


@pytest.fixture
def exporter(region):
    exporter = Exporter(free_port())
    region.configure(extra=exporter.option)
    return exporter


def declare(url, how, arguments):
    with kombu.Connection(url) as connection:
        exchange = kombu.Exchange("glance", "topic", **how)
        queue = kombu.Queue(
            INFO, exchange, INFO, queue_arguments=arguments, **how
        )
        queue(connection.default_channel).declare()


def of_status(region):
    lines = json.loads(region.command("status", "-f", "json", code=1))
    return "\n".join(str(line["last_error"]) for line in lines)


def of_checks(region):
    lines = json.loads(region.command("config", "check", "-f", "json", code=1))
    return [
        f"{line['result'].removeprefix('wrong: ')}: {line['advice']}"
        for line in lines
        if line["result"].startswith("wrong")
    ]


@pytest.mark.parametrize("case", CASES)
def test_a_misfit_is_one_line_wherever_somebody_looks(region, exporter, case):
    how, arguments, advice = CASES[case]
    with running(region):
        region.await_log("is not there yet")

        declare(region.bus_url, how, arguments)

        said = partial(exporter.get, "/readyz")
        region.await_log("metrics at http")
        wait_until(lambda: advice in said().text, 10)
        line = said().text.removeprefix("listener-0: ").rstrip("\n")
        region.await_log(line, 10)
        assert line in of_status(region)
        assert of_checks(region) == [line, line]
