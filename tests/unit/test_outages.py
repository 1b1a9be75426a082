"""What keeps a part waiting, in one line and in one word."""

import errno

import kombu
import pytest
import sqlalchemy as sa

from ec2map_sync.outages import cause_of, describe
from ec2map_sync.rules.errors import BadMessage, ConfigError


def gone(note=None):
    error = sa.exc.OperationalError("SELECT 1", {}, Exception("gone\naway"))
    if note:
        error.add_note(note)
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConfigError("do this"), "do this"),
        (gone(), "a database does not answer: gone away"),
        (gone("[ledger] connection"), "[ledger] connection: gone away"),
        (ConnectionRefusedError("refused"), "refused"),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "/ca.pem"),
            "/ca.pem: No such file",
        ),
        (OSError(errno.ENOSPC, "No space left"), "No space left"),
        (KeyError("a mistake"), None),
    ],
)
def test_an_outage_is_one_line_and_a_mistake_is_none(error, said):
    assert describe(error) == said


def test_whoever_asks_may_name_the_database_and_the_broker():
    said = [
        describe(error, database="the ledger", broker="Glance's broker")
        for error in (gone("x"), OSError("refused"), OSError(28, "full"))
    ]

    assert said == [
        "the ledger: gone away",
        "Glance's broker: refused",
        "full",
    ]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (sa.exc.OperationalError("", {}, Exception()), "database"),
        (kombu.exceptions.OperationalError(), "broker"),
        (ConnectionRefusedError(), "broker"),
        (BadMessage(), "other"),
    ],
)
def test_the_cause_of_a_retry_is_told(error, cause):
    assert cause_of(error) == cause
