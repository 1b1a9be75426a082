"""TLS to brokers: the right certificate is taken, any other refused."""

import re
import socket
from collections import Counter
from itertools import pairwise

import kombu
import pytest
from certificates import make_certificate
from edge import installed
from fleet import Region, pair, running
from one_set import claim_many, open_ledger
from patience import wait_until, within
from servers import RabbitMQ

from ec2map_sync.broker import link, transport
from ec2map_sync.broker.address import Address, Tls
from ec2map_sync.peers import bus

pytestmark = pytest.mark.services

LOOPS = ("listener", "publisher", "answerer", "follower of RegionTwo")
"""Those of an agent that go to a broker."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def broker(directory, epmd):
    certificate = make_certificate(directory / "own.pem", "127.0.0.1", "::1")
    with RabbitMQ(
        directory / "tls", "tls", epmd, certificate=certificate
    ) as server:
        yield server


def publish(url, **files):
    outlet = bus.Outlet(Address.read(url, Tls(**files)), "ec2map_sync")
    try:
        outlet.send("claims", {}, b"{}")
    finally:
        outlet.close()


def address(broker, host="127.0.0.1"):
    return f"amqps://guest:guest@{host}:{broker.tls_port}/%2F"


def test_a_certificate_that_is_trusted_is_taken(broker, directory):
    publish(f"{address(broker)}?ca_file={directory / 'own.pem'}&heartbeat=9")


def test_the_options_name_the_files_for_urls_that_do_not(broker, directory):
    publish(address(broker), ca_file=str(directory / "own.pem"))


def test_an_unknown_certificate_is_refused(broker, directory):
    other = make_certificate(directory / "other.pem", "127.0.0.1")

    for url in (address(broker), f"{address(broker)}?ca_file={other}"):
        with pytest.raises(link.BROKEN) as caught:
            publish(url)
        said = link.describe(caught.value)
        assert "certificate is not trusted (ssl_ca_file)" in said


def test_a_certificate_for_another_host_is_refused(broker, directory):
    url = f"{address(broker, '127.0.0.2')}?ca_file={directory / 'own.pem'}"

    with pytest.raises(link.BROKEN) as caught:
        publish(url)

    assert "127.0.0.2" in link.describe(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_notifications_come_over_tls_that_transport_url_asks_for(
    broker, directory, mariadb, tmp_path, host
):
    region = Region("RegionOne", broker, mariadb, tmp_path)
    region.configure()
    text = region.config_file.read_text()
    transport_url = (
        f"rabbit://{region.account}:{region.account}@{host}:{broker.tls_port}"
        f"/{region.vhost}?ssl=1&ssl_ca_file={directory / 'own.pem'}"
    )
    text = re.sub("(?<=transport_url = ).*", transport_url, text)
    region.config_file.write_text(text)
    region.glance.declare()

    with running(region):
        region.await_images(region.glance.create(5))


def test_each_host_of_a_cluster_is_checked_by_its_own_name(broker, directory):
    hosts = (address(broker, "127.0.0.2"), address(broker))

    with installed("as known"):
        publish(";".join(hosts), ca_file=str(directory / "own.pem"))


def test_a_file_that_is_missing_is_named(directory):
    url = f"amqps://127.0.0.1:1/?ca_file={directory / 'missing.pem'}"

    with pytest.raises(link.BROKEN) as caught:
        publish(url)

    assert "missing.pem" in link.describe(caught.value)


@pytest.mark.parametrize("secure", [False, True])
def test_what_has_come_is_given_out_together(broker, directory, secure):
    url = broker.url()
    if secure:
        url = f"{address(broker)}?ca_file={directory / 'own.pem'}"
    arrived, read = [], []
    with (
        installed("as known"),
        link.connect(Address.read(url, Tls())) as connection,
        connection.channel() as channel,
    ):
        queue = kombu.Queue(f"together-{secure}", auto_delete=True)(channel)
        queue.declare()
        for number in range(300):
            kombu.Producer(channel).publish(
                str(number), routing_key=queue.name
            )
        with kombu.Consumer(channel, [queue], on_message=arrived.append):
            while len(arrived) < 300:
                connection.drain_events(timeout=within(10))
                read.append(len(arrived))
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.1)

    assert [m.body for m in arrived] == [str(n) for n in range(300)]
    assert len(read) < 100
    assert max(b - a for a, b in pairwise([0, *read])) <= transport.MOST


def test_a_heartbeat_behind_a_message_holds_nothing_up(broker):
    heartbeat = bytes([8, 0, 0, 0, 0, 0, 0, 0xCE])
    arrived = []
    with (
        installed("as known"),
        link.connect(Address(f"{broker.url()}?heartbeat=2")) as connection,
        connection.channel() as channel,
    ):
        queue = kombu.Queue("held-up", auto_delete=True)(channel)
        queue.declare()
        kombu.Producer(channel).publish("it", routing_key=queue.name)
        with kombu.Consumer(channel, [queue], on_message=arrived.append):
            sock = connection.connection.sock
            wait_until(
                lambda: (
                    heartbeat
                    in sock.recv(65536, socket.MSG_PEEK | socket.MSG_DONTWAIT)
                )
            )
            connection.drain_events(timeout=within(10))

    assert [m.body for m in arrived] == ["it"]


def over_tls(region, broker, trusted):
    """Let an agent reach Glance's, its own and its peer's bus over TLS."""
    text = region.config_file.read_text()
    assert f":{broker.port}/" in text
    text = text.replace(f":{broker.port}/", f":{broker.tls_port}/")
    text = text.replace("= amqp://", "= amqps://")
    for section, options in (
        ("bus", f"ssl_ca_file = {trusted}"),
        ("oslo_messaging_rabbit", f"ssl = True\nssl_ca_file = {trusted}"),
    ):
        text = text.replace(f"[{section}]\n", f"[{section}]\n{options}\n")
    region.config_file.write_text(text)


def exchanges(region):
    listed = region.rabbit.ctl(
        "list_exchanges", f"--vhost={region.vhost}", "name"
    )
    return set(listed.split())


def waits(log):
    """Give who waits, and why, line by line."""
    return re.findall(r"\[-\] (.+) waits and tries again: (.*)$", log, re.M)


@pytest.mark.long
def test_an_agent_waits_for_brokers_that_it_does_not_trust(
    broker, directory, mariadb, tmp_path
):
    unknown = make_certificate(tmp_path / "unknown.pem", "127.0.0.1")
    one, two = pair(broker, broker, mariadb, tmp_path)
    over_tls(one, broker, unknown)
    images = one.glance.create(5) | claim_many(open_ledger(one), 5)
    with running(one, two):
        for loop in LOOPS:
            one.await_log(f"] {loop} waits and tries again: ", 60)
        two.await_log("] follower of RegionOne waits and tries again: ", 60)

        said = waits(one.log())
        assert Counter(loop for loop, _ in said) == dict.fromkeys(LOOPS, 1)
        assert all("certificate is not trusted" in why for _, why in said)
        assert "Traceback" not in one.log()
        assert not {"ec2map_sync", "ec2map_sync.requests"} & exchanges(one)
        assert one.stop() == 0

        text = one.config_file.read_text()
        trusted = str(directory / "own.pem")
        one.config_file.write_text(text.replace(str(unknown), trusted))
        one.start()

        two.await_images(images, 60)
        one.await_images(two.glance.create(5), 60)
        assert len(waits(one.log())) == len(LOOPS)
