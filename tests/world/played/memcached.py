"""memcached of a region, where Nova remembers ids."""

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence

from ec2map_sync.settings.addresses import MemcachedServer
from ec2map_sync.sinks import memory
from played import nature
from played.faults import Broken, passing

_servers: dict[str, "Memcached"] = {}


class CachedValue(tuple[int, dict[str, int]]):
    """What dogpile.cache keeps: a value, and its age."""

    __slots__ = ()


class Memcached:
    """A server, and what Nova has in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.up = True
        """Whether the package reaches it."""
        self.ids: dict[str, int] = {}
        """What Nova remembers, by image."""
        _servers[name] = self

    def remember(self, image: str, number: int | None) -> None:
        """Keeps what Nova has read."""
        if number is not None:
            self.ids[image] = number

    def flush(self, images: Iterable[str]) -> None:
        """Forgets what an operator knows to be forgotten."""
        for image in images:
            self.ids.pop(image, None)

    def delete(self, keys: Sequence[str]) -> None:
        """Forgets what is under some keys."""
        gone = {image for image in self.ids if memory.key_of(image) in keys}
        for image in gone:
            del self.ids[image]


class Client:
    """pymemcache's, as far as the package uses it."""

    def __init__(self, server: MemcachedServer, **_options: object) -> None:
        self._server = _servers[memory.name_of(server)]

    def delete_many(self, keys: Sequence[str], *, noreply: bool) -> None:
        """Deletes; the answer is waited for."""
        assert not noreply
        self._ask(lambda: self._server.delete(keys))

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Reads."""
        ids = self._server.ids.items()
        there = {memory.key_of(image): number for image, number in ids}
        self._ask(lambda: None)
        return {
            key: pickle.dumps(CachedValue((there[key], {})), protocol=2)
            for key in keys
            if key in there
        }

    def close(self) -> None:
        """Ends the connection."""

    def _ask(self, act: Callable[[], object]) -> None:
        scheduler, task = nature.scheduler(), nature.current()
        scheduler.park(scheduler.travel())
        if not self._server.up:
            raise ConnectionRefusedError("nobody answers")
        assert task is not None
        try:
            passing(scheduler, task.process, "call", act)
        except Broken as error:
            raise TimeoutError("nobody answers") from error


def install() -> None:
    """Lets the package ask the servers of a world."""
    memory.Client = Client  # type: ignore[misc, assignment]
