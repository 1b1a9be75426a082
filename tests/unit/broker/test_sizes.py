"""Of what a broker sends, a process has only so many bytes in hand."""

from struct import pack

import pytest
from kombu.transport import pyamqp

from ec2map_sync.broker import sizes
from ec2map_sync.rules.names import UNREADABLE

PART = 100_000


def received(body, headers=b""):
    """Give a message as a broker's frames bring it."""
    message = sizes.LongMessage()
    message.delivery_info = {"delivery_tag": 1}
    head = pack(">HHQ", 60, 0, len(body)) + (headers or pack(">H", 0))
    message.inbound_header(head)
    for begin in range(0, len(body), PART):
        assert not message.ready
        message.inbound_body(memoryview(body[begin : begin + PART]))
    assert message.ready
    return pyamqp.Message(message)


@pytest.mark.parametrize("size", [0, 1, sizes.SMALL, sizes.SMALL + 1, 10**6])
def test_what_there_is_room_for_is_whole(size):
    body = bytes(i % 251 for i in range(size))

    message = received(body)

    assert bytes(message.body or b"") == body
    assert UNREADABLE not in message.headers
    assert not sizes.comes_later(message)


def test_what_is_longer_than_all_is_kept_by_its_head(monkeypatch):
    monkeypatch.setattr(sizes, "LONGEST_BODY", 200_000)

    message = received(b"x" * 200_001)

    assert message.body == b"x" * sizes.HEAD
    assert "200001 bytes" in message.headers[UNREADABLE]
    assert not sizes.comes_later(message)


def test_what_there_is_no_room_for_comes_later(monkeypatch):
    monkeypatch.setattr(sizes, "ROOM", 500_000)
    body = b"y" * 200_000

    held = [received(body) for _ in range(3)]
    assert [sizes.comes_later(one) for one in held] == [False, False, True]
    assert len(held[-1].body) == sizes.HEAD
    small = received(b"z" * sizes.SMALL)
    assert len(small.body) == sizes.SMALL

    del held[0]
    assert not sizes.comes_later(received(body))


def test_nothing_is_read_while_there_is_no_room(monkeypatch):
    monkeypatch.setattr(sizes, "ROOM", 500_000)
    monkeypatch.setattr(sizes, "LONGEST_BODY", 250_000)
    body = b"y" * 200_000
    held = [received(body)]
    sizes.await_room(0)

    held.append(received(body))

    with pytest.raises(TimeoutError):
        sizes.await_room(0.001)
    monkeypatch.setattr(sizes, "HELD_BACK", 0.01)
    sizes.await_room(None)  # for so long only
    monkeypatch.setattr(sizes, "HELD_BACK", 1000)
    del held[0]
    sizes.await_room(0)


def test_what_is_begun_is_read_to_its_end(monkeypatch):
    monkeypatch.setattr(sizes, "ROOM", 500_000)
    monkeypatch.setattr(sizes, "LONGEST_BODY", 250_000)
    held = received(b"y" * 200_000)
    message = sizes.LongMessage()
    message.inbound_header(pack(">HHQH", 60, 0, 200_000, 0))

    assert sizes.may_read()
    message.inbound_body(memoryview(b"y" * 100_000))
    assert sizes.may_read()
    message.inbound_body(memoryview(b"y" * 100_000))

    assert not sizes.may_read()
    del held
    assert sizes.may_read()


def test_no_sender_can_say_that_it_comes_later():
    headers = {"ec2map_sync.hold": None}
    table = b"\x10ec2map_sync.holdV"
    properties = pack(">HI", 0x2000, len(table)) + table

    message = received(b"x", properties)

    assert message.headers == headers
    assert not sizes.comes_later(message)
