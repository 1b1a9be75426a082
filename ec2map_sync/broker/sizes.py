"""How many bytes of messages one process has in hand, and no more.

Put in only where py-amqp is inside as `inside` knows it. A broker may send
some hundred messages before the first is acknowledged, each as long as it
allows. Small ones may all be in hand. Of larger ones, only so many are kept
whole: while there is no room for another, nothing is read, and the broker
keeps what it has not sent yet. What is read all the same, lest the broker
take the reader for dead, is given back when it is its turn, and comes again.
That must be rare: a quorum queue drops what was given back too often. What is
longer than anything of Glance's or of ours is kept by its head.
"""

import threading
import time
import weakref
from typing import Any

from amqp import basic_message, method_framing

from ec2map_sync.rules.names import UNREADABLE

SMALL = 16 * 1024
"""Bytes of a body that is always kept whole, as almost all are."""

ROOM = 32 * 1024 * 1024
"""Bytes of larger bodies that a process has in hand at a time."""

LONGEST_BODY = 16 * 1024 * 1024
"""Bytes of the longest body that is read: RabbitMQ 4 takes no longer one."""

HEAD = SMALL
"""Bytes kept of a body that is not kept whole."""

HELD_BACK = 5.0
"""Seconds that nothing is read for want of room: RabbitMQ ends a connection
that takes nothing for 15."""

_LOOK = 0.02
"""Seconds between two looks whether there is room."""

_HOLD = "ec2map_sync.hold"
"""A property, which no sender can set: they are not headers."""


class _Hold:
    """Some room, taken for as long as a message is in hand."""

    def __init__(self, size: int) -> None:
        self.size = size


_holds: weakref.WeakSet[_Hold] = weakref.WeakSet()


def has_room(size: int) -> bool:
    """Returns whether a body of so many bytes can be had now."""
    return sum(hold.size for hold in list(_holds)) + size <= ROOM


class _Reader(threading.local):
    """What a thread that reads a connection is about."""

    begun: "LongMessage | None" = None
    """What it has read a part of, and has to read to its end."""
    since: float | None = None
    """Since when it has read nothing for want of room."""


_reader = _Reader()


def may_read() -> bool:
    """Returns whether this thread may read on: any message has room."""
    begun = _reader.begun
    if begun is not None and not begun.ready:
        return True
    return has_room(LONGEST_BODY)


def await_room(seconds: float | None) -> None:
    """Waits until this thread may read on, or has waited long enough.

    :raises TimeoutError: neither is so within this time.
    """
    begin = time.monotonic()
    while not may_read():
        now = time.monotonic()
        _reader.since = _reader.since or now
        if now - _reader.since >= HELD_BACK:
            break
        if seconds is not None and now - begin >= seconds:
            raise TimeoutError("no room for another message")
        time.sleep(_LOOK)
    _reader.since = None


def comes_later(message: Any) -> bool:
    """Returns whether there was no room for a message of kombu's.

    Whoever reads it gives it back, and it comes again.
    """
    properties = getattr(message, "properties", {})
    return _HOLD in properties and properties[_HOLD] is None


class LongMessage(basic_message.Message):  # type: ignore[misc]
    """A message of py-amqp's that takes no more memory than there is room."""

    _cut = False

    def inbound_header(self, buf: Any, offset: int = 0) -> int:
        """Decides what is kept, when the length is known."""
        offset = super().inbound_header(buf, offset)
        size: int = self.body_size
        if size > LONGEST_BODY:
            self._keep_head("longer than any that is read")
        elif size > SMALL:
            room = has_room(size)
            hold = _Hold(size) if room else None
            if hold:
                _holds.add(hold)
            else:
                self._keep_head("there was no room for it")
            self.properties[_HOLD] = hold
        _reader.begun = None if self.ready else self
        return offset

    def _keep_head(self, why: str) -> None:
        self._cut = True
        self._kept = bytearray()
        headers = self.properties.setdefault("application_headers", {})
        headers.setdefault(
            UNREADABLE, f"its body of {self.body_size} bytes: {why}"
        )
        self.properties |= {
            "content_type": "application/json",
            "content_encoding": "utf-8",
        }

    def inbound_body(self, buf: Any) -> None:
        """Takes a part of the body."""
        if self._cut:
            self._cut_off(buf)
        else:
            super().inbound_body(buf)
        if self.ready:
            _reader.begun = None

    def _cut_off(self, buf: Any) -> None:
        self.body_received += len(buf)
        self._kept += buf[: HEAD - len(self._kept)]
        if self.body_received >= self.body_size:
            self.body = bytes(self._kept)
            self.ready = True


def install() -> None:
    """Lets every message be such a one."""
    method_framing.Message = LongMessage
