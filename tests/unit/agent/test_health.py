"""A restored ledger is noticed, and loops are seen to live."""

import shutil

import made
import pytest
from sqlalchemy.exc import OperationalError

from ec2map_sync.agent.health import Memory, Reporter
from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.claims import Sighting
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.sql.database import create_engine, parse_url


def open_ledger(path) -> Ledger:
    engine = create_engine(parse_url(f"sqlite:///{path}", "x"))
    made.make(engine)
    return Ledger(engine, Scheme())


def see(ledger: Ledger, n: int) -> None:
    image = f"00000000-0000-4000-8000-{n:012x}"
    ledger.see([Sighting(image=image, uuid=image)])


def position(ledger: Ledger) -> int:
    with ledger.cursors.reader("nova:cell1") as reader:
        return reader.revision


@pytest.fixture
def memory(tmp_path):
    return Memory(path=tmp_path / "state" / "one.ledger")


def test_a_restored_ledger_goes_through_its_sinks_again(tmp_path, memory):
    ledger = open_ledger(tmp_path / "db")
    see(ledger, 1)
    with ledger.cursors.reader("nova:cell1") as reader:
        reader.advance(1)
    shutil.copy(tmp_path / "db", tmp_path / "backup")
    see(ledger, 2)
    memory.check(ledger)
    assert position(ledger) == 1

    restored = open_ledger(tmp_path / "backup")
    memory.check(restored)

    assert position(restored) == 0


def test_a_ledger_that_went_on_is_left_alone(tmp_path, memory):
    ledger = open_ledger(tmp_path / "db")
    see(ledger, 1)
    memory.check(ledger)
    with ledger.cursors.reader("nova:cell1") as reader:
        reader.advance(1)
    see(ledger, 2)

    memory.check(ledger)

    assert position(ledger) == 1


def test_a_new_ledger_is_no_restored_one(tmp_path, memory):
    old = open_ledger(tmp_path / "old")
    see(old, 1)
    see(old, 2)
    memory.check(old)
    new = open_ledger(tmp_path / "new")
    see(new, 1)
    with new.cursors.reader("nova:cell1") as reader:
        reader.advance(1)

    memory.check(new)

    assert position(new) == 1


def test_a_file_that_was_cut_off_is_no_obstacle(tmp_path, memory):
    memory.path.parent.mkdir()
    memory.path.write_text('{"ledg')

    memory.check(open_ledger(tmp_path / "db"))

    assert "revision" in memory.path.read_text()


def test_a_loop_notes_what_it_waits_for(tmp_path):
    ledger = open_ledger(tmp_path / "db")
    report = Reporter(
        ledger, "host", "writer", clock=lambda: 7, monotonic=lambda: 0.0
    )

    report(None)
    report("no route")

    (state,) = ledger.journal.service_states()
    assert (state.working, state.last_error) == (False, "no route")


def test_a_report_that_cannot_be_written_stops_nobody(tmp_path, monkeypatch):
    ledger = open_ledger(tmp_path / "db")

    def fail(_state):
        raise OperationalError("INSERT", {}, Exception("gone"))

    monkeypatch.setattr(ledger.journal, "note_service", fail)
    Reporter(ledger, "host", "writer", clock=lambda: 7)(None)
