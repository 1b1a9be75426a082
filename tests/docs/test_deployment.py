"""What starts the agent agrees: image, unit, and what etc/ has for tools.

That each tool takes what is meant for it, `tox -e deploy` tries.
"""

import importlib.metadata
import json
import re
from pathlib import Path

import jsonschema
import yaml
from told import told

from ec2map_sync.settings.loading import load

ROOT = Path(__file__).parents[2]
ETC = ROOT / "etc"
CHART = ETC / "helm/ec2map-sync"
UNIT = (ETC / "systemd/ec2map-sync-agent.service").read_text()
ROLE = ETC / "kolla/roles/ec2map-sync"
QUADLET = (ETC / "quadlet/ec2map-sync.container").read_text()
IMAGE = (ROOT / "tools/image").read_text()
CONFIG = "/etc/ec2map-sync"
STATE = "/var/lib/ec2map-sync"
STOPPING = 40
"""Seconds within which the agent has ended its services, and itself."""

TEMPLATES = {
    path.stem: path.read_text() for path in (CHART / "templates").iterdir()
}


def chart_values() -> dict:
    return yaml.safe_load((CHART / "values.yaml").read_text())


def test_the_number_of_the_user_is_the_image_s():
    number = re.search(r"^number=(\d+)", IMAGE, re.M)[1]

    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        assert f"{name}: {number}\n" in TEMPLATES["_parts"]


def test_configuration_and_state_are_where_the_agent_looks():
    assert f"--config.cmd={CONFIG}/ec2map-sync.conf" in IMAGE
    assert f"--config-file {CONFIG}/ec2map-sync.conf" in UNIT
    assert "\nStateDirectory=ec2map-sync\n" in UNIT
    for place in (CONFIG, STATE):
        assert f"mountPath: {place}\n" in TEMPLATES["_parts"]
        assert re.search(rf"^Volume=\S+:{place}(:\S+)?$", QUADLET, re.M)
        assert f"-p {place}\n" in IMAGE or f" {place}\n" in IMAGE


def test_the_agent_has_the_time_that_it_needs_to_stop():
    given = {
        "unit": re.search(r"TimeoutStopSec=(\d+)", UNIT),
        "container": re.search(r"StopTimeout=(\d+)", QUADLET),
        "its unit": re.search(r"TimeoutStopSec=(\d+)", QUADLET),
        "chart": re.search(
            r"terminationGracePeriodSeconds: (\d+)", TEMPLATES["deployment"]
        ),
    }

    assert {k: v for k, v in given.items() if int(v[1]) < STOPPING} == {}


def test_the_environment_says_where_metrics_are(tmp_path, monkeypatch):
    file = tmp_path / "conf"
    file.write_text("[metrics]\nlisten = 127.0.0.1:1\n")
    monkeypatch.setenv("OS_METRICS__LISTEN", "[::1]:9427")

    conf = load(["--config-file", str(file)])

    assert str(conf.metrics) == "[::1]:9427"
    assert "name: OS_METRICS__LISTEN\n" in TEMPLATES["deployment"]


def test_the_chart_has_the_version_of_the_package():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    version = importlib.metadata.version("ec2map-sync")
    assert {chart["version"], chart["appVersion"]} == {version}


def test_the_chart_s_values_fit_their_schema():
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)

    jsonschema.validate(chart_values(), schema)
    assert chart_values().keys() == schema["properties"].keys() - {"global"}


def test_the_chart_s_alerts_are_those_of_prometheus():
    link = CHART / "files/ec2map-sync.rules.yml"

    assert link.is_symlink()
    assert link.resolve() == ETC / "prometheus/ec2map-sync.rules.yml"


def test_six_lines_are_for_the_operator_of_the_chart():
    first, _, _ = (CHART / "values.yaml").read_text().partition("\n\n")
    for_operators = yaml.safe_load(first)

    assert len(for_operators) == 6
    assert yaml.safe_load(told("Helm")).keys() <= for_operators.keys()


def test_six_lines_are_for_the_operator_of_podman():
    lines = told("podman")

    assert f"\n[Container]\n# What an operator sets.\n{lines}\n" in QUADLET
    assert len(lines.splitlines()) == 6


def test_six_lines_start_the_unit():
    lines = told("systemd")
    program = re.search(r"^ExecStart=(\S+)", UNIT, re.M)[1]
    user = re.search(r"^User=(\S+)", UNIT, re.M)[1]

    assert len(lines.splitlines()) == 6
    assert re.search(rf"^useradd .* {user}$", lines, re.M)
    assert re.search(rf"^install .* -g {user} -t {CONFIG} ", lines, re.M)
    linked = re.search(r"^ln -s (.*) (/\S+)/$", lines, re.M)
    assert program in {
        f"{linked[2]}/{Path(one).name}" for one in linked[1].split()
    }
    (unit,) = ETC.glob("systemd/*")
    assert f"cp etc/systemd/{unit.name} /etc/systemd/system/\n" in lines
    assert lines.endswith(f"systemctl enable --now {unit.stem}\n")


def kolla_config() -> dict:
    """Give config.json as the role writes it."""
    text = (ROLE / "templates/config.json.j2").read_text()
    return json.loads(
        text.replace("{{ container_config_directory }}", "/config")
    )


def test_kolla_starts_the_agent_with_its_file():
    config = kolla_config()
    program, option, file = config["command"].split()

    scripts = importlib.metadata.entry_points(group="console_scripts")
    assert program in scripts.names
    assert (option, file) == (
        "--config-file",
        f"{CONFIG}/ec2map-sync.conf",
    )
    copied = {one["dest"]: one for one in config["config_files"]}
    assert copied.keys() == {file, f"{CONFIG}/signing.key"}
    for one in copied.values():
        assert (one["owner"], one["perm"]) == ("ec2map-sync", "0600")
    assert [one["path"] for one in config["permissions"]] == [STATE]


def test_the_role_of_kolla_is_short():
    files = sorted(ROLE.glob("*/main.yml"))

    assert [f.parent.name for f in files] == ["defaults", "handlers", "tasks"]
    assert sum(len(f.read_text().splitlines()) for f in files) <= 60
    assert all(yaml.safe_load(f.read_text()) for f in files)


def test_six_lines_are_for_the_operator_of_kolla():
    defaults = (ROLE / "defaults/main.yml").read_text()
    lines = told("kolla-ansible")

    assert f"---\n# What an operator sets.\n{lines}\n" in defaults
    assert len(lines.splitlines()) == 6
