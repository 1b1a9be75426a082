"""What befalls a world: users, and all that fails.

Each happening draws from random numbers of its own, so that any of them can be
left out without another one changing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from uuid import UUID

from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import Claim
from played import meetings, operators
from played.faults import Fault, Strike
from played.region import Region, key_of
from played.world import World

Act = Callable[[World, Random], None]


def see(world: World, rng: Random) -> None:
    """A user uploads images."""
    upload(world, rng, rng.choice(world.regions))


def upload(world: World, rng: Random, region: Region) -> None:
    """A user uploads images to a region."""
    for _ in range(rng.choice([1, 2, 5, 8])):
        if not world.has_room:
            return
        image = world.image(rng)
        form = rng.choice(["bare", "aki", "ari", None])
        region.tell(image, form, "image.create")
        world.say(f"{region.name} tells of {image[:8]} ({form})")


def copy(world: World, rng: Random) -> None:
    """A user copies an image to another region, with its UUID."""
    if world.images:
        image = rng.choice(world.images)
        region = rng.choice(world.regions)
        form = rng.choice(["bare", "aki", "ari"])
        region.tell(image, form, "image.update")
        world.say(f"{region.name} tells of {image[:8]} ({form}) as well")


POINTS = ("commit", "commit", "send", "acknowledge", "statement", "call")


FLOW = ("recorder", "publisher", "answerer", "follower of", "writer of")
"""What carries an image from a notification to a row."""


def strike(world: World, rng: Random) -> None:
    """A task is struck at what it does next, and gets something to do."""
    region = rng.choice(world.regions)
    flow = [
        (process, task.name)
        for process in region.processes
        for task in process.tasks
        if task.name.startswith(FLOW) and not task.done
    ]
    if not flow:
        return
    fault, point = rng.choice(list(Fault)), rng.choice(POINTS)
    after = rng.choice([0, 0, 1, 2, 5])
    recorders = [one for one in flow if one[1] == "recorder"]
    if recorders and rng.random() < 0.3:
        # What Glance has said is told once, and nobody else has it.
        flow, point = recorders, rng.choice(["commit", "statement"])
    process, task = rng.choice(flow)
    process.strikes.append(Strike(fault, point, task, after))
    world.say(f"{process.name} {fault.value} {point} as {task}, after {after}")
    if rng.random() < 0.6:
        upload(world, rng, region)


def kill(world: World, rng: Random) -> None:
    """A process is killed."""
    region = rng.choice(world.regions)
    if region.processes:
        process = rng.choice(region.processes)
        if not process.name.endswith("agent"):
            world.scheduler.kill(process)


def power(world: World, rng: Random) -> None:
    """A host loses its power, and gets it back."""
    region = rng.choice(world.regions)
    host = rng.choice(region.hosts)
    world.say(f"{host.name} loses its power")
    host.kill()

    def back() -> None:
        if not host.up:
            host.start()

    later = world.scheduler.now + rng.choice([0.5, 10, 120])
    world.scheduler.at(later, back)


def snap(world: World, rng: Random) -> None:
    """A connection to a broker breaks."""
    broker = rng.choice(world.regions).broker
    if broker.connections:
        connection = rng.choice(broker.connections)
        name = connection.process.name
        world.say(f"the connection of {name} to {broker.name} breaks")
        connection.snap()


def stall(world: World, rng: Random) -> None:
    """A connection carries nothing for a while, and nobody says so."""
    broker = rng.choice(world.regions).broker
    if broker.connections:
        connection = rng.choice(broker.connections)
        name = connection.process.name
        world.say(f"the connection of {name} to {broker.name} stalls")
        connection.stall()
        later = world.scheduler.now + rng.choice([2, 15, 50, 100])
        world.scheduler.at(later, connection.resume)


def restart_broker(world: World, rng: Random) -> None:
    """A broker stops, and comes back."""
    broker = rng.choice(world.regions).broker
    world.say(f"the broker of {broker.name} stops")
    broker.stop()

    def back() -> None:
        broker.up = True

    world.scheduler.at(world.scheduler.now + rng.choice([1, 20, 90]), back)


def lose(world: World, rng: Random) -> None:
    """Messages between regions are lost, or a whole queue is."""
    region = rng.choice(world.regions)
    broker = region.broker
    queues = [
        queue
        for name, queue in broker.queues.items()
        if name.startswith("ec2map_sync.R") or name.endswith(".requests")
    ]
    if not queues:
        return
    queue = rng.choice(queues)
    match rng.choice(["queue", "some", "next", "next"]):
        case "queue":
            world.say(f"{broker.name} loses the queue {queue.name}")
            broker.delete(queue.name)
        case "some":
            world.say(f"{broker.name} loses messages of {queue.name}")
            kept = [one for one in queue.ready if rng.random() < 0.5]
            queue.ready.clear()
            queue.ready.extend(kept)
        case _:
            queue.losing = rng.choice([1, 2, 4, 12])
            world.say(f"{queue.name} loses the next {queue.losing} messages")
            upload(world, rng, region)


def cut(world: World, rng: Random) -> None:
    """A region's hosts cannot reach a peer's broker for a while."""
    one, other = rng.sample(world.regions, 2)
    hosts = {host.name for host in one.hosts}
    shut_out(world, one, [other], rng.choice([5, 60, 200]))
    for connection in list(other.broker.connections):
        if connection.process.host in hosts:
            if rng.random() < 0.5:
                connection.snap()
            else:
                connection.stall()


def shut_out(
    world: World, one: Region, others: Sequence[Region], seconds: float
) -> None:
    """Lets a region's hosts not connect to some brokers, for so long."""
    hosts = {host.name for host in one.hosts}
    for other in others:
        world.say(f"{one.name} cannot reach {other.name}")
        other.broker.closed_to |= hosts

    def back() -> None:
        for other in others:
            other.broker.closed_to -= hosts
            for connection in list(other.broker.connections):
                connection.resume()

    world.scheduler.at(world.scheduler.now + seconds, back)


def stop_database(world: World, rng: Random) -> None:
    """A database goes away for a while, or lets nobody write."""
    region = rng.choice(world.regions)
    database = rng.choice(region.databases)
    if rng.random() < 0.6:
        upload(world, rng, region)
    if rng.random() < 0.5:
        world.say(f"{database.name} stops")
        database.stop()
    else:
        world.say(f"{database.name} can only be read")
        database.read_only = True

    def back() -> None:
        database.up, database.read_only = True, False

    later = world.scheduler.now + rng.choice([1, 10, 70])
    world.scheduler.at(later, back)


def set_clock(world: World, rng: Random) -> None:
    """Somebody sets a host's clock wrong."""
    region = rng.choice(world.regions)
    host = rng.choice(region.hosts)
    seconds = rng.choice([-1, 1]) * rng.choice([3, 90, 7200])
    world.say(f"the clock of {host.name} is set, by {seconds} s")
    host.clock.step(world.scheduler.now, seconds)
    meetings.usurp(world, rng, region)


def restore(world: World, rng: Random) -> None:
    """A ledger is restored from a backup, or lost."""
    region = rng.choice(world.regions)
    backup = rng.choice([None, *region.backups])
    world.say(
        f"the ledger of {region.name} is "
        + ("restored" if backup else "lost, and made anew")
    )
    world.restored.add(region.name)
    if backup and not region.notices(backup):
        world.scheduler.unnoticed = True
    if rng.random() < 0.5:
        others = [one for one in world.regions if one is not region]
        shut_out(world, region, others, rng.choice([3, 15]))
    region.restore(backup)
    meetings.usurp(world, rng, region)


def back_up(world: World, rng: Random) -> None:
    """A backup is made of a ledger, amid all that goes on."""
    region = rng.choice(world.regions)
    world.say(f"a backup is made of the ledger of {region.name}")
    region.backups.append(region.ledger.copy())


def lose_rows(world: World, rng: Random) -> None:
    """A cell is restored from a backup which lacks rows of ours."""
    region = rng.choice(world.regions)
    cell = rng.choice(region.cells)
    ours = sorted(cell.rows().keys() - cell.made.keys())
    lost = [number for number in ours if rng.random() < 0.5]
    if lost:
        world.say(f"{region.name}, {cell.name} loses {len(lost)} rows")
        world.tampered = True
        cell.lose(lost)


def lose_notification(world: World, rng: Random) -> None:
    """Glance answers 201, and its broker does not hear of it."""
    region = rng.choice(world.regions)
    if region.audited and world.has_room:
        image = world.image(rng)
        form = rng.choice(["bare", "ari"])
        region.has(image, form)
        region.told[image] = form
        world.say(f"{region.name} does not tell of {image[:8]} ({form})")


def boot(world: World, rng: Random) -> None:
    """Nova boots what nobody has told of, and makes a row of its own."""
    region = rng.choice(world.regions)
    cell = rng.choice(region.cells)
    if world.has_room:
        image = str(UUID(int=rng.getrandbits(128), version=4))
        world.unannounced.append(image)
        world.say(f"Nova of {region.name} boots {image[:8]}, of its own")
        cell.make(image)


TOO_EARLY = "its own key, days ahead"
FORGED = ("another key", "no signature", "cut off", "of others", TOO_EARLY)


def _in_days(world: World, days: int) -> int:
    """Returns the stamp of a time to come."""
    return int((world.scheduler.now + days * 86400) * 1_000_000)


def forge(world: World, rng: Random) -> None:
    """Somebody at a broker says what the region has not, or it lies."""
    region, other = rng.sample(world.regions, 2)
    image = str(UUID(int=rng.getrandbits(128), version=4))
    claim = Claim(claimed_at=rng.randrange(2**50), image=image)
    kind = rng.choice(FORGED)
    if kind == TOO_EARLY:
        claim = replace(claim, claimed_at=_in_days(world, 2))
    pen = wire.Pen(
        region=region.name if kind != "of others" else other.name,
        scheme=world.scheme.fingerprint,
        key=key_of(region.name if kind == TOO_EARLY else kind),
        clock=lambda: int(world.scheduler.now * 1_000_000),
    )
    headers, body = wire.encode(messages.Claims(claims=(claim,)), pen)
    headers = dict(headers)
    if kind == "no signature":
        headers = {n: v for n, v in headers.items() if "sign" not in n}
    if kind == "cut off":
        body = body[: len(body) // 2]
    world.say(f"somebody at {region.name} forges a claim: {kind}")
    if "ec2map_sync" in region.broker.exchanges:
        region.broker.publish(
            "ec2map_sync",
            "claims",
            body,
            {"application_headers": headers, "delivery_mode": 2},
        )


def wait(world: World, rng: Random) -> None:
    """Some time passes."""
    world.pass_time(rng.choice([5, 30, 60]))


def leap(world: World, rng: Random) -> None:
    """All machines stand still for a while; clocks go on."""
    seconds = rng.choice([3, 45, 600])
    world.say(f"all stands still for {seconds} s")
    world.scheduler.leap(seconds)


ACTS: Sequence[tuple[Act, int]] = (
    (see, 24),
    (copy, 12),
    (meetings.twins, 8),
    (meetings.quarrel, 3),
    (strike, 24),
    (kill, 4),
    (power, 2),
    (snap, 5),
    (stall, 3),
    (restart_broker, 2),
    (lose, 7),
    (cut, 3),
    (stop_database, 4),
    (wait, 5),
    (leap, 1),
    (set_clock, 4),
    (restore, 3),
    (back_up, 2),
    (lose_rows, 1),
    (lose_notification, 5),
    (boot, 2),
    (forge, 2),
    (operators.adopt, 3),
)
