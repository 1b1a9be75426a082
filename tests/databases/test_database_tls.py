"""TLS to a database is as the URL asks for it, in words of Nova's drivers."""

import pytest
import sqlalchemy as sa
from certificates import make_certificate
from multiplexer import Multiplexer
from servers import MariaDB

from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("pem") / "own.pem"
    return make_certificate(path, "127.0.0.2")


@pytest.fixture(scope="module")
def server(tmp_path_factory, certificate):
    with MariaDB(
        tmp_path_factory.mktemp("tls"),
        f"--ssl-cert={certificate}",
        f"--ssl-key={certificate}",
        f"--ssl-ca={certificate}",
        "--bind-address=*",
    ) as server:
        server.execute("CREATE USER u IDENTIFIED BY 'é€/@'")
        yield server


def cipher(server, query, host="127.0.0.1"):
    """Connect; the cipher in use, if there is one."""
    place = f"u:%C3%A9%E2%82%AC%2F%40@{host}:{server.port}"
    url = parse_url(f"mysql+mysqldb://{place}/?{query}", "x")
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            shown = sa.text("SHOW STATUS LIKE 'Ssl_cipher'")
            return connection.execute(shown).one()[1]
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    "query",
    [
        "ssl=true",
        "ssl_mode=REQUIRED",
        "ssl_mode=VERIFY_CA&ssl_ca=PEM",
        "ssl_ca=PEM&ssl_verify_identity=false",
        "ssl_ca=PEM&ssl_cert=PEM&ssl_key=PEM&ssl_verify_cert=true",
    ],
)
def test_it_is_used_where_it_is_asked_for(server, certificate, query):
    assert cipher(server, query.replace("PEM", str(certificate)))


@pytest.mark.parametrize("query", ["ssl_mode=DISABLED", "ssl=0"])
def test_it_is_not_used_where_it_must_not_be(server, query):
    assert not cipher(server, query)


def test_the_name_is_looked_at_where_that_is_asked_for(server, certificate):
    query = f"ssl_mode=VERIFY_IDENTITY&ssl_ca={certificate}"

    assert cipher(server, query, "127.0.0.2")
    with pytest.raises(sa.exc.OperationalError, match="IP address mismatch"):
        cipher(server, query)


def test_an_authority_that_is_not_the_server_s_is_refused(server, tmp_path):
    other = make_certificate(tmp_path / "other.pem", "127.0.0.1")

    with pytest.raises(sa.exc.OperationalError, match="verify failed"):
        cipher(server, f"ssl_mode=VERIFY_CA&ssl_ca={other}")


def test_a_server_without_it_is_not_talked_to_where_it_is_asked_for(mariadb):
    """Newer ones have it by themselves; the proxy has none."""
    with Multiplexer(mariadb) as proxy:
        url = proxy.url("mysql").partition("?")[0]
        engine = create_engine(parse_url(f"{url}?ssl_mode=REQUIRED", "x"))

        with pytest.raises(sa.exc.OperationalError):
            engine.connect().close()
