"""A stand-in for ProxySQL: it gives each transaction to another session.

It does what is documented of multiplexing there, and the worst of what may be
configured. Outside a transaction, each statement goes to the session that has
rested longest. Autocommit is as the client has set it, but not for reads that
lock nothing: these begin no transaction. Whatever else a client sets is
answered with OK, and forgotten.
"""

import re
import socket
import threading
from collections import defaultdict, deque
from contextlib import suppress
from typing import Self

from servers import MariaDB, free_port

_QUIT, _QUERY, _PING = 1, 3, 14
_OK, _ERROR, _EOF = 0, 0xFF, 0xFE
_IN_TRANSACTION = 1
_TLS = 0x08
"""A bit in the second byte of what a server says it can do."""
_SPARE = 2
"""Sessions of a database, beside one for each client."""

_AUTOCOMMIT = re.compile(rb"\s*SET\s+AUTOCOMMIT\s*=\s*(\d)", re.IGNORECASE)
_SET = re.compile(rb"\s*SET\s", re.IGNORECASE)
_END = re.compile(rb"\s*(COMMIT|ROLLBACK)\b", re.IGNORECASE)
_READ = re.compile(rb"\s*(SELECT|SHOW)\b(?!.*\bFOR UPDATE)", re.I | re.S)


class Link:
    """Packets of MySQL's protocol on a socket."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._stream = connected.makefile("rb")

    def read(self) -> bytes:
        """Read one, with its head."""
        head = self._stream.read(4)
        if len(head) < 4:
            raise EOFError
        return head + self._stream.read(int.from_bytes(head[:3], "little"))

    def send(self, *packets: bytes) -> None:
        """Pass some on."""
        self._socket.sendall(b"".join(packets))

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def ask(self, statement: bytes) -> tuple[list[bytes], bool]:
        """Send a command; give the answer, and if a transaction is open."""
        self.send(packet(0, statement))
        answer = [self.read()]
        ends = 2 if answer[0][4] in {_OK, _ERROR} else 0
        while ends < 2:
            answer.append(self.read())
            if answer[-1][4] == _ERROR:
                break
            ends += answer[-1][4] == _EOF and len(answer[-1]) < 13
        last = answer[-1]
        if last[4] == _ERROR:
            return answer, self.ask(bytes([_QUERY]) + b"DO 0")[1]
        at = 7 if last[4] == _EOF else _behind(last, _behind(last, 5))
        return answer, bool(last[at] & _IN_TRANSACTION)


def packet(number: int, payload: bytes) -> bytes:
    """Give one of MySQL's protocol."""
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


def _behind(packet: bytes, at: int) -> int:
    """Tell where a length-encoded integer ends."""
    return at + {0xFC: 3, 0xFD: 4, 0xFE: 9}.get(packet[at], 1)


class Multiplexer:
    """A proxy in front of a server; only root, who has no password."""

    def __init__(self, server: MariaDB) -> None:
        self.port = free_port()
        self.changes = 0
        """How often a client got another session than before."""
        self._server = server
        self._rested: dict[bytes, deque[Link]] = defaultdict(deque)
        self._turn = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port))

    def __enter__(self) -> Self:
        """Begin to accept clients."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Hang up everywhere."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sessions in self._rested.values():
            for session in sessions:
                session.close()

    def url(self, database: str) -> str:
        """Give a database's address as SQLAlchemy wants it."""
        url = self._server.url(database)
        return url.replace(f":{self._server.port}/", f":{self.port}/")

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connected, _ = self._listener.accept()
                threading.Thread(
                    target=self._serve, args=(Link(connected),), daemon=True
                ).start()

    def _serve(self, client: Link) -> None:
        with suppress(OSError, EOFError):
            greeting, session = self._open()
            client.send(greeting)
            hello = client.read()
            # Behind the name, and an empty password.
            database = hello[36:].split(b"\0", 2)[2].split(b"\0")[0]
            for _ in range(_SPARE):
                self._rested[database].append(self._log_in(hello))
            client.send(_log_in(session, hello))
            self._rested[database].append(session)
            Client(client, self, database).serve()
        client.close()

    def _log_in(self, hello: bytes) -> Link:
        _, session = self._open()
        _log_in(session, hello)
        return session

    def _open(self) -> tuple[bytes, Link]:
        address = ("127.0.0.1", self._server.port)
        session = Link(socket.create_connection(address))
        greeting = bytearray(session.read())
        # Behind the version, a number, a part of the salt, and a zero.
        greeting[greeting.index(0, 5) + 15] &= ~_TLS
        return bytes(greeting), session

    def take(self, database: bytes) -> Link:
        """Take the session that has rested longest; there are enough."""
        with self._turn:
            return self._rested[database].popleft()

    def give_back(self, database: bytes, session: Link) -> None:
        """Let others have a session."""
        with self._turn:
            self._rested[database].append(session)


def _log_in(session: Link, hello: bytes) -> bytes:
    session.send(hello)
    answer = session.read()
    assert answer[4] == _OK, answer
    return answer


class Client:
    """One client: its settings, and the session that its transaction has."""

    def __init__(self, link: Link, pool: Multiplexer, database: bytes) -> None:
        self._link = link
        self._pool = pool
        self._database = database
        self._commits_itself = True
        self._held: Link | None = None
        self._last: Link | None = None

    def serve(self) -> None:
        """Answer what it asks until it leaves."""
        try:
            while (command := self._link.read()[4:])[0] != _QUIT:
                self._link.send(*self._answer(command))
        finally:
            if self._held is not None:
                self._held.close()  # which rolls back

    def _answer(self, command: bytes) -> list[bytes]:
        statement = command[1:]
        if found := _AUTOCOMMIT.match(statement):
            self._commits_itself = found[1] == b"1"
        ours = _SET.match(statement) or (
            self._held is None and _END.match(statement)
        )
        if command[0] == _PING or ours:
            return [packet(1, bytes([_OK, 0, 0, 0, 0, 0, 0]))]
        session = self._held or self._pool.take(self._database)
        self._pool.changes += session is not self._last
        begins = not (self._held or self._commits_itself)
        if begins and not _READ.match(statement):
            session.ask(bytes([_QUERY]) + b"SET autocommit = 0")
        answer, is_open = session.ask(command)
        self._last, self._held = session, session if is_open else None
        if not is_open:
            session.ask(bytes([_QUERY]) + b"SET autocommit = 1")
            self._pool.give_back(self._database, session)
        return answer
