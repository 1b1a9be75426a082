"""A link that can be cut, or led elsewhere: a TCP proxy that knows AMQP."""

import enum
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from servers import free_port


class Way(enum.Enum):
    """One of the two directions of a link."""

    TO_READER = enum.auto()
    TO_BROKER = enum.auto()


def frames(source: socket.socket) -> Iterator[bytes]:
    """Split a stream of AMQP 0-9-1 (section 2.3.5 of its specification)."""
    with source.makefile("rb") as stream:
        while head := stream.read(7):
            greeting = head.startswith(b"AMQP")
            size = 0 if greeting else int.from_bytes(head[3:7])
            yield head + stream.read(size + 1)


def as_it_comes(source: socket.socket) -> Iterator[bytes]:
    """Split a stream of anything."""
    while some := source.recv(65536):
        yield some


class Proxy:
    """Forwards connections to a broker, frame by frame, or a database.

    A connection of which bytes were swallowed stays as it is: what is lost
    is lost, and only a new connection is whole again.
    """

    def __init__(
        self,
        leads_to: int,
        split: Callable[[socket.socket], Iterator[bytes]] = frames,
    ) -> None:
        self.swallowed = 0
        """Bytes that never arrived."""
        self.leads_to = leads_to
        """The port that new connections reach."""
        self.port = free_port()
        self._split = split
        self._listener: socket.socket | None = None
        self._cut: tuple[Way, int] | None = None
        self._silent: Way | None = None
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        """Begin to accept connections."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(
            target=self._accept, args=(self._listener,), daemon=True
        ).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop everything."""
        if self._listener is not None:
            _shut(self._listener)
            self._listener.close()
        for one in list(self._open):
            _shut(one)

    def url(self, url: str, **query: int) -> str:
        """Give a broker's address as it is behind this proxy."""
        parts = urlsplit(url)
        place = f"{parts.username}:{parts.password}@127.0.0.1:{self.port}"
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return urlunsplit(parts._replace(netloc=place, query=text))

    def cut(self, way: Way, least: int = 0) -> None:
        """Cut the link in the middle of the next frame of so many bytes."""
        self._cut = (way, least)

    @property
    def has_cut(self) -> bool:
        """Whether what `cut` was to do is done."""
        return self._cut is None

    def swallow(self, way: Way) -> None:
        """Let nothing through in one direction; connections stay open."""
        self.swallowed = 0
        self._silent = way

    def heal(self) -> None:
        """Let new connections work again."""
        self._silent = None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                reader, _ = listener.accept()
            except OSError:
                return  # it is the end
            broker = socket.socket()
            self._open |= {reader, broker}
            try:
                broker.connect(("127.0.0.1", self.leads_to))
            except OSError:
                self._end(reader, broker)
                continue
            for source, sink, way in (
                (reader, broker, Way.TO_BROKER),
                (broker, reader, Way.TO_READER),
            ):
                threading.Thread(
                    target=self._pump, args=(source, sink, way), daemon=True
                ).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, way: Way
    ) -> None:
        dead = False
        with suppress(OSError):
            for frame in self._split(source):
                dead = dead or self._silent is way
                if dead:
                    self.swallowed += len(frame)
                elif self._is_due(way, len(frame)):
                    sink.sendall(frame[: len(frame) // 2])
                    self._cut = None
                    break
                else:
                    sink.sendall(frame)
        # Nor does it tell the other side that the connection has ended.
        if not dead:
            self._end(source, sink)

    def _is_due(self, way: Way, size: int) -> bool:
        return self._cut is not None and (
            self._cut[0] is way and size >= self._cut[1]
        )

    def _end(self, *ends: socket.socket) -> None:
        for one in ends:
            _shut(one)
            self._open.discard(one)


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
