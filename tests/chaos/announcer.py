"""A Glance that announces images without a pause, and forgets none."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from random import Random
from uuid import UUID

import amqp.exceptions
from fleet import INFO, Glance, Region, create_envelope
from one_set import SCHEME

FORMATS = ("bare", "bare", "ami", "aki", "ari", None)
AGAIN, DELETED = 0.05, 0.10
"""Which part of notifications tells of an image again, or of its end."""


@dataclass(frozen=True)
class Told:
    """An image that a broker has taken over from a Glance."""

    region: str
    at: float


class Announced:
    """Every image ever told, by all Glances."""

    def __init__(self) -> None:
        self.tried: set[str] = set()
        """Also those of which nobody knows whether the broker has them."""
        self.confirmed: dict[str, Told] = {}
        self.notifications = 0
        self.rivals = 0
        self._lock = threading.Lock()

    def note(self, image: str, region: str) -> None:
        """Remember that a broker has an image's notification."""
        with self._lock:
            self.notifications += 1
            told = Told(region, time.monotonic())
            self.confirmed.setdefault(image, told)

    def of(self, region: str, until: float) -> dict[str, float]:
        """Give what a region was told of before a moment, and when."""
        return {
            image: told.at
            for image, told in list(self.confirmed.items())
            if told.region == region and told.at < until
        }


class Announcer:
    """One region's Glance; like Glance it goes on when its broker is back."""

    def __init__(
        self,
        region: Region,
        announced: Announced,
        chance: Random,
        pause: float,
    ) -> None:
        self.region = region
        self.wanted: SimpleQueue[str] = SimpleQueue()
        """Images that are to be announced next."""
        self._announced = announced
        self._chance = chance
        self._pause = pause
        self._own: list[str] = []
        self._stopping = threading.Event()
        self._speaks = threading.Event()
        self._quiet = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._speaks.set()
        self._thread.start()

    def stop(self) -> None:
        """Announce nothing more."""
        self._stopping.set()
        self._speaks.set()

    def rest(self, seconds: float) -> bool:
        """Say nothing for now; whether it has fallen silent by then."""
        self._quiet.clear()
        self._speaks.clear()
        return self._quiet.wait(seconds)

    def go_on(self) -> None:
        """Speak again."""
        self._speaks.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._pause):
            self._rest()
            try:
                self._speak()
            except (amqp.exceptions.AMQPError, OSError):
                continue  # its broker is away

    def _rest(self) -> None:
        if not self._speaks.is_set():
            self._quiet.set()
            self._speaks.wait()

    def _speak(self) -> None:
        glance: Glance = self.region.glance
        with glance.notifier() as notify:
            while not self._stopping.wait(self._pause):
                if not self._speaks.is_set():
                    return
                self._say(notify)

    def _say(self, notify: Callable[[str, str], None]) -> None:
        drawn = self._chance.random()
        if self._own and drawn < AGAIN:
            image = self._chance.choice(self._own)
            notify(INFO, create_envelope(image, "bare"))
            self._announced.note(image, self.region.name)
        elif self._own and drawn < DELETED:
            notify(INFO, _deleted(self._chance.choice(self._own)))
        else:
            self._create(notify)

    def _create(self, notify: Callable[[str, str], None]) -> None:
        try:
            image = self.wanted.get_nowait()
        except Empty:
            image = _image(self._chance)
        self._announced.tried.add(image)
        notify(INFO, create_envelope(image, self._chance.choice(FORMATS)))
        self._announced.note(image, self.region.name)
        self._own.append(image)


def rivals(chance: Random) -> Iterator[tuple[str, str]]:
    """Give pairs of images that wish for the same number first."""
    seen: dict[int, str] = {}
    while True:
        image = _image(chance)
        other = seen.setdefault(SCHEME.derive(image), image)
        if other != image:
            yield other, image


def _image(chance: Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))


def _deleted(image: str) -> str:
    outer = json.loads(create_envelope(image))
    inner = json.loads(outer["oslo.message"])
    inner["event_type"] = "image.delete"
    inner["payload"] |= {"deleted": True, "status": "deleted"}
    return json.dumps(outer | {"oslo.message": json.dumps(inner)})
