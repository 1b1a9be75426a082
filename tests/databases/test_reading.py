"""Look-ups need an account that may read, and no more; nor do they lock."""

import json

import pytest
import sqlalchemy as sa
from asking import client
from commands import SmallRegion

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.ec2id import Scheme, format_id
from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services

IMAGE = "2a3d51d7-356a-45c5-aa8e-34d805812a68"
SCHEME = Scheme(b"tests")
PATHS = (
    f"/v1/images/{IMAGE}",
    f"/v1/images/{format_id(SCHEME.derive(IMAGE))}",
    "/v1/images",
    "/v1/regions",
    "/v1/status",
    f"/v1/images/{IMAGE}/explanation",
)


def reader(url):
    """Make an account that may only read; its URL."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        name = engine.url.database
        user = f"reads_{name[-8:]}"
        if engine.dialect.name == "postgresql":
            statements = (
                f"CREATE USER {user} PASSWORD 'p'",
                f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}",
            )
        else:
            statements = (
                f"CREATE USER {user} IDENTIFIED BY 'p'",
                f"GRANT SELECT ON {name}.* TO {user}",
            )
        for statement in statements:
            connection.exec_driver_sql(statement)
    return engine.url.set(username=user, password="p")


@pytest.mark.parametrize("server", ["mariadb", "postgresql"])
def test_an_account_that_may_read_is_enough_and_no_lock_is_waited_for(
    request, tmp_path, server
):
    url = request.getfixturevalue(server).create_database(f"reading_{server}")
    engine = create_engine(parse_url(url, "test"))
    schema.upgrade(engine)
    Ledger(engine, SCHEME).record([Claim(claimed_at=7, image=IMAGE)])
    region = SmallRegion(tmp_path)
    text = region.config_file.read_text()
    read = reader(url).render_as_string(hide_password=False)
    region.config_file.write_text(text.replace(region.url("ledger"), read))
    ask = client(region)

    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE head SET revision = revision")
        connection.exec_driver_sql("UPDATE claims SET kind = 'ami'")
        for path in PATHS:
            answer = ask.simulate_get(path)
            assert answer.status_code == 200, (path, answer.text)
        many = ask.simulate_post(
            "/v1/images:lookup", body=json.dumps({"images": [IMAGE]})
        )
        connection.rollback()
    engine.dispose()

    assert [one["image"] for one in many.json["images"]] == [IMAGE]


def looked_up(engine):
    return Ledger(engine, SCHEME).queries.by_image(IMAGE)


def test_who_only_reads_sees_what_is_new_and_holds_no_transaction(database):
    writing = create_engine(parse_url(database, "test"))
    schema.upgrade(writing)
    ledger = Ledger(writing, SCHEME)
    engine = create_engine(parse_url(database, "test"), reads_only=True)
    assert looked_up(engine) is None

    with Ledger(engine, SCHEME).snapshot() as snapshot:
        assert snapshot.count == 0
        ledger.record([Claim(claimed_at=7, image=IMAGE)])
        assert list(snapshot.pages()) == []

    assert looked_up(engine) is not None
    assert engine.pool.checkedin() == 1  # that of the snapshot, used again
    with writing.begin() as connection:  # waits for whoever is in a table
        connection.exec_driver_sql("ALTER TABLE claims ADD COLUMN more INT")
    writing.dispose()
    engine.dispose()


def test_a_look_up_takes_one_round_trip(mariadb, monkeypatch):
    # No connection is asked whether it works, however slow this machine is.
    monkeypatch.setattr("ec2map_sync.sql.database.RESTED", 3600)
    url = parse_url(mariadb.create_database("round_trips"), "test")
    schema.upgrade(create_engine(url))
    engine = create_engine(url, reads_only=True)
    asked = "SHOW SESSION STATUS LIKE 'Questions'"

    def questions():
        with engine.connect() as connection:
            return int(connection.exec_driver_sql(asked).one()[1])

    looked_up(engine)
    before = questions()
    for _ in range(10):
        looked_up(engine)

    assert questions() - before == 10 + 1
    engine.dispose()
