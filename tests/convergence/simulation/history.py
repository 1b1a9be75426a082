"""One history: a seeded scheduler of work, claims and faults.

Each action draws from random numbers of its own, made of the seed and its
place, so that any of them can be left out without disturbing the others:
that is how a failing history is shrunk.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from unittest import mock
from uuid import UUID

from sqlalchemy.exc import OperationalError

from ec2map_sync.peers import compare, follower
from ec2map_sync.peers.follower import REFUSED_PAUSE
from ec2map_sync.rules.claims import Sighting
from ec2map_sync.rules.ec2id import Band, Kind, Scheme
from ec2map_sync.rules.stamps import BadStamp
from ec2map_sync.sinks import writer
from simulation import check, outlaws
from simulation.bus import Broker, Network
from simulation.faults import Crash, Fault, Fuse, Outage
from simulation.region import Files, Parts, Process, Region, Wrong

BEGIN = 1_800_000_000.0
HOUR = 3600.0
BATCH_SIZE = 3
MAX_REGIONS = 5
ROUNDS = 250
"""The deadline: rounds of all processes until everything is at rest."""
ROUND_SECONDS = 1.5


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Which kind of history it is."""

    actions: int = 120
    without: Collection[str] = ()
    """Names of actions that do not happen."""
    only: Collection[str] = ()
    serial: bool = False
    """Each claim is everywhere before the next is made."""
    struck: float = 0.3
    """How often a step is struck in the middle."""
    loses_questions: bool = False
    """No comparing: what was pushed has to be enough."""
    longest_skew: float = 9 * HOUR
    """By which a clock may be wrong, either way."""
    regions: Sequence[int] = (2, 3, 3, 4)
    bands: Sequence[int] = (32, 40, 64)
    queues: Sequence[int] = (4, 30)
    """How many messages a queue may hold."""
    outlaws: bool = False
    """Whether some regions attack the others, or have a mad clock."""
    evictions: Sequence[int] = (10**9,)
    """How many numbers a peer may take in a day."""


ANY = Profile()
SERIAL = Profile(actions=50, serial=True, without=["adopt"], bands=[8, 12])
LOSSY = Profile(
    actions=60,
    struck=0,
    queues=[2],
    only=["work", "round", "see", "wait", "disturb"],
)
PUSHED = Profile(
    actions=80,
    struck=0.6,
    queues=[100],
    loses_questions=True,
    only=["work", "round", "see", "wait", "copy"],
)
OUTLAWS = Profile(
    actions=90,
    struck=0.1,
    outlaws=True,
    without=["restore", "leave"],
    regions=[3, 3, 4],
    bands=[256, 1024],
    evictions=[0, 1, 3],
)


@dataclass
class Outcome:
    """What a history has seen, for the statistics."""

    seed: int
    claims: int = 0
    moved: int = 0
    rounds: int = 0
    evicted: int = 0
    """Numbers that honest regions' images have lost to peers."""
    held: int = 0
    """Entries that honest regions have held back."""
    counts: dict[str, int] = field(default_factory=dict)


class World:
    """All regions of one history."""

    def __init__(
        self, seed: int, profile: Profile, parts: Parts, directory: Path
    ) -> None:
        rng = Random(f"{seed}")
        self.seed = seed
        self.profile = profile
        self.log: list[str] = []
        self.outcome = Outcome(seed)
        self.now = BEGIN
        self.fuse = Fuse()
        self.network = Network(self.fuse, lambda: self.now)
        self.network.loses_questions = profile.loses_questions
        self.regions: dict[str, Region] = {}
        self.backups: list[tuple[str, sqlite3.Connection]] = []
        size = rng.choice(profile.bands)
        self.scheme = Scheme(b"test", Band(100, 100 + size))
        uuids = (UUID(int=rng.getrandbits(128), version=4) for _ in range(64))
        self.images = [str(u) for u in uuids][: size * 5 // 8]
        self._files = Files(directory)
        self._parts = parts
        self._skewed = rng.random() < 0.6
        self._limit = rng.choice(profile.queues)
        self.max_evictions = rng.choice(profile.evictions)
        for _ in range(rng.choice(profile.regions)):
            self.add_region(rng)
        for region in self.regions.values():
            region.peers = [n for n in self.regions if n != region.name]
            region.start_host()
        if profile.outlaws:
            for region in list(self.regions.values())[2:]:
                region.honest = False
        if profile.loses_questions:
            self.round(rng)  # without a queue, nothing is kept for a peer
        self.settled: dict[str, int | None] = {}
        """What a serial history has come to, when all was last at rest."""

    def add_region(self, rng: Random) -> Region:
        """Found a region, with an empty ledger."""
        name = f"R{len(self.regions) + 1}"
        self.network.brokers[name] = Broker(name, self._limit)
        longest = self.profile.longest_skew if self._skewed else 0.0
        region = self.regions[name] = Region(
            name,
            scheme=self.scheme,
            network=self.network,
            fuse=self.fuse,
            files=self._files,
            parts=self._parts,
            now=lambda: self.now,
            skew=rng.choice([0.0, rng.uniform(-1, 1) * longest]),
            batch_size=BATCH_SIZE,
            max_evictions=self.max_evictions,
        )
        for _ in range(rng.choice([1, 1, 2])):
            numbers = [7, rng.choice(range(100, self.scheme.band.stop))]
            if not self.profile.serial:
                numbers.append(2**30 + 5)  # the audit makes a claim of it
            region.add_cell({n: self._stranger(n, rng) for n in numbers})
        return region

    def _stranger(self, number: int, rng: Random) -> str:
        while True:
            uuid = str(UUID(int=rng.getrandbits(128), version=4))
            if not self.scheme.could_derive(uuid, number):
                return uuid

    @property
    def living(self) -> list[Region]:
        """The regions that are not gone for ever."""
        return [r for r in self.regions.values() if r.alive]

    @property
    def honest(self) -> list[Region]:
        """Those of them that mean well."""
        return [r for r in self.living if r.honest]

    def say(self, text: str) -> None:
        """Note what happens, for whoever has to understand a failure."""
        self.log.append(f"{self.now - BEGIN:8.1f} {text}")

    def close(self) -> None:
        """Close all files."""
        for region in self.living:
            region.stop()
            region.close()

    # Work.

    def step(self, region: Region, process: Process) -> None:
        """Let one process work, as its loop does."""
        try:
            process.step()
        except Crash:
            self.say(f"{region.name} {process.name} crashes")
            process.start()
        except BadStamp:
            if region.honest:
                raise
            process.fail(self.now)
        except (Outage, OperationalError) as error:
            if not isinstance(getattr(error, "orig", error), Outage):
                raise
            process.fail(self.now)
        else:
            process.over()
        region.observe()

    def round(self, rng: Random) -> None:
        """Let every process work once, in any order."""
        all_of_them = [(r, p) for r in self.living for p in r.processes]
        rng.shuffle(all_of_them)
        for region, process in all_of_them:
            if self.now >= process.rests_until and process.has_work():
                self.step(region, process)
        self.now += ROUND_SECONDS

    def heal(self) -> None:
        """End all faults."""
        self.fuse.disarm()
        self.network.cuts.clear()
        for region in self.living:
            self.network.brokers[region.name].up = True
            if not region.hosts:
                region.start_host()
            for process in region.processes:
                process.over()

    def converge(self, rng: Random) -> None:
        """Work until everything is at rest."""
        for rounds in range(ROUNDS):
            self.round(rng)
            if check.at_rest(self.living):
                self.outcome.rounds = max(self.outcome.rounds, rounds)
                break
        else:
            reasons = "; ".join(check.unrest(self.living))
            raise Wrong(f"not at rest after {ROUNDS} rounds: {reasons}")
        for region in self.living:
            region.caught_up = True
        if self.profile.serial:
            self._check_that_nothing_moved()

    def _check_that_nothing_moved(self) -> None:
        region = self.living[0]
        adopted = {i for i, c in region.claims.items() if c.wanted}
        for image, number in region.numbers.items():
            if image in adopted:
                continue
            if self.settled.get(image, number) != number:
                raise Wrong(
                    f"{image} moved from {self.settled[image]} to {number} "
                    "though no claims were made at the same time"
                )
        self.settled = dict(region.numbers)
        for region in self.living:
            # Who is catching up may hear of the later claim first.
            moved = region.moved() - adopted - region.moves_by_restore
            if moved:
                raise Wrong(
                    f"{region.name} has moved {sorted(moved)} though no "
                    "claims were made at the same time"
                )


# The actions. Each is one thing that happens, named after itself.


def work(world: World, rng: Random) -> None:
    """Let one process do a step, perhaps struck in the middle of it."""
    region = rng.choice(world.living)
    if not region.processes:
        return
    process = rng.choice(region.processes)
    text = f"{region.name} {process.name} works"
    if rng.random() < world.profile.struck:
        fault, after = rng.choice(list(Fault)), rng.randrange(5)
        world.fuse.arm(fault, after)
        text += f"; {fault.name} at commit or message {after + 1}"
    world.say(text)
    world.step(region, process)
    if world.fuse.disarm() is Fault.CRASH:
        process.start()  # struck after the step
    world.now += rng.uniform(0, 0.3)


def a_round(world: World, rng: Random) -> None:
    """Let every process of a region do a step."""
    region = rng.choice(world.living)
    world.say(f"{region.name} works")
    for process in rng.sample(region.processes, len(region.processes)):
        world.step(region, process)


def see(world: World, rng: Random) -> None:
    """Let a region's Glance tell of some images."""
    if world.profile.serial:
        world.say("all comes to rest")
        world.heal()
        world.converge(rng)
    region = rng.choice(world.living)
    restored = world.profile.serial and rng.random() < 0.3
    if restored:
        restore_region(world, region, rng)
    count = 1 if world.profile.serial else rng.choice([1, 1, 2, 4])
    images = rng.sample(world.images, count)
    kinds = [None, Kind.AMI, Kind.AKI, Kind.ARI]
    for image in images:
        region.notifications.append(
            Sighting(
                image=image,
                uuid=image.upper() if rng.random() < 0.1 else image,
                kind=rng.choice(kinds),
            )
        )
    world.say(f"{region.name} is told of {', '.join(i[:8] for i in images)}")
    if restored:
        world.converge(rng)  # it has to compare before it claims


def adopt(world: World, rng: Random) -> None:
    """Let a region adopt an existing id."""
    region = rng.choice(world.honest)
    image = rng.choice(world.images)
    number = rng.choice([rng.randrange(1, 20), rng.choice(range(100, 132))])
    region.ledger.see([Sighting(image=image, uuid=image, wanted=number)])
    region.observe()
    world.say(f"{region.name} adopts {number} for {image[:8]}")


def wait(world: World, rng: Random) -> None:
    """Let some time pass."""
    world.now += rng.choice([5, 20, 60])


def cut(world: World, rng: Random) -> None:
    """Part two regions, both ways or one way."""
    pairs = list(permutations([r.name for r in world.living], 2))
    if not pairs:
        return
    one, other = rng.choice(pairs)
    world.network.cut(one, other)
    if rng.random() < 0.5:
        world.network.cut(other, one)
    world.say(f"cut: {sorted(world.network.cuts)}")


def heal(world: World, _rng: Random) -> None:
    """End what is wrong with links and brokers."""
    world.heal()
    world.say("all links and brokers are well")


def stop_broker(world: World, rng: Random) -> None:
    """Stop a broker; its queues last, or not."""
    region = rng.choice(world.living)
    world.network.stop(region.name)
    if rng.random() < 0.3:
        world.network.brokers[region.name].queues.clear()
    world.say(f"the broker of {region.name} stops")


def delete_queue(world: World, rng: Random) -> None:
    """Delete a queue with all that is in it."""
    broker = world.network.brokers[rng.choice(world.living).name]
    if broker.queues:
        reader = rng.choice(list(broker.queues))
        world.network.delete(broker.name, reader)
        world.say(f"{broker.name} loses its queue of {reader or 'questions'}")


def disturb(world: World, rng: Random) -> None:
    """Lose, double or shuffle the messages of a queue."""
    broker = world.network.brokers[rng.choice(world.living).name]
    waiting = [q.waiting for q in broker.queues.values() if q.waiting]
    if not waiting:
        return
    messages = rng.choice(waiting)
    match rng.choice(["lose", "double", "shuffle"]):
        case "lose":
            kept = [m for m in messages if rng.random() < 0.5]
        case "double":
            kept = [m for m in messages for _ in range(rng.choice([1, 2]))]
        case _:
            kept = rng.sample(list(messages), len(messages))
    messages.clear()
    messages.extend(kept)
    world.say(f"messages at {broker.name} are disturbed")


def copy(world: World, rng: Random) -> None:
    """Make a backup of a ledger."""
    region = rng.choice(world.living)
    world.backups.append((region.name, region.copy()))
    world.say(f"{region.name} is copied")


def restore(world: World, rng: Random) -> None:
    """Put a ledger back to an old backup, or empty it."""
    region = rng.choice(world.living)
    if world.profile.serial and region.notifications:
        return  # it might claim before it has compared: at the same time
    restore_region(world, region, rng)


def restore_region(world: World, region: Region, rng: Random) -> None:
    """Put a region's ledger back to some backup of it, or empty it."""
    backups = [b for name, b in world.backups if name == region.name]
    backup = rng.choice([None, *backups, *backups])
    before = len(region.claims)
    region.restore(backup)
    world.say(
        f"{region.name} is restored: {before} claims before, "
        f"{len(region.claims)} now"
    )


def join(world: World, rng: Random) -> None:
    """Let a new region join; all others learn of it by a restart."""
    if len(world.regions) >= MAX_REGIONS:
        return
    newcomer = world.add_region(rng)
    newcomer.caught_up = False
    newcomer.peers = [n for n in world.regions if n != newcomer.name]
    newcomer.start_host()
    for region in world.living:
        if region is not newcomer:
            region.peers.append(newcomer.name)
            region.restart()
    world.say(f"{newcomer.name} joins")


def leave(world: World, rng: Random) -> None:
    """Let a region go for ever."""
    if len(world.living) <= 2:
        return
    retire(world, rng.choice(world.living))


def retire(world: World, region: Region) -> None:
    """Stop a region, and its broker, for ever."""
    region.alive = False
    region.stop()
    region.close()
    world.network.stop(region.name)
    world.say(f"{region.name} is gone for ever")


def change_hosts(world: World, rng: Random) -> None:
    """Start a second host of a region, or let one die."""
    region = rng.choice(world.living)
    if len(region.hosts) < 2:
        region.start_host()
    else:
        host = region.hosts.pop(rng.randrange(2))
        for process in host.processes:
            process.recover()
    world.say(f"{region.name} has {len(region.hosts)} hosts")


def set_clock(world: World, rng: Random) -> None:
    """Put a clock right, or wrong."""
    region = rng.choice(world.living)
    longest = world.profile.longest_skew
    region.skew = rng.choice([0.0, rng.uniform(-1, 1) * longest])
    region.restart()  # the Gate waits by this clock
    world.say(f"the clock of {region.name} is off by {region.skew:.0f} s")


def attack(world: World, rng: Random) -> None:
    """Let an outlaw take what others have, or its clock go mad."""
    outlaw = rng.choice([r for r in world.living if not r.honest])
    if rng.random() < 0.2:
        # Ahead, nobody believes it; behind, it follows the others' stamps.
        outlaw.skew = rng.choice([-1, 1]) * rng.uniform(3, 40) * 24 * HOUR
        outlaw.restart()
        world.say(f"the clock of {outlaw.name} is off by {outlaw.skew:.0f} s")
    else:
        done = outlaws.attack(outlaw, world.honest, rng)
        world.say(f"{outlaw.name} {done}")


Action = Callable[[World, Random], None]

ACTIONS: dict[str, tuple[Action, float]] = {
    "work": (work, 60),
    "round": (a_round, 14),
    "see": (see, 14),
    "adopt": (adopt, 2),
    "wait": (wait, 3),
    "cut": (cut, 4),
    "heal": (heal, 3),
    "stop_broker": (stop_broker, 1),
    "delete_queue": (delete_queue, 1),
    "disturb": (disturb, 4),
    "copy": (copy, 3),
    "restore": (restore, 2),
    "join": (join, 0.7),
    "leave": (leave, 0.5),
    "change_hosts": (change_hosts, 1),
    "set_clock": (set_clock, 0.5),
    "attack": (attack, 10),
}


def actions_of(profile: Profile) -> tuple[list[str], list[float]]:
    """Give the names and weights of what happens in such a history."""
    names = [
        name
        for name in profile.only or ACTIONS
        if name not in profile.without
        and (profile.outlaws or name != "attack")
    ]
    return names, [ACTIONS[name][1] for name in names]


def play(world: World, leave_out: Collection[int] = ()) -> None:
    """Live through a history, and judge it.

    :raises Wrong: a guarantee is broken.
    """
    names, weights = actions_of(world.profile)
    if world.profile.outlaws:
        use_images(world)
    for place in range(world.profile.actions):
        if place in leave_out:
            continue
        rng = Random(f"{world.seed} {place}")
        (name,) = rng.choices(names, weights)
        world.outcome.counts[name] = world.outcome.counts.get(name, 0) + 1
        ACTIONS[name][0](world, rng)
    rng = Random(f"{world.seed} end")
    world.say("the faults end")
    world.heal()
    if world.profile.outlaws:
        judge_outlaws(world, rng)
    world.converge(rng)
    for region in world.living:
        if region.restored:
            region.restart()  # for the audit, of which the last was too soon
    world.converge(rng)
    for _ in range(8):  # also the last heartbeats
        world.round(rng)
    check.check(world.living, world.scheme)
    world.outcome.claims = len(world.living[0].claims)
    world.outcome.moved = sum(len(r.moved()) for r in world.living)


SOME = 12
"""Rounds, to use images, and for what outlaws have said to be heard."""

DECISIONS = 5
"""How often operators decide: what one region has taken comes to the others
once more, from it."""


def use_images(world: World) -> None:
    """Let honest regions have images that are worth an attack."""
    rng = Random(f"{world.seed} begin")
    for region in world.honest:
        for image in rng.sample(world.images, 12):
            region.notifications.append(Sighting(image=image, uuid=image))
    for _ in range(SOME):
        world.round(rng)


def go_on(world: World, rng: Random) -> None:
    """Let regions work until they have told each other what they tell."""
    world.now += REFUSED_PAUSE  # what is held rests for so long
    quiet = 0
    for _ in range(ROUNDS // 5):
        before = [region.revision for region in world.living]
        world.round(rng)
        same = before == [region.revision for region in world.living]
        quiet = quiet + 1 if same else 0
        if quiet == SOME:
            break


def judge_outlaws(world: World, rng: Random) -> None:
    """End what outlaws do; judge what they have done; decide.

    :raises Wrong: they could do too much.
    """
    for _ in range(SOME):
        world.round(rng)
    for region in [r for r in world.living if not r.honest]:
        retire(world, region)
    for _ in range(DECISIONS):
        go_on(world, rng)
        any_held = False
        for region in world.living:
            peers = len(world.regions) - 1
            outlaws.check_bound(region, peers, world.max_evictions)
            outlaws.check_settled(region)
            held = region.ledger.quarantine.held()
            any_held |= bool(held)
            world.outcome.held += sum(held.values())
            outlaws.retry_all(region)
        if not any_held and check.at_rest(world.living):
            break
    for region in world.living:
        world.outcome.evicted += sum(n for _, n in region.losses)


@contextmanager
def small_pages(seed: int) -> Iterator[None]:
    """Make pages and ranges small, so that few claims fill many."""
    rng = Random(f"{seed} pages")
    sizes = rng.choice([(2, 3, 2), (4, 5, 3), (32, 5000, 32)])
    with (
        mock.patch.object(compare, "SMALL", sizes[0]),
        mock.patch.object(compare, "PAGE", sizes[1]),
        mock.patch.object(compare, "RANGES", sizes[2]),
        mock.patch.object(
            follower, "MESSAGES_AT_ONCE", rng.choice([1, 3, 20])
        ),
        mock.patch.object(writer, "NUMBERS_AT_ONCE", rng.choice([2, 1000])),
    ):
        yield


SHARED_MEMORY = Path("/dev/shm")


def run(
    seed: int,
    profile: Profile = ANY,
    parts: Parts | None = None,
    leave_out: Collection[int] = (),
) -> Outcome:
    """Run the history of a seed.

    :raises Wrong: a guarantee is broken; says what has happened.
    """
    place = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with TemporaryDirectory(dir=place) as name, small_pages(seed):
        world = World(seed, profile, parts or Parts(), Path(name))
        try:
            play(world, leave_out)
        except Wrong as error:
            error.add_note("\n".join([f"seed {seed}:", *world.log]))
            raise
        finally:
            world.close()
        return world.outcome
