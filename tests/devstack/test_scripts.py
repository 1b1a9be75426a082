"""The plugin's files, as they lie there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from servers import find_program

ROOT = Path(__file__).parent.parent.parent
PLUGIN = ROOT / "devstack"
SCRIPTS = [
    PLUGIN / "settings",
    PLUGIN / "plugin.sh",
    PLUGIN / "lib" / "ec2map-sync",
    PLUGIN / "exercise.sh",
]
WORLD = Path(__file__).parent / "world"
STUBS = [WORLD / name for name in ("functions.sh", "devstack.sh", "systemctl")]
SAMPLES = sorted(PLUGIN.glob("local.conf*.sample"))
NAME = re.compile(r"\bEC2MAP_SYNC_[A-Z_]+\b")


def complaints(*command):
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return done.stdout or f"exit code {done.returncode}"[: done.returncode]


def defaults():
    """Variables of `settings`, and their defaults where they are plain."""
    text = (PLUGIN / "settings").read_text()
    found = re.findall(r"^(EC2MAP_\w+)=\$\{(\w+):-(.*)\}$", text, re.MULTILINE)
    assert all(name == again for name, again, _ in found)
    return {name: default for name, _, default in found}


def table():
    """Rows of the table in README.rst: variable, default."""
    text = (PLUGIN / "README.rst").read_text()
    rows = re.findall(r"^   \* - ``(\w+)``\n     - (.*)$", text, re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return dict(rows)


@pytest.mark.parametrize("script", SCRIPTS + STUBS, ids=lambda p: p.name)
def test_bash_can_read_it(script):
    assert complaints("bash", "-n", script) == ""


def test_bashate_has_nothing_to_say():
    bashate = [sys.executable, "-m", "bashate.bashate"]

    assert complaints(*bashate, *SCRIPTS, *STUBS) == ""


def test_shellcheck_has_nothing_to_say():
    shellcheck = find_program("shellcheck", "shellcheck")
    follow = ["--shell=bash", "--exclude=SC1090,SC1091"]

    assert complaints(shellcheck, *follow, *SCRIPTS, *STUBS) == ""


def test_every_setting_can_be_overridden():
    text = (PLUGIN / "settings").read_text()
    assigned = re.findall(r"^(EC2MAP_SYNC_\w+)=", text, re.MULTILINE)

    assert len(assigned) > 10
    assert sorted(assigned) == sorted(defaults())


def test_no_script_knows_a_setting_that_is_none():
    used = {n for s in SCRIPTS for n in NAME.findall(s.read_text())}

    assert used - {"_XTRACE_EC2MAP_SYNC"} == set(defaults())


def test_the_readme_lists_every_setting_with_its_default():
    settings = defaults()
    rows = table()

    assert list(rows) == list(settings)
    for name, default in settings.items():
        expected = default.replace("$_ec2map_etc", "$EC2MAP_SYNC_CONF_DIR")
        if not re.search(r"\$[_(]", expected):
            assert rows[name] == (f"``{expected}``" if expected else "(empty)")


@pytest.mark.parametrize(
    "file",
    [*SAMPLES, PLUGIN / "README.rst", PLUGIN / "plugin.sh"],
    ids=lambda p: p.name,
)
def test_the_line_for_local_conf_names_the_branch(file):
    lines = re.findall(r"enable_plugin ec2map-sync .*", file.read_text())

    # devstack's own default, master, is no branch of this repository.
    assert lines
    assert all(re.fullmatch(r"\S+ \S+ \S+ main", line) for line in lines)


def test_no_password_is_an_argument_of_a_program():
    text = (PLUGIN / "lib" / "ec2map-sync").read_text()
    given = re.findall(r".*(?:add_user|change_password).*", text)

    assert len(given) == 2
    # With any option, RabbitMQ 4 does not read what it would wait for.
    known = r'\s*sudo rabbitmqctl \w+ "\$user" <<<"\$password" >/dev/null.*'
    assert all(re.fullmatch(known, line) for line in given)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda p: p.name)
def test_a_sample_sets_nothing_that_is_no_setting(sample):
    text = sample.read_text()

    assert "enable_plugin ec2map-sync " in text
    assert set(NAME.findall(text)) <= set(defaults())


def test_there_are_samples_for_one_region_and_for_two():
    names = [f"local.conf{s}.sample" for s in (".RegionOne", ".RegionTwo", "")]
    assert [sample.name for sample in SAMPLES] == names

    two = (PLUGIN / names[1]).read_text()
    assert "region create RegionTwo" in two
    assert "endpoint create --region RegionTwo" in two


def test_the_exercise_can_be_started():
    assert os.access(PLUGIN / "exercise.sh", os.X_OK)


@pytest.mark.parametrize(
    ("wish", "version", "services", "chosen"),
    [
        ("auto", "3.12.14", "g-api", False),
        ("auto", "4.0.5", "g-api,rabbit", True),
        ("auto", "4.3.1", "ceilometer-anotification,g-api", False),
        ("auto", "", "g-api", False),
        ("True", "3.10.8", "ceilometer-anotification", True),
        ("False", "4.3.1", "g-api", False),
    ],
)
def test_quorum_queues_are_chosen_where_transient_ones_may_be_refused(
    wish, version, services, chosen
):
    done = subprocess.run(
        [
            "bash",
            "-c",
            f'source "{PLUGIN}/lib/ec2map-sync"\n'
            f"function _ec2map_sync_rabbit {{ echo '{version}'; }}\n"
            "_ec2map_sync_wants_quorum",
        ],
        env={
            "PATH": "/usr/bin:/bin",
            "EC2MAP_SYNC_QUORUM_QUEUES": wish,
            "ENABLED_SERVICES": services,
        },
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode == 0, done.stderr) == (chosen, "")
