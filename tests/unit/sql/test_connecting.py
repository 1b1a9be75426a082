"""What stands before a server may take a connection and say nothing."""

import socket
import time

import pytest
import sqlalchemy as sa
from patience import within

from ec2map_sync.sql import database
from ec2map_sync.sql.database import PATIENCE, create_engine, parse_url


@pytest.mark.parametrize("backend", ["mysql", "postgresql"])
def test_who_greets_nobody_is_left_sooner_than_who_is_slow(
    backend, monkeypatch
):
    monkeypatch.setattr(database, "_CONNECT_TIMEOUT", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        url = parse_url(f"{backend}://u:p@127.0.0.1:{port}/ledger", "x")
        engine = create_engine(url)
        began = time.monotonic()

        with pytest.raises(sa.exc.OperationalError):
            engine.connect()

        assert time.monotonic() - began < min(within(5), PATIENCE)
    engine.dispose()
