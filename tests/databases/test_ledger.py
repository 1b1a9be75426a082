"""The ledger, on every database: joins, settles, feeds, prints."""

from itertools import combinations
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings, strategies as st

from ec2map_sync.ledger import Allowance, Ledger, known, schema
from ec2map_sync.ledger.tables import head, metadata, numbers, own_claims
from ec2map_sync.outages import OUTAGES, describe
from ec2map_sync.protocol.canonical import entry, line_of
from ec2map_sync.rules.canaries import canary_of
from ec2map_sync.rules.claims import (
    BEGINNING,
    END,
    EVERYTHING,
    Bound,
    Claim,
    SeenKind,
    Sighting,
    Span,
    Wanted,
    print_of,
)
from ec2map_sync.rules.ec2id import Band, Kind, Scheme, format_id
from ec2map_sync.rules.errors import (
    SchemaError,
    SchemeMismatch,
    TooManyEvictions,
)
from ec2map_sync.rules.settle import settle
from ec2map_sync.rules.sketches import Shape, sketch_of
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.sql.database import create_engine, parse_url

SMALL = Scheme(b"test", Band(100, 132))


def image(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012x}"


def seen(n: int, kind: Kind | None = None) -> Sighting:
    return Sighting(image=image(n), uuid=image(n), kind=kind)


@pytest.fixture
def ledger(engine):
    return Ledger(engine, SMALL)


@pytest.fixture
def asked(engine):
    """The statements that a ledger sends."""
    found = []
    sa.event.listen(
        engine, "before_cursor_execute", lambda *sent: found.append(sent[2])
    )
    return found


def mapping(ledger: Ledger) -> dict[str, int]:
    held = ledger.numbered(range(1, 200)).values()
    return {h.uuid: h.number for h in held if h.uuid}


def test_a_new_image_gets_its_derived_number(ledger):
    recorded = ledger.see([seen(1)])

    assert (recorded.revision, recorded.news) == (1, 1)
    assert mapping(ledger) == {image(1): SMALL.derive(image(1))}


def test_a_snapshot_is_of_one_moment_and_keeps_nobody_waiting(
    engine, ledger, monkeypatch
):
    with engine.connect() as connection:
        before = connection.get_isolation_level()
    monkeypatch.setattr("ec2map_sync.ledger.snapshot.PAGE", 2)
    ledger.record([Claim(claimed_at=n, image=image(n)) for n in range(2, 8)])

    with ledger.snapshot() as snapshot:
        pages = snapshot.pages()
        first = next(pages)
        ledger.record([Claim(claimed_at=n, image=image(n)) for n in (1, 9)])
        ledger.see([seen(7, Kind.AKI)])
        rest = [claim for page in pages for claim in page]

        level = snapshot.connection.get_isolation_level()

    assert level in {"REPEATABLE READ", "SERIALIZABLE"}
    with engine.connect() as connection:  # the same one, from the pool
        assert connection.get_isolation_level() == before
    assert snapshot.count == len(first) + len(rest) == 6
    assert [c.kind for c in rest] == [None] * 4
    with ledger.snapshot() as later:
        assert later.count == 8
        assert next(iter(later.pages()))[0].claimed_at == 1


@pytest.mark.services
def test_a_session_that_ends_as_a_snapshot_begins_is_an_outage(mariadb):
    url = parse_url(mariadb.create_database(f"test_{uuid4().hex}"), "x")
    engine = create_engine(url)
    schema.upgrade(engine)
    engine.dispose()
    with engine.connect() as connection:
        session = connection.scalar(sa.text("SELECT CONNECTION_ID()"))
    mariadb.execute(f"KILL {session}")
    ledger = Ledger(engine, SMALL)

    with pytest.raises(OUTAGES) as raised, ledger.snapshot():
        pass

    assert describe(raised.value)
    with ledger.snapshot() as snapshot:
        assert snapshot.count == 0
    engine.dispose()


def test_entries_are_of_what_was_known_before(ledger, monkeypatch):
    monkeypatch.setattr("ec2map_sync.ledger.snapshot.PAGE", 2)
    later = {2: Wanted(60, 17)}
    kinds = {2: SeenKind(50, Kind.AKI), 3: SeenKind(40, Kind.ARI)}

    def known(n, until):
        wanted, kind = later.get(n), kinds.get(n)
        return Claim(
            claimed_at=n,
            image=image(n),
            wanted=wanted if wanted and wanted.at < until else None,
            kind=kind if kind and kind.at < until else None,
        )

    ledger.record([known(n, END.at) for n in range(1, 7)])

    for until in (1, 2, 6, 40, 41, 51, 60, 61):
        early = [known(n, until) for n in range(1, 7) if n < until]
        numbers = settle(early, SMALL)
        with ledger.snapshot() as snapshot:
            pages = list(snapshot.entries(until))
            counted = snapshot.counted(Span(BEGINNING, Bound(until)))

        assert counted == len(early)
        assert [one for page in pages for one in pairs(page)] == [
            lines(c, numbers[c.image]) for c in early
        ]
        assert [one for page in pages for one in page.settled] == [
            c == known(int(c.image[-12:], 16), END.at) for c in early
        ]


def test_entries_are_the_same_where_a_backslash_is_a_character(mariadb):
    url = mariadb.create_database("backslashes")
    odd = f"{url}&init_command=SET sql_mode='NO_BACKSLASH_ESCAPES,ANSI_QUOTES'"
    engine = create_engine(parse_url(odd, "test"))
    schema.upgrade(engine)
    ledger = Ledger(engine, SMALL)
    claims = [Claim(claimed_at=n, image=image(n)) for n in (1, 2, 3)]
    ledger.record(claims)

    with ledger.snapshot() as snapshot:
        (found,) = snapshot.entries(9)

    numbers = settle(claims, SMALL)
    assert pairs(found) == [
        lines(claim, numbers[claim.image]) for claim in claims
    ]
    engine.dispose()


def pairs(leaves):
    return list(zip(leaves.claims, leaves.entries, strict=True))


def lines(claim, number):
    line = line_of(claim)
    return line.encode(), entry(line, number).encode()


def test_what_is_known_is_not_claimed_again(ledger):
    ledger.see([seen(1, Kind.AKI)])

    assert ledger.see([seen(1), seen(1, Kind.AKI)]).revision is None
    assert ledger.head().revision == 1


def test_a_kind_that_became_known_is_news_for_sinks_and_peers(ledger):
    ledger.see([seen(1)])
    ledger.see([seen(1, Kind.ARI)])

    with ledger.cursors.reader("x") as reader:
        assert reader.numbers(10) == (2, False)
        (held,) = reader.changed(2)
        claims, upto = reader.own_claims(10)
    assert (held.number, held.kind) == (SMALL.derive(image(1)), Kind.ARI)
    assert (claims[0].kind.kind, upto) == (Kind.ARI, 2)


def test_a_batch_may_name_an_image_twice(ledger):
    ledger.see([seen(1), seen(1, Kind.AKI), seen(2)])

    assert ledger.head().total.count == 2
    assert ledger.claims([image(1)])[image(1)].kind.kind is Kind.AKI


def own_rows(engine):
    with engine.connect() as connection:
        return connection.execute(sa.select(own_claims)).all()


def publish(ledger, limit=1000):
    with ledger.cursors.reader("publisher") as reader:
        claims, upto = reader.own_claims(limit)
        reader.advance(upto)
    return [claim.image for claim in claims]


def test_what_was_published_is_kept_as_a_claim_only(ledger, engine):
    for n in range(4):
        ledger.see([seen(n)])
    ledger.cursors.drop_published()
    assert len(own_rows(engine)) == 4

    assert publish(ledger, limit=3) == [image(0), image(1), image(2)]
    ledger.cursors.drop_published()

    # One that was published stays.
    assert [row.revision for row in own_rows(engine)] == [3, 4]
    assert publish(ledger) == [image(3)]
    mapped = ledger.queries.own(EVERYTHING, 10)
    assert [m.claim.image for m in mapped] == [image(n) for n in range(4)]


def test_news_of_an_image_that_was_published_are_published(ledger):
    ledger.see([seen(1)])
    ledger.see([seen(2)])
    publish(ledger)
    ledger.cursors.drop_published()

    ledger.see([seen(1, Kind.ARI), seen(2, Kind.ARI)])

    assert publish(ledger) == [image(1), image(2)]


def test_many_that_were_published_are_dropped_bit_by_bit(
    ledger, engine, monkeypatch
):
    monkeypatch.setattr("ec2map_sync.ledger.feeds.DROPPED", 2)
    for n in range(6):
        ledger.see([seen(n)])
    publish(ledger)
    left = []
    for _ in range(4):
        ledger.cursors.drop_published()
        left.append(len(own_rows(engine)))

    assert left == [4, 2, 1, 1]


def test_a_revision_with_more_than_are_dropped_at_once_goes_too(
    ledger, engine, monkeypatch
):
    monkeypatch.setattr("ec2map_sync.ledger.feeds.DROPPED", 2)
    ledger.see([seen(n) for n in range(9)])
    ledger.see([seen(10)])
    publish(ledger)

    ledger.cursors.drop_published()

    assert [row.revision for row in own_rows(engine)] == [2]


@pytest.mark.services
@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
def test_who_drops_waits_for_nobody_who_records(ledger, engine):
    """And takes nothing from him; SQLite has one writer at a time."""
    ledger.see([seen(1)])
    ledger.see([seen(2)])
    publish(ledger)
    with ledger.recording() as (_, recording):
        recording.look_up([image(3)])
        claim = Claim(claimed_at=recording.next_stamp(), image=image(3))
        recording.join([claim], own=True)
        ledger.cursors.drop_published()
        recording.commit()

    assert [row.revision for row in own_rows(engine)] == [2, 3]


def test_what_no_number_tells_of_is_not_looked_for(ledger, asked):
    """Each look costs a server nearly as much as to write what is new."""
    first = [Claim(claimed_at=n, image=image(n)) for n in (1, 2)]
    more = [Claim(claimed_at=n, image=image(n)) for n in (2, 3)]

    assert ledger.record(first).news == 2
    assert not [one for one in asked if "FROM claims" in one]
    assert ledger.record(more).news == 1
    assert len([one for one in asked if "FROM claims" in one]) == 1


@pytest.mark.parametrize(("wanted", "news"), [(None, 1), (Wanted(9, 120), 2)])
def test_a_claim_whose_number_is_gone_is_known_all_the_same(
    ledger, engine, wanted, news
):
    ledger.record([Claim(claimed_at=n, image=image(n)) for n in (1, 2)])
    with engine.begin() as connection:
        connection.execute(sa.delete(numbers))

    recorded = ledger.record(
        [
            Claim(claimed_at=1, image=image(1), wanted=wanted),
            Claim(claimed_at=3, image=image(3)),
        ]
    )

    assert recorded.news == news
    assert ledger.claims([image(1)])[image(1)].wanted == wanted
    assert ledger.head().total.count == 3
    assert mapping(ledger)[image(3)] == SMALL.derive(image(3))


def test_an_image_that_was_seen_is_known_without_its_number(ledger, engine):
    ledger.see([seen(1), seen(2)])
    first = ledger.claims([image(1)])
    with engine.begin() as connection:
        connection.execute(sa.delete(numbers))

    assert ledger.see([seen(1), seen(3)]).news == 1
    assert ledger.see([seen(1)]).news == 0
    assert ledger.claims([image(1)]) == first


def test_what_is_new_is_looked_for_by_its_number_alone(ledger, asked):
    ledger.see([seen(n) for n in range(5)])
    looks = [
        one for one in asked if one.startswith("SELECT") and "numbers" in one
    ]

    assert len(looks) == 1
    assert not [one for one in asked if "FROM claims" in one]


def test_what_was_free_at_a_glimpse_may_be_taken_behind_the_lock(
    ledger, engine, monkeypatch
):
    heard = [Claim(claimed_at=n, image=image(n)) for n in range(1, 20)]

    def late(connection, images, scheme):
        found = known.glimpse(connection, images, scheme)
        connection.rollback()  # a lock on SQLite
        Ledger(engine, SMALL).record(heard)
        return found

    monkeypatch.setattr("ec2map_sync.ledger.ledger.glimpse", late)
    ledger.see([seen(n) for n in range(10, 30)])

    claims = ledger.claims(image(n) for n in range(1, 30)).values()
    assert {c for c in claims if c.claimed_at < 20} == set(heard)
    assert mapping(ledger) == settle(claims, SMALL)


def test_a_canary_that_is_known_is_no_news(ledger):
    canary = Claim(claimed_at=7, image=canary_of("RegionTwo", 7))

    assert ledger.record([canary]).news == 1
    assert ledger.record([canary]).news == 0


def test_claims_of_peers_are_not_published_again(ledger):
    ledger.record([Claim(claimed_at=5, image=image(1))])

    with ledger.cursors.reader("publisher") as reader:
        assert reader.own_claims(10)[0] == []


def test_own_news_is_published_even_if_a_peer_joins_in_first(ledger):
    ledger.see([seen(1)])
    ledger.record([Claim(claimed_at=5, image=image(1))])

    with ledger.cursors.reader("publisher") as reader:
        (claim,), _ = reader.own_claims(10)
    assert claim.claimed_at == 5


def test_stamps_come_after_all_that_was_heard_of(ledger):
    future = wall_clock() + 3600 * 1_000_000
    ledger.record([Claim(claimed_at=future, image=image(1))])
    ledger.see([seen(2)])

    assert ledger.claims([image(2)])[image(2)].claimed_at > future


def test_a_reader_gets_whole_revisions(ledger):
    ledger.see([seen(n) for n in range(5)])
    ledger.see([seen(5)])

    with ledger.cursors.reader("x") as reader:
        assert reader.numbers(2) == (1, True)
        assert len(reader.changed(1)) == 5
        reader.advance(1)
    with ledger.cursors.reader("x") as reader:
        assert reader.numbers(2) == (2, False)
        assert len(reader.changed(2)) == 1


def test_a_move_is_recorded_with_its_cause(ledger, engine, caplog):
    late, early = [
        image(n) for n in range(500) if SMALL.derive(image(n)) == 100
    ][:2]
    ledger.record([Claim(claimed_at=20, image=late)])

    moved = ledger.record([Claim(claimed_at=10, image=early)]).moved

    assert moved == 1
    with engine.connect() as connection:
        row = connection.exec_driver_sql(
            "SELECT image, old, new, cause FROM moves"
        ).one()
    assert row == (late, 100, SMALL.probe(late, 1), early)
    assert caplog.messages == [
        f"image {late} has moved from ami-00000064 to "
        f"{format_id(SMALL.probe(late, 1))}, because of the claim of {early}"
    ]


def test_what_images_lose_is_counted_for_each_peer_and_day(engine):
    """By whoever opens the ledger: another agent, host, or command."""
    now = [wall_clock()]
    wide = Scheme(b"test")
    ledger = Ledger(engine, wide, lambda: now[0])
    ledger.see([seen(n) for n in range(6)])
    numbers = [wide.derive(image(n)) for n in range(6)]
    takers = [
        Claim(claimed_at=9, image=image(90 + n), wanted=Wanted(1, number))
        for n, number in enumerate(numbers)
    ]

    def take(n: int, peer: str = "two") -> int:
        other = Ledger(engine, wide, lambda: now[0])
        allowed = Allowance(peer=peer, max_moves=99, max_evictions=2)
        return other.record(takers[n : n + 1], allowance=allowed).evicted

    assert [take(0), take(1), take(2, "three")] == [1, 1, 1]
    with pytest.raises(TooManyEvictions, match="a day, 2 of which two has"):
        take(3)
    assert ledger.queries.evictions_lately(now[0]) == {"two": 2, "three": 1}
    assert ledger.numbers_of([image(3)]) == {image(3): numbers[3]}

    now[0] += 86_400 * 1_000_000
    assert take(3) == 1
    # What an operator takes is nobody's.
    ledger.record(takers)
    assert ledger.queries.evictions_lately(now[0]) == {"two": 1}


def test_a_ledger_of_another_scheme_is_refused(ledger, engine):
    ledger.see([seen(1)])

    with pytest.raises(SchemeMismatch, match="hash_key"):
        Ledger(engine, Scheme(b"other", SMALL.band)).see([seen(2)])


def test_a_missing_schema_is_one_clear_line(tmp_path):
    engine = create_engine(parse_url(f"sqlite:///{tmp_path}/none", "x"))

    with pytest.raises(SchemaError, match="db upgrade"):
        schema.require(engine)


def test_the_migrations_make_the_tables(engine):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []


def empty(engine):
    """Make a ledger as good as new."""
    with engine.begin() as connection:
        for table in set(metadata.sorted_tables) - {head}:
            connection.execute(sa.delete(table))
        connection.execute(
            sa.update(head).values(
                revision=0, last_stamp=0, total_count=0, total_sum=0
            )
        )


def test_ranges_break_where_they_break_in_python(ledger):
    """Not where a language sorts "aa" behind "z", or digits elsewhere."""
    pairs = ["09", "0a", "aa", "fe"]
    known = [
        Claim(claimed_at=at, image=f"{pair}00000{at}{image(0)[8:]}")
        for at in (5, 7, 8)
        for pair in pairs
    ]
    ledger.record(known)
    known.sort(key=lambda claim: claim.bound)

    bounds = [BEGINNING, *(claim.bound for claim in known), END]
    for start, stop in combinations(bounds, 2):
        span = Span(start, stop)
        inside = [c for c in known if start <= c.bound < stop]
        assert ledger.print_of(span) == print_of(inside)
        assert ledger.page(span, 99) == inside
        for part in ledger.split(span):
            first, last = part.span
            some = [c for c in inside if first <= c.bound < last]
            assert part.print == print_of(some)
            inside = [c for c in inside if c not in some]
        assert inside == []


def test_the_database_sketches_as_python_does(ledger):
    known = [
        Claim(claimed_at=1 + n // 3, image=image(7919 * n)) for n in range(300)
    ]
    ledger.record(known)
    known.sort(key=lambda claim: claim.bound)
    bounds = [BEGINNING, known[10].bound, known[31].after, Bound(60), END]
    spans = [Span(*pair) for pair in combinations(bounds, 2)]

    for some in ([], [EVERYTHING], *combinations(spans, 2)):
        shape = Shape.draw(20)
        inside = [
            claim
            for claim in known
            if any(span.start <= claim.bound < span.stop for span in some)
        ]
        told = ledger.sketch_of(some, shape)
        assert told == sketch_of((c.hash for c in inside), shape)
        wanted = {claim.hash for claim in known[5:90:4]}
        found = ledger.hashed(some, {*wanted, 7})
        assert found == [c for c in inside if c.hash in wanted]
    assert ledger.hashed([EVERYTHING], []) == []


claims = st.builds(
    Claim,
    claimed_at=st.integers(1, 60),
    image=st.integers(0, 40).map(image),
    wanted=st.none()
    | st.builds(Wanted, st.integers(1, 60), st.integers(98, 131)),
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
    max_examples=30,
)
@given(st.lists(st.lists(claims, max_size=6), max_size=12))
def test_every_history_ends_as_settled_from_scratch(engine, history):
    empty(engine)
    ledger = Ledger(engine, SMALL)
    for batch in history:
        ledger.record(batch)

    images = {claim.image for batch in history for claim in batch}
    known = ledger.claims(images)

    assert mapping(ledger) == settle(known.values(), SMALL)
    head, before = ledger.print_before(30)
    assert head.total == print_of(known.values())
    assert before == print_of(c for c in known.values() if c.claimed_at < 30)
