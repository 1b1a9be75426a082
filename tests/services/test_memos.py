"""What Nova remembers in memcached is deleted when a row has changed."""

import json
from hashlib import sha1

import pytest
from certificates import make_certificate
from commands import SmallRegion, run
from fleet import Region, running
from patience import wait_until
from servers import Memcached
from small_cell import CREATE

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.rules.claims import Claim, Wanted
from ec2map_sync.rules.ec2id import ON_DEMAND, Scheme
from ec2map_sync.rules.rows import Divergence, RowClass
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.settings.values import MemoTls
from ec2map_sync.sinks import memory, memos
from ec2map_sync.sinks.audit import Sweep
from ec2map_sync.sinks.memory import MemoSilent
from ec2map_sync.sinks.memos import MemoWorker
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


def key(uuid):
    """Nova's key, by its own rule and not by our code."""
    return sha1(f"glance_id_to_id:{uuid}".encode()).hexdigest()


@pytest.fixture(scope="module")
def pair_of_servers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("memcached")
    with Memcached(directory / "a") as a, Memcached(directory / "b") as b:
        yield a, b


@pytest.fixture
def servers(pair_of_servers):
    for server in pair_of_servers:
        server.start()
    return pair_of_servers


class Cell:
    """A ledger and a cell in SQLite, with what an agent runs there."""

    def __init__(self, directory, servers):
        engine = create_engine(parse_url(f"sqlite:///{directory}/ledger", "x"))
        schema.upgrade(engine)
        self.now = wall_clock()
        self.ledger = Ledger(engine, Scheme(b"test"), lambda: self.now)
        self.engine = create_engine(parse_url(f"sqlite:///{directory}/c", "x"))
        with self.engine.begin() as connection:
            connection.exec_driver_sql(CREATE)
        self.sink = NovaSink("cell1", self.engine)
        self.writer = Writer(self.ledger, self.sink, rewrite=False, notes=True)
        self.servers = servers
        addresses = [("127.0.0.1", server.port) for server in servers]
        self.forgetting = MemoWorker(
            self.ledger, self.sink, addresses, clock=lambda: self.now
        )

    def record(self, *claims):
        self.ledger.record(claims)
        self.writer.step()

    def put(self, number, uuid):
        with self.engine.begin() as connection:
            connection.exec_driver_sql(
                f"INSERT INTO s3_images (id, uuid) VALUES ({number}, '{uuid}')"
            )

    def remember(self, *uuids):
        for server in self.servers:
            for uuid in uuids:
                server.put(key(uuid), b"7")

    def remembered(self, uuid):
        return [server.holds(key(uuid)) for server in self.servers]

    def waits(self):
        return self.ledger.memos.waiting("nova:cell1")

    def later(self, seconds):
        self.now += int(seconds * 1_000_000)


@pytest.fixture
def cell(tmp_path, servers):
    return Cell(tmp_path, servers)


def adopted(n, number):
    return Claim(claimed_at=n, image=image(n), wanted=Wanted(1000, number))


def test_new_images_cost_memcached_nothing(cell):
    before = [server.commands("delete") for server in cell.servers]

    cell.record(*(Claim(claimed_at=n, image=image(n)) for n in range(1, 50)))
    cell.forgetting.step()

    assert not cell.waits()
    assert [s.commands("delete") for s in cell.servers] == before


def test_an_adopted_id_is_seen_at_once(cell):
    cell.record(*(Claim(claimed_at=n, image=image(n)) for n in (1, 2)))
    cell.remember(image(1), image(2))

    cell.record(adopted(1, 42))
    cell.forgetting.step()

    assert cell.remembered(image(1)) == [False, False]
    assert cell.remembered(image(2)) == [True, True]


def test_without_it_nova_would_go_on_remembering(cell):
    cell.record(Claim(claimed_at=1, image=image(1)))
    cell.remember(image(1))
    cell.writer.notes = False

    cell.record(adopted(1, 42))
    cell.forgetting.step()

    assert cell.remembered(image(1)) == [True, True]


def test_an_image_that_had_to_give_way_is_seen_at_once(cell):
    number = cell.ledger.scheme.derive(image(1))
    cell.record(Claim(claimed_at=100, image=image(1)))
    cell.remember(image(1))

    # Earlier, another one wanted the same number.
    cell.record(Claim(claimed_at=2, image=image(2), wanted=Wanted(3, number)))
    cell.forgetting.step()

    assert cell.ledger.numbers_of([image(1)])[image(1)] != number
    assert cell.remembered(image(1)) == [False, False]


def test_a_rewritten_row_is_seen_at_once(cell):
    cell.record(Claim(claimed_at=1, image=image(1)))
    cell.put(7, image(1))
    cell.remember(image(1))
    found = Divergence(
        sink="nova:cell1",
        number=7,
        image=image(1),
        row_class=RowClass.LEGACY,
        settled=cell.ledger.scheme.derive(image(1)),
    )

    cell.writer.replace([found])
    cell.forgetting.step()

    assert cell.remembered(image(1)) == [False, False]


def test_a_row_that_was_lost_and_is_written_again_is_seen(cell):
    cell.record(Claim(claimed_at=1, image=image(1)))
    with cell.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM s3_images")
    cell.remember(image(1))

    cell.writer.write([cell.ledger.scheme.derive(image(1))])
    cell.forgetting.step()

    assert cell.remembered(image(1)) == [False, False]


def test_an_id_that_nova_made_while_a_row_was_missing_is_forgotten(cell):
    cell.record(Claim(claimed_at=1, image=image(1)))
    with cell.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM s3_images")
    cell.put(ON_DEMAND.first + 3, image(1))
    cell.remember(image(1))
    sweep = Sweep(cell.ledger, cell.sink, cell.writer)

    sweep.step()
    cell.forgetting.step()

    assert cell.remembered(image(1)) == [False, False]
    # What stays there is no news an hour later.
    cell.later(memos.AGAIN + 1)
    cell.forgetting.step()
    assert not cell.waits()
    sweep.begin()
    sweep.step()
    assert not cell.waits()


def test_a_spelling_of_glance_is_the_key(cell):
    spelled = image(0xABC).upper()
    cell.record(Claim(claimed_at=1, image=image(0xABC), spelling=spelled))
    number = cell.ledger.scheme.derive(image(0xABC))
    with cell.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE s3_images SET uuid = '{spelled}' WHERE id = {number}"
        )
    cell.remember(spelled)

    cell.record(
        Claim(claimed_at=1, image=image(0xABC), wanted=Wanted(1000, 42))
    )
    cell.forgetting.step()

    assert cell.remembered(spelled) == [False, False]


def test_what_is_remembered_again_just_then_is_deleted_again(cell):
    cell.record(Claim(claimed_at=1, image=image(1)))
    cell.record(adopted(1, 42))
    cell.forgetting.step()

    # A process had read the old row, and only now tells memcached.
    cell.remember(image(1))
    cell.later(memos.AGAIN / 2)
    cell.forgetting.step()

    assert cell.remembered(image(1)) == [False, False]
    cell.later(memos.AGAIN)
    cell.forgetting.step()
    assert not cell.waits()
    cell.remember(image(1))
    cell.forgetting.step()
    assert cell.remembered(image(1)) == [True, True]


class Crash(Exception):
    pass


def test_a_crash_after_the_commit_forgets_nothing(cell, monkeypatch):
    cell.record(Claim(claimed_at=1, image=image(1)))
    cell.remember(image(1))

    def crash(*_):
        raise Crash

    monkeypatch.setattr(cell.ledger.cursors, "advance", crash)
    with pytest.raises(Crash):
        cell.record(adopted(1, 42))
    monkeypatch.undo()
    again = MemoWorker(
        cell.ledger,
        cell.sink,
        [("127.0.0.1", server.port) for server in cell.servers],
        clock=wall_clock,
    )
    again.step()

    assert cell.sink.numbers_of(image(1)) == [42]
    assert cell.remembered(image(1)) == [False, False]


def test_a_server_that_is_away_is_waited_for(cell):
    here, away = cell.servers
    cell.record(Claim(claimed_at=1, image=image(1)))
    cell.remember(image(1))
    away.stop()
    cell.record(adopted(1, 42))

    for _ in range(2):
        with pytest.raises(MemoSilent, match=rf"at 127.0.0.1:{away.port}: "):
            cell.forgetting.step()
        cell.later(memos.AGAIN + 1)

    assert not here.holds(key(image(1)))
    away.start()
    away.put(key(image(1)), b"7")
    cell.forgetting.step()
    assert cell.remembered(image(1)) == [False, False]
    assert not cell.waits()


def test_nobody_is_waited_for_longer_than_nova_remembers(cell):
    _, away = cell.servers
    cell.record(Claim(claimed_at=1, image=image(1)))
    away.stop()
    cell.record(adopted(1, 42))

    cell.later(memos.WEEK + 1)
    with pytest.raises(MemoSilent):
        cell.forgetting.step()

    assert not cell.waits()
    cell.forgetting.step()


def test_config_check_asks_every_server(servers, tmp_path):
    here, away = servers
    away.stop()
    small = SmallRegion(tmp_path)
    text = small.config_file.read_text().replace(
        "[nova]\n", f"[nova]\nmemcached_servers = {away.address}\n"
    )
    small.config_file.write_text(
        f"{text}[cell:cell1]\nmemcached_servers = {here.address}\n"
    )

    done = small.run("config", "check", "-f", "json", code=1)

    results = {
        line["check"]: line["result"] for line in json.loads(done.stdout)
    }
    assert results[f"memcached {here.address}"].startswith("ok: version 1.")
    assert results[f"memcached {away.address}"].startswith("wrong: ")


def of_nova(number):
    """Write a number as Nova's client does (shape of a captured value)."""
    age = b"}(\x8c\x02ctGA\xda\x00\x00\x00\x00\x00\x00\x8c\x01vK\x02u"
    payload = b"J" + number.to_bytes(4, "little")
    pair = b"\x8c\x11dogpile.cache.api\x8c\x0bCachedValue\x93" + payload
    return b"\x80\x04" + pair + age + b"\x86\x81."


def test_commands_say_what_is_remembered(servers, tmp_path):
    small = SmallRegion(tmp_path)
    small.ledger.record([Claim(claimed_at=1, image=image(1))])
    small.write_sinks()
    small.sql(
        "cell1", f"INSERT INTO s3_images (id, uuid) VALUES (7, '{image(1)}')"
    )
    cell1 = NovaSink("cell1", create_engine(parse_url(small.cell, "x")))
    writer = Writer(small.ledger, cell1, rewrite=False)
    Sweep(small.ledger, cell1, writer).step()
    text = small.config_file.read_text()
    addresses = ",".join(server.address for server in servers)
    small.config_file.write_text(
        text.replace("[nova]\n", f"[nova]\nmemcached_servers = {addresses}\n")
    )

    def seen():
        listed = small.run("divergence", "list", "-f", "json").stdout
        steps = json.loads(small.run("explain", image(1), "-f", "json").stdout)
        (memo,) = [s["detail"] for s in steps if s["what"].startswith("memo")]
        return json.loads(listed)[0]["guest_sees"], memo

    nothing = "memcached remembers nothing, so that the rows count"
    assert seen() == ("ami-00000007", nothing)
    servers[1].put(key(image(1)), of_nova(0x1267))
    assert seen() == (
        "ami-00001267",
        "memcached remembers ami-00001267, which guests see, not as settled",
    )
    servers[1].put(key(image(1)), b"junk")
    assert seen() == ("ami-00000007", nothing)
    servers[0].stop()
    done = small.run("divergence", "list", "-f", "json")
    assert "guest_sees is from the rows" in done.stderr


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificate")
    return make_certificate(directory / "memcached.pem", "127.0.0.1")


@pytest.fixture(scope="module")
def secure(certificate):
    """A server that speaks with nobody without TLS, nor a certificate."""
    with Memcached(certificate.parent / "secure", certificate) as server:
        yield server


def asked_over(address, **files):
    tls = MemoTls(**{name: str(path) for name, path in files.items()})
    return memory.delete([("127.0.0.1", address.port)], [image(1)], tls)


def test_a_memo_behind_tls_is_deleted(secure, certificate):
    secure.put(key(image(1)), b"7")

    asked_over(secure, cafile=certificate, certfile=certificate)

    assert not secure.holds(key(image(1)))


def test_without_what_tls_asks_for_it_is_said_what_is_wrong(
    secure, certificate, tmp_path
):
    other = make_certificate(tmp_path / "other.pem", "127.0.0.1")
    secure.put(key(image(1)), b"7")

    for match, files in (
        ("certificate verify failed", {"cafile": other}),
        (r"nowhere: .*No such file", {"cafile": "/nowhere"}),
        (r"at 127\.0\.0\.1:", {"cafile": certificate}),
    ):
        with pytest.raises(MemoSilent, match=match):
            asked_over(secure, **files)
    with pytest.raises(MemoSilent):
        memory.delete([("127.0.0.1", secure.port)], [image(1)])
    assert secure.holds(key(image(1)))


def test_config_check_asks_over_tls(secure, servers, certificate, tmp_path):
    small = SmallRegion(tmp_path)
    text = small.config_file.read_text().replace(
        "[nova]\n",
        f"[nova]\nmemcached_servers = {secure.address}\n"
        "memcached_tls_enabled = true\n"
        f"memcached_tls_cafile = {certificate}\n"
        f"memcached_tls_certfile = {certificate}\n",
    )
    plain = servers[0].address
    small.config_file.write_text(
        f"{text}[cell:cell1]\nmemcached_servers = {plain}\n"
        "memcached_tls_enabled = false\n"
    )

    done = small.run("config", "check", "-f", "json", code=1)

    results = {
        line["check"]: line["result"] for line in json.loads(done.stdout)
    }
    said = results[f"memcached {secure.address}"]
    assert said.startswith("ok: version 1.")
    assert said.endswith(", over TLS")
    assert "TLS" not in results[f"memcached {plain}"]


@pytest.fixture
def region(rabbit_a, mariadb, servers, tmp_path):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    addresses = ",".join(server.address for server in servers)
    region.configure()
    text = region.config_file.read_text()
    region.config_file.write_text(
        text.replace("[nova]\n", f"[nova]\nmemcached_servers = {addresses}\n")
    )
    return region


def of_cell1(region):
    lines = json.loads(
        run(
            *("status", "-f", "json"),
            *("--config-file", str(region.config_file)),
        ).stdout
    )
    (line,) = [one for one in lines if one["name"] == "memo of nova:cell1"]
    return line


def test_an_agent_waits_for_a_server_and_says_so(region, servers):
    here, away = servers
    with running(region):
        (uuid,) = region.glance.create(1)
        region.await_images([uuid])
        for server in servers:
            server.put(key(uuid), b"7")
        away.stop()
        region.sql(
            "cell1", f"INSERT INTO s3_images (id, uuid) VALUES (7, '{uuid}')"
        )

        region.command("adopt")

        wait_until(lambda: not here.holds(key(uuid)), 10)
        wait_until(lambda: of_cell1(region)["state"] == "waits", 20)
        assert f"127.0.0.1:{away.port}" in of_cell1(region)["last_error"]
        more = region.glance.create(3)
        region.await_images(more)  # which nobody holds up
        away.start()
        away.put(key(uuid), b"7")
        wait_until(lambda: not away.holds(key(uuid)), 20)
        wait_until(lambda: of_cell1(region)["state"] == "works", 30)
