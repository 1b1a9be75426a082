"""Whatever a broker brings is read; what cannot be, says so itself."""

from struct import pack

import pytest
from amqp.basic_message import Message
from amqp.serialization import dumps
from amqp.spec import Basic
from edge import installed
from hypothesis import given, strategies as st
from odd import READ, REFUSED, TAKEN

from ec2map_sync.broker import reading
from ec2map_sync.rules.names import UNREADABLE

DELIVERED = "sLbss"


def received(properties):
    """Give the headers of a message that has come."""
    with installed("as known"):
        message = Message()
        head = pack(">HxxQ", Basic.CLASS_ID, 7)
        message.inbound_header(head + properties)
        return message.headers


@pytest.mark.parametrize("name", TAKEN | REFUSED)
def test_properties_that_cannot_be_read_say_why(name):
    headers = received((TAKEN | REFUSED)[name])

    assert headers[UNREADABLE].startswith("its properties: ")


@pytest.mark.parametrize("name", READ)
def test_odd_ones_that_can_be_read_are(name):
    assert list(received(READ[name])) == ["x"]


@given(st.binary())
def test_no_properties_stop_the_reading(properties):
    reading.properties(properties, 0)


@given(
    st.integers(0, 2**64 - 1),
    st.binary(max_size=255),
    st.binary(max_size=255),
)
def test_numbers_are_right_whatever_the_routing_key(tag, exchange, key):
    frame = dumps(DELIVERED, ("1", tag, False, exchange, key))

    found, _ = reading.arguments(DELIVERED, frame, 0)

    assert found[:3] == ["1", tag, False]
    assert len(found[4]) <= len(key)
