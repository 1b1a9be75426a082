"""The roll of an agent: where it lies, and who is on it."""

import os

from ec2map_sync.agent.host import Host
from ec2map_sync.running.roll import Roll, roll


def test_a_roll_is_removed_at_its_end_and_those_of_killed_agents(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    old, new = (tmp_path / f"ec2map-sync-agent-{n}" for n in ("old", "new"))
    for left in (old, new):
        left.mkdir()
        (left / "agent.lock").touch()
    os.utime(old, (0, 0))

    with roll(tmp_path) as living:
        os.utime(living.directory, (0, 0))
        with roll(tmp_path) as second:
            assert {p.name for p in tmp_path.iterdir()} == {
                new.name,  # its agent may be about to lock it
                living.directory.name,
                second.directory.name,
            }

    assert list(tmp_path.iterdir()) == [new]


def test_without_a_place_for_files_an_agent_runs_and_counts_nothing(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "no" / "place"))

    with roll(tmp_path) as nowhere:
        Host(nowhere).enter("writer-0", "writer")
    host = Host(Roll(tmp_path / "gone"))
    host.enter("writer-0", "writer")
    host.tell("listening")

    assert [record.levelname for record in caplog.records] == 2 * ["WARNING"]


def test_who_has_no_room_to_count_still_says_how_far_it_is(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    (tmp_path / "counter_listener-0.db").mkdir()
    host = Host(Roll(tmp_path))

    host.enter("listener-0", "listener")
    host.tell("listening")

    assert Roll(tmp_path).has("listener-0")
    assert Roll(tmp_path).has("listener-0.listening")
