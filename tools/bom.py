"""Prints the bill of materials of the root directory that it runs in.

In CycloneDX's form, version 1.5: Debian's packages and Python's, each with
its version and its package URL.
"""

import json
import subprocess
from importlib.metadata import distributions
from urllib.parse import quote


def _component(kind: str, name: str, version: str, rest: str = "") -> dict:
    url = f"pkg:{kind}/{quote(name)}@{quote(version)}{rest}"
    return {
        "type": "library",
        "bom-ref": url,
        "name": name.rpartition("/")[2],
        "version": version,
        "purl": url,
    }


def _debian() -> list[dict]:
    listed = subprocess.run(
        [
            "/usr/bin/dpkg-query",
            "--show",
            "-f=${Package} ${Version} ${Architecture}\n",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [
        _component("deb", f"debian/{name}", version, f"?arch={architecture}")
        for name, version, architecture in map(str.split, listed.splitlines())
    ]


def _python() -> list[dict]:
    found = {
        each.name.lower().replace("_", "-"): each.version
        for each in distributions()
    }
    return [_component("pypi", name, found[name]) for name in sorted(found)]


print(
    json.dumps(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {
                "component": {"type": "container", "name": "ec2map-sync"}
            },
            "components": _debian() + _python(),
        },
        indent=1,
    )
)
