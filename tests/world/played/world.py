"""All regions of a history, and how they come to rest."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from uuid import UUID

from ec2map_sync.rules.ec2id import DERIVED, Band, Scheme
from played import annals, deciding, judge
from played.region import Region
from played.scheduler import Clock, Process, Scheduler, Task, Wrong
from played.sizes import BATCHES

REGIONS = (2,) * 14 + (3,) * 4 + (4, 5)
"""How many there are; with each more, a day takes longer to live."""
MOST_REGIONS = max(REGIONS)
ROOM = 2
"""Numbers for each image, where thousands are uploaded."""
CROWDED = 100
"""Messages of a batch there."""
EC2API = 0.25
"""Of so many worlds, regions have an ec2-api."""
MEMCACHED = 0.25
"""In so many worlds Nova has a memcached."""
LIAR = 0.2
"""In so many worlds somebody lies."""
QUIET = 20.0
"""Seconds for which all has to stay as it must be."""
DEADLINE = 300.0
"""Seconds after the last fault within which all is as it must be."""
SIGNED = 75.0
"""Seconds within which a region signs: that it has lost something comes to
light by that."""
LOOK = 3.0
BROKEN = 110.0
"""Seconds after which `status` has to say that something is broken."""
ANSWER = 60.0
"""Seconds that an operator waits for an answer."""
_IMAGES = "SELECT image FROM claims"


def has_ec2api(seed: int) -> bool:
    """Returns whether regions of a world have an ec2-api."""
    return Random(f"ec2-api {seed}").random() < EC2API


def has_liar(seed: int) -> bool:
    """Returns whether somebody lies in a world, with a region's own key."""
    return Random(f"liar {seed}").random() < LIAR


def has_memcached(seed: int) -> bool:
    """Returns whether Nova remembers ids in memcached."""
    return Random(f"memcached {seed}").random() < MEMCACHED


class World:
    """All regions, and what befalls them."""

    def __init__(
        self,
        seed: int,
        directory: Path,
        log: list[str] | None = None,
        images: int = 0,
    ) -> None:
        rng = Random(f"world {seed}")
        self.seed = seed
        self.scheduler = Scheduler(seed)
        self.scheduler.log = log
        size = rng.choice([64, 128, 128, 1024])
        if images:
            size = MOST_REGIONS * images * ROOM
        self.band = Band(DERIVED.first, DERIVED.first + size)
        self.scheme = Scheme(b"world", self.band)
        self.regions: list[Region] = []
        self.images: list[str] = []
        self.unannounced: list[str] = []
        """Images of which Nova alone knows."""
        self.evening: dict[str, judge.Memory] = {}
        self.tampered = False
        """Whether rows were taken from a cell today."""
        self.restored: set[str] = set()
        """Regions whose ledger was put back today."""
        self.adopting: list[Region] = []
        """Regions in which an operator has adopted numbers today."""
        self.attacked = False
        """Whether somebody has lied today about whose numbers are whose."""
        self.operators: list[Task] = []
        self._legacy = count(1)
        self.lived = self.longest = 0.0
        audited = rng.random() < 0.5
        batch = rng.choice(BATCHES)
        if images:
            batch = CROWDED
        for place in range(rng.choice(REGIONS)):
            region = Region(
                f"R{place + 1}",
                directory,
                self.scheduler,
                self.band,
                audited=audited,
                batch=batch,
            )
            region.add_cell()
            for _ in range(rng.choice([1, 1, 2])):
                clock = Clock(
                    rate=rng.choice([1.0, rng.uniform(0.999, 1.001)])
                )
                region.add_host(clock)
            self.regions.append(region)
        if has_ec2api(seed) and not images:
            for region in self.regions[: rng.choice([1, 2, MOST_REGIONS])]:
                region.add_ec2api()
        if has_memcached(seed):
            for region in self.regions:
                region.add_memcached()
        if has_liar(seed) and not images:
            most = rng.choice([1, 3])
            for region in self.regions:
                region.evictions = most
        for region in self.regions:
            region.configure(self.regions)
            region.start_glance()
            for host in region.hosts:
                host.start()
        self.most = size * 5 // 8

    @property
    def has_room(self) -> bool:
        """Whether there may be more images, so that all have numbers."""
        return len(self.images) + len(self.unannounced) < self.most

    def image(self, rng: Random, wish: int | None = None) -> str:
        """Makes a new image; if a number is said, one that wishes for it."""
        while True:
            image = str(UUID(int=rng.getrandbits(128), version=4))
            if wish is None or self.scheme.derive(image) == wish:
                self.images.append(image)
                return image

    def legacy(self) -> int:
        """Returns a number that Nova has handed out in one cell alone."""
        return next(self._legacy)

    def operate(self, region: Region, act: Callable[[], object]) -> None:
        """Has an operator of a region do something, beside all that goes on.

        The evening waits for its end.
        """
        process = Process("operator", region.hosts[0].clock)
        task = self.scheduler.start(process, region.name, act)
        self.operators.append(task)

    def say(self, text: str) -> None:
        """Notes what happens."""
        self.scheduler.trace(f"-- {text}")

    def set_clocks(self) -> None:
        """Sets all clocks right."""
        for region in self.regions:
            for host in region.hosts:
                host.clock.set_right(self.scheduler.now)

    def heal(self) -> None:
        """Ends all faults."""
        self.set_clocks()
        for region in self.regions:
            broker = region.broker
            broker.up = True
            broker.closed_to.clear()
            for queue in broker.queues.values():
                queue.losing, queue.thief = 0, None
            for connection in list(broker.connections):
                connection.resume()
            for database in region.databases:
                database.up, database.read_only = True, False
            if region.memcached is not None:
                region.memcached.up = True
            for host in region.hosts:
                if not host.is_whole:
                    host.kill()
                    host.start()
            for process in region.processes:
                process.strikes.clear()

    def wrong(self) -> str | None:
        """Returns what is not as it must be when all is quiet, if anything."""
        found = next(judge.complaints(self.regions, self.scheme), None)
        if found is None:
            images = {row[0] for row in judge.read(self.regions[0], _IMAGES)}
            unseen = [i for i in self.unannounced if i not in images]
            found = f"nobody has seen {unseen[0]}" if unseen else None
        return found or self._asked(judge.unhealthy)

    def _asked(self, look: Callable[[Region], Iterator[str]]) -> str | None:
        """Lets somebody look in each region; gives what is wrong, if any is.

        It takes its time, as all else does.
        """
        found: list[str] = []
        if not self._all(lambda region: found.extend(look(region))):
            return f"{look.__name__} comes to no end"
        return found[0] if found else None

    def _all(self, act: Callable[[Region], object]) -> bool:
        """Lets an operator do something in each region; tells if it ended."""
        tasks = [
            self.scheduler.start(
                Process("operator", region.hosts[0].clock),
                region.name,
                partial(act, region),
            )
            for region in self.regions
            if region.is_up
        ]
        until = self.scheduler.now + ANSWER
        while not all(task.done for task in tasks):
            if self.scheduler.now > until:
                return False
            self.pass_time(0.1)
        return True

    def quiet(self) -> None:
        """Heals, and waits until all is as it must be, and stays so.

        :raises Wrong: it does not come, or does not stay.
        """
        self.heal()
        began = self.scheduler.now
        if self.scheduler.unnoticed:
            self.pass_time(SIGNED)
        while wrong := self._at_work() or self.wrong():
            if self.scheduler.now - began > DEADLINE:
                raise Wrong(f"{DEADLINE:.0f} s after the last fault: {wrong}")
            self._look_at_writers()
            self.pass_time(LOOK)
            self._decide()
        self.operators.clear()
        self.longest = max(self.longest, self.scheduler.now - began)
        self.say("all is as it must be")
        self.pass_time(QUIET)
        if wrong := self.wrong():
            raise Wrong(f"after a quiet moment: {wrong}")
        self._look_back()

    def _decide(self) -> None:
        """Lets operators take what is held, if anything is.

        :raises Wrong: that comes to no end.
        """
        holding = [
            one for one in self.regions if judge.read(one, deciding.HOLDS)
        ]
        for region in holding:
            if region.until is None:
                region.until = region.place()
        if holding and not self._all(deciding.take_held):
            raise Wrong("taking what is held comes to no end")

    def _at_work(self) -> str | None:
        """Returns which operator has not come to an end."""
        at_work = [task for task in self.operators if not task.done]
        return f"an operator of {at_work[0].name} waits" if at_work else None

    def _look_at_writers(self) -> None:
        """Sees that who has read all that is settled has written it.

        Audits would put it right, and do so where cells or ledgers were
        restored.

        :raises Wrong: something was not written.
        """
        if self.tampered or self.restored:
            return
        for region in self.regions:
            for wrong in judge.unwritten(region):
                raise Wrong(wrong)

    def _look_back(self) -> None:
        """Judges what has become of yesterday.

        :raises Wrong: something that must not be.
        """
        images = {*self.images, *self.unannounced}
        found = [
            *judge.strangers(self.regions, images),
            *judge.overfull(self.regions),
        ]
        if not self.tampered:
            found += self.scheduler.missed
        for region in self.regions:
            found += self._unsteady(region)
            self.evening[region.name] = judge.remembered(region)
            region.turn_page()
        for wrong in found:
            raise Wrong(wrong)
        self.scheduler.missed.clear()
        self.scheduler.blind = self.tampered = self.attacked = False
        self.restored.clear()
        self.scheduler.unnoticed = False
        self.adopting.clear()
        for region in self.regions:
            region.backups.append(region.ledger.copy())
            region.told_before = dict(region.told)

    def _unsteady(self, region: Region) -> Iterator[str]:
        """Says what has become of numbers that must not."""
        written = annals.entries(region)
        yield from annals.withdrawn(region, written)
        yield from annals.unrecorded(region, written)
        yield from annals.evicted(region, written)
        yield from self._robbed(region, written)
        before = self.evening.get(region.name)
        # Who had nobody to ask could not know; nor could they of each other.
        if before is None or self.scheduler.blind:
            return
        adopted = {i for one in self.adopting for i in one.adoptable}
        if not self.attacked:
            yield from judge.unsteady(region, before, but_for=adopted)
        if len(self.restored) < 2:
            held = before.numbers
            yield from annals.taken(
                region, written, region.since, held, held.values()
            )

    def _robbed(
        self, region: Region, written: Sequence[annals.Entry]
    ) -> Iterator[str]:
        """Says if images have lost more numbers today than peers may take.

        With a ledger, what they have taken before is forgotten.
        """
        most = region.evictions * (len(self.regions) - 1)
        lost = list(annals.losses(written, region.since, region.until))
        if len(lost) > most and region.name not in self.restored:
            yield (
                f"3: {region.name}: peers have taken {len(lost)} numbers, and "
                f"may take {most}: {lost}"
            )

    def doubt(self, rng: Random) -> None:
        """Breaks one thing, and sees that `status` says so.

        :raises Wrong: it says that all is well.
        """
        region, other = rng.sample(self.regions, 2)
        match rng.choice(["peer", "service", "sink"]):
            case "peer":
                what = f"peer {other.name}"
                for host in other.hosts:
                    host.kill()
            case "service":
                what = "service"
                for host in region.hosts:
                    host.end(rng.choice(["follower", "publisher", "writer"]))
            case _:
                sink = rng.choice(region.sinks)
                what = f"sink {sink.sink}"
                sink.database.stop()
                image = str(UUID(int=rng.getrandbits(128), version=4))
                self.images.append(image)
                region.tell(image, "bare", "image.create")
        self.say(f"{what} of {region.name} is broken")
        self.pass_time(BROKEN)
        found: list[str] = []
        self._all(lambda one: found.extend(judge.unhealthy(one)))
        found = [one for one in found if f"of {region.name}:" in one]
        if not any(f": {what}" in line for line in found):
            raise Wrong(
                f"{BROKEN:.0f} s after {what} was broken, status of "
                f"{region.name} says of it that all is well: {found}"
            )

    def verify(self) -> None:
        """Holds everything against everything, as `verify` does.

        :raises Wrong: it finds something.
        """
        if wrong := self._asked(judge.contradictions):
            raise Wrong(wrong)

    def pass_time(self, seconds: float) -> None:
        """Lets the world go on.

        :raises Wrong: something of the package's own has failed.
        """
        self.lived += seconds
        self.scheduler.run(self.scheduler.now + seconds)
        for mistake in self.scheduler.mistakes:
            raise Wrong(mistake)

    def end(self) -> None:
        """Lets nobody do anything more."""
        for region in self.regions:
            for host in region.hosts:
                host.kill()
