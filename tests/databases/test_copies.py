"""What is changed by hand in a ledger, on every database, comes back."""

import pytest
from edited import EDITS, SCHEME, START, edit, fill, pull, state, whole_round
from frozen import dump, load

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.sql.database import create_engine, parse_url

TEXT_ONLY = {"image that is none"}
"""What nobody can write where images are bytes."""


@pytest.fixture
def peer(tmp_path):
    engine = create_engine(parse_url(f"sqlite:///{tmp_path}/peer", "x"))
    schema.upgrade(engine)
    yield Ledger(engine, SCHEME, lambda: START)
    engine.dispose()


def test_what_was_changed_by_hand_is_found_and_put_right(engine, peer):
    ledger = Ledger(engine, SCHEME, lambda: START)
    fill(ledger)
    pull(peer, ledger)
    with engine.connect() as connection:
        sound = dump(connection)
    before, moves = state(ledger), ledger.queries.move_count()
    for what, statement in EDITS.items():
        if what in TEXT_ONLY and engine.dialect.name != "sqlite":
            continue
        with engine.begin() as connection:
            load(connection, sound)
        edit(ledger, statement)

        found = whole_round(ledger)

        assert found, what
        assert ledger.copies.state().found == len(found), what
        assert whole_round(ledger) == [], what
        assert state(ledger)[1] == before[1], what
        pull(ledger, peer)
        assert state(ledger) == before, what
        assert ledger.queries.move_count() == moves, what
