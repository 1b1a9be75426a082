"""What an operator is told where ec2-api has several rows of one number."""

import json
from contextlib import contextmanager

import pytest
import schemas
from commands import SmallRegion
from small_cell import image

from ec2map_sync.rules.claims import Claim, SeenKind
from ec2map_sync.rules.ec2id import Kind, format_id
from ec2map_sync.sinks.audit import Sweep
from ec2map_sync.sinks.ec2api import Ec2ApiSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url


class WithEc2Api(SmallRegion):
    """A small region that has an ec2-api as well, and two images."""

    def __init__(self, directory):
        super().__init__(directory)
        self.configure(peers="")
        with self.config_file.open("a") as file:
            file.write(f"[ec2api]\nconnection = {self.url('ec2api')}\n")
        with self.ec2api() as sink:
            schemas.create(sink._engine, schemas.ITEMS)

    @contextmanager
    def ec2api(self):
        engine = create_engine(parse_url(self.url("ec2api"), "ec2api"))
        yield Ec2ApiSink(engine)
        engine.dispose()

    def claim(self, n, kind):
        """Settle an image's number, write it, and give it."""
        claim = Claim(claimed_at=n, image=image(n), kind=SeenKind(n, kind))
        self.ledger.record([claim])
        self.write_sinks()
        with self.ec2api() as sink:
            while Writer(self.ledger, sink, rewrite=False).step():
                pass
        return self.ledger.numbers_of([image(n)])[image(n)]

    def put(self, ec2_id, n):
        """Let ec2-api make a row for an owner."""
        self.sql(
            "ec2api",
            "INSERT INTO items (id, project_id, os_id, data) "
            f"VALUES ('{ec2_id}', 'p', '{image(n)}', '')",
        )

    def audit(self):
        with self.ec2api() as sink:
            writer = Writer(self.ledger, sink, rewrite=False)
            sweep = Sweep(self.ledger, sink, writer)
            while not sweep.complete:
                sweep.step()

    def listed(self, *arguments, code=0):
        return json.loads(self.run(*arguments, "-f", "json", code=code).stdout)

    def explained(self, n):
        steps = self.listed("explain", image(n))
        return {step["what"]: step["detail"] for step in steps}


@pytest.fixture
def region(tmp_path):
    return WithEc2Api(tmp_path)


@pytest.mark.parametrize("other", [Kind.AKI, Kind.ARI])
def test_an_id_is_not_explained_by_a_row_with_another_prefix(region, other):
    number = region.claim(1, Kind.AMI)
    region.put(format_id(number, other), 2)

    shown = region.listed("show", image(1))
    assert shown["sinks"]["ec2api"] == image(1)
    said = region.explained(1)["sink ec2api"]
    assert said == f"holds {format_id(number)} as settled"
    assert region.listed("list", "--divergent") == []

    region.sql("ec2api", f"DELETE FROM items WHERE os_id = '{image(1)}'")

    assert region.listed("show", image(1))["sinks"]["ec2api"] is None
    said = region.explained(1)["sink ec2api"]
    assert said.startswith(f"holds nothing under {format_id(number)}")
    (found,) = region.listed("list", "--divergent")
    assert found["image"] == image(1)
    checked = region.listed("verify", "--sinks", code=1)
    (of_ec2api,) = [one for one in checked if one["name"] == "ec2api"]
    assert (of_ec2api["missing"], of_ec2api["different"]) == (1, 0)


def test_a_row_of_the_image_counts_whatever_its_prefix(region):
    number = region.claim(1, Kind.AMI)
    wrong = format_id(number, Kind.AKI)
    region.sql("ec2api", f"UPDATE items SET id = '{wrong}', data = ''")
    region.put(format_id(number), 2)

    assert region.listed("show", image(1))["sinks"]["ec2api"] == image(1)
    assert region.listed("list", "--divergent") == []


@pytest.mark.parametrize(
    ("ours", "theirs"), [(Kind.ARI, Kind.AMI), (Kind.AMI, Kind.AKI)]
)
def test_a_row_that_stays_stays_listed_beside_ours(region, ours, theirs):
    region.claim(2, Kind.AMI)
    region.sql("ec2api", "DELETE FROM items")
    number = region.claim(1, ours)
    region.put(format_id(number, theirs), 2)
    region.audit()

    done = region.run("divergence", "resolve", "rewrite", "--all", code=1)

    assert f"row {number} of {image(2)} stays" in done.stderr
    (left,) = region.listed("divergence", "list")
    assert (left["image"], left["class"]) == (image(2), "taken")


@pytest.mark.parametrize("other", [Kind.AKI, Kind.ARI])
def test_an_id_in_a_template_means_the_row_with_its_prefix(
    region, other, tmp_path
):
    number = region.claim(1, Kind.AMI)
    theirs = format_id(number, other)
    region.put(theirs, 2)
    path = tmp_path / "stack.yaml"
    path.write_text(f"{format_id(number)} {theirs}")

    rows = region.listed("template", "check", str(path), code=1)

    assert [row["verdict"] for row in rows] == [
        "ok",
        "another image's in ec2api",
    ]


def test_an_old_id_in_a_template_becomes_its_own_images(region, tmp_path):
    new = [format_id(region.claim(n, Kind.AMI)) for n in (1, 2)]
    region.sql("ec2api", "DELETE FROM items")
    region.put("ami-00000005", 1)
    region.put("ari-00000005", 2)
    (tmp_path / "stack.yaml").write_text("ami-00000005 ari-00000005")

    region.run(
        "template",
        "check",
        str(tmp_path / "stack.yaml"),
        "--fix",
        str(tmp_path / "fixed"),
        code=1,
    )

    fixed = (tmp_path / "fixed" / "stack.yaml").read_text()
    assert fixed == " ".join(new)
