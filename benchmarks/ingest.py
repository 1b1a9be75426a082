"""From Glance's notifications to ledger, cell and bus, beside lesser work."""

from collections import defaultdict

from figures import Line
from fleet import S3_IMAGES, Region
from servers import wait_until
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


def measure(stand: Stand, size: Size) -> list[Line]:
    """Let each reader empty a queue of the same notifications, in turns."""
    region = stand.region("Ingest")
    region.configure(extra=f"\n[notifications]\npool = {OURS}\n")
    for queue in OTHERS:
        bind(region, "glance", INFO, queue, durable=False)
    held = Held(region, "glance", INFO)
    bind(region, "ec2map_sync", "claims", SPY, durable=True)
    database = stand.mariadb.create_database("ingest_limit")
    notifier = Notifier(stand.rabbit.transport_url(region.vhost))
    rates: dict[str, list[float]] = defaultdict(list)
    cpus: dict[str, list[float]] = defaultdict(list)
    ours: list[Drained] = []
    for turn in range(size.rounds):
        notifier.create_many(size.messages)
        held.take(size.messages)
        for kind in in_turns([OURS, *OTHERS], turn):
            if kind == OURS:
                ours.append(_drain(stand, region, held, size.messages))
                continue
            _empty_table(stand, "ingest_limit")
            found = _consume(stand, region, kind, size.messages, database)
            rates[OTHERS[kind]].append(found["rate"])
            cpus[OTHERS[kind]].append(found["cpu"])
        purge(region, INFO, *OTHERS)
        stand.say(f"ingest {turn + 1}: {ours[-1].rate:,.0f}/s")
    return [
        Line(
            key="ingest",
            what="committed ingest, one listener",
            unit="/s",
            ours=[d.rate for d in ours],
            beside=dict(rates),
            goal="1.0 x plain; limit 1 x one table",
        ),
        Line(
            key="cpu",
            what="client CPU per notification",
            unit="us",
            ours=[
                sum(s for n, s in d.cpu.items() if n != "servers")
                for d in ours
            ],
            beside=dict(cpus),
            goal="<= 350",
            more={"by process": [d.cpu for d in ours]},
        ),
        _published(region, size.messages * size.rounds),
    ]


def _drain(stand: Stand, region: Region, held: Held, count: int) -> Drained:
    said = len(region.log())

    def prime() -> None:
        # Until our listener has declared its queue, nothing goes there.
        wait_until(lambda: "listening on" in region.log(said), 120)
        held.let_one_go()

    with Progress(region, CURSORS) as progress:
        total = progress.total() + count
        with warm(region, progress, prime):
            return drain(stand, region, progress, total, held.let_go)


def _empty_table(stand: Stand, database: str) -> None:
    stand.mariadb.execute(f"DROP TABLE IF EXISTS {database}.s3_images")
    stand.mariadb.execute(
        S3_IMAGES.replace("s3_images", f"{database}.s3_images")
    )


def _consume(
    stand: Stand, region: Region, kind: str, count: int, database: str
) -> dict[str, float]:
    with Consumer(
        kind,
        url=stand.rabbit.transport_url(region.vhost),
        pool=kind,
        count=count,
        database=database,
    ) as consumer:
        return consumer.result()


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
