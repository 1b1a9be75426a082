"""The six lines that start the unit, run on a machine that forgets them."""

import configparser
import sys
from pathlib import Path

import pytest
from apart import start_apart
from patience import within
from told import told

from ec2map_sync.protocol.signing import SigningKey

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "etc/systemd/ec2map-sync-agent.service"
OTHER = SigningKey.generate().public

CONFIG = f"""\
[DEFAULT]
region = RegionOne
peers = RegionTwo
transport_url = rabbit://u:p@127.0.0.1:1/
[ledger]
connection = sqlite:////root/ledger
[nova]
cells =
[bus]
url = amqp://u:p@127.0.0.1:1/
signing_key_file = /etc/ec2map-sync/signing.key
[peer:RegionTwo]
url = amqp://u:p@127.0.0.1:1/
public_keys = {OTHER}
"""

PREPARE = """
mkdir -p opt/ec2map-sync root
mount --bind "$VENV" opt/ec2map-sync
# The interpreter may be in root's home, which the agent's user may not enter.
chmod o+x root
cp "$STUB" usr/bin/systemctl
"""

ENABLED = """\
#!/bin/sh
# What systemd would do; and then an operator who sees that the agent works.
set -eu
[ "$*" = "enable --now $UNIT" ] && [ -e "/etc/systemd/system/$UNIT.service" ]
install -d -o "$AS" -m 700 /var/lib/ec2map-sync
setpriv --reuid="$AS" --regid="$AS" --clear-groups $EXEC >/log 2>&1 &
until grep -q 'listener started' /log; do
    kill -0 $! || break
    sleep 0.1
done
kill $! || true
wait $! || { cat /log; exit 1; }
cat /log
"""


@pytest.fixture
def unit():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(UNIT)
    return parser["Service"]


@pytest.fixture
def files(tmp_path):
    """Where an operator has the configuration, the key, and the tree."""
    (tmp_path / "ec2map-sync.conf").write_text(CONFIG)
    SigningKey.generate().save(tmp_path / "signing.key")
    (tmp_path / "etc").symlink_to(ROOT / "etc")
    (tmp_path / "systemctl").write_text(ENABLED)
    (tmp_path / "systemctl").chmod(0o755)
    return tmp_path


def test_six_lines_start_the_agent_as_its_user(unit, files):
    script = f"set -eux\ncd {files}\n{told('systemd')}"
    done = start_apart(
        PREPARE,
        *("sh", "-c", script),
        VENV=sys.prefix,
        STUB=files / "systemctl",
        UNIT=UNIT.stem,
        AS=unit["User"],
        EXEC=unit["ExecStart"],
    )

    said, _ = done.communicate(timeout=within(60))

    assert done.returncode == 0, said
    assert "\nupgraded: " in said
    assert "region RegionOne" in said
    assert "may read it" not in said
