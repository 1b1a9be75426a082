"""Regions sign alone what they knew, and hear what others have signed."""

import json
from dataclasses import replace
from types import SimpleNamespace

import frozen
import made
import pytest
from edited import edit
from patience import wait_until
from sqlalchemy.engine import Engine

from ec2map_sync.agent.health import Memory
from ec2map_sync.ledger import Ledger
from ec2map_sync.ledger.bookkeeper import Bookkeeper
from ec2map_sync.ledger.signatures import HOUR, KEPT, agreed_among
from ec2map_sync.monitor.views import seen_from_here
from ec2map_sync.peers.notary import OFTEN, Notary
from ec2map_sync.peers.publisher import Publisher
from ec2map_sync.peers.witness import LASTING, Contradiction, Witness
from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.agreements import SETTLED, Terms
from ec2map_sync.protocol.notes import BadNote, Note, sign
from ec2map_sync.protocol.seen import Seen, seen_to_json
from ec2map_sync.protocol.signing import PublicKey, SigningKey
from ec2map_sync.protocol.statements import digest
from ec2map_sync.rules.claims import Claim, SeenKind, Wanted
from ec2map_sync.rules.ec2id import Kind, Scheme
from ec2map_sync.sql.database import create_engine, parse_url

SCHEME = Scheme(b"test")
MINUTE = 60_000_000
NOON = 500_000 * HOUR
NAMES = ("one", "two")


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


class Outlet:
    """What a region has published last."""

    def send(self, _routing_key, headers, body):
        self.said = headers, body

    def pump(self):
        pass


class Region:
    """As far as it signs; its clock and its patience are the test's."""

    def __init__(self, name, directory, clock):
        url = parse_url(f"sqlite:///{directory}/{name}", "x")
        self.engine: Engine = create_engine(url)
        made.make(self.engine)
        self.name = name
        self.clock = clock
        self.ledger = Ledger(self.engine, SCHEME, lambda: clock[0])
        self.key = SigningKey.generate()
        self.pen = wire.Pen(
            region=name,
            scheme=SCHEME.fingerprint,
            key=self.key,
            clock=lambda: clock[0],
        )
        self.passed = 0.0
        self.start()
        self.outlet = Outlet()
        self.publisher = Publisher(
            self.ledger,
            self.outlet,
            self.pen,
            batch_size=9,
            heartbeat_interval=0,
        )
        self.witnesses = {}

    def start(self):
        """Begin, or begin anew as after a crash."""
        self.notary = Notary(
            self.ledger,
            self.pen,
            [n for n in NAMES if n != self.name],
            interval=60,
            pause=10,
            monotonic=lambda: self.passed,
        )

    def trust(self, peer):
        keys = (PublicKey(peer.key.public),)
        trust = wire.Trust(
            sender=peer.name, keys=keys, scheme=SCHEME.fingerprint
        )
        self.witnesses[peer.name] = Witness(
            self.ledger, trust, self.name, self.pen.clock
        )

    def sign(self):
        """Sign what is to be, and what is to be looked at again."""
        self.passed += 11
        self.clock[0] += 1
        self.notary.step()
        return self.note

    @property
    def said(self):
        """What it has signed, as its heartbeat tells."""
        self.publisher.step()
        fields = json.loads(self.outlet.said[1])
        return fields.get("note", ""), fields.get("statement", "")

    @property
    def note(self):
        return self.said[0]

    def state(self, terms, statement):
        """Say what it likes, signed with its key."""
        return tuple(
            str(Note(text=t, signatures=(sign(t, self.name, self.key),)))
            for t in (terms.text, statement.text)
        )

    @property
    def position(self):
        return self.ledger.statements.of(self.name).position

    def hear(self, peer, *said):
        self.witnesses[peer.name].hear(*(said or peer.said))

    @property
    def kept(self):
        return self.ledger.signatures.latest()


@pytest.fixture
def clock():
    return [NOON + SETTLED]


@pytest.fixture
def regions(tmp_path, clock):
    regions = [Region(name, tmp_path, clock) for name in NAMES]
    for region in regions:
        for peer in regions:
            region.trust(peer)
        region.ledger.record(
            Claim(claimed_at=NOON - n, image=image(n)) for n in range(1, 6)
        )
    yield regions
    for region in regions:
        region.engine.dispose()


def terms_of(said):
    return Terms.parse(Note.parse(said.encode()).text)


def test_regions_sign_the_same_of_the_same_moment_without_asking(
    regions, clock
):
    one, two = regions
    first = one.sign()
    clock[0] += MINUTE - 9
    second = two.sign()

    assert terms_of(first) == terms_of(second)
    assert (terms_of(first).until, terms_of(first).count) == (NOON, 5)
    for region, peer in (regions, reversed(regions)):
        region.hear(peer)
        text = Note.parse(first.encode()).text
        assert agreed_among(region.kept, NAMES) == [(NOON, text)]


def test_a_moment_is_signed_once_and_the_next_one_too(regions, clock):
    one, _ = regions
    assert one.sign() == one.sign()
    one.start()
    first = one.sign()
    clock[0] += MINUTE

    second = one.sign()

    assert terms_of(second).until == terms_of(first).until + MINUTE
    assert [s.until for s in one.kept] == [NOON, NOON + MINUTE]


def test_what_comes_late_makes_a_note_that_supersedes(regions, caplog):
    caplog.set_level("INFO")
    one, two = regions
    before = one.sign()
    two.hear(one)
    one.ledger.record([Claim(claimed_at=NOON - 9, image=image(9))])

    after = one.sign()
    two.hear(one)

    assert terms_of(after).count == terms_of(before).count + 1
    for region in regions:
        (kept,) = region.kept
        assert kept.text == Note.parse(after.encode()).text
        assert kept.former == Note.parse(before.encode()).text
    said = "supersedes the former: 1 more images were claimed before it"
    assert caplog.text.count(said) == 2


def test_a_full_hour_is_signed_anew_and_the_newest_moment_first(
    regions, clock
):
    one, _ = regions
    one.sign()
    clock[0] += 7 * MINUTE
    one.sign()
    one.ledger.record([late(1)])

    found = [terms_of(one.sign()) for _ in range(4)]

    moments = [(t.until, t.count) for t in found]
    assert moments == [(NOON + 7 * MINUTE, 6), *[(NOON, 6)] * 3]


def test_what_is_claimed_later_changes_no_note(regions):
    one, _ = regions
    before = one.sign()
    one.ledger.record([Claim(claimed_at=NOON, image=image(9))])

    assert one.sign() == before
    assert one.kept[0].former is None


def without_a_key(note, _peer):
    stranger = sign(note.text, "two", SigningKey.generate())
    return Note(text=note.text, signatures=(stranger,))


def in_another_name(note, peer):
    other = sign(note.text, "three", peer.key)
    return Note(text=note.text, signatures=(other,))


def with_another_count(note, _peer):
    text = note.text.replace("\n5\n", "\n6\n")
    return Note(text=text, signatures=note.signatures)


def far_ahead(note, peer):
    text = note.text.replace(str(NOON), str(NOON + 25 * HOUR))
    return Note(text=text, signatures=(sign(text, "two", peer.key),))


def of_more_images(note, peer):
    text = note.text.replace("\n5\n", "\n6\n")
    return Note(text=text, signatures=(sign(text, "two", peer.key),))


def of_countless_images(note, peer):
    text = note.text.replace("\n5\n", f"\n5{18 * '0'}\n")
    return Note(text=text, signatures=(sign(text, "two", peer.key),))


def of_more_digits_than_python_reads(note, peer):
    text = note.text.replace("\n5\n", f"\n{5000 * '5'}\n")
    return Note(text=text, signatures=(sign(text, "two", peer.key),))


def of_another_scheme(note, peer):
    text = note.text.replace(SCHEME.fingerprint, "0123")
    return Note(text=text, signatures=(sign(text, "two", peer.key),))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_a_key, "two has not signed it with a key"),
        (in_another_name, "two has not signed it with a key"),
        (with_another_count, "not of this text"),
        (far_ahead, "24 h ahead"),
        (of_another_scheme, "of scheme 0123"),
        (of_countless_images, "is no number"),
        (of_more_digits_than_python_reads, "is no number"),
        (lambda _note, _peer: "nothing", "no signed note"),
        (of_more_images, "about another note"),
    ],
)
def test_what_a_peer_has_not_signed_is_refused(regions, change, said):
    one, two = regions
    note = Note.parse(two.sign().encode())
    _, statement = two.said

    with pytest.raises(BadNote, match=said):
        one.hear(two, str(change(note, two)), statement)

    assert one.kept == []


def test_a_peer_that_signs_nothing_is_a_release_of_before(regions):
    one, two = regions
    assert two.note == ""

    one.hear(two)

    assert one.kept == []


# Two claims of one hash, as somebody who looks for them finds in seconds.
OF_ONE_HASH = [
    Claim(
        claimed_at=NOON - MINUTE,
        image=image(7),
        wanted=Wanted(NOON - ago, number),
    )
    for ago, number in ((1_447_102, 100), (1_058_655, 200))
]


@pytest.mark.parametrize(
    ("there", "warned"),
    [
        (OF_ONE_HASH[:1], 0),
        (OF_ONE_HASH[1:], 1),
        ([*OF_ONE_HASH[1:], replace(OF_ONE_HASH[0], image=image(8))], 0),
    ],
    ids=["the same", "another of one hash", "more"],
)
def test_roots_tell_what_prints_do_not(regions, clock, caplog, there, warned):
    one, two = regions
    one.ledger.record(OF_ONE_HASH[:1])
    two.ledger.record(there)
    if warned:
        assert one.ledger.head().total == two.ledger.head().total

    for n in range(LASTING + 3):
        clock[0] += MINUTE
        one.sign()
        two.sign()
        one.hear(two)
        one.hear(two)
        said = [m for m in caplog.messages if "other notes than we" in m]
        assert len(said) == (warned if n >= LASTING else 0)


def test_one_note_of_each_hour_is_kept_the_last_that_all_have_signed(regions):
    one, two = regions
    put = one.ledger.signatures.put

    def signed(hour, minutes, *names):
        for minute in minutes:
            until = NOON + hour * HOUR + minute * MINUTE
            for name in names:
                put(until, f"{until}\n", sign(f"{until}\n", name, two.key))

    signed(0, range(60), *NAMES)
    signed(1, range(30), *NAMES)
    signed(1, range(30, 60), "one")
    signed(2, range(60), "two")
    signed(3, range(60), *NAMES)
    now = NOON + 4 * HOUR

    one.ledger.signatures.thin(now, NAMES)
    one.ledger.signatures.thin(now, NAMES)

    moments = {s.until for s in one.kept if s.until < now - HOUR}
    assert moments == {
        NOON + 59 * MINUTE,
        NOON + HOUR + 29 * MINUTE,
        NOON + 2 * HOUR + 59 * MINUTE,
    }
    assert len(one.kept) == 5 + 2 * 60
    one.ledger.signatures.thin(now + KEPT - 3 * HOUR, NAMES)
    assert min(s.until for s in one.kept) == NOON + HOUR + 29 * MINUTE


def test_a_heartbeat_counts_whatever_stands_for_its_note(regions):
    one, two = regions
    two.sign()
    two.publisher.step()
    headers, body = two.outlet.said
    for odd in (None, 7, {"a": 1}, "x" * 5000, ["note"], "\ud800"):
        fields = json.loads(body) | {"note": odd, "statement": odd}
        beat = messages.FROM_JSON["heartbeat"](fields, one.pen.clock())
        said = (beat.note, beat.statement, beat.newest)
        assert said == ("", "", fields["newest"])
    assert headers["type"] == "heartbeat"


def stated(known, *, terms=None, **fields):
    """What would follow a statement, but for some fields."""
    terms = terms or replace(known.terms, until=known.terms.until + MINUTE)
    length = known.statement.length
    made = known.statement.next(length=length, text=terms.text, former=None)
    return terms, replace(made, **fields)


def another_set(known):
    return stated(known, terms=replace(known.terms, claims=bytes(32)))


def another_set_of_more(known):
    more = replace(known.terms, count=known.terms.count + 1)
    return stated(known, terms=more)


def fewer_images(known):
    count = known.terms.count - 1
    later = replace(known.terms, until=known.terms.until + MINUTE, count=count)
    return stated(known, terms=later)


def fewer_of_the_same_moment(known):
    fewer = replace(known.terms, count=known.terms.count - 1)
    former = digest(known.terms.text)
    return stated(known, terms=fewer, superseded=former)


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (another_set, "another set of the same moment"),
        (another_set_of_more, "another set of the same moment"),
        (fewer_images, "1 images are gone that it had signed"),
        (fewer_of_the_same_moment, "1 images are gone"),
        (lambda k: stated(k, length=0), "has 0 changes, and had 1"),
        (lambda k: stated(k, serial=2), "two statements numbered 2"),
        (lambda k: stated(k, serial=1), "numbered 1, and 2 was before"),
        (lambda k: stated(k, previous=bytes(32)), "does not follow"),
        (lambda k: stated(k, began=1), "a feed that it had given up"),
    ],
)
def test_who_contradicts_what_it_has_signed_is_refused(
    regions, clock, lie, why
):
    one, two = regions
    for _ in range(2):
        two.sign()
        clock[0] += MINUTE
        one.hear(two)
    before = one.kept
    said = two.state(*lie(two.position))

    for _ in range(2):
        with pytest.raises(Contradiction, match=why):
            one.hear(two, *said)

    assert one.kept == before
    assert why in one.ledger.statements.refused(["two"])["two"]
    two.sign()
    one.hear(two)  # which goes on from where it was
    assert one.ledger.statements.refused(["two"]) == {}


def test_a_statement_in_another_name_is_refused(regions):
    one, two = regions
    two.sign()
    terms, statement = stated(two.position, region="three")

    with pytest.raises(BadNote, match="three states it"):
        one.hear(two, *two.state(terms, statement))
    with pytest.raises(BadNote, match="no signed note"):
        one.hear(two, two.note, "")


def late(n):
    return Claim(claimed_at=NOON - 50 - n, image=image(20 + n))


def test_what_comes_twice_contradicts_nothing(regions, clock):
    one, two = regions
    said = []
    for n in range(3):
        two.sign()
        said.append(two.said)
        two.ledger.record(
            [Claim(claimed_at=NOON - 50 - n, image=image(20 + n))]
        )
        two.sign()
        said.append(two.said)
        clock[0] += MINUTE

    for each in said * 2:
        one.hear(two, *each)
    one.witnesses.clear()
    one.trust(two)
    for each in said * 2:
        one.hear(two, *each)

    assert one.ledger.statements.refused(["two"]) == {}
    assert one.ledger.statements.of("two").position == two.position


def test_statements_that_were_missed_break_nothing(regions, clock):
    one, two = regions
    two.sign()
    one.hear(two)
    for n in range(3):
        two.ledger.record(
            [Claim(claimed_at=NOON - 50 - n, image=image(20 + n))]
        )
        two.sign()

    one.hear(two)

    assert one.kept[0].text == two.kept[0].text
    clock[0] += MINUTE


def copied(region):
    """Keep a copy of its ledger; gives what brings it back."""
    with region.engine.connect() as connection:
        rows = frozen.dump(connection)

    def restore():
        with region.engine.begin() as connection:
            frozen.load(connection, rows)

    return restore


def signed_past_a_backup(regions, clock):
    one, two = regions
    two.sign()
    one.hear(two)
    restore = copied(two)
    two.ledger.record([Claim(claimed_at=NOON + 1, image=image(9))])
    clock[0] += MINUTE
    two.sign()
    one.hear(two)
    restore()
    clock[0] += MINUTE
    return one, two


def test_a_ledger_that_was_restored_announces_itself_and_goes_on(
    regions, clock, tmp_path, caplog
):
    caplog.set_level("INFO")
    one, two = regions
    memory = Memory(path=tmp_path / "memory", region="two")
    memory.check(two.ledger)
    two.sign()
    one.hear(two)
    restore = copied(two)
    two.ledger.record([Claim(claimed_at=NOON + 1, image=image(9))])
    clock[0] += MINUTE
    two.sign()
    memory.check(two.ledger)
    one.hear(two)
    restore()
    two.start()
    clock[0] += MINUTE

    memory.check(two.ledger)
    two.sign()
    one.hear(two)

    assert two.position.statement.serial == 1
    assert two.position.terms.count == 5
    assert one.ledger.statements.refused(["two"]) == {}
    assert caplog.text.count("two announces that its ledger is new") == 1
    clock[0] += MINUTE
    two.sign()
    one.hear(two)
    assert one.kept[-1].until == NOON + 3 * MINUTE


def test_one_restored_while_it_is_looked_at_announces_itself_too(
    regions, clock
):
    one, two = signed_past_a_backup(regions, clock)

    two.sign()
    one.hear(two)

    assert one.ledger.statements.refused(["two"]) == {}


def test_what_was_signed_ahead_of_a_backup_binds_nobody_who_begins_anew(
    regions, clock
):
    one, two = regions
    two.sign()
    one.hear(two)
    restore = copied(two)
    two.ledger.record([Claim(claimed_at=NOON + 1, image=image(9))])
    clock[0] += 2 * MINUTE  # as the other host of the region has it
    two.sign()
    one.hear(two)
    restore()
    clock[0] -= MINUTE
    two.sign()
    one.hear(two)
    clock[0] += MINUTE

    for n in range(2):
        two.ledger.record([late(n)])
        two.sign()
        one.hear(two)

    assert one.ledger.statements.refused(["two"]) == {}
    said = two.state(*another_set(two.position))
    with pytest.raises(Contradiction, match="another set of the same moment"):
        one.hear(two, *said)


def test_what_superseded_a_note_may_have_been_missed(regions, clock):
    """Heartbeats tell of the newest statement, and two may be made between."""
    one, two = regions
    two.ledger.record([late(1)])
    two.sign()
    one.hear(two)
    two.ledger.record([late(2)])
    two.sign()  # of the same moment, and nobody hears of it
    missed = two.position.terms
    clock[0] += MINUTE
    two.sign()
    one.hear(two)
    more = replace(missed, count=missed.count + 1)

    in_silence = two.state(*stated(two.position, terms=more))
    with pytest.raises(Contradiction, match="another set of the same moment"):
        one.hear(two, *in_silence)
    former = digest(missed.text)
    one.hear(
        two, *two.state(*stated(two.position, terms=more, superseded=former))
    )

    assert one.ledger.statements.refused(["two"]) == {}


def test_what_was_superseded_before_one_began_anew_may_come_again(
    regions, clock
):
    one, two = regions
    first = two.sign(), two.said[1]
    two.ledger.record([late(1)])
    second = two.sign(), two.said[1]
    two.ledger.statements.forget("two")
    clock[0] += MINUTE
    two.sign()
    told = [first, second, two.said]

    # A host is killed between its commits and the acknowledgement.
    for said in told + told:
        one.hear(two, *said)

    assert one.ledger.statements.refused(["two"]) == {}
    assert one.ledger.signatures.by("two", NOON).former


@pytest.mark.parametrize("killed", [False, True])
def test_one_that_signed_what_it_then_put_right_announces_itself(
    regions, clock, caplog, monkeypatch, killed
):
    caplog.set_level("INFO")
    one, two = regions
    late = Claim(
        claimed_at=NOON + 9 * MINUTE,
        image=image(9),
        kind=SeenKind(at=NOON + 2, kind=Kind.AMI),
    )
    two.ledger.record([late])
    by_hand = f"SET claimed_at = 1 WHERE kind_at = {NOON + 2}"
    edit(two.ledger, f"UPDATE claims {by_hand}")
    two.sign()
    one.hear(two)
    keeper = Bookkeeper(two.ledger)
    wait_until(lambda: not keeper.step() or two.ledger.copies.state().found)

    if killed:  # between the note and what is stated of it
        with monkeypatch.context() as patch:
            patch.setattr(two.ledger.statements, "put", None)
            with pytest.raises(TypeError):
                two.sign()
        two.start()
        clock[0] += MINUTE
    for _ in range(3):
        two.sign()
        one.hear(two)
        clock[0] += MINUTE

    assert two.position.terms.count == 5
    assert one.ledger.statements.refused(["two"]) == {}
    assert caplog.text.count("two announces that its ledger is new") == 1


def test_one_that_lost_an_image_after_it_was_put_right_is_refused(
    regions, clock
):
    one, two = regions
    edit(two.ledger, "UPDATE head SET total_count = 77")
    Bookkeeper(two.ledger).step()
    clock[0] += MINUTE
    two.sign()
    one.hear(two)
    edit(two.ledger, f"DELETE FROM claims WHERE claimed_at = {NOON - 1}")
    clock[0] += MINUTE

    two.sign()

    with pytest.raises(Contradiction, match="1 images are gone"):
        one.hear(two)


def tell(one, two):
    """Let one's next heartbeat say how it sees two."""
    bus = SimpleNamespace(
        heartbeat_interval=1, peers=[SimpleNamespace(name=two.name)]
    )
    now = one.clock[0]
    one.ledger.journal.note_peer(two.name, received_at=now)
    sees = seen_to_json(seen_from_here(one.ledger, bus, now))
    two.ledger.journal.note_peer(one.name, sees=json.dumps(sees))


def test_one_that_is_restored_in_silence_is_refused_until_it_is_told(
    regions, clock
):
    one, two = signed_past_a_backup(regions, clock)
    two.start()  # and nothing has told it
    two.sign()
    with pytest.raises(Contradiction, match="two statements numbered 2"):
        one.hear(two)
    tell(one, two)

    for _ in range(2):
        clock[0] += MINUTE
        two.sign()
        one.hear(two)
        tell(one, two)

    assert one.ledger.statements.refused(["two"]) == {}
    assert two.position.statement.serial == 2


def test_one_that_lost_much_is_told_though_it_has_signed_more_since(
    regions, clock
):
    one, two = regions
    two.sign()
    for n in range(9):
        two.ledger.record([late(n)])
    clock[0] += MINUTE
    two.sign()
    restore = copied(two)
    one.hear(two)
    held = two.position.statement
    restore()
    short = replace(held, serial=held.serial + 7, length=held.length - 5)
    note = Note(
        text=short.text, signatures=(sign(short.text, "two", two.key),)
    )
    two.ledger.statements.put("two", note, Note.parse(two.note.encode()))
    two.start()
    clock[0] += MINUTE
    one.ledger.statements.refuse("two", "its feed has fewer changes")
    tell(one, two)

    two.sign()
    one.hear(two)

    assert one.ledger.statements.refused(["two"]) == {}
    assert two.position.statement.serial == 1
    assert two.position.statement.began > held.began


def test_two_ledgers_that_sign_with_one_key_do_not_take_turns_for_ever(
    regions, clock, caplog
):
    _, two = regions
    beginnings = set()
    for n in range(9):
        two.sign()
        beginnings.add(two.position.statement.began)
        other = replace(two.position.statement, serial=100 + n).text
        held = Note(text=other, signatures=(sign(other, "two", two.key),))
        seen = Seen(name="two", state="agrees", holds=str(held))
        two.ledger.journal.note_peer(
            "one", sees=json.dumps(seen_to_json([seen]))
        )
        clock[0] += MINUTE

    assert len(beginnings) == 1 + OFTEN
    assert caplog.text.count("this ledger has lost it") == OFTEN


def test_one_that_began_anew_by_a_clock_that_was_set_back_begins_later(
    regions, clock
):
    one, two = regions
    two.sign()
    one.hear(two)
    began = two.position.statement.began
    two.ledger.statements.forget("two")
    clock[0] -= MINUTE
    two.sign()
    one.hear(two)  # as if it came twice: nobody takes that amiss
    clock[0] += 2 * MINUTE
    two.sign()
    with pytest.raises(Contradiction, match="a feed that it had given up"):
        one.hear(two)
    tell(one, two)

    clock[0] += MINUTE
    two.sign()
    one.hear(two)

    assert one.ledger.statements.refused(["two"]) == {}
    assert two.position.statement.began > began
    assert two.position.statement.serial == 1


@pytest.mark.parametrize("liar", [False, True])
def test_nobody_begins_anew_for_what_it_has_not_lost(regions, clock, liar):
    one, two = regions
    two.sign()
    one.hear(two)
    held = one.ledger.statements.of("two").statement
    if liar:
        later = replace(two.position.statement, serial=9).text
        held = Note(text=later, signatures=(sign(later, "two", one.key),))
    seen = Seen(name="two", state="agrees", holds=str(held))
    two.ledger.journal.note_peer("one", sees=json.dumps(seen_to_json([seen])))

    for _ in range(2):
        two.ledger.record([late(two.position.statement.serial)])
        clock[0] += MINUTE
        two.sign()
        one.hear(two)

    assert two.position.statement.serial == 3
