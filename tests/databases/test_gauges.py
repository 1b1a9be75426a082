"""What is measured in the ledger is the same in every kind of database."""

import pytest
from commands import SmallRegion
from scraping import measured
from small_cell import image

from ec2map_sync.ledger import Ledger, Quarantined, schema
from ec2map_sync.rules.claims import Sighting
from ec2map_sync.rules.rows import Divergence, RowClass
from ec2map_sync.sql.database import create_engine, parse_url

SECOND = 1_000_000


@pytest.fixture
def region(tmp_path):
    return SmallRegion(tmp_path)


def test_every_database_is_measured_alike(region, database):
    engine = create_engine(parse_url(database, "x"))
    schema.upgrade(engine)
    region.ledger = ledger = Ledger(engine, region.scheme)
    try:
        ledger.see(
            [Sighting(image=image(n), uuid=image(n)) for n in range(30)]
        )
        found = Divergence(
            sink="nova:cell1",
            number=1,
            image=image(1),
            row_class=RowClass.TAKEN,
            settled=None,
        )
        ledger.divergences.replace("nova:cell1", 0, 10, [found])
        bad = Quarantined(source="glance", reason="x", body=b"x")
        ledger.quarantine.put([bad, bad])

        scrape = measured(region)

        head = ledger.head()
        assert ledger.queries.changed_after(0) <= head.last_stamp
        assert ledger.queries.changed_after(0) > head.last_stamp - SECOND
        assert ledger.queries.changed_after(head.revision) is None
        assert scrape.one("ledger_up") == 1
        assert scrape.one("sink_lag_numbers") == 30
        assert scrape.one("divergences", kept="false") == 1
        assert scrape.one("quarantine_entries", source="glance") == 2
        assert scrape.one("moves_total") == 0
    finally:
        engine.dispose()
