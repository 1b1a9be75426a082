import made
import pytest
import sqlalchemy as sa
from strict import refused

from ec2map_sync.sql.database import create_engine, parse_url


@pytest.fixture(autouse=True)
def _every_server_of_mysql_s_kind_takes_what_is_sent():
    """Read each statement, whatever the test is about."""
    found = []

    def read(connection, _cursor, statement, *_):
        if connection.dialect.name == "mysql" and refused(statement):
            found.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", read)
    yield
    sa.event.remove(sa.Engine, "before_cursor_execute", read)
    assert found == []


@pytest.fixture
def engine(database):
    """An empty ledger's database."""
    engine = create_engine(parse_url(database, "x"))
    made.make(engine)
    yield engine
    engine.dispose()
