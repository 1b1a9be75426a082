"""Where brokers are, as our options and oslo.messaging's say it."""

import ssl
from dataclasses import replace

import kombu
import pytest
from oslo_messaging.opts import list_opts

from ec2map_sync.broker.address import Address, Tls
from ec2map_sync.broker.link import connect
from ec2map_sync.glance import listener
from ec2map_sync.glance.broker import broker_address, is_durable
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.settings.loading import load

CHECKED = Tls(ca_file="/ca")

LOOKS_AT_NAMES = any(
    opt.name == "ssl_enforce_hostname_verification"
    for _, opts in list_opts()
    for opt in opts
)
"""Whether this oslo.messaging can compare a broker's name."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("amqp://h/v", Address("amqp://h/v")),
        ("amqp://h/v?heartbeat=4", Address("amqp://h/v?heartbeat=4")),
        ("amqp://h/v?ca_file=a", Address("amqp://h/v")),
        ("amqps://h/v", Address("amqps://h/v", CHECKED)),
        (
            "amqps://h/v?heartbeat=4",
            Address("amqps://h/v?heartbeat=4", CHECKED),
        ),
        (
            "amqps://h/v?ca_file=a%2Fb;amqps://i/v?cert_file=c&key_file=k",
            Address(
                "amqps://h/v;amqps://i/v",
                Tls(ca_file="a/b", cert_file="c", key_file="k"),
            ),
        ),
        # Whichever is reached: none without a check.
        ("amqp://h/v;amqps://i/v", Address("amqp://h/v;amqps://i/v", CHECKED)),
    ],
)
def test_urls_are_parted_from_the_files_of_tls(text, expected):
    assert Address.read(text, CHECKED) == expected


def test_an_address_never_shows_a_password():
    address = Address.read("amqps://u:hunter2@h/v;amqp://u:hunter2@i/v", Tls())

    assert "hunter2" not in f"{address} {address!r}"


def settings(tmp_path, url, *, rabbit="", notifications=""):
    """oslo.messaging's options, as files say them."""
    file = tmp_path / "conf"
    file.write_text(
        f"[DEFAULT]\nregion = One\ntransport_url = {url}\n"
        f"[oslo_messaging_rabbit]\n{rabbit}\n"
        f"[oslo_messaging_notifications]\n{notifications}\n"
    )
    return load([], files=[str(file)], prepare=listener.register_options).conf


def reached(address):
    """Give what kombu makes of each host of an address."""
    found = []
    for url in address.urls.split(";"):
        info = kombu.Connection(url)
        account = f"{info.userid}:{info.password}"
        found.append((account, info.hostname, info.port, info.virtual_host))
    return found


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rabbit://", [("guest:guest", "localhost", 5672, "/")]),
        ("rabbit:///v", [("guest:guest", "localhost", 5672, "v")]),
        ("rabbit://u:p@h", [("u:p", "h", 5672, "/")]),
        ("rabbit://u:p@h:1/", [("u:p", "h", 1, "/")]),
        ("rabbit://u:p@h//", [("u:p", "h", 5672, "/")]),
        ("rabbit://u:p@h/%2F", [("u:p", "h", 5672, "/")]),
        ("rabbit://u:p@h/%2Fglance", [("u:p", "h", 5672, "/glance")]),
        ("rabbit://u:p@[::1]/v", [("u:p", "::1", 5672, "v")]),
        ("rabbit://u:p@[::1]:1/", [("u:p", "::1", 1, "/")]),
        (
            "rabbit://u%40v:p%3A%3B%25@h/",
            [("u@v:p:;%", "h", 5672, "/")],
        ),
        (
            "rabbit://u:p@h:1,w:q@[fe80::1]:2/v",
            [("u:p", "h", 1, "v"), ("w:q", "fe80::1", 2, "v")],
        ),
    ],
)
def test_glance_s_broker_is_where_transport_url_says(tmp_path, url, expected):
    assert reached(broker_address(settings(tmp_path, url))) == expected


def test_glance_s_broker_may_be_one_of_its_own(tmp_path):
    conf = settings(
        tmp_path,
        "rabbit://u:p@h/v?ssl=1",
        notifications="transport_url = rabbit://w:q@i/x?rabbit_quorum_queue=1",
    )

    assert reached(broker_address(conf)) == [("w:q", "i", 5672, "x")]
    assert broker_address(conf).tls is None
    assert is_durable(conf)


def test_the_memory_of_a_process_is_a_broker(tmp_path):
    address = broker_address(settings(tmp_path, "kombu+memory://"))

    assert address.in_memory


FILES = "ssl_ca_file = /ca\nssl_cert_file = /cert\nssl_key_file = /key\n"


@pytest.mark.parametrize(
    ("query", "rabbit", "expected"),
    [
        ("", FILES, None),
        ("?ssl=0", f"ssl = true\n{FILES}", None),
        (
            "?ssl=1&ssl_ca_file=%2Fown",
            "",
            Tls(ca_file="/own", cert_file="", key_file=""),
        ),
        (
            "?ssl_ca_file=/own",
            f"ssl = true\n{FILES}",
            Tls(ca_file="/own", cert_file="/cert", key_file="/key"),
        ),
        (
            "?ssl=True",
            f"ssl_enforce_hostname_verification = false\n{FILES}",
            Tls(
                ca_file="/ca",
                cert_file="/cert",
                key_file="/key",
                verify_host=False,
            ),
        ),
    ],
)
def test_tls_to_glance_s_broker_is_as_its_driver_reads_it(
    tmp_path, query, rabbit, expected
):
    conf = settings(tmp_path, f"rabbit://u:p@h/{query}", rabbit=rabbit)
    if expected and not LOOKS_AT_NAMES:
        expected = replace(expected, verify_host=False)

    assert broker_address(conf).tls == expected


@pytest.mark.parametrize(
    ("query", "rabbit", "expected"),
    [
        ("", "", False),
        ("?amqp_durable_queues=true", "", True),
        ("?rabbit_quorum_queue=true", "", True),
        ("", "rabbit_quorum_queue = true", True),
        ("?amqp_durable_queues=false", "amqp_durable_queues = true", False),
    ],
)
def test_the_exchange_is_as_durable_as_the_driver_takes_it(
    tmp_path, query, rabbit, expected
):
    conf = settings(tmp_path, f"rabbit://u:p@h/{query}", rabbit=rabbit)

    assert is_durable(conf) is expected


@pytest.mark.parametrize(
    "query", ["?no_such=1", "?ssl=maybe", "?rabbit_qos_prefetch_count=many"]
)
def test_a_slip_in_the_query_is_told_before_the_start(tmp_path, query):
    conf = settings(tmp_path, f"rabbit://u:hunter2@h/{query}")

    with pytest.raises(ConfigError, match=r"^transport_url: ") as refused:
        listener.check_options(conf)

    assert "hunter2" not in str(refused.value)


def test_a_certificate_s_host_is_checked_unless_told_otherwise(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        kombu.Connection, "ensure_connection", lambda *_, **__: None
    )
    file = tmp_path / "ca"
    file.touch()

    checked = connect(Address("amqps://h/", Tls(ca_file=str(file)))).ssl
    unchecked = connect(Address("amqps://h/", Tls(verify_host=False))).ssl

    assert checked["ca_certs"] == str(file)
    assert "server_hostname" in checked
    assert "server_hostname" not in unchecked
    assert checked["cert_reqs"] is unchecked["cert_reqs"] is ssl.CERT_REQUIRED
