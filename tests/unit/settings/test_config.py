"""What is wrong with a configuration is said in one line, before a start."""

import os
import shutil
import stat
from contextlib import nullcontext
from pathlib import Path

import pytest

from ec2map_sync.glance import listener
from ec2map_sync.protocol.signing import SigningKey
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.settings.loading import load
from ec2map_sync.settings.values import MemoTls


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A configuration that fits: section, then option and value."""
    directory = tmp_path_factory.mktemp("keys")
    key = SigningKey.generate()
    key.save(directory / "key")
    (directory / "no-key").touch(0o600)
    (directory / "no-key").write_text("not a key\n")
    for mode in ("604", "620", "610"):
        shutil.copy(directory / "key", directory / mode)
        (directory / mode).chmod(int(mode, 8))
    return {
        "DEFAULT": {
            "region": "RegionOne",
            "peers": "RegionTwo",
            "transport_url": "rabbit://u:p@localhost:5672/",
        },
        "ledger": {"connection": "mysql+pymysql://u:p@localhost/ledger"},
        "bus": {
            "url": "amqp://u:p@localhost:5672//",
            "signing_key_file": f"{directory}/key",
        },
        "peer:RegionTwo": {
            "url": "amqp://u:p@elsewhere:5672//",
            "public_keys": key.public,
        },
        "nova": {"cells": "cell0,cell1"},
        "cell:cell0": {"connection": "mysql+pymysql://u:p@localhost/cell0"},
        "cell:cell1": {"connection": "mysql+pymysql://u:p@localhost/cell1"},
    }


# What is changed, and what the one line has to mention. None takes an
# option away, or a whole section if there is no option.
SLIPS = {
    "no region": ("DEFAULT", "region", None, "[DEFAULT] region"),
    "region with a blank": ("DEFAULT", "region", "Region One", "region"),
    "transport_url of kombu": (
        "DEFAULT",
        "transport_url",
        "amqp://localhost/",
        "transport_url",
    ),
    "transport_url that oslo.messaging misreads": (
        "DEFAULT",
        "transport_url",
        "rabbit://u:a%2Fb@localhost:5672/",
        "'/' (%2F)",
    ),
    "transport_url of a database": (
        "DEFAULT",
        "transport_url",
        "mysql://localhost/x",
        "transport_url",
    ),
    "transport_url with a bad port": (
        "DEFAULT",
        "transport_url",
        "rabbit://localhost:port/",
        "transport_url",
    ),
    "transport_url of its own": (
        "oslo_messaging_notifications",
        "transport_url",
        "amqp://localhost/",
        "[oslo_messaging_notifications] transport_url",
    ),
    "bus of oslo.messaging": (
        "bus",
        "url",
        "rabbit://localhost/",
        "[bus] url",
    ),
    "bus with a bad port": ("bus", "url", "amqp://host:port//", "[bus] url"),
    "no bus, but peers": ("bus", "url", None, "[bus] url"),
    "ledger of another kind": (
        "ledger",
        "connection",
        "oracle://u:p@localhost/x",
        "[ledger] connection",
    ),
    "ledger on a broker": (
        "ledger",
        "connection",
        "amqp://localhost/",
        "[ledger] connection",
    ),
    "ledger no URL": ("ledger", "connection", "ledger", "[ledger] connection"),
    "no ledger": ("ledger", "connection", None, "[ledger] connection"),
    "peer without a section": ("peer:RegionTwo", None, None, "RegionTwo"),
    "section without a peer": ("DEFAULT", "peers", "", "[peer:RegionTwo]"),
    "this region as a peer": ("DEFAULT", "peers", "RegionOne", "peers"),
    "peer without a URL": ("peer:RegionTwo", "url", None, "url is missing"),
    "peer with a bad URL": ("peer:RegionTwo", "url", "http://x", "url"),
    "peer without a key": ("peer:RegionTwo", "public_keys", None, "key"),
    "peer with a bad key": (
        "peer:RegionTwo",
        "public_keys",
        "ed25519:AAAA",
        "public key",
    ),
    "peer with a private key": (
        "peer:RegionTwo",
        "public_keys",
        "-----BEGIN PRIVATE KEY-----",
        "public key",
    ),
    "peer named twice": (
        "DEFAULT",
        "peers",
        "RegionTwo,RegionTwo",
        "[DEFAULT] peers",
    ),
    "cell without a section": ("cell:cell1", None, None, "cell1"),
    "section without a cell": ("nova", "cells", "cell0", "[cell:cell1]"),
    "cell without a database": (
        "cell:cell1",
        "connection",
        None,
        "[cell:cell1] connection",
    ),
    "cell with a bad database": (
        "cell:cell1",
        "connection",
        "http://localhost/",
        "[cell:cell1] connection",
    ),
    "unknown choice": ("nova", "existing_rows", "maybe", "existing_rows"),
    "no number": ("notifications", "batch_size", "many", "batch_size"),
    "number too low": ("notifications", "batch_size", "0", "batch_size"),
    "no topic": ("notifications", "topics", "", "topics"),
    "memcached server that is a URL": (
        "nova",
        "memcached_servers",
        "memcached://one",
        "[nova] memcached_servers",
    ),
    "memcached server of a cell without a port": (
        "cell:cell1",
        "memcached_servers",
        "one:",
        "[cell:cell1] memcached_servers",
    ),
    "no number for the broker": (
        "oslo_messaging_rabbit",
        "rabbit_qos_prefetch_count",
        "many",
        "rabbit_qos_prefetch_count",
    ),
    "long hash key": ("ec2_ids", "hash_key", "x" * 65, "hash_key"),
    "no signing key": ("bus", "signing_key_file", None, "signing_key_file"),
    "missing key file": ("bus", "signing_key_file", "/nowhere", "/nowhere"),
    "key file that is none": (
        "bus",
        "signing_key_file",
        "{keys}/no-key",
        "no-key",
    ),
    "key file that is a directory": (
        "bus",
        "signing_key_file",
        "{keys}",
        "signing key",
    ),
    **{
        f"key file of mode {mode}": (
            "bus",
            "signing_key_file",
            f"{{keys}}/{mode}",
            "chmod 600",
        )
        for mode in ("604", "620", "610")
    },
}


def write(path, sections):
    path.write_text(
        "".join(
            f"[{name}]\n" + "".join(f"{o} = {v}\n" for o, v in options.items())
            for name, options in sections.items()
        )
    )
    return path


def slipped(good, section, option, value):
    """The good configuration with one slip of the pen."""
    sections = {name: dict(options) for name, options in good.items()}
    if option is None:
        del sections[section]
    elif value is None:
        del sections[section][option]
    else:
        keys = Path(good["bus"]["signing_key_file"]).parent
        text = value.replace("{keys}", str(keys))
        sections.setdefault(section, {})[option] = text
    return sections


def check(path):
    """What the agent does with its configuration before it starts."""
    conf = load(
        ["--config-file", str(path)], prepare=listener.register_options
    )
    conf.check()
    listener.check_options(conf.conf)


def test_a_good_configuration_is_taken(tmp_path, good):
    check(write(tmp_path / "conf", good))


@pytest.mark.parametrize(
    ("owner", "group", "mode", "taken"),
    [
        (0, 42490, 0o640, True),
        (0, 42490, 0o440, True),
        (0, 42490, 0o660, False),
        (0, 42490, 0o644, False),
        (42490, 42490, 0o400, True),
        (42490, 42490, 0o640, False),
        (0, 0, 0o600, True),
        (0, 0, 0o640, False),
    ],
)
def test_a_group_may_read_the_key_that_root_has_given_it(
    good, monkeypatch, *, owner, group, mode, taken
):
    key = Path(good["bus"]["signing_key_file"])
    is_so = list(key.stat())
    is_so[stat.ST_MODE] = stat.S_IFREG | mode
    is_so[stat.ST_UID], is_so[stat.ST_GID] = owner, group
    monkeypatch.setattr("os.fstat", lambda _file: os.stat_result(is_so))

    with nullcontext() if taken else pytest.raises(ConfigError, match="600"):
        SigningKey.load(key)


@pytest.mark.parametrize("slip", SLIPS.values(), ids=SLIPS)
def test_a_slip_is_refused_in_one_line(tmp_path, good, slip):
    *change, mentioned = slip
    path = write(tmp_path / "conf", slipped(good, *change))

    with pytest.raises(ConfigError) as refused:
        check(path)

    text = str(refused.value)
    assert mentioned in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "change",
    [
        ("DEFAULT", "transport_url", "amqp://u:hunter2@localhost:x/"),
        ("DEFAULT", "transport_url", "rabbit://u:hunter2%2Fb@localhost/"),
        ("ledger", "connection", "nothing://u:hunter2@localhost/x"),
        ("ledger", "connection", "mysql://u:hunter2@localhost:x/x"),
        ("bus", "url", "http://u:hunter2@localhost/"),
        ("bus", "url", "amqp://u:hunter2@localhost:x/"),
        ("bus", "url", "amqp://u:hunter2/3@localhost:5672/"),
        ("peer:RegionTwo", "url", "//u:hunter2@localhost/"),
        ("peer:RegionTwo", "url", "u:hunter2@localhost"),
        ("cell:cell0", "connection", "mysql//u:hunter2@localhost/x"),
        ("notifications", "management_url", "amqp://u:hunter2@localhost/"),
        ("notifications", "management_url", "http://u:hunter2@localhost:x"),
        # The end of a password, where a host, a port or an option is sought.
        ("cell:cell0", "connection", "mysql://u:p@hunter2@localhost/x"),
        ("ledger", "connection", "postgresql://u:p@h:hunter2@localhost/x"),
        ("ledger", "connection", "mysql://u:p$hunter2@localhost/x"),
        ("cell:cell1", "connection", "mysql://u:p$hunter2@localhost/x"),
        ("peer:RegionTwo", "url", "amqp://u:p${hunter2}@localhost//"),
        ("DEFAULT", "transport_url", "rabbit://u:p$hunter2@localhost/"),
        ("oslo_messaging_rabbit", "ssl_ca_file", "/$hunter2"),
    ],
)
def test_a_password_is_never_repeated(tmp_path, good, change):
    path = write(tmp_path / "conf", slipped(good, *change))

    with pytest.raises(ConfigError) as refused:
        check(path)

    section, option, _ = change
    assert f"[{section}] {option}" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def memcached(path, good, **options):
    content = {name: dict(section) for name, section in good.items()}
    for section, value in options.items():
        name = section.replace("_", ":")
        content[name]["memcached_servers"] = value
    config = load([], files=[str(write(path, content))])
    return [config.memcached(f"nova:{c}") for c in ("cell0", "cell1", "new")]


def test_a_cell_may_have_memcached_servers_of_its_own(tmp_path, good):
    all_cells, own = ("a", 11211), ("b", 5)

    assert memcached(tmp_path / "0", good) == [(), (), ()]
    assert memcached(tmp_path / "1", good, nova="a", cell_cell1="b:5") == [
        (all_cells,),
        (own,),
        (all_cells,),
    ]
    assert memcached(tmp_path / "2", good, nova="a", cell_cell0="") == [
        (),
        (all_cells,),
        (all_cells,),
    ]


def tls(path, good, cell=(), **options):
    content = {name: dict(section) for name, section in good.items()}
    for section, found in (("nova", options), ("cell:cell1", dict(cell))):
        for name, value in found.items():
            content[section][f"memcached_tls_{name}"] = value
    config = load([], files=[str(write(path, content))])
    return [config.memcached_tls(f"nova:{c}") for c in ("cell0", "cell1")]


def test_tls_to_memcached_is_that_of_the_cell_or_of_all(tmp_path, good):
    conf, ca = tmp_path / "conf", tmp_path / "ca.pem"
    ca.touch()
    all_cells = MemoTls(cafile=str(ca), allowed_ciphers="HIGH")
    given = {"cafile": ca, "allowed_ciphers": "HIGH"}

    assert tls(conf, good, **given) == [None, None]
    given["enabled"] = True
    assert tls(conf, good, **given) == [all_cells, all_cells]
    assert tls(conf, good, {"enabled": False}, **given) == [all_cells, None]
    assert tls(conf, good, {"enabled": True}) == [None, MemoTls()]


def test_a_file_for_memcached_that_is_not_there_is_named(tmp_path, good):
    with pytest.raises(ConfigError) as refused:
        tls(tmp_path / "conf", good, enabled=True, keyfile="/nowhere")

    assert str(refused.value).startswith(
        "[nova] memcached_tls_keyfile: /nowhere: No such file"
    )


def test_ec2api_has_no_memo(tmp_path, good):
    content = good | {"nova": good["nova"] | {"memcached_servers": "a"}}
    config = load([], files=[str(write(tmp_path / "conf", content))])

    assert config.memcached("ec2api") == ()
