"""What py-amqp reads of a message, and what it cannot read, said of it.

Imported only where py-amqp is inside as `inside` knows it. By itself it
raises amid its own reading: the message comes again with every connection,
and nothing behind it ever does.
"""

from typing import Any

from amqp import abstract_channel, serialization
from amqp.spec import Basic

from ec2map_sync.rules.names import UNREADABLE

ASCII = 128

_JSON = {"content_type": "application/json", "content_encoding": "utf-8"}
"""What it is taken for: so its body is shown, also without our messages."""


def properties(buf: bytes, offset: int) -> Any:
    """Reads a message's properties, or tell why that cannot be done."""
    try:
        return serialization.decode_properties_basic(buf, offset)
    except Exception as error:  # noqa: BLE001, whatever the bytes raise
        reason = f"its properties: {type(error).__name__}: {error}"
        return _JSON | {"application_headers": {UNREADABLE: reason}}, len(buf)


def arguments(form: str, buf: bytes, offset: int) -> Any:
    """Reads what stands around a message; a broken text with question marks.

    A routing key is any bytes, and nothing that we go by.
    """
    try:
        return serialization.loads(form, buf, offset)
    except UnicodeDecodeError as error:
        plain = bytes(b if b < ASCII else ord("?") for b in error.object)
        # Texts stand last, behind the numbers.
        before, _, behind = bytes(buf).rpartition(error.object)
        return arguments(form, before + plain + behind, offset)


def install() -> None:
    """Lets every message be read."""
    serialization.PROPERTY_CLASSES[Basic.CLASS_ID] = properties
    abstract_channel.loads = arguments
