"""Roots that are kept up say what all rows say, whatever comes in between."""

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ec2map_sync.ledger import Ledger, roots
from ec2map_sync.ledger.roots import Roots, TermsTally
from ec2map_sync.rules.claims import Claim, SeenKind, Wanted
from ec2map_sync.rules.ec2id import Band, Kind, Scheme

TIGHT = Scheme(b"test", Band(2**24, 2**24 + 32))


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


@pytest.fixture
def small(monkeypatch):
    """Parts of two claims, so that a few claims are many parts."""
    monkeypatch.setattr(roots, "PART", 2)


STAMPS = st.integers(1, 40)
CLAIMS = st.builds(
    Claim,
    claimed_at=STAMPS,
    image=st.integers(0, 20).map(image),
    wanted=st.none()
    | st.builds(Wanted, STAMPS, st.integers(2**24, 2**24 + 31)),
    kind=st.none() | st.builds(SeenKind, STAMPS, st.sampled_from(Kind)),
)


def whole(snapshot, until):
    """Hash all lines, one by one."""
    lines = TermsTally(snapshot, until, lambda _: None)
    for _ in lines.pages():
        pass
    return lines.terms()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(
        st.tuples(st.lists(CLAIMS, max_size=6), st.integers(0, 8)),
        min_size=2,
        max_size=7,
    )
)
@pytest.mark.usefixtures("small")
def test_roots_that_are_kept_up_are_those_of_all_rows(ledger, steps):
    """Claims come late, kinds change, numbers move, wishes are adopted."""
    for table in ("claims", "numbers", "passed", "moves"):
        with ledger._engine.begin() as connection:
            connection.exec_driver_sql(f"DELETE FROM {table}")
            connection.exec_driver_sql(
                "UPDATE head SET scheme='', total_count=0, total_sum=0"
            )
    tight = Ledger(ledger._engine, TIGHT)
    kept, until = Roots(), 1
    for claims, later in steps:
        tight.record(claims)
        until += later
        with tight.snapshot() as snapshot:
            assert kept.terms(snapshot, until) == whole(snapshot, until)


def claims(first, count, at=1000):
    return [
        Claim(
            claimed_at=at + n,
            image=image(n),
            kind=SeenKind(at + n, Kind.AMI),
        )
        for n in range(first, first + count)
    ]


@pytest.fixture
def read(ledger, monkeypatch):
    """Give what counts the rows of claims that the next terms need."""
    counted = []
    plain = roots.Snapshot.known

    def known(self, span, until, limit):
        found = plain(self, span, until, limit)
        counted.append(len(found))
        return found

    monkeypatch.setattr(roots.Snapshot, "known", known)

    def step(kept, until):
        with ledger.snapshot() as snapshot:
            counted.clear()
            found = kept.terms(snapshot, until)
            needed = sum(counted)
            assert found == whole(snapshot, until)
        return needed

    return step


@pytest.mark.parametrize(
    ("news", "most"),
    [
        ([], 2 + 3),
        (claims(47, 9), 2 + 3 + 9),
        (
            [
                Claim(
                    claimed_at=1000,
                    image=image(0),
                    kind=SeenKind(9000, Kind.ARI),
                )
            ],
            10,
        ),
        ([Claim(claimed_at=1038, image=image(99))], 20),
    ],
)
def test_what_is_read_does_not_grow_with_what_is_known(
    ledger, read, monkeypatch, news, most
):
    monkeypatch.setattr(roots, "PART", 4)
    ledger.record(claims(0, 47))
    kept = Roots()
    assert read(kept, 2000) >= 47
    ledger.record(news)

    assert read(kept, 10_000) <= most


def test_a_part_that_was_mended_is_looked_at_again(ledger, read, monkeypatch):
    monkeypatch.setattr(roots, "PART", 4)
    ledger.record(claims(0, 20))
    kept = Roots()
    read(kept, 2000)
    with ledger._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE bookkeeping SET found = found + 1")
        connection.exec_driver_sql(
            "INSERT INTO bookkeeping (id, position, doubtful, found) "
            "SELECT 1, '', 0, 1 WHERE NOT EXISTS (SELECT 1 FROM bookkeeping)"
        )

    assert read(kept, 2000) == 20
