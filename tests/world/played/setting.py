"""Puts the world in the place of all that the package would meet outside."""

from played import (
    ear,
    listening,
    locks,
    memcached,
    nature,
    rabbit,
    region,
    sqlite,
)


def install() -> None:
    """Does so, for as long as the process lives."""
    nature.possess()
    listening.install()
    rabbit.install()
    sqlite.install()
    memcached.install()
    locks.install()
    region.install()
    ear.listen()
