"""From Glance's notifications to ledger, cell and bus, beside lesser work."""

from collections import defaultdict
from pathlib import Path

from environment import ceilometer_python
from figures import Line
from fleet import S3_IMAGES, Region
from patience import wait_until
from stand import (
    CELL,
    OURS,
    Consumer,
    Drained,
    Held,
    Notifier,
    Progress,
    Size,
    Stand,
    bind,
    channel,
    drain,
    in_turns,
    purge,
    warm,
)

INFO = "notifications.info"
SPY = "spy"
CURSORS = ("publisher", f"nova:{CELL}")
OTHERS = {
    "plain": "no-op plain listener",
    "batches": "no-op batch listener",
    "commit": "one table, batches of 500",
}
CEILOMETER = {
    "ceilometer1": "Ceilometer, test://, batch 1",
    "ceilometer100": "Ceilometer, test://, batch 100",
}
BATCHES = {"ceilometer1": 1, "ceilometer100": 100}
DATABASE = "ingest_limit"

Found = dict[str, float]


def measure(stand: Stand, size: Size) -> list[Line]:
    """Let each reader empty a queue of the same notifications, in turns."""
    ours = _Ours(stand, "Ingest")
    bind(ours.region, "ec2map_sync", "claims", SPY, durable=True)
    own, others = _rounds(stand, size, {OURS: ours}, OTHERS)
    return [
        Line(
            key="ingest",
            what="committed ingest, one listener",
            unit="/s",
            ours=[d.rate for d in own[OURS]],
            beside=_each(others, "rate"),
            goal="1.0 x plain; limit 1 x one table",
        ),
        Line(
            key="cpu",
            what="client CPU per notification",
            unit="us",
            ours=[
                sum(s for n, s in d.cpu.items() if n != "servers")
                for d in own[OURS]
            ],
            beside=_each(others, "cpu"),
            goal="<= 350",
            more={"by process": [d.cpu for d in own[OURS]]},
        ),
        _published(ours.region, size.messages * size.rounds),
    ]


def ceilometer(stand: Stand, size: Size) -> list[Line]:
    """The same beside Ceilometer's agent, which is installed for it."""
    ours = _Ours(stand, "Telemetry")
    stand.say(f"Ceilometer from {ceilometer_python().parents[1].name}")
    own, others = _rounds(stand, size, {OURS: ours}, CEILOMETER)
    return [
        Line(
            key="ingest ceilometer",
            what="committed ingest, beside Ceilometer",
            unit="/s",
            ours=[d.rate for d in own[OURS]],
            beside=_each(others, "rate"),
            goal=">= 1.3 x batch 100",
        )
    ]


def workers(stand: Stand, size: Size) -> list[Line]:
    """Two listener processes beside one, each in a region of its own."""
    both = {"two": _Ours(stand, "Two", 2), "one": _Ours(stand, "One")}
    plain = {"plain": OTHERS["plain"]}
    own, others = _rounds(stand, size, both, plain)
    return [
        Line(
            key="ingest two",
            what="committed ingest, two listeners",
            unit="/s",
            ours=[d.rate for d in own["two"]],
            beside={"one listener": [d.rate for d in own["one"]]}
            | _each(others, "rate"),
            more={"by process": [d.cpu for d in own["two"]]},
        )
    ]


class _Ours:
    """A region, and the notifications that are kept back for it."""

    def __init__(self, stand: Stand, name: str, listeners: int = 1) -> None:
        self.region = stand.region(name)
        self.region.configure(
            extra=f"\n[notifications]\npool = {OURS}\nworkers = {listeners}\n"
        )
        self.held = Held(self.region, "glance", INFO)
        self._stand = stand
        self._listeners = listeners
        url = stand.rabbit.transport_url(self.region.vhost)
        self._notifier = Notifier(url)

    def announce(self, count: int) -> None:
        """Have so many new images announced, and keep that back."""
        self._notifier.create_many(count)
        self.held.take(count)

    def drain(self) -> Drained:
        """Let them go, and measure until they have taken effect."""
        region, count = self.region, self.held.count
        said = len(region.log())

        def prime() -> None:
            # Until a listener has declared its queue, nothing goes there.
            wait_until(
                lambda: (
                    region.log(said).count("listening on") >= self._listeners
                ),
                120,
            )
            self.held.let_one_go()

        with Progress(region, CURSORS) as progress:
            total = progress.total() + count
            with warm(region, progress, prime):
                return drain(
                    self._stand, region, progress, total, self.held.let_go
                )


def _rounds(
    stand: Stand, size: Size, own: dict[str, _Ours], others: dict[str, str]
) -> tuple[dict[str, list[Drained]], dict[str, list[Found]]]:
    """Let ours and the others work in turns; what each has done, by name.

    The others read copies of what the first of ours gets.
    """
    region = next(iter(own.values())).region
    queues = [_queue(kind) for kind in others]
    for queue in queues:
        bind(region, "glance", INFO, queue, durable=False)
    found: dict[str, list[Found]] = defaultdict(list)
    drained: dict[str, list[Drained]] = defaultdict(list)

    def work(kind: str) -> None:
        if kind in own:
            drained[kind].append(own[kind].drain())
        else:
            result = _consume(stand, region, kind, size.messages)
            found[others[kind]].append(result)

    for turn in range(size.rounds):
        for ours in own.values():
            ours.announce(size.messages)
        for kind in in_turns([*own, *others], turn):
            work(kind)
        for ours in own.values():
            purge(ours.region, INFO)
        purge(region, *queues)
        rates = ", ".join(f"{d[-1].rate:,.0f}/s" for d in drained.values())
        stand.say(f"ingest {turn + 1}: {rates}")
    return dict(drained), dict(found)


def _each(found: dict[str, list[Found]], what: str) -> dict[str, list[float]]:
    return {name: [f[what] for f in some] for name, some in found.items()}


def _queue(kind: str) -> str:
    """Name a reader's queue; Ceilometer has a topic, and no pool."""
    return f"{kind}.info" if kind in CEILOMETER else kind


def _consume(stand: Stand, region: Region, kind: str, count: int) -> Found:
    url = stand.rabbit.transport_url(region.vhost)
    if kind in CEILOMETER:
        program = (
            ceilometer_python(),
            Path(__file__).parent / "ceilometer_reader.py",
        )
        with Consumer(
            kind, program, url=url, count=count, batch=BATCHES[kind]
        ) as consumer:
            return consumer.result()
    _empty_table(stand)
    database = stand.mariadb.url(DATABASE)
    with Consumer(
        kind, url=url, pool=kind, count=count, database=database
    ) as consumer:
        return consumer.result()


def _empty_table(stand: Stand) -> None:
    stand.mariadb.execute(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    stand.mariadb.execute(f"DROP TABLE IF EXISTS {DATABASE}.s3_images")
    stand.mariadb.execute(
        S3_IMAGES.replace("s3_images", f"{DATABASE}.s3_images")
    )


def _published(region: Region, claims: int) -> Line:
    """Count what went to the peers: messages and bytes."""
    messages = size = 0
    with channel(region) as open_channel:
        while message := open_channel.basic_get(SPY, no_ack=True):
            messages += 1
            size += len(message.body)
    return Line(
        key="published",
        what="bytes published per claim",
        unit="B",
        ours=[size / claims],
        more={"messages per claim": messages / claims},
    )
