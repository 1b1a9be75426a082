"""The chart, rendered by Helm's own code, is what a cluster takes."""

import os
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import sqlalchemy as sa
import yaml
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator
from helm_python.chart import Chart, lint
from helm_python.errors import HelmError
from patience import within
from told import told

from ec2map_sync.ledger import schema

ROOT = Path(__file__).parents[2]
CHART = ROOT / "etc/helm/ec2map-sync"
ALERTS = ROOT / "etc/prometheus/ec2map-sync.rules.yml"
BIN = Path(sys.executable).parent

CONFIG = "[DEFAULT]\nregion = RegionOne\n# 'ü' \"{{ }}\" \\n: $x %s\n\n"
NEEDED = {"image": "registry.example.org/ec2map-sync:1", "config": CONFIG}
MUCH = NEEDED | {
    "signingKey": "-----BEGIN PRIVATE KEY-----\n",
    "files": {"ca.pem": "-----BEGIN CERTIFICATE-----\n"},
    "monitoring": True,
    "stateClaim": "state",
    "imagePullSecrets": [{"name": "registry"}],
    "metrics": {"host": "[::]", "port": 9999, "labels": {"release": "p"}},
    "nodeSelector": {"openstack-control-plane": "enabled"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
}
EXISTING = {
    "image": "ec2map-sync",
    "existingSecret": "ours",
    "replicas": 2,
    "monitoring": True,
    "agentsStopped": True,
}
OLDEST = "1.25"
TOLD = yaml.safe_load(told("Helm")) | {"config": CONFIG}
PROMETHEUS = "monitoring.coreos.com/v1"


def render(values: dict, chart: Path = CHART) -> list[dict]:
    """Give the objects that `helm template ids` would print."""
    with Chart.load(chart) as loaded:
        files = loaded.render(values, name="ids", namespace="openstack")
    texts = [t for path, t in sorted(files.items()) if path.endswith(".yaml")]
    return [one for t in texts for one in yaml.safe_load_all(t) if one]


def the(objects: list[dict], kind: str, name: str = "ids") -> dict:
    """Give the one object of a kind and a name."""
    (found,) = (
        one
        for one in objects
        if (one["kind"], one["metadata"]["name"]) == (kind, name)
    )
    return found


def pods(objects: list[dict]) -> list[dict]:
    specs = [one.get("spec", {}) for one in objects]
    return [spec["template"] for spec in specs if "template" in spec]


@pytest.fixture(
    params=[NEEDED, TOLD, MUCH, EXISTING],
    ids=["needed", "told", "much", "existing"],
)
def values(request):
    return request.param


@pytest.fixture
def objects(values):
    return render(values)


def test_helm_lint_has_nothing_to_say(values):
    report = lint(CHART, values, strict=True)

    said = [one for one in report["messages"] if one["severity"] > 1]
    assert (said, report["errors"]) == ([], [])
    assert report["total_charts_linted"] == 1


@pytest.mark.parametrize("version", [OLDEST, "1.31", "1.37"])
def test_kubernetes_takes_every_object(objects, version):
    ours = [one for one in objects if one["apiVersion"] != PROMETHEUS]

    assert {one["kind"] for one in ours} >= {"Deployment", "Job", "Service"}
    for one in ours:
        kubernetes_validate.validate(one, version, strict=True)


def test_an_older_kubernetes_is_refused():
    with Chart.load(CHART) as chart:
        assert chart.metadata["kubeVersion"] == f">={OLDEST}.0-0"


def test_kubernetes_would_not_take_what_it_does_not_know():
    deployment = the(render(NEEDED), "Deployment")
    deployment["spec"]["template"]["spec"]["securityContexts"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.31", strict=True)


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PrometheusRule"])
def test_the_prometheus_operator_takes_its_objects(kind):
    model = getattr(prometheus_operator, kind)

    for values in (MUCH, EXISTING):
        one = the(render(values), kind)
        assert one["apiVersion"] == PROMETHEUS
        model.model_validate(one, extra="forbid")
        with pytest.raises(ValueError, match="Extra inputs"):
            model.model_validate(
                one | {"spec": one["spec"] | {"rule": 1}}, extra="forbid"
            )


def test_nothing_of_the_operator_is_asked_for_unless_it_is_there():
    assert not [o for o in render(NEEDED) if o["apiVersion"] == PROMETHEUS]


def test_a_packaged_chart_has_the_alerts_of_the_tree(tmp_path):
    with Chart.load(CHART) as chart:
        package = Path(chart.save(tmp_path))

    rule = the(render(MUCH, package), "PrometheusRule")

    assert rule["spec"] == yaml.safe_load(ALERTS.read_text())


def test_the_job_of_prometheus_is_called_as_the_alerts_expect():
    objects = render(MUCH)
    service = the(objects, "Service", "ids-metrics")
    monitor = the(objects, "ServiceMonitor")["spec"]
    labels = service["metadata"]["labels"]

    assert labels[monitor["jobLabel"]] == "ec2map-sync"
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    (port,) = service["spec"]["ports"]
    assert [e["port"] for e in monitor["endpoints"]] == [port["name"]]


def test_only_agents_are_selected(objects):
    agent = the(objects, "Deployment")["spec"]
    service = the(objects, "Service", "ids-metrics")["spec"]
    job = the(objects, "Job", "ids-upgrade")["spec"]["template"]["metadata"]

    selected = agent["selector"]["matchLabels"]
    assert service["selector"] == selected
    assert selected.items() <= agent["template"]["metadata"]["labels"].items()
    assert not selected.items() <= job["labels"].items()


@pytest.mark.parametrize("name", ["ids", "ids-upgrade"])
def test_files_arrive_as_they_are(name):
    assert the(render(MUCH), "Secret", name)["stringData"] == {
        "ec2map-sync.conf": CONFIG,
        "signing.key": MUCH["signingKey"],
        **MUCH["files"],
    }


def test_a_secret_that_is_there_takes_their_place():
    objects = render(EXISTING)

    assert not [one for one in objects if one["kind"] == "Secret"]
    for pod in pods(objects):
        volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
        assert volumes["config"]["secret"]["secretName"] == "ours"


def test_another_configuration_restarts_the_agent():
    before, same, after = (
        the(render(NEEDED | {"config": text}), "Deployment")
        for text in (CONFIG, CONFIG, "another")
    )

    assert before["spec"]["template"] == same["spec"]["template"] != after
    assert before["spec"]["template"] != after["spec"]["template"]


def test_nobody_is_root_and_nothing_else_can_be_written(objects):
    found = [pod["spec"] for pod in pods(objects)]

    assert len(found) == 2
    for pod in found:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        writable = [
            mount["mountPath"]
            for mount in container["volumeMounts"]
            if not mount.get("readOnly")
        ]
        assert writable == ["/var/lib/ec2map-sync"]


def test_files_are_for_the_group_of_the_agent_alone(objects):
    for pod in pods(objects):
        group = pod["spec"]["securityContext"]["fsGroup"]
        assert group == pod["spec"]["securityContext"]["runAsGroup"]
        volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
        assert volumes["config"]["secret"]["defaultMode"] == 0o440


def test_the_tables_are_there_before_the_agent(objects):
    hooks = {
        one["kind"]: one["metadata"]["annotations"]
        for one in objects
        if "helm.sh/hook" in one["metadata"].get("annotations", {})
    }

    assert "Job" in hooks
    for annotations in hooks.values():
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
    if "Secret" in hooks:
        weights = {
            kind: int(annotations.get("helm.sh/hook-weight", "0"))
            for kind, annotations in hooks.items()
        }
        assert weights["Secret"] < weights["Job"]


def upgrade(home: Path, values: dict) -> subprocess.CompletedProcess[str]:
    """Run the Job's command, for the ledger of a home directory."""
    pod = the(render(values), "Job", "ids-upgrade")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    return subprocess.run(
        container["command"],
        env={"HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=within(60),
        check=False,
    )


@pytest.fixture
def ledger(tmp_path):
    """The URL of a ledger without tables, which the Job upgrades."""
    url = f"sqlite:///{tmp_path}/ledger"
    place = tmp_path / ".ec2map-sync"
    place.mkdir()
    (place / "ec2map-sync.conf").write_text(
        f"[DEFAULT]\nregion = RegionOne\n[ledger]\nconnection = {url}\n"
    )
    return url


def test_the_job_makes_the_tables_of_a_new_ledger(ledger, tmp_path):
    done = upgrade(tmp_path, NEEDED)

    assert (done.returncode, done.stderr) == (0, "")
    assert schema.pending(sa.create_engine(ledger)) == []


def test_the_job_has_nothing_to_do_where_nothing_changes(ledger, tmp_path):
    schema.upgrade(sa.create_engine(ledger))

    done = upgrade(tmp_path, NEEDED)

    assert done.returncode == 0
    assert done.stdout == f"up to date: {schema.newest()}\n"


def test_the_job_changes_no_tables_under_agents(ledger, tmp_path):
    engine = sa.create_engine(ledger)
    schema.upgrade(engine, schema.revisions()[0])

    refused = upgrade(tmp_path, NEEDED)

    assert refused.returncode == 1
    assert "kubectl scale deployment ids --replicas=0" in refused.stderr
    assert schema.version(engine) == schema.revisions()[0]

    done = upgrade(tmp_path, NEEDED | {"agentsStopped": True})

    assert done.returncode == 0
    assert schema.pending(engine) == []


def test_the_job_fails_where_the_ledger_cannot_be_asked(ledger, tmp_path):
    assert ledger
    (tmp_path / ".ec2map-sync/ec2map-sync.conf").unlink()

    done = upgrade(tmp_path, NEEDED)

    assert done.returncode == 2
    assert "[ledger] connection" in done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": ""}, "image:"),
        ({"config": ""}, "config:"),
        ({"replicas": 2, "stateClaim": "state"}, "stateClaim:"),
        ({"replica": 2}, "replica"),
        ({"metrics": {"port": 0}}, "port"),
    ],
)
def test_a_slip_is_refused(change, said):
    with pytest.raises(HelmError, match=said):
        render(NEEDED | change)
