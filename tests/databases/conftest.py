import pytest

from ec2map_sync.ledger import schema
from ec2map_sync.sql.database import create_engine, parse_url


@pytest.fixture
def engine(database):
    """An empty ledger's database."""
    engine = create_engine(parse_url(database, "x"))
    schema.upgrade(engine)
    yield engine
    engine.dispose()
