"""What Prometheus would read from an agent."""

import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from commands import SmallRegion
from patience import within
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ec2map_sync.monitor.gauges import LedgerGauges
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.settings.loading import load


@dataclass(frozen=True)
class Response:
    """An answer by HTTP."""

    status: int
    text: str


def get(url: str) -> Response:
    """Ask; an error of HTTP is an answer too."""
    try:
        with urllib.request.urlopen(url, timeout=within(20)) as response:
            return Response(response.status, response.read().decode())
    except urllib.error.HTTPError as error:
        return Response(error.code, error.read().decode())


class Scrape:
    """The values of one moment, by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = [
            sample
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def all(self, name: str, **labels: str) -> list[float]:
        """Give the values of every series that has these labels."""
        return [
            sample.value
            for sample in self.samples
            if sample.name == f"ec2map_sync_{name}"
            and labels.items() <= sample.labels.items()
        ]

    def sum(self, name: str, **labels: str) -> float:
        """Add them up; 0 if there are none."""
        return sum(self.all(name, **labels))

    def one(self, name: str, **labels: str) -> float | None:
        """Give the only value; None if there is none."""
        found = self.all(name, **labels)
        assert len(found) < 2, (name, labels, found)
        return found[0] if found else None


class Exporter:
    """Where an agent answers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.option = f"[metrics]\nlisten = 127.0.0.1:{port}\n"

    def scrape(self) -> Scrape:
        """Read all metrics."""
        response = get(f"http://127.0.0.1:{self.port}/metrics")
        assert response.status == 200, response
        return Scrape(response.text)

    def get(self, path: str) -> Response:
        """Ask for a path."""
        return get(f"http://127.0.0.1:{self.port}{path}")

    def answers(self) -> bool:
        """Tell whether anybody is there."""
        try:
            return bool(self.get("/healthz"))
        except OSError:
            return False


def measured(
    region: SmallRegion,
    *,
    since: int = 0,
    clock: Callable[[], int] = wall_clock,
) -> Scrape:
    """Measure a region's ledger, as its agent does that began then."""
    bus = load([], files=[str(region.config_file)]).bus
    registry = CollectorRegistry()
    registry.register(
        LedgerGauges(
            region.ledger,
            bus,
            lambda: ["nova:cell1"],
            "here",
            since=since,
            clock=clock,
        )
    )
    return Scrape(generate_latest(registry).decode())
