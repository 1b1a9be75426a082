"""Other releases of Nova remember ids under the same key.

Only the code in question is run, out of their wheels: to install each whole
takes minutes. `tox -e novas` asks older ones as well, which it fetches from
PyPI: what EC2MAP_SYNC_NOVAS names, with the oslo.cache of that time.
"""

import ast
import functools
import io
import os
import subprocess
import sys
import zipfile
from hashlib import sha1
from types import SimpleNamespace

import pytest
from installed import Programs
from patience import within

from ec2map_sync.sinks.memory import key_of

INSTALLED = "34"
OSLO_CACHE = {"28": "3.5.0", "31": "3.10.1"}
UUID = "71ed3a2c-33a0-4d3c-9d4e-2f6c6f2b6c34"


def releases():
    return [INSTALLED, *os.environ.get("EC2MAP_SYNC_NOVAS", "").split()]


@pytest.fixture
def source(tmp_path):
    """Give the text of a file of a release, Nova's or oslo.cache's."""

    def read(release, package, path):
        if release == INSTALLED:
            code = f"import {path.partition('/')[0]} as p; print(*p.__path__)"
            (place,) = Programs.installed().run("python", "-c", code).split()
            with open(f"{place}/{path.partition('/')[2]}") as file:
                return file.read()
        version = OSLO_CACHE[release]
        if package == "nova":
            version = f"{release}.0.0"
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet"),
                *("--no-deps", "--only-binary=:all:", "--dest", tmp_path),
                f"{package}=={version}",
            ],
            check=True,
            timeout=within(300),
        )
        (wheel,) = tmp_path.glob(f"{package}-*.whl")
        with zipfile.ZipFile(wheel) as files:
            return io.TextIOWrapper(files.open(path), "utf-8").read()

    return read


def functions(text, *names):
    """Make some functions out of a module, without all that it imports."""
    tree = ast.parse(text)
    tree.body = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name in names
    ]
    for node in tree.body:
        node.returns = None
        for argument in node.args.args:
            argument.annotation = None
    return compile(tree, "theirs", "exec")


class Cache(dict):
    """Remembers as Nova's cache does, under keys before they are mangled."""

    set = dict.__setitem__


@pytest.mark.parametrize("release", releases())
def test_the_key_under_which_nova_remembers_is_ours(source, release, record):
    cache = Cache()
    nova = {
        "functools": functools,
        "_CACHE": None,
        "_CACHE_TIME": 0,
        "cache_utils": SimpleNamespace(get_client=lambda **_: cache),
        "exception": SimpleNamespace(NotFound=LookupError),
        "S3ImageMapping": SimpleNamespace(
            get_by_uuid=lambda _context, _uuid: SimpleNamespace(id=7)
        ),
    }
    text = source(release, "nova", "nova/objects/ec2.py")
    exec(functions(text, "memoize", "glance_id_to_id"), nova)
    mangle = {
        "util": SimpleNamespace(
            sha1_mangle_key=lambda key: sha1(key).hexdigest()
        )
    }
    text = source(release, "oslo.cache", "oslo_cache/core.py")
    exec(functions(text, "_sha1_mangle_key"), mangle)

    assert nova["glance_id_to_id"](None, UUID) == 7

    ((key, value),) = cache.items()
    assert value == 7
    assert mangle["_sha1_mangle_key"](key) == key_of(UUID)
    assert "region.key_mangler = _sha1_mangle_key" in text
    record.note(
        f"Key under which Nova {release} remembers an id in memcached",
        "SHA-1 of ``glance_id_to_id:UUID``",
    )
