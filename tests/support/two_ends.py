"""What an Answerer is asked by, and answers to, without a broker."""

from collections.abc import Mapping, Sequence


class Arrived:
    """A message, as kombu gives it."""

    def __init__(self, headers: Mapping[str, object], body: bytes) -> None:
        self.headers, self.body = headers, body


class Inbox:
    """What has been asked, given out once."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []

    def read(self, _limit: int, _seconds: float) -> list[Arrived]:
        """Give what has come."""
        arrived, self.arrived = self.arrived, []
        return arrived

    def acknowledge(self, arrived: Sequence[Arrived]) -> None:
        """Nothing is given twice."""


class Outlet:
    """Where answers go, unless it is broken."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.broken = False

    def send(self, routing_key: str, *_message: object) -> None:
        """Note where an answer goes."""
        if self.broken:
            raise ConnectionResetError
        self.sent.append(routing_key)

    def pump(self) -> None:
        """Nothing waits."""
