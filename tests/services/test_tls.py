"""TLS to brokers: the right certificate is taken, any other refused."""

import datetime
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from servers import RabbitMQ

from ec2map_sync import bus
from ec2map_sync.addresses import with_tls

pytestmark = pytest.mark.services


def make_certificate(path, address):
    """Write a self-signed certificate for an address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address(address))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def broker(directory, epmd):
    certificate = make_certificate(directory / "own.pem", "127.0.0.1")
    with RabbitMQ(
        directory / "tls", "tls", epmd, certificate=certificate
    ) as server:
        yield server


def publish(url):
    outlet = bus.Outlet(url, "ec2map_sync")
    try:
        outlet.send("claims", {}, b"{}")
    finally:
        outlet.close()


def address(broker, host="127.0.0.1"):
    return f"amqps://guest:guest@{host}:{broker.tls_port}/%2F"


def test_a_certificate_that_is_trusted_is_taken(broker, directory):
    publish(f"{address(broker)}?ca_file={directory / 'own.pem'}&heartbeat=9")


def test_the_options_name_the_files_for_urls_that_do_not(broker, directory):
    files = {"ca_file": str(directory / "own.pem"), "cert_file": None}

    publish(with_tls(address(broker), files))


def test_an_unknown_certificate_is_refused(broker, directory):
    other = make_certificate(directory / "other.pem", "127.0.0.1")

    for url in (address(broker), f"{address(broker)}?ca_file={other}"):
        with pytest.raises(bus.OUTAGES) as caught:
            publish(url)
        assert "CERTIFICATE_VERIFY_FAILED" in bus.describe(caught.value)


def test_a_certificate_for_another_host_is_refused(broker, directory):
    url = f"{address(broker, '127.0.0.2')}?ca_file={directory / 'own.pem'}"

    with pytest.raises(bus.OUTAGES) as caught:
        publish(url)

    assert "127.0.0.2" in bus.describe(caught.value)


def test_a_plain_url_has_no_tls():
    assert bus.without_tls("amqp://h/v?heartbeat=4") == (
        "amqp://h/v?heartbeat=4",
        {},
    )
    plain, tls = bus.without_tls("amqps://h/v?ca_file=a;amqps://i/v")
    assert plain == "amqps://h/v;amqps://i/v"
    assert tls["ca_certs"] == "a"
    assert tls["cert_reqs"] is ssl.CERT_REQUIRED
