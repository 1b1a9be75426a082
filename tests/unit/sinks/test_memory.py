"""What Nova has put into memcached is read, and never run."""

import pickle
import zlib
from hashlib import sha1

import pytest

from ec2map_sync.sinks.memory import key_of, number_in


class CachedValue(tuple):
    """As dogpile.cache has it, under whose name it is written down."""

    __slots__ = ()

    def __new__(cls, *items):
        return super().__new__(cls, items)

    def __getnewargs__(self):
        return tuple(self)


CachedValue.__module__ = "dogpile.cache.api"


@pytest.fixture(autouse=True)
def dogpile(monkeypatch):
    module = type(pickle)("dogpile.cache.api")
    module.CachedValue = CachedValue
    for name in ("dogpile", "dogpile.cache", "dogpile.cache.api"):
        monkeypatch.setitem(__import__("sys").modules, name, module)


def written(payload, protocol):
    value = CachedValue(payload, {"ct": 1767225600.5, "v": 2})
    return pickle.dumps(value, protocol)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("number", [1, 0x1267, 70_000, 2**30 + 3, 2**31 - 1])
def test_a_number_is_read_however_a_client_writes_it(number, protocol):
    value = written(number, protocol)

    assert number_in(value) == number
    assert number_in(zlib.compress(value)) == number


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("payload", [None, "ami", 1.5, [7], {"v": 7}])
def test_what_is_no_number_is_none(payload, protocol):
    assert number_in(written(payload, protocol)) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"7",
        b"\x80",
        b"\x80\x05\x95",
        b"\x78\x9c",
        zlib.compress(bytes(10_000_000)),
        b"cos\nsystem\n(S'touch /tmp/x'\ntR.",
        b"I" + b"9" * 10_000,
        pickle.dumps(7),
    ],
)
def test_junk_is_none_and_runs_nothing(value):
    assert number_in(value) is None


def test_the_key_is_that_of_nova():
    uuid = "71ed3a2c-33a0-4d3c-9d4e-2f6c6f2b6c34"

    assert key_of(uuid) == sha1(f"glance_id_to_id:{uuid}".encode()).hexdigest()
