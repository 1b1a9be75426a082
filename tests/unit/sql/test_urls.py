"""URLs as Nova's drivers take them, and what ours is told."""

import ssl
from urllib.parse import quote

import psycopg
import pymysql
import pytest
import sqlalchemy as sa
from certificates import make_certificate
from hypothesis import given, strategies as st

from ec2map_sync.outages import describe
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.sql import database, drivers, tls
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
        ("charset=binary", "charset: binary is not known here"),
        ("charset=latin1&charset=dec8", "charset: dec8 is not known here"),
        ("bind_address=a..b", "a..b is no name of a host"),
    ],
)
def test_what_cannot_be_done_is_named(query, said):
    with pytest.raises(ConfigError) as raised:
        parse_url(f"{BASE}?{query}", OPTION)

    assert str(raised.value) == f"{OPTION}: {said}"


def test_a_folder_is_no_option_file(tmp_path):
    with pytest.raises(ConfigError, match=r"file: /.*: Is a dir"):
        parse_url(f"{BASE}?read_default_file={tmp_path}", OPTION)


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
        (b"[client]\nssl-ca=/no/ca.pem\n", r"ssl_ca: /no/ca\.pem: No such"),
        (b"[client]\nssl-ca=/etc/passwd\n", "ssl_ca=/etc/passwd: NO_CERT"),
        (b"[client]\nssl-cipher=NONESUCH\n", "ssl_cipher=NONESUCH: "),
        (b"[client]\nport=abc\n", drivers.NO_PORT),
        (b"[client]\nport='65536'\n", drivers.NO_PORT),
        (b"[client]\nhost=a..b\n", "a..b is no name of a host"),
        (b"[client]\ndefault-character-set=auto\n", "-set: auto is not"),
        ("[client]\npassword=\u20ac\n".encode(), "password: .* from a URL"),
    ],
)
def test_an_option_file_that_cannot_be_used_is_named(tmp_path, text, said):
    path = tmp_path / "my.cnf"
    path.write_bytes(text)

    with pytest.raises(ConfigError, match=said) as raised:
        parse_url(f"mysql:///nova?read_default_file={path}", OPTION)

    assert f"read_default_file: {path}: " in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "\u20ac" not in str(raised.value)


def test_of_an_option_file_only_counts_what_the_url_does_not_say(tmp_path):
    path = tmp_path / "my.cnf"
    path.write_text(
        "[client]\nport=abc\nhost=a..b\nuser\npassword=\u20ac\n"
        "default-character-set=auto\nssl-ca=/no/ca.pem\n"
    )

    query = f"charset=utf8&ssl_disabled=1&read_default_file={path}"

    connecting(parse_url(f"{BASE}?{query}", OPTION))


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


@pytest.mark.parametrize("port", ["65536", "99999", "0", "-1", "abc", "", "p"])
@pytest.mark.parametrize("kind", ["mysql", "mysql+mysqldb", "postgresql"])
def test_what_is_no_port_is_named_without_saying_it_again(kind, port):
    """An unquoted password may stand where a port is looked for."""
    with pytest.raises(ConfigError) as raised:
        parse_url(f"{kind}://u:p@127.0.0.1:{port}/nova", OPTION)

    assert str(raised.value) == f"{OPTION}: {drivers.NO_PORT}"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("timeout=abc", "timeout: could not convert string to float: 'abc'"),
        ("timeout=1&timeout=abc", "timeout: could not convert"),
        ("detect_types=x", "detect_types: invalid literal"),
        ("detect_types=99999999999", "detect_types: .* too large"),
        ("check_same_thread=maybe", "check_same_thread: .* not true/false"),
        ("cached_statements=x", "cached_statements: invalid literal"),
        ("cached_statements=99999999999", "cached_statements: .* too large"),
        ("uri=maybe", "uri: .* not true/false"),
        ("uri=true&mode=ro", "uri: no file is named"),
    ],
)
def test_what_sqlite_s_module_cannot_take_is_named(query, said):
    with pytest.raises(ConfigError, match=said):
        parse_url(f"sqlite://?{query}", OPTION)


@pytest.mark.parametrize("url", ["sqlite://u:SECRET@h/x", "sqlite://h/x"])
def test_sqlite_is_on_no_host(url):
    with pytest.raises(ConfigError, match="Invalid SQLite URL") as raised:
        parse_url(url, OPTION)

    assert "SECRET" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_how_long_sqlite_waits_may_be_said():
    url = "sqlite://?timeout=7&timeout=8&what=ever"

    assert connecting(parse_url(url, OPTION))["timeout"] == 8
    assert connecting(parse_url("sqlite://", OPTION))["timeout"] == 30


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("port=abc", "port is no number|non-integer port"),
        ("port=99999", drivers.NO_PORT),
        ("host=a:1&host=b:99999", drivers.NO_PORT),
        ("host=a:1:2&host=b:1:2", "unpack"),
        ("host=a&host=b&port=1", "Can't mix"),
        ("hostaddr=999.1.1.1", "hostaddr: '999.1.1.1' does not appear"),
        ("keepalives=abc", "keepalives: invalid literal"),
        ("sslmode=foo", "sslmode"),
        ("sslmode=require&sslmode=foo", "sslmode"),
        ("channel_binding=foo", "channel_binding"),
        ("target_session_attrs=foo", "target_session_attrs"),
        ("ssl_min_protocol_version=foo", "ssl_min_protocol_version"),
        ("service=none", "service"),
        ("sslcert=/no/c", "sslcert: /no/c: No such file"),
        ("sslkey=/no/k", "sslkey: /no/k: No such file"),
        ("sslrootcert=/no/ca", "sslrootcert: /no/ca: No such file"),
        ("passfile=/no/p", "passfile: /no/p: No such file"),
    ],
)
def test_what_libpq_cannot_take_is_named(query, said):
    with pytest.raises(ConfigError, match=said) as raised:
        parse_url(f"postgresql://u:SECRET@127.0.0.1/x?{query}", OPTION)

    assert str(raised.value).startswith(f"{OPTION}: ")
    assert "SECRET" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "query",
    [
        "host=a:1&host=b:2",
        "host=a,b&port=1,2",
        "hostaddr=::1&sslmode=verify-full&sslrootcert=system",
        "sslkey=engine:key",
        "user=a&password=b&dbname=c&keepalives=0&application_name=d%20e",
    ],
)
def test_what_libpq_takes_is_left_to_it(query):
    parse_url(f"postgresql:///x?{query}", OPTION)


@pytest.mark.parametrize("name", ["unix_socket", "bind_address"])
def test_a_place_that_is_not_there_is_named(name):
    """It may come yet, so that it is no mistake in the configuration."""
    engine = create_engine(parse_url(f"{BASE}?{name}=/no/such", OPTION))

    with pytest.raises(sa.exc.OperationalError) as raised:
        engine.connect()

    assert f"{name}=/no/such" in describe(raised.value)


_OPTIONS = {
    BASE: sorted(drivers.TAKEN_BY_MYSQL - {"bind_address"} | tls.OPTIONS),
    "postgresql://u:SECRET@127.0.0.1:1/x": sorted(
        option.keyword.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if not option.keyword.startswith(b"host")
    ),
    "sqlite://": sorted(drivers.CONVERTED_FOR_SQLITE),
}


@given(
    base=st.sampled_from(sorted(_OPTIONS)),
    data=st.data(),
    value=st.text(min_size=1)
    | st.integers().map(str)
    | st.booleans().map(str),
)
def test_whatever_an_option_says_there_is_a_line_or_none_is_needed(
    base, data, value
):
    name = data.draw(st.sampled_from(_OPTIONS[base]))
    url = f"{base}?{name}={quote(value)}"
    try:
        create_engine(parse_url(url, OPTION)).connect().close()
    except (ConfigError, sa.exc.SQLAlchemyError) as error:
        said = describe(error, database=OPTION)
        assert said.startswith(OPTION)
        assert "SECRET" not in said
        assert len(said.splitlines()) == 1


BREAKS = ["\n", "a\nb", "\r", "\x85", "\u2028", "\x0b", "\x1e", "\ud800"]


@pytest.mark.parametrize("text", BREAKS)
def test_what_an_error_quotes_does_not_break_its_line(text):
    said = str(ConfigError(f"[ledger] connection: {text}: no such file"))

    assert len(said.splitlines()) == 1
    assert said.encode()
    assert said.startswith("[ledger] connection: ")


@pytest.mark.parametrize("option", ["ssl_cipher", "ssl_ca"])
@pytest.mark.parametrize("text", BREAKS[:-1])
def test_an_option_s_value_does_not_break_the_line(option, text):
    url = f"mysql://u:SECRET@127.0.0.1:1/nova?{option}={quote(text)}"

    with pytest.raises(ConfigError, match=option) as caught:
        create_engine(parse_url(url, OPTION)).connect()

    assert len(str(caught.value).splitlines()) == 1


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


@pytest.mark.parametrize("query", ["", "?client_encoding=SQL_ASCII"])
def test_postgresql_s_texts_arrive_as_texts(query):
    url = f"postgresql://u@127.0.0.1:1/x{query}"

    assert connecting(parse_url(url, OPTION))["client_encoding"] == "UTF8"


def test_certificates_of_the_machine_are_read_once(monkeypatch):
    """Not with each attempt to connect, each of which would keep them."""
    made = []
    monkeypatch.setattr(database, "_SHARED", [])
    # The tests' own connections read them once, too.
    make = pymysql.Connection._create_ssl_ctx.__wrapped__
    monkeypatch.setattr(pymysql.Connection, "_create_ssl_ctx", make)
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

    # PyMySQL up to 1.1.0 takes no TLS that it was not asked for.
    assert len(made) <= 1
