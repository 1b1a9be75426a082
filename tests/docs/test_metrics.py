"""Metrics, and the page, dashboard and alerts that speak of them."""

import json
import re
import subprocess
from collections.abc import Iterator

import pytest
import yaml
from servers import find_program

from ec2map_sync.monitor import exporter, gauges
from ec2map_sync.running import counters

PAGE = "doc/source/metrics.rst"
RULES = "etc/prometheus/ec2map-sync.rules.yml"
DASHBOARD = "etc/grafana/ec2map-sync.json"
ROOT_LABELS = {"instance", "job", "region"}
"""Those that Prometheus adds."""


def measured() -> list[gauges.Gauge]:
    """Give every gauge that a module of the monitor declares."""
    there = [*vars(gauges).values(), *vars(exporter).values()]
    return [value for value in there if isinstance(value, gauges.Gauge)]


def known() -> dict[str, tuple[str, ...]]:
    """Give the labels of every metric that there is."""
    return {m.name: m.labels for m in counters.ALL} | {
        g.full_name: g.labels for g in measured()
    }


def series() -> dict[str, tuple[str, ...]]:
    """Give the labels of every series that an expression may name."""
    histograms = [m for m in counters.ALL if isinstance(m, counters.Histogram)]
    found = known()
    for metric in histograms:
        del found[metric.name]
        found[f"{metric.name}_bucket"] = (*metric.labels, "le")
        found[f"{metric.name}_sum"] = metric.labels
        found[f"{metric.name}_count"] = metric.labels
    return found


def alerts(read) -> list[dict[str, object]]:
    (group,) = yaml.safe_load(read(RULES))["groups"]
    return group["rules"]


def targets(read) -> Iterator[tuple[str, str]]:
    """Give each expression of the dashboard, and what its lines are called."""
    for panel in json.loads(read(DASHBOARD))["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"], target["legendFormat"]


def expressions(read) -> list[str]:
    return [
        *(str(alert["expr"]) for alert in alerts(read)),
        *(expression for expression, _ in targets(read)),
    ]


def used(expression: str) -> dict[str, set[str]]:
    """Give the series that an expression names, and how it selects."""
    found: dict[str, set[str]] = {}
    for name, selector in re.findall(
        r"(ec2map_sync_\w+)(?:\{([^}]*)\})?", expression
    ):
        labels = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)
        found.setdefault(name, set()).update(labels)
    return found


def labels_of(expression: str) -> set[str]:
    """Give the labels that the series of an expression may have."""
    found = set(ROOT_LABELS)
    for name in used(expression):
        found.update(series()[name])
    return found


def table(read) -> dict[str, tuple[str, ...]]:
    """Give the metrics of the page, with their labels."""
    rows = re.findall(
        r"^   \* - ``(ec2map_sync_\w+)``\n     -(.*)$", read(PAGE), re.M
    )
    return {name: tuple(re.findall(r"``(\w+)``", cell)) for name, cell in rows}


def test_every_metric_and_its_labels_are_described(read):
    assert table(read) == known()


def test_no_two_metrics_have_one_name():
    names = [m.name for m in counters.ALL]
    names += [g.full_name for g in measured()]

    assert len(set(names)) == len(names)


def test_every_alert_says_what_to_do(read):
    described = set(re.findall(r"``(Ec2MapSync\w+)``", read(PAGE)))

    assert described == {alert["alert"] for alert in alerts(read)}


def test_expressions_use_metrics_and_labels_that_exist(read):
    there, found = series(), expressions(read)

    assert len(found) > len(known())
    for expression in found:
        named = used(expression)
        assert named or expression.startswith("up{"), expression
        for name, selected in named.items():
            assert name in there, (name, expression)
            assert selected <= {*there[name], *ROOT_LABELS}, expression
        grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
        for label in re.findall(r"\w+", " ".join(grouped)):
            assert label in labels_of(expression), (label, expression)


def test_captions_use_labels_that_exist(read):
    in_captions = [
        (label, expression)
        for expression, caption in targets(read)
        for label in re.findall(r"\{\{(\w+)\}\}", caption)
    ]
    in_alerts = [
        (label, str(alert["expr"]))
        for alert in alerts(read)
        for label in re.findall(
            r"\$labels\.(\w+)", json.dumps(alert["annotations"])
        )
    ]

    assert in_captions
    assert in_alerts
    for label, expression in in_captions + in_alerts:
        assert label in labels_of(expression), (label, expression)


def test_every_metric_is_on_the_dashboard(read):
    shown = {
        name for expression, _ in targets(read) for name in used(expression)
    }
    suffix = re.compile(r"_(bucket|sum|count)$")

    assert {suffix.sub("", name) for name in shown} == set(known())


def test_the_dashboard_has_a_place_for_each_panel(read):
    panels = json.loads(read(DASHBOARD))["panels"]
    taken: set[tuple[int, int]] = set()

    assert len(panels) > 5
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


def promtool(root, *arguments: str) -> None:
    done = subprocess.run(
        [find_program("promtool", "prometheus"), *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_the_rules_in_order(root):
    promtool(root, "check", "rules", "--lint-fatal", RULES)


HEALTHY = {
    'up{job="ec2map-sync"}': "1x90",
    'process_up{process="writer-0"}': "1x90",
    'process_starts_total{process="listener"}': "2x90",
    "ledger_up": "1x90",
    "ledger_contradictions_total": "3x90",
    "ledger_checked_seconds": "0+60x34 0+60x54",
    'listening{process="listener-0"}': "1x90",
    "notifications_waiting": "0 900 0 900x20 0x66",
    'notifications_total{type="image.create",outcome="taken"}': "0+50x90",
    "listener_stalls_total": "0x90",
    'claims_recorded_total{origin="audit"}': "3+1x90",
    'peer_state{peer="B",state="agrees"}': "1x90",
    'peer_state{peer="B",state="silent"}': "0x90",
    'peer_state{peer="B",state="never heard"}': "0x90",
    'peer_differs_seconds{peer="B"}': "0 8 0 16x88",
    'peer_held_entries{peer="B"}': "0x90",
    'peer_contradicts{peer="B"}': "0x90",
    'peer_evictions{peer="B"}': "0x30 1x59",
    'canary_overdue_seconds{peer="B"}': "0x30 50 0x59",
    'sink_lag_seconds{sink="nova:a"}': "0x40 70 0x50",
    'sink_lag_numbers{sink="nova:a"}': "9x90",
    'sink_revision{sink="nova:a"}': "5+1x90",
    "publisher_lag_seconds": "0x90",
    'loop_working{loop="writer of nova:a"}': "1x30 0x5 1x55",
    'loop_seen_seconds{loop="cells"}': "600x90",
    'retries_total{loop="publisher",cause="broker"}': "0+3x90",
    'quarantined_total{source="glance"}': "4x90",
    "quarantine_dropped_total": "7x90",
    "moves_total": "2x90",
    'divergences{sink="nova:a",class="legacy",kept="false"}': "800x90",
    'divergences{sink="nova:a",class="taken",kept="true"}': "2x90",
    'sink_rows_missing_total{sink="nova:a"}': "31x90",
}
"""Series of ninety minutes in which nobody has to look."""

TROUBLE = {
    "ApiFails": {
        'api_requests_total{operation="image",status="503"}': "0+1x90"
    },
    "LedgerContradicted": {"ledger_contradictions_total": "3x80 4x9"},
    "LedgerUnchecked": {"ledger_checked_seconds": "86000+60x90"},
    "AgentDown": {'up{job="ec2map-sync"}': "0x90"},
    "ProcessDown": {'process_up{process="writer-0"}': "0x90"},
    "ProcessRestarts": {
        'process_starts_total{process="listener"}': "2x80 3+1x9"
    },
    "LedgerDown": {"ledger_up": "0x90"},
    "NotListening": {'listening{process="listener-0"}': "0x90"},
    "ListenerStalled": {
        "notifications_waiting": "900x90",
        'notifications_total{type="image.create",outcome="taken"}': "50x90",
        'claims_recorded_total{origin="audit"}': "3x90",
    },
    "ListenerRestarted": {"listener_stalls_total": "0x80 1x9"},
    "NoNotifications": {
        'notifications_total{type="image.create",outcome="taken"}': "50x90",
        'claims_recorded_total{origin="audit"}': "3+1x90",
    },
    "PeerSilent": {
        'peer_state{peer="B",state="agrees"}': "0x90",
        'peer_state{peer="B",state="silent"}': "1x90",
    },
    "PeerDiffers": {'peer_differs_seconds{peer="B"}': "0x80 250+60x9"},
    "Held": {'peer_held_entries{peer="B"}': "0x80 1x9"},
    "Contradicts": {'peer_contradicts{peer="B"}': "0x80 1x9"},
    "Evictions": {'peer_evictions{peer="B"}': "1x80 6x9"},
    "Canary": {'canary_overdue_seconds{peer="B"}': "0x80 61+60x9"},
    "SinkLags": {'sink_lag_seconds{sink="nova:a"}': "0x80 70+60x9"},
    "SinkStuck": {'sink_revision{sink="nova:a"}': "5x90"},
    "PublisherLags": {"publisher_lag_seconds": "0x80 70+60x9"},
    "LoopWaits": {'loop_working{loop="writer of nova:a"}': "1x70 0x20"},
    "LoopSilent": {'loop_seen_seconds{loop="publisher"}': "0+60x90"},
    "Mistake": {'retries_total{loop="auditor",cause="mistake"}': "0+1x90"},
    "QuarantineGrows": {'quarantined_total{source="glance"}': "4x80 5x9"},
    "QuarantineFull": {"quarantine_dropped_total": "7x80 8x9"},
    "Moves": {"moves_total": "2x80 3x9"},
    "Divergences": {
        'divergences{sink="nova:a",class="taken",kept="false"}': "1x90"
    },
    "RowsMissing": {'sink_rows_missing_total{sink="nova:a"}': "31x80 32x9"},
}
"""What makes each alert fire, and no other."""


def firing(
    root, tmp_path, series: dict[str, str], expected: list[str]
) -> None:
    """Let promtool tell which alerts fire after ninety minutes."""
    count = "count by (alertname) (ALERTS{alertstate='firing'})"
    samples = [
        {"labels": f'{{alertname="Ec2MapSync{name}"}}', "value": 1}
        for name in expected
    ]
    prefix = {True: "", False: counters.PREFIX}
    case = {
        "rule_files": [str(root / RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {
                        "series": f"{prefix[name.startswith('up{')]}{name}",
                        "values": values,
                    }
                    for name, values in series.items()
                ],
                "promql_expr_test": [
                    {"expr": count, "eval_time": "89m", "exp_samples": samples}
                ],
            }
        ],
    }
    file = tmp_path / "alerts.yml"
    file.write_text(yaml.safe_dump(case))
    promtool(root, "test", "rules", str(file))


def test_while_all_is_well_no_alert_fires(root, tmp_path):
    firing(root, tmp_path, HEALTHY, [])


@pytest.mark.parametrize("alert", TROUBLE)
def test_an_alert_fires_at_its_trouble_and_no_other_does(
    root, tmp_path, alert
):
    firing(root, tmp_path, HEALTHY | TROUBLE[alert], [alert])


def test_every_alert_is_tried_out(read):
    assert {f"Ec2MapSync{name}" for name in TROUBLE} == {
        alert["alert"] for alert in alerts(read)
    }
