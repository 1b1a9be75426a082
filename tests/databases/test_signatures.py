"""Who has signed what, on every database."""

import pytest

from ec2map_sync.ledger import Ledger
from ec2map_sync.protocol.notes import Signature
from ec2map_sync.rules.ec2id import Scheme

SIGNED = Signature(name="two", key_id=b"4321", value=b"x" * 64)


@pytest.fixture
def signatures(engine):
    return Ledger(engine, Scheme(b"test")).signatures


def test_what_was_given_up_binds_nobody_and_is_remembered(signatures):
    signatures.put(1, "alone\n", SIGNED)
    for text in ("first\n", "second\n"):
        signatures.put(2, text, SIGNED)

    for _ in range(2):  # a message may come twice
        signatures.give_up("two")

    kept = [signatures.by("two", until) for until in (1, 2)]
    assert [one.binds for one in kept] == [False, False]
    assert [one.former for one in kept] == [None, "first\n"]


def test_what_is_signed_again_binds_again(signatures):
    for text in ("first\n", "second\n"):
        signatures.put(2, text, SIGNED)
    signatures.give_up("two")

    signatures.put(2, "second\n", SIGNED)

    again = signatures.by("two", 2)
    assert (again.binds, again.former) == (True, "first\n")
    signatures.give_up("one")
    assert signatures.by("two", 2).binds
