"""The program itself: starts fast, fails in one line, completes itself."""

import resource
import signal
import socket
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from commands import SmallRegion, run

from ec2map_sync.cli.main import Program

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
COMMANDS = sorted(
    point.name.replace("_", " ")
    for point in entry_points(group="ec2map_sync.cli")
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
        timeout=60,
        check=True,
    )
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["help", "replay"], ["list", "--help"]]
)
def test_help_waits_for_no_database_or_broker_library(arguments):
    assert imported_by(*arguments) == "[]"


def test_an_id_needs_no_database_or_broker_library(region):
    config = str(region.config_file)

    assert imported_by("id", IMAGE, "--config-file", config) == "[]"


def test_an_id_is_there_well_below_a_second(region):
    """Measured in seconds of the processor: others may use it too."""
    command = [PROGRAM, "id", IMAGE, "--config-file", region.config_file]

    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    subprocess.run(command, capture_output=True, timeout=60, check=True)

    assert used() - before < 0.7


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    done = run(*command.split(), "--help")

    assert done.code == 0
    assert f"Example: ec2map-sync {command}" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_argument_is_explained(command):
    point = next(
        point
        for point in entry_points(group="ec2map_sync.cli")
        if point.name.replace("_", " ") == command
    )
    parser = point.load()(Program(), None).get_parser(command)

    assert [a.dest for a in parser._actions if not a.help] == []
    assert "%(" not in "".join(
        parser._get_formatter()._expand_help(a) for a in parser._actions
    )


def test_the_shell_completes_commands_and_options():
    done = run("complete")

    assert done.code == 0
    assert "cmds_quarantine='drop list retry show'" in done.stdout
    assert "--divergent" in done.stdout


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
        timeout=60,
        check=True,
    )

    assert (done.stdout.strip(), done.stderr) == (offered, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["id", "nonsense"],
        ["list", "--config-file", "/nowhere.conf"],
        ["replay", "--since", "tomorrow"],
        ["replay", "--since", "1h", "--until", "2h"],
        ["replay", "--sink", "nova:cell9"],
        ["replay", "--peer", "RegionNine"],
        ["peer", "forget", "RegionTwo"],
        ["peer", "forget", "a" * 300 + "/"],
        ["list", "-c", "nonsense"],
        ["list", "--config-file", "/"],
        ["help", "nonsense"],
        ["id", "\udcff\udcfe"],
        ["divergence", "resolve", "keep", "nonsense"],
        ["divergence", "resolve", "keep"],
        ["adopt", "--sink", "nova:cell9"],
        ["key", "generate", "/nowhere/key"],
        ["backfill"],
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(region, arguments):
    done = region.run(*arguments, code=2)

    assert done.stdout == ""
    assert done.stderr.startswith("ec2map-sync: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "mistake in the program" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["list", "--nonsense"],
        ["list", "--limit", "many"],
        ["list", "-f", "nonsense"],
        ["show"],
        ["status", "--watch", "inf"],
        ["status", "--watch", "nan"],
        ["status", "--watch", "0"],
        ["backfill", "--rate", "inf"],
        ["backfill", "--rate", "0"],
        ["quarantine", "show", "9" * 30],
        ["quarantine", "show", "-1"],
        ["quarantine", "drop"],
        ["quarantine", "drop", "1", "--all"],
        ["replay", "--push", "--sink", "nova:cell1"],
        ["divergence", "resolve", "nonsense"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments):
    done = run(*arguments)

    assert done.code == 2
    assert "mistake in the program" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "ami-ffffffffffffffff"], 1, "no image has the id"),
        (["list", "--limit", "9" * 30], 0, ""),
        (["quarantine", "list", "--limit", "9" * 30], 0, ""),
        (["replay", "--push", "--dry-run", "--since", "9" * 30 + "d"], 0, ""),
    ],
)
def test_numbers_that_no_database_takes_are_no_mistake(
    region, arguments, code, said
):
    done = region.run(*arguments, code=code)

    assert said in done.stderr
    assert "mistake in the program" not in done.stderr


@pytest.mark.parametrize(
    "command",
    # An id can be derived without; a check that finds nothing is exit code 1.
    [name for name in COMMANDS if name not in {"config check", "id"}],
)
def test_without_a_configuration_every_command_is_one_line(command):
    arguments = {
        "demo": ["--regions", "1"],
        "divergence resolve": ["keep", "--all"],
        "explain": [IMAGE],
        "key generate": ["/nowhere/key"],
        "peer forget": ["RegionTwo"],
        "quarantine drop": ["1"],
        "quarantine retry": ["1"],
        "quarantine show": ["1"],
        "show": [IMAGE],
    }

    done = run(
        *command.split(),
        *arguments.get(command, []),
        "--config-file",
        "/dev/null",
    )

    assert done.code == 2
    assert done.stderr.count("\n") == 1
    assert "mistake in the program" not in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[DEFAULT]\nregion = \xff\xfe\n", "is not in UTF-8"),
        (b"nonsense\n", "Failed to parse"),
        (b"[bus]\nbatch_size = many\n", "batch_size"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_one_line(
    region, content, said
):
    region.config_file.write_bytes(content)

    done = region.run("peer", "list", code=2)

    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert "mistake in the program" not in done.stderr


def execute(shell, *arguments, code):
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
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


def test_output_that_finds_no_room_is_one_line(region):
    done = execute(
        '"$@" >/dev/full',
        PROGRAM,
        "status",
        "--config-file",
        region.config_file,
        code=2,
    )

    assert done.stderr == "ec2map-sync: No space left on device\n"


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
        region.configure(broker=f"amqp://u:p@127.0.0.1:{port}//")
        with subprocess.Popen(
            [PROGRAM, "replay", "--config-file", region.config_file],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as waiting:
            silent.accept()
            waiting.send_signal(signal.SIGINT)
            stdout, stderr = waiting.communicate(timeout=20)

    assert waiting.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", IMAGE],
        ["list"],
        ["explain", IMAGE],
        ["status"],
        ["verify"],
        ["replay"],
        ["peer", "list"],
        ["quarantine", "list"],
        ["quarantine", "drop", "--all"],
        ["db", "version"],
    ],
)
def test_a_ledger_that_does_not_answer_is_one_line(region, arguments):
    text = region.config_file.read_text().replace(
        region.url("ledger"), "mysql://u:topsecret@127.0.0.1:1/ledger"
    )
    region.config_file.write_text(text)

    done = region.run(*arguments, code=2)

    assert done.stdout == ""
    assert done.stderr.startswith("ec2map-sync: [ledger] connection: ")
    assert done.stderr.count("\n") == 1
    assert "topsecret" not in done.stderr


def test_a_broker_that_does_not_answer_is_one_line(region):
    done = region.run("peer", "forget", "RegionSeven", code=2)

    assert done.stderr.startswith("ec2map-sync: a broker does not answer: "), (
        done.stderr
    )
    assert done.stderr.count("\n") == 1


def test_debug_shows_where(region):
    done = region.run("--debug", "list", "--limit", "-1", code=2)

    assert "Traceback" in done.stderr
