"""The program as a shell starts it: fast, and with every end in one line."""

import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from commands import SmallRegion
from patience import within

PROGRAM = Path(sys.executable).parent / "ec2map-sync"
SLOW = (
    "alembic",
    "cryptography",
    "keystoneauth1",
    "kombu",
    "openstack",
    "oslo_messaging",
    "rich",
    "sqlalchemy",
)
IMAGE = "71ed3a2c-33a0-4d3c-9d4e-2f6c6f2b6c34"


@pytest.fixture
def region(tmp_path):
    return SmallRegion(tmp_path)


def imported_by(*arguments):
    """Give which of the slow modules a command has imported."""
    code = (
        "import sys\n"
        "from ec2map_sync.cli.main import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "except SystemExit:\n"
        "    pass\n"
        f"print([m for m in {SLOW} if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=within(60),
        check=True,
    )
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["help"], ["--version"], ["id", "--help"]]
)
def test_what_needs_no_region_waits_for_no_library(arguments):
    assert imported_by(*arguments) == "[]"


def test_an_id_needs_no_library_of_databases_brokers_or_clouds(region):
    with region.config_file.open("a") as file:
        file.write("[glance]\nauth_type = password\n")
    config = str(region.config_file)

    assert imported_by("id", IMAGE, "--config-file", config) == "[]"


def test_an_id_costs_less_than_the_libraries_that_it_does_without(region):
    """Measured in seconds of the processor: others may use it too."""
    command = [PROGRAM, "id", IMAGE, "--config-file", region.config_file]
    imports = [sys.executable, "-c", f"import {','.join(SLOW)}"]

    def used(*command):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            command, capture_output=True, timeout=within(60), check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime

    assert used(*command) < used(*imports)


# What bash-completion, which operators have, gives to such functions.
COMPLETION = """
_get_comp_words_by_ref() {
    cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    words=("${COMP_WORDS[@]}")
}
. <("$1" complete)
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_ec2map_sync
echo "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("quar", "quarantine"),
        ("quarantine ", "drop list retry show"),
        ("divergence res", "resolve"),
        ("list --div", "--divergent"),
        ("verify --re", "--repair"),
    ],
)
def test_bash_completes_what_is_typed(typed, offered):
    done = subprocess.run(
        ["bash", "-c", COMPLETION, "bash", PROGRAM, *typed.split(" ")],
        capture_output=True,
        text=True,
        timeout=within(60),
        check=True,
    )

    assert (done.stdout.strip(), done.stderr) == (offered, "")


def execute(shell, *arguments, code):
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=within(60),
        check=False,
    )
    assert done.returncode == code, done
    return done


def test_a_full_disk_leaves_no_half_of_a_key(tmp_path):
    full = execute(
        'ulimit -f 0; exec "$@"',
        PROGRAM,
        "key",
        "generate",
        tmp_path / "key",
        code=2,
    )

    assert full.stderr == f"ec2map-sync: {tmp_path}/key: File too large\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", [("status",), ("id", str(UUID(int=1)))])
def test_output_that_finds_no_room_is_one_line(region, unbuffered, command):
    done = execute(
        f'PYTHONUNBUFFERED={unbuffered} "$@" >/dev/full',
        *(PROGRAM, "--config-file", region.config_file, *command),
        code=2,
    )

    assert done.stderr == "ec2map-sync: No space left on device\n"


def test_output_that_goes_nowhere_is_one_line():
    done = execute('"$@" >&-', PROGRAM, "id", str(UUID(int=1)), code=2)

    assert len(done.stderr.splitlines()) == 1


def test_whoever_reads_only_the_beginning_is_told_nothing(region):
    done = execute(
        '"$@" | head -n 1',
        PROGRAM,
        "list",
        "--config-file",
        region.config_file,
        code=0,
    )

    assert done.stderr == ""


def test_ctrl_c_ends_a_command_without_a_traceback(region):
    """Caught while it waits for a broker that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        silent.settimeout(within(60))
        region.configure(broker=f"amqp://u:p@127.0.0.1:{port}//")
        with subprocess.Popen(
            [PROGRAM, "replay", "--config-file", region.config_file],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as waiting:
            silent.accept()
            waiting.send_signal(signal.SIGINT)
            stdout, stderr = waiting.communicate(timeout=within(20))

    assert waiting.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr
