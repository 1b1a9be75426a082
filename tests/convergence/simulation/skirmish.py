"""Short histories of attacks, many of which take little time.

No brokers and no sinks: what regions say to each other is encoded, signed,
lost, doubled, kept back, and decoded; a Follower takes it in; questions are
answered at once. `history` has all the rest, and takes as long for one as
this for a hundred.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from typing import NamedTuple
from unittest import mock
from uuid import UUID

from ec2map_sync.peers import compare
from ec2map_sync.peers.addressee import Answered
from ec2map_sync.peers.follower import REFUSED_PAUSE, Follower
from ec2map_sync.peers.publisher import SETTLED_AFTER
from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import Claim, Sighting, Stamp
from ec2map_sync.rules.ec2id import Band, Kind, Scheme
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.settle import settle
from ec2map_sync.rules.stamps import BadStamp
from simulation import history, memory, outlaws
from simulation.region import Wrong

BEGIN = 1_800_000_000.0
HOUR = 3600.0
IMAGES = 16
ACTS = 14
"""How much happens in a history."""

STEPS = 60
"""Steps of a Follower, by which it has heard whatever there is to hear."""

DECISIONS = 6


@dataclass
class Outcome(history.Outcome):
    """What a skirmish has seen; its rounds are those of decisions."""

    mapping: dict[str, int] = field(default_factory=dict)


@dataclass(eq=False)
class Mail:
    """A message, as a Follower gets it."""

    headers: dict[str, object]
    body: bytes


class Stamper(NamedTuple):
    """A key, secret and public, that takes less time than a real one."""

    name: str

    def sign(self, data: bytes) -> bytes:
        """Sign."""
        return blake2b(data, key=self.name.encode()).digest()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Tell whether the same has signed."""
        return signature == self.sign(data)


class Line:
    """A Follower's inlet: what was put there, and answers to its questions."""

    def __init__(self, reader: "Member", peer: "Member") -> None:
        self.waiting: deque[Mail] = deque()
        self._reader, self._peer = reader, peer

    def read(self, limit: int, _seconds: float) -> list[Mail]:
        """Give what has come."""
        count = min(limit, len(self.waiting))
        return [self.waiting.popleft() for _ in range(count)]

    def acknowledge(self, mail: Sequence[Mail]) -> None:
        """Nothing is given twice."""

    def close(self) -> None:
        """Nothing is lost."""

    def ask(self, headers: dict[str, object], body: bytes) -> None:
        """Let the peer answer, unless nobody hears it."""
        if self._peer.hears:
            self.waiting.extend(self._peer.answer(headers, body))


class Member:
    """A region: its ledger, its clock, and its followers."""

    def __init__(
        self,
        name: str,
        scheme: Scheme,
        monotonic: Callable[[], float],
        skew: float,
        *,
        max_evictions: int,
        max_moves: int,
        ledger: type[memory.InMemory | memory.OnDisk],
        honest: bool,
    ) -> None:
        self.name, self.scheme, self.skew = name, scheme, skew
        self.honest = honest
        self.hears = True
        self.monotonic = monotonic
        self.max_evictions = max_evictions
        self.max_moves = max_moves
        self.ledger = ledger(scheme, self.clock)
        self.pen = wire.Pen(
            region=name,
            scheme=scheme.fingerprint,
            key=Stamper(name),  # type: ignore[arg-type]
            clock=self.clock,
        )
        self.answered = Answered(self.pen, monotonic)
        self.members: dict[str, Member] = {}
        self.lines: dict[str, Line] = {}
        self.followers: dict[str, Follower] = {}
        self.losses: list[tuple[float, int]] = []
        self.claims: dict[str, Claim] = {}
        self._seats: dict[int, str] = {}

    def clock(self) -> Stamp:
        """Give the time as this region has it."""
        return int((self.monotonic() + self.skew) * 1_000_000)

    @property
    def numbers(self) -> dict[str, int]:
        """Who has which number."""
        return dict(sorted(self.ledger.mapping().items()))

    @property
    def peers(self) -> list[str]:
        """Those whom it trusts."""
        return [name for name in self.members if name != self.name]

    def trust(self, peer: str) -> wire.Trust:
        """Give whom to believe as a peer."""
        return wire.Trust(
            sender=peer,
            keys=(Stamper(peer),),  # type: ignore[arg-type]
            scheme=self.scheme.fingerprint,
        )

    def start(self, members: dict[str, "Member"]) -> None:
        """Start the agent anew: it remembers what is in its ledger."""
        self.members = members
        for peer in self.peers:
            self.lines.setdefault(peer, Line(self, members[peer]))
            self.followers[peer] = Follower(
                self.ledger,
                self.lines[peer],  # type: ignore[arg-type]
                self.trust(peer),
                self.pen,
                recorded=lambda: None,
                patience=0,
                max_moves=self.max_moves,
                max_evictions=self.max_evictions,
                monotonic=self.monotonic,
            )

    def answer(
        self, headers: dict[str, object], body: bytes
    ) -> Sequence[Mail]:
        """Answer a question, as the Answerer does."""
        trusted = {peer: self.trust(peer) for peer in self.peers}
        try:
            received = wire.decode(headers, body, trusted, self.clock())
            question = self.answered.checked(received)
        except BadMessage:
            return ()
        reply = compare.answer(self.ledger, question)
        return [self.write(reply, question.reads)]

    def write(self, message: messages.Message, reads: int = 1) -> Mail:
        """Sign a message, for those who read so new a version."""
        return Mail(*wire.encode(message, self.pen, reads))

    def heartbeat(self) -> Mail:
        """Say what there is, as the Publisher does."""
        until = self.clock() - SETTLED_AFTER
        head, before = self.ledger.print_before(until)
        return self.write(
            messages.Heartbeat(
                until=until,
                before=before,
                total=head.total,
                newest=head.last_stamp,
            )
        )

    def hear(self, peer: str) -> None:
        """Take in what a peer has said, until it has no more to say."""
        follower = self.followers[peer]
        for _ in range(STEPS):
            follower.step()
            self.observe()
            if not self.lines[peer].waiting:
                return

    def observe(self) -> None:
        """Count whoever has lost a number, or one in reserve."""
        seats = self.ledger.seats()
        lost = sum(seats.get(n) != image for n, image in self._seats.items())
        if lost:
            self.losses.append((self.monotonic(), lost))
        self._seats = seats

    def decided(self) -> None:
        """Look at what an operator has decided: it is nobody's attack."""
        self._seats = self.ledger.seats()


class Field:
    """All members of one history."""

    def __init__(
        self, seed: int, ledger: type[memory.InMemory | memory.OnDisk]
    ) -> None:
        self._ledger = ledger
        rng = Random(f"skirmish {seed}")
        self.now = BEGIN
        self.outcome = Outcome(seed)
        self.log: list[str] = []
        size = rng.choice([32, 64, 256])
        self.scheme = Scheme(b"test", Band(100, 100 + size))
        self.images = [
            str(UUID(int=rng.getrandbits(128), version=4))
            for _ in range(IMAGES)
        ]
        self.max_evictions = rng.choice([0, 1, 3])
        self.max_moves = rng.choice([1, 10**9, 10**9])
        honest = rng.choice([2, 2, 2, 3])
        self.steady = rng.random() < 0.5
        """Whether clocks are never set, and so agents may start anew."""
        self.members: dict[str, Member] = {}
        for place in range(honest + rng.choice([1, 1, 2])):
            self._add(f"R{place + 1}", rng, honest=place < honest)
        for member in self.members.values():
            member.start(self.members)
        self.kept: list[tuple[str, Mail]] = []
        """What outlaws have said, to be said again."""

    def _add(self, name: str, rng: Random, *, honest: bool) -> None:
        skew = rng.choice([0.0, rng.uniform(-5, 5) * HOUR])
        if not honest and rng.random() < 0.3:
            skew = rng.choice([-1, 1]) * rng.uniform(2, 40) * 24 * HOUR
        self.members[name] = Member(
            name,
            self.scheme,
            lambda: self.now,
            skew,
            max_evictions=self.max_evictions,
            max_moves=self.max_moves,
            ledger=self._ledger,
            honest=honest,
        )

    @property
    def honest(self) -> list[Member]:
        """Those who mean well, and whose clock is about right."""
        return [m for m in self.members.values() if m.honest]

    @property
    def outlaws(self) -> list[Member]:
        """The others."""
        return [m for m in self.members.values() if not m.honest]

    def say(self, text: str) -> None:
        """Note what happens."""
        self.log.append(f"{self.now - BEGIN:8.1f} {text}")

    def push(
        self, sender: Member, mail: Mail, chance: float, rng: Random
    ) -> None:
        """Bring a message to some of those whom it is meant for."""
        for reader in self.honest:
            if reader is not sender and rng.random() < chance:
                reader.lines[sender.name].waiting.append(mail)
                if rng.random() < 0.8:
                    reader.hear(sender.name)


def see(field: Field, rng: Random) -> None:
    """Let a region's Glance tell of images; it says so to the others."""
    member = rng.choice(list(field.members.values()))
    kinds = [None, *Kind]
    sightings = [
        Sighting(
            image=image,
            uuid=image.upper() if rng.random() < 0.1 else image,
            kind=rng.choice(kinds),
        )
        for image in rng.sample(field.images, rng.choice([1, 2, 3]))
    ]
    _claim(field, member, sightings, rng)


def adopt(field: Field, rng: Random) -> None:
    """Let a region adopt an id that nobody has there."""
    member = rng.choice(field.honest)
    number = rng.choice([rng.randrange(1, 20), rng.choice(range(100, 132))])
    image = rng.choice(field.images)
    _claim(
        field, member, [Sighting(image=image, uuid=image, wanted=number)], rng
    )


def _claim(
    field: Field, member: Member, sightings: Sequence[Sighting], rng: Random
) -> None:
    before = member.ledger.everything()
    try:
        member.ledger.see(sightings)
    except BadStamp:
        if member.honest:
            raise
        return
    member.observe()
    field.say(f"{member.name} sees {[s.image[:8] for s in sightings]}")
    after = member.ledger.everything()
    news = [c for i, c in sorted(after.items()) if before.get(i) != c]
    if news:
        said = member.write(messages.Claims(claims=tuple(news)))
        field.push(member, said, 0.7, rng)


def attack(field: Field, rng: Random) -> None:
    """Let one outlaw, or two together, take what others have."""
    victim = rng.choice(field.honest)
    used = list(victim.numbers.items())
    if not used:
        return
    some = rng.sample(used, min(len(used), rng.choice([1, 2, 5, 20])))
    claims = [outlaws._claim(victim, i, n, rng) for i, n in some]
    gang = field.outlaws if rng.random() < 0.3 else [rng.choice(field.outlaws)]
    how = rng.choice(["push", "keep", "both"])
    size = rng.choice([1, 3, 20])
    for outlaw in gang:
        field.say(f"{outlaw.name} {how} {len(claims)} at {victim.name}")
        if how != "push":
            outlaw.ledger.record(claims)
        for start in range(0, len(claims) if how != "keep" else 0, size):
            part = tuple(claims[start : start + size])
            said = outlaw.write(messages.Claims(claims=part))
            field.kept.append((outlaw.name, said))
            field.push(outlaw, said, rng.choice([0.5, 1]), rng)


def say_again(field: Field, rng: Random) -> None:
    """Let an outlaw's words be said once more, perhaps by another."""
    if not field.kept:
        return
    name, said = rng.choice(field.kept)
    if rng.random() < 0.3:
        name = rng.choice(field.outlaws).name
    field.push(field.members[name], said, 1, rng)


def beat(field: Field, rng: Random) -> None:
    """Let a heartbeat come: who differs, compares."""
    reader = rng.choice(field.honest)
    peer = field.members[rng.choice(reader.peers)]
    reader.lines[peer.name].waiting.append(peer.heartbeat())
    if not reader.followers[peer.name]._pull:
        reader.hear(peer.name)
        check_agreement(reader, peer)


def check_agreement(reader: Member, peer: Member) -> None:
    """Make sure that nothing is agreed upon that differs.

    :raises Wrong: it is.
    """
    state = reader.ledger.journal.peer_states().get(peer.name)
    # What the peer has said just now; it may know more by now.
    until = peer.clock() - SETTLED_AFTER
    if state is None or state.agrees_until != until or state.differs_since:
        return
    here, there = (
        {
            i: c
            for i, c in m.ledger.everything().items()
            if c.claimed_at < until
        }
        for m in (reader, peer)
    )
    missing = memory.same({i: here.get(i) for i in there}, there)
    if missing:
        raise Wrong(f"{reader.name} agrees with {peer.name}, but {missing}")


def wait(field: Field, rng: Random) -> None:
    """Let time pass."""
    field.now += rng.choice([30, 90, HOUR, 20 * HOUR, 26 * HOUR])


def set_clock(field: Field, rng: Random) -> None:
    """Let a clock be set, or an agent start anew."""
    member = rng.choice(list(field.members.values()))
    if field.steady:
        member.start(field.members)
        field.say(f"{member.name} starts anew")
        return
    longest = 9 * HOUR if member.honest else 40 * 24 * HOUR
    member.skew = rng.choice([0.0, rng.uniform(-1, 1) * longest])
    field.say(f"the clock of {member.name} is off by {member.skew:.0f} s")


ACTIONS = {
    see: 10,
    adopt: 1.5,
    attack: 8,
    say_again: 2,
    beat: 8,
    wait: 2,
    set_clock: 1.5,
}


def play(field: Field, leave_out: Collection[int] = ()) -> None:
    """Live through a skirmish, and judge it.

    :raises Wrong: a guarantee is broken.
    """
    seed = field.outcome.seed
    for member in field.honest:
        _claim(
            field,
            member,
            [
                Sighting(image=image, uuid=image)
                for image in Random(f"{seed} {member.name}").sample(
                    field.images, 5
                )
            ],
            Random(seed),
        )
    for place in range(ACTS):
        if place in leave_out:
            continue
        rng = Random(f"skirmish {seed} {place}")
        (action,) = rng.choices(list(ACTIONS), list(ACTIONS.values()))
        counts = field.outcome.counts
        counts[action.__name__] = counts.get(action.__name__, 0) + 1
        action(field, rng)
    judge(field)


def judge(field: Field) -> None:
    """Judge what was done; let operators decide until all is the same.

    :raises Wrong: somebody could do too much, or honest regions differ.
    """
    for outlaw in field.outlaws:
        outlaw.hears = False
    skews = [member.skew for member in field.honest]
    for decided in range(DECISIONS):
        # What is stamped as far ahead as just may be is refused by those
        # whose clock is behind the others', until it has come as far.
        field.now += max(skews) - min(skews)
        field.outcome.rounds = decided
        tell_each_other(field)
        held = False
        for member in field.honest:
            member.claims = member.ledger.everything()
            outlaws.check_bound(
                member,
                len(field.members) - 1,
                field.max_evictions,  # type: ignore[arg-type]
            )
            if member.numbers != settle(member.claims.values(), field.scheme):
                raise Wrong(f"{member.name} has not settled what it has")
            waiting = len(member.ledger.quarantine.newest())
            held |= waiting > 0
            field.outcome.held += waiting
        if not held:
            break
        for member in field.honest:
            outlaws.retry_all(member)  # type: ignore[arg-type]
    first = field.honest[0]
    for member in field.honest[1:]:
        differing = memory.same(first.claims, member.claims)
        if differing:
            raise Wrong(f"{first.name} and {member.name} differ: {differing}")
        if first.numbers != member.numbers:
            raise Wrong(f"{first.name} and {member.name} map otherwise")
    field.outcome.claims = len(first.claims)
    field.outcome.mapping = first.numbers
    field.outcome.evicted = sum(n for m in field.honest for _, n in m.losses)
    field.outcome.moved = sum(m.ledger.moves() for m in field.honest)


def tell_each_other(field: Field) -> None:
    """Let honest regions compare until nothing is news."""
    for _ in range(DECISIONS):
        field.now += REFUSED_PAUSE + SETTLED_AFTER / 1_000_000
        before = [m.ledger.head().revision for m in field.honest]
        for reader in field.honest:
            for peer in field.honest:
                if peer is reader:
                    continue
                # It learns how that one's clock goes, and compares anew.
                reader.lines[peer.name].waiting.append(peer.heartbeat())
                reader.hear(peer.name)
                reader.followers[peer.name].reset()
                reader.hear(peer.name)
        if before == [m.ledger.head().revision for m in field.honest]:
            return


def run(
    seed: int,
    leave_out: Collection[int] = (),
    ledger: type[memory.InMemory | memory.OnDisk] = memory.InMemory,
) -> Outcome:
    """Run the skirmish of a seed.

    :raises Wrong: a guarantee is broken; says what has happened.
    """
    few, more = (2, 3, 2), (32, 99, 9)
    sizes = Random(f"{seed} pages").choice([few, (4, 5, 3), more, more])
    with (
        memory.played(),
        mock.patch.multiple(
            compare, SMALL=sizes[0], PAGE=sizes[1], RANGES=sizes[2]
        ),
    ):
        field = Field(seed, ledger)
        try:
            play(field, leave_out)
        except Wrong as error:
            error.add_note("\n".join([f"seed {seed}:", *field.log]))
            raise
        finally:
            for member in field.members.values():
                member.ledger.close()
    return field.outcome
