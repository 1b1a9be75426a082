"""What our figures stand beside: other readers of the same notifications.

Each is a process of its own: ``python consumers.py KIND '{"url": …}'``. It
says "ready", works, and prints as JSON what it has seen.
"""

import json
import os
import sys
import threading
import warnings
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import kombu
import sqlalchemy as sa
from clock import Clock
from oslo_config import cfg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import oslo_messaging
    from oslo_messaging import opts as messaging_opts

PREFETCH = 1000
TIMEOUT = 0.2
"""Seconds for a batch to fill up: long enough, for they are the limit."""

EXCHANGE = "forwarded"

rows = sa.Table(
    "s3_images",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36)),
    sa.Column("deleted", sa.Integer),
)


# Two images may have one number; then the first one's row stays.
INSERT = sa.insert(rows).prefix_with("IGNORE")


def row_of(uuid: str) -> dict[str, object]:
    """Derive a row from an image, as cheaply as it can be done."""
    digest = blake2b(uuid.encode(), digest_size=8).digest()
    number = int.from_bytes(digest) % (2**30 - 2**24) + 2**24
    return {"id": number, "uuid": uuid, "deleted": 0}


class PlainEndpoint:
    """Does something with each notification."""

    def __init__(self, work: Callable[[str], None]) -> None:
        self._work = work

    def info(
        self,
        _context: object,
        _publisher: str,
        _event: str,
        payload: dict[str, Any],
        _metadata: object,
    ) -> None:
        """Take one."""
        self._work(payload["id"])


class BatchEndpoint:
    """Does something with each batch."""

    def __init__(self, work: Callable[[list[str]], None]) -> None:
        self._work = work

    def info(self, messages: list[dict[str, Any]]) -> None:
        """Take a batch."""
        self._work([m["payload"]["id"] for m in messages])


def listen(options: dict[str, Any], endpoint: object, *, batch: int) -> Any:
    """Start one of oslo.messaging's listeners, plain or with batches."""
    conf = cfg.ConfigOpts()
    for group, known in messaging_opts.list_opts():
        conf.register_opts(known, group=group)
    conf([], default_config_files=[])
    conf.set_default(
        "rabbit_qos_prefetch_count", PREFETCH, group="oslo_messaging_rabbit"
    )
    transport = oslo_messaging.get_notification_transport(
        conf, url=options["url"]
    )
    targets = [oslo_messaging.Target(exchange="glance", topic="notifications")]
    arguments: dict[str, Any] = {
        "executor": "threading",
        "pool": options["pool"],
    }
    if batch:
        make = oslo_messaging.get_batch_notification_listener
        arguments |= {"batch_size": batch, "batch_timeout": TIMEOUT}
    else:
        make = oslo_messaging.get_notification_listener
    server = make(transport, targets, [endpoint], **arguments)
    server.start(override_pool_size=1)
    return server


def plain(options: dict[str, Any]) -> Clock:
    """Read one by one, and do nothing."""
    clock = Clock(options["count"])
    listen(options, PlainEndpoint(lambda _uuid: clock.saw()), batch=0)
    return clock


def batches(options: dict[str, Any]) -> Clock:
    """Read in batches, and do nothing."""
    clock = Clock(options["count"])
    endpoint = BatchEndpoint(lambda uuids: clock.saw(len(uuids)))
    listen(options, endpoint, batch=500)
    return clock


def commit(options: dict[str, Any]) -> Clock:
    """Read in batches, and write each into one table: the limit."""
    clock = Clock(options["count"])
    engine = sa.create_engine(options["database"])

    def work(uuids: list[str]) -> None:
        with engine.begin() as connection:
            connection.execute(INSERT, [row_of(u) for u in uuids])
        clock.saw(len(uuids))

    listen(options, BatchEndpoint(work), batch=500)
    return clock


def forward(options: dict[str, Any]) -> Clock:
    """Write each notification into one table, and send it on."""
    engine = sa.create_engine(options["database"])
    channel = kombu.Connection(options["bus"]).channel()
    exchange = kombu.Exchange(EXCHANGE, "topic", durable=True)
    exchange(channel).declare()
    producer = kombu.Producer(channel, exchange)

    def work(uuid: str) -> None:
        with engine.begin() as connection:
            connection.execute(INSERT, row_of(uuid))
        producer.publish({"image": uuid}, routing_key="claims")

    listen(options, PlainEndpoint(work), batch=0)
    return Clock(1)


def accept(options: dict[str, Any]) -> Clock:
    """Write what was sent on into one table in the other region."""
    engine = sa.create_engine(options["database"])
    connection = kombu.Connection(options["bus"])
    channel = connection.channel()
    exchange = kombu.Exchange(EXCHANGE, "topic", durable=True)
    queue = kombu.Queue(EXCHANGE, exchange, "claims", durable=True)

    def work(body: dict[str, str], message: Any) -> None:
        with engine.begin() as transaction:
            transaction.execute(INSERT, row_of(body["image"]))
        message.ack()

    kombu.Consumer(channel, [queue], callbacks=[work]).consume()

    def drain() -> None:
        while True:
            connection.drain_events()

    threading.Thread(target=drain, daemon=True).start()
    return Clock(1)


KINDS = {
    "plain": plain,
    "batches": batches,
    "commit": commit,
    "forward": forward,
    "accept": accept,
}


def main() -> None:
    """Run one, until it has seen its messages or its input is closed."""
    clock = KINDS[sys.argv[1]](json.loads(sys.argv[2]))
    print("ready", flush=True)
    if sys.argv[1] in {"forward", "accept"}:
        sys.stdin.read()
    else:
        clock.done.wait()
    print(json.dumps(clock.result), flush=True)


if __name__ == "__main__":
    main()
    os._exit(0)  # the listener's threads would go on
