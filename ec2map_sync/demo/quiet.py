"""Keeps logs out of the picture; imports nothing that would log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_NOISY = (
    "alembic",
    "amqp",
    "ec2map_sync",
    "kombu",
    "oslo",
    "oslo_messaging",
    "oslo_service",
    "sqlalchemy",
    "stevedore",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the libraries, and ourselves."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
