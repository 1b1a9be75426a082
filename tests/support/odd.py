"""Messages with properties that py-amqp does not read, as raw bytes."""

from struct import pack

import amqp
import kombu

HEADERS = 0x2000
"""The flag of a message's headers; the others are of py-amqp's order."""


def header(value: bytes) -> bytes:
    """Give properties with one header, its value with its type's letter."""
    table = b"\x01x" + value
    return pack(">HI", HEADERS, len(table)) + table


def nested(depth: int) -> bytes:
    """Give a value: tables within tables."""
    value = b"V"
    for _ in range(depth):
        value = b"F" + pack(">I", len(value) + 2) + b"\x01x" + value
    return value


TAKEN = {
    "a time beyond all calendars": header(b"T" + pack(">Q", 2**62)),
    "a time before there were any": header(b"T" + b"\xff" * 8),
    "a type that is no text": pack(">HB", 0x0020, 2) + b"\xff\xfe",
    "an encoding that is no text": pack(">HB", 0x4000, 1) + b"\xc3",
    "an id that is no text": pack(">HB", 0x0080, 4) + b"\xf0\x28\x8c\x28",
    "a very deep table": header(nested(5000)),
}
"""Those that RabbitMQ takes."""

REFUSED = {
    "a letter of no type": header(b"?"),
    "an array that ends behind the frame": header(
        b"A" + pack(">I", 99) + b"Vt"
    ),
    "a decimal that is cut off": header(b"D\x05"),
    "nothing at all": b"",
}
"""Those that another broker may take."""

READ = {
    "a decimal of many digits": header(b"D\xff" + pack(">i", -1)),
    "a text that is none": header(b"S" + pack(">I", 2) + b"\xff\xfe"),
    "bytes": header(b"x" + pack(">I", 1) + b"\xff"),
}
"""Those that py-amqp reads; nobody's signature has them."""


class Raw(amqp.Message):  # type: ignore[misc]
    """A message that has these properties, byte by byte."""

    def __init__(self, properties: bytes, body: bytes) -> None:
        super().__init__(body)
        self._raw = properties

    def _serialize_properties(self) -> bytes:
        return self._raw


def publish(
    url: str, exchange: str, key: str, body: bytes, properties: bytes
) -> None:
    """Publish such a message; returns when the broker has it."""
    options = {"confirm_publish": True}
    with kombu.Connection(url, transport_options=options) as connection:
        connection.default_channel.basic_publish(
            Raw(properties, body), exchange, key
        )
