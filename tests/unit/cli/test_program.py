"""The program itself: starts fast, fails in one line, completes itself."""

from importlib.metadata import entry_points

import pytest
from commands import SmallRegion, run

from ec2map_sync.cli.main import Program

COMMANDS = sorted(
    point.name.replace("_", " ")
    for point in entry_points(group="ec2map_sync.cli")
)
IMAGE = "71ed3a2c-33a0-4d3c-9d4e-2f6c6f2b6c34"


@pytest.fixture
def region(tmp_path):
    return SmallRegion(tmp_path)


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
def test_without_a_configuration_every_command_is_one_line(command, tmp_path):
    template = tmp_path / "template"
    template.write_text("ami-1f2e3d4c")
    arguments = {
        "config from-glance": ["/dev/null"],
        "agreement prove": [IMAGE],
        "agreement verify": ["/nowhere/file", "--key", "RegionOne=none"],
        "demo": ["--regions", "1"],
        "divergence resolve": ["keep", "--all"],
        "explain": [IMAGE],
        "key generate": ["/nowhere/key"],
        "ledger export": ["/nowhere/file"],
        "ledger import": ["/nowhere/file"],
        "peer forget": ["RegionTwo"],
        "quarantine drop": ["1"],
        "quarantine retry": ["1"],
        "quarantine show": ["1"],
        "rehearse": ["/nowhere/one", "/nowhere/two"],
        "show": [IMAGE],
        "template check": [str(template)],
        "sink export": ["nova:cell1", "/nowhere/file"],
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
