"""OpenStack's CI is told of what there is."""

import configparser
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
ENTRIES = yaml.safe_load((ROOT / ".zuul.yaml").read_text())
JOBS = {job["name"]: job for e in ENTRIES if (job := e.get("job"))}
(PROJECT,) = (entry["project"] for entry in ENTRIES if "project" in entry)


def of_ini(name):
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / name)
    return parser


def test_what_is_run_is_described():
    for pipeline in ("check", "gate"):
        assert set(PROJECT[pipeline]["jobs"]) == set(JOBS)


def test_each_job_runs_an_environment_that_there_is():
    known = set(of_ini("tox.ini"))

    for job in JOBS.values():
        assert f"testenv:{job['vars']['tox_envlist']}" in known


def test_devstack_is_told_the_plugin_and_its_service_by_their_names():
    settings = (ROOT / "devstack/settings").read_text()
    (plugin,) = re.findall(r"^define_plugin (\S+)$", settings, re.MULTILINE)
    variables = JOBS["ec2map-sync-devstack"]["vars"]

    assert list(variables["devstack_plugins"]) == [plugin]
    for service in variables["devstack_services"]:
        assert f"enable_service {service}" in settings


def test_reviews_go_to_the_branch_that_the_plugins_readme_names():
    branch = of_ini(".gitreview")["gerrit"]["defaultbranch"]

    readme = (ROOT / "devstack/README.rst").read_text()
    assert f"ec2map-sync.git {branch}" in readme
