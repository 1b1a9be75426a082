"""The quarantine takes whatever there is, in every kind of database."""

import pytest

from ec2map_sync.ledger import HELD, Ledger, Quarantined, schema
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.sql.database import create_engine, parse_url


@pytest.mark.parametrize(
    "strange",
    [
        {"reason": "\x00 \ud800 \U0001f600 \n"},
        {"source": "peer:\ud800"},
        {"headers": {"a": "\x00\ud800", "b": b"\xff"}},
        {"headers": {b"\xff": 1}},
        {"headers": {"a": {b"\xff": 1}}},
        {"headers": {"long": "x" * 100_000}},
        {"body": b"\x00\xff"},
    ],
)
def test_the_quarantine_takes_whatever_there_is(database, strange):
    engine = create_engine(parse_url(database, "x"))
    schema.upgrade(engine)
    ledger = Ledger(engine, Scheme())
    plain = {"source": "peer:x", "reason": "r", "body": b""}

    ledger.quarantine.put([Quarantined(**(plain | strange))])

    (entry,) = ledger.quarantine.newest()
    assert ledger.quarantine.entry(entry.id).reason == entry.reason
    assert entry.reason.isprintable()
    engine.dispose()


def test_what_waits_for_a_decision_is_counted_apart(database):
    engine = create_engine(parse_url(database, "x"))
    schema.upgrade(engine)
    quarantine = Ledger(engine, Scheme()).quarantine
    quarantine.put(
        [
            Quarantined(source="peer:x", reason=f"{HELD}claims would"),
            Quarantined(source="peer:x", reason="no JSON: held: or not"),
        ]
    )

    assert quarantine.held() == {"peer:x": 1}
    engine.dispose()
