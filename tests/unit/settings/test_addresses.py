"""Addresses are read, or refused with the option that has them."""

import pytest

from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.settings import addresses


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9427", "127.0.0.1", 9427),
        ("[::1]:80", "::1", 80),
        ("one.example.org:65535", "one.example.org", 65535),
    ],
)
def test_an_address_to_listen_on_is_read(text, host, port):
    found = addresses.listen(text, "x")

    assert (found.host, found.port, str(found)) == (host, port, text)


@pytest.mark.parametrize(
    "text", ["9427", ":9427", "one:0", "one:65536", "::1:80", "http://one:80"]
)
def test_what_is_no_address_is_refused_with_the_option(text):
    with pytest.raises(ConfigError, match=r"^x: .* is not host:port"):
        addresses.listen(text, "x")


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.1:11212", ("192.0.2.1", 11212)),
        ("cache.example.org", ("cache.example.org", 11211)),
        ("[2001:db8::1]:11212", ("2001:db8::1", 11212)),
        ("inet6:[2001:db8::1]:11212", ("2001:db8::1", 11212)),
        ("[::1]", ("::1", 11211)),
        ("unix:/run/memcached.sock", "unix:/run/memcached.sock"),
    ],
)
def test_a_memcached_server_is_read_as_nova_has_it(text, server):
    assert addresses.memcached(text, "x") == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":11211",
        "one:0",
        "one:x",
        "::1:80",
        "memcached://one",
        "u@one",
        "a b",
    ],
)
def test_what_is_no_memcached_server_is_refused_with_the_option(text):
    with pytest.raises(ConfigError, match=r"^x: .* is not host:port"):
        addresses.memcached(text, "x")


@pytest.mark.parametrize(
    ("address", "alone"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.0.2.1:1", False),
        ("example.org:1", False),
    ],
)
def test_some_addresses_are_this_machines_alone(address, alone):
    assert addresses.listen(address, "x").is_loopback is alone
