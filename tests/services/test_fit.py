"""What does not fit Glance's exchange and queues is said, in one line."""

import amqp.exceptions
import kombu
import pytest
from edge import LedgerStub, listening
from fleet import INFO, create_envelope
from oslo_config import cfg
from servers import wait_until

from ec2map_sync.broker import link
from ec2map_sync.glance import fit
from ec2map_sync.glance.listener import register_options
from ec2map_sync.settings.values import Notifications

pytestmark = pytest.mark.services

QUORUM = {"x-queue-type": "quorum"}
DURABLE = "amqp_durable_queues = true"
QUORUMS = "rabbit_quorum_queue = true"
DELETED = "amqp_auto_delete = true"

CASES = {
    # How Glance declares, in which way ours differs, and what is said.
    "both transient": ({}, {}, "", None),
    "both durable": ({"durable": True}, {}, DURABLE, None),
    "both quorum": ({"durable": True}, QUORUM, QUORUMS, None),
    "both deleted": ({"auto_delete": True}, {}, DELETED, None),
    "a durable exchange": ({"durable": True}, {}, "", DURABLE),
    "a transient one": ({}, {}, DURABLE, "amqp_durable_queues = false"),
    "a transient one, ours quorum": (
        {},
        {},
        QUORUMS,
        "rabbit_quorum_queue = false",
    ),
    "an exchange that is deleted": ({"auto_delete": True}, {}, "", DELETED),
    "one that is not": ({}, {}, DELETED, "amqp_auto_delete = false"),
    "durable queues, ours quorum": (
        {"durable": True},
        {},
        QUORUMS,
        "set rabbit_quorum_queue = false, amqp_durable_queues = true in",
    ),
    "quorum queues, ours durable": (
        {"durable": True},
        QUORUM,
        DURABLE,
        f"set {QUORUMS} in",
    ),
    "another limit": (
        {"durable": True},
        QUORUM,
        f"{QUORUMS}\nrabbit_quorum_delivery_limit = 7",
        "make [oslo_messaging_rabbit] in ec2map-sync.conf",
    ),
}

OPTIONS = Notifications(
    exchange="glance",
    topics=("notifications",),
    pool=None,
    batch_size=100,
    batch_timeout=0.005,
    workers=1,
    stall_timeout=60,
)


@pytest.fixture
def vhost(rabbit_a):
    rabbit_a.grant("fit", {})
    yield "fit"
    rabbit_a.remove("fit")


@pytest.fixture
def conf(rabbit_a, vhost, tmp_path):
    def read(options):
        file = tmp_path / "some.conf"
        file.write_text(
            f"[DEFAULT]\ntransport_url = {rabbit_a.transport_url(vhost)}\n"
            f"[oslo_messaging_rabbit]\n{options}\n"
        )
        conf = cfg.ConfigOpts()
        register_options(conf)
        conf([], default_config_files=[str(file)])
        return conf

    return read


def declare(url, arguments, **options):
    """Declare as Glance does."""
    with kombu.Connection(url) as connection:
        exchange = kombu.Exchange("glance", "topic", **options)
        kombu.Queue(
            INFO, exchange, INFO, queue_arguments=arguments, **options
        )(connection.default_channel).declare()


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_named_with_what_would(
    rabbit_a, vhost, conf, case
):
    made, arguments, ours, said = CASES[case]
    options = {"durable": False, "auto_delete": False} | made
    declare(rabbit_a.url(vhost), arguments, **options)

    if said is None:
        fit.require_fit(conf(ours), OPTIONS)
    else:
        with pytest.raises(fit.Misfit) as caught:
            fit.require_fit(conf(ours), OPTIONS)
        assert said in str(caught.value).rpartition(": ")[2]
        assert "\n" not in str(caught.value)
    assert list(rabbit_a.queue_depths(vhost)) == [INFO]


def test_no_exchange_is_waited_for(conf):
    with pytest.raises(fit.NoExchange):
        fit.require_fit(conf(""), OPTIONS)


def test_a_broker_that_denies_transient_queues_is_understood(
    rabbit_a, vhost, conf, monkeypatch
):
    declare(rabbit_a.url(vhost), {}, durable=False)

    def denied(*_arguments, **_options):
        raise amqp.exceptions.InternalError(
            "transient_nonexcl_queues", (50, 10)
        )

    monkeypatch.setattr(fit, "_DENYING", 3)
    fit.require_fit(conf(""), OPTIONS)
    assert list(rabbit_a.queue_depths(vhost)) == [INFO]

    known = amqp.Channel.queue_declare
    monkeypatch.setattr(
        amqp.Channel,
        "queue_declare",
        lambda self, name, **o: (
            denied() if "probe" in name else known(self, name, **o)
        ),
    )
    with pytest.raises(fit.Misfit, match="transient_nonexcl_queues = true"):
        fit.require_fit(conf(""), OPTIONS)
    assert link.describe(amqp.exceptions.InternalError("x"))


def test_what_is_deleted_on_both_sides_is_read(rabbit_a, vhost):
    url = rabbit_a.url(vhost)
    ledger = LedgerStub()
    image = "30000000-0000-4000-8000-000000000001"
    declare(url, {}, durable=False, auto_delete=True)

    with listening(
        f"{rabbit_a.transport_url(vhost)}?amqp_auto_delete=true", ledger
    ):
        with kombu.Connection(url) as connection:
            kombu.Producer(connection.default_channel).publish(
                create_envelope(image),
                exchange="glance",
                routing_key=INFO,
                content_type="application/json",
                content_encoding="utf-8",
            )
        wait_until(lambda: ledger.seen == [image])


def test_a_prefetch_count_that_was_copied_does_no_harm(rabbit_a, vhost):
    url = rabbit_a.url(vhost)
    images = [f"30000000-0000-4000-8000-{n:012}" for n in range(60)]
    ledger = LedgerStub()
    declare(url, {}, durable=False)
    with (
        listening(
            f"{rabbit_a.transport_url(vhost)}?rabbit_qos_prefetch_count=1",
            ledger,
        ),
        kombu.Connection(url) as connection,
    ):
        ledger.there.clear()
        for image in images:
            kombu.Producer(connection.default_channel).publish(
                create_envelope(image),
                exchange="glance",
                routing_key=INFO,
                content_type="application/json",
                content_encoding="utf-8",
            )
        wait_until(ledger.asked.is_set)
        wait_until(lambda: waiting(rabbit_a, vhost) == 0)
        ledger.there.set()
        wait_until(lambda: set(ledger.seen) == set(images))

    assert max(ledger.sizes) > 16


def waiting(rabbit, vhost):
    """Count what was not delivered yet."""
    return sum(rabbit.queue_depths(vhost, "messages_ready").values())
