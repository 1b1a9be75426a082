import made
import pytest
from small_cell import CREATE

from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.sql.database import create_engine, parse_url


@pytest.fixture
def cell(tmp_path):
    engine = create_engine(parse_url(f"sqlite:///{tmp_path}/cell", "x"))
    with engine.begin() as connection:
        connection.exec_driver_sql(CREATE)
    yield engine
    engine.dispose()


@pytest.fixture
def ledger(tmp_path):
    engine = create_engine(parse_url(f"sqlite:///{tmp_path}/ledger", "x"))
    made.make(engine)
    yield Ledger(engine, Scheme(b"test"))
    engine.dispose()
