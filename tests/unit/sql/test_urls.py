"""URLs as Nova's drivers take them, and what ours is told."""

import ssl

import pytest
import sqlalchemy as sa
from certificates import make_certificate

from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.sql import database, tls
from ec2map_sync.sql.database import create_engine, parse_url

BASE = "mysql+mysqldb://nova:p@127.0.0.1:1/nova"
OPTION = "[cell:x] connection"


@pytest.fixture
def pem(tmp_path):
    return make_certificate(tmp_path / "own.pem", "127.0.0.1")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("ssl_ca=/no/ca.pem", "ssl_ca: /no/ca.pem: No such file or directory"),
        ("ssl_capath=/no/ca", "ssl_capath: /no/ca: No such file or directory"),
        ("ssl_cert=/no/c", "ssl_cert: /no/c: No such file or directory"),
        ("ssl_key=/no/k", "ssl_key: /no/k: No such file or directory"),
        (
            "read_default_file=/no/my.cnf",
            "read_default_file: /no/my.cnf: No such file or directory",
        ),
        (
            "ssl_mode=MAYBE",
            "ssl_mode: none of DISABLED, PREFERRED, REQUIRED, VERIFY_CA, "
            "VERIFY_IDENTITY",
        ),
        ("ssl=perhaps", "ssl: neither true nor false"),
        ("ssl_verify_cert=2", "ssl_verify_cert: neither true nor false"),
        ("ssl_crl=/x", "ssl_crl: not known here"),
        ("charset=utf9", "charset: utf9 is not known here"),
    ],
)
def test_what_cannot_be_done_is_named(query, said):
    with pytest.raises(ConfigError) as raised:
        parse_url(f"{BASE}?{query}", OPTION)

    assert str(raised.value) == f"{OPTION}: {said}"


def test_a_file_that_holds_no_certificate_is_named(tmp_path):
    path = tmp_path / "empty.pem"
    path.touch()
    for name in ("ssl_ca", "ssl_cert"):
        with pytest.raises(ConfigError) as raised:
            parse_url(f"{BASE}?{name}={path}", OPTION)

        assert str(raised.value).startswith(f"{OPTION}: {name}={path}: ")


@pytest.mark.parametrize("name", ["ssl_ca", "ssl_cert"])
def test_a_folder_is_no_certificate(tmp_path, name):
    with pytest.raises(ConfigError, match=f"{name}=/.*: Is a directory"):
        parse_url(f"{BASE}?{name}={tmp_path}", OPTION)


def test_a_cipher_that_openssl_does_not_know_is_named():
    with pytest.raises(ConfigError, match=r"ssl_cipher=NONESUCH: .*cipher"):
        parse_url(f"{BASE}?ssl_cipher=NONESUCH", OPTION)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[client]\n=x\n", "parsing errors"),
        (b"!includedir /etc/x\n", "no section headers"),
        (b"\xff\xfe", "can't decode"),
        (b"[client]\nssl-ca=/no/ca.pem\n", r"ssl-ca: /no/ca\.pem: No such"),
    ],
)
def test_an_option_file_that_cannot_be_used_is_named(tmp_path, text, said):
    path = tmp_path / "my.cnf"
    path.write_bytes(text)

    with pytest.raises(ConfigError, match=said) as raised:
        parse_url(f"{BASE}?read_default_file={path}", OPTION)

    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:p@a..b/nova",
        f"mysql://u:p@{'a' * 64}/nova",
        "postgresql://u:p@a..b,c/nova",
        "postgresql:///nova?host=c&host=a..b",
    ],
)
def test_what_is_no_name_of_a_host_is_named(url):
    with pytest.raises(ConfigError, match="is no name of a host"):
        parse_url(url, OPTION)


def test_the_folder_of_a_socket_is_no_name():
    parse_url(f"postgresql:///nova?host=/{'a' * 70}", OPTION)


@pytest.mark.parametrize("where", ["x?ssl_ca=%00", "x%00", "x?charset=a%00b"])
def test_a_null_byte_is_refused(where):
    with pytest.raises(ConfigError, match="no database URL"):
        parse_url(f"mysql://u:p@127.0.0.1/{where}", OPTION)


def test_several_hosts_are_more_than_the_driver_takes():
    with pytest.raises(ConfigError, match="a,b are several hosts"):
        parse_url("mysql://u:p@a,b/nova", OPTION)


@pytest.mark.parametrize(
    ("query", "verify", "named"),
    [
        ("ssl=true", False, False),
        ("ssl=1&ssl_verify_identity=true", True, True),
        ("ssl_mode=REQUIRED", False, False),
        ("ssl_mode=required&ssl_ca=PEM", True, False),
        ("ssl_mode=VERIFY_CA&ssl_ca=PEM", True, False),
        ("ssl_mode=VERIFY_IDENTITY&ssl_ca=PEM", True, True),
        ("ssl_ca=PEM", True, True),
        ("ssl_ca=PEM&ssl_check_hostname=false", True, False),
        ("ssl_ca=PEM&ssl_verify_cert=true", True, False),
        ("ssl_ca=PEM&ssl_verify_cert=false", False, False),
        ("ssl_ca=/no&ssl_ca=PEM&ssl_disabled=false", True, True),
        ("ssl_cert=PEM&ssl_key=PEM", False, False),
        ("ssl_verify_cert=true", True, False),
    ],
)
def test_tls_is_as_asked_for(pem, query, verify, named):
    made = asked(f"{BASE}?{query.replace('PEM', str(pem))}")["ssl"]

    assert made.verify_mode == (ssl.CERT_REQUIRED if verify else ssl.CERT_NONE)
    assert made.check_hostname is named


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        ("", {}),
        ("ssl_mode=PREFERRED", {}),
        ("ssl_mode=DISABLED", {"ssl_disabled": True}),
        ("ssl=false", {"ssl_disabled": True}),
        ("ssl_disabled=true&ssl_verify_cert=true", {"ssl_disabled": True}),
    ],
)
def test_no_tls_need_be(query, arguments):
    assert asked(f"{BASE}?{query}") == arguments


def asked(url):
    """Give what the driver is told of TLS."""
    url = parse_url(url, OPTION)
    query = {
        k: v if isinstance(v, str) else v[-1] for k, v in url.query.items()
    }
    found = tls.arguments(query)
    told = connecting(url)
    assert {k for k in told if k.startswith("ssl")} == found.keys()
    return found


def connecting(url):
    """Give the arguments that the driver is called with."""
    told = {}
    engine = create_engine(url)

    @sa.event.listens_for(engine, "do_connect")
    def note(_dialect, _record, _args, arguments):
        told.update(arguments)
        raise OSError("far enough")

    with pytest.raises(OSError, match="far enough"):
        engine.connect()
    return told


def test_a_password_is_sent_as_it_was_meant():
    url = BASE.replace(":p@", ":%E2%82%AC%2F%40%25:@")

    assert connecting(parse_url(url, OPTION))["password"] == "€/@%:".encode()


def test_a_socket_and_what_else_is_text_reaches_the_driver(tmp_path):
    path = tmp_path / "my.cnf"
    path.touch()
    query = f"unix_socket=/run/x.sock&charset=utf8mb3&read_default_file={path}"

    told = connecting(parse_url(f"{BASE}?{query}&read_timeout=a", OPTION))

    assert told["unix_socket"] == "/run/x.sock"
    assert told["charset"] == "utf8mb3"
    assert told["read_default_file"] == str(path)
    assert told["read_timeout"] == 60


def test_postgresql_is_left_no_prepared_statement():
    told = connecting(parse_url("postgresql://u@127.0.0.1:1/x", OPTION))

    # Behind PgBouncer, the next transaction may get another session.
    assert told["prepare_threshold"] is None


def test_certificates_of_the_machine_are_read_once(monkeypatch):
    """Not with each attempt to connect, each of which would keep them."""
    made = []
    monkeypatch.setattr(database, "_SHARED", [])
    original = ssl.create_default_context
    monkeypatch.setattr(
        ssl,
        "create_default_context",
        lambda *args, **named: made.append(1) or original(*args, **named),
    )
    for _ in range(2):
        engine = create_engine(parse_url(BASE, OPTION))
        for _ in range(2):
            with pytest.raises(sa.exc.OperationalError):
                engine.connect()

    assert len(made) == 1
