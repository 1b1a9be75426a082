"""openstack ec2 image …: what it asks of the region's API, and shows."""

import io
from importlib.metadata import entry_points
from types import SimpleNamespace

import pytest
from commands import SmallRegion
from fake_keystone import FakeKeystone, serving
from keystoneauth1.exceptions import EndpointNotFound
from keystoneauth1.identity import Password
from keystoneauth1.session import Session
from osc_lib.exceptions import CommandError

from ec2map_sync.api.app import application, region_of
from ec2map_sync.osc import plugin
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.ec2id import format_id
from ec2map_sync.settings.loading import load


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


@pytest.fixture(scope="module")
def region(tmp_path_factory):
    """Three images, and an API of them on this machine."""
    region = SmallRegion(tmp_path_factory.mktemp("osc"))
    region.ledger.record(
        [Claim(claimed_at=n, image=image(n)) for n in (1, 2, 3)]
    )
    return region


@pytest.fixture(scope="module")
def keystone(region):
    config = load([], files=[str(region.config_file)])
    keystone = FakeKeystone()
    api = application(config, region_of(config))
    with serving(keystone) as address, serving(api) as endpoint:
        keystone.address = address
        keystone.endpoints = {
            "RegionOne": f"{endpoint}/v1",
            "RegionTwo": endpoint,
            "Elsewhere": "http://127.0.0.1:1",
        }
        yield keystone


def manager(keystone, region_name="RegionOne"):
    """What the openstack program hands to a command."""
    auth = Password(
        f"{keystone.address}/v3",
        username="admin",
        password="p",
        project_name="p",
        user_domain_id="default",
        project_domain_id="default",
    )
    found = SimpleNamespace(
        session=Session(auth), interface="public", region_name=region_name
    )
    glance = [
        SimpleNamespace(id=image(n).upper(), name=f"image {n}")
        for n in (1, 2, 4)
    ]
    found.sdk_connection = SimpleNamespace(
        image=SimpleNamespace(images=lambda: iter(glance))
    )
    found.ec2_mapping = plugin.make_client(found)
    return found


def run(keystone, name, *arguments, **chosen):
    """Run a command by its entry point; its exit code, and its table."""
    (point,) = entry_points(group="openstack.ec2_mapping.v1", name=name)
    app = SimpleNamespace(
        client_manager=manager(keystone, **chosen), stdout=io.StringIO()
    )
    command = point.load()(app, None)
    parsed = command.get_parser(name).parse_args(
        [*arguments, "--format", "value"]
    )
    return command.run(parsed), app.stdout.getvalue().splitlines()


def ec2_id(region, n):
    return format_id(region.scheme.derive(image(n)))


def test_the_program_finds_the_plugin():
    (point,) = entry_points(
        group="openstack.cli.extension", name="ec2_mapping"
    )

    assert point.load() is plugin
    assert point.name == plugin.API_NAME


@pytest.mark.parametrize("name", ["RegionOne", "RegionTwo"])
def test_images_are_listed_wherever_the_catalogue_leads(
    keystone, region, name
):
    code, lines = run(keystone, "ec2_image_list", region_name=name)

    assert code == 0
    found = {line.split()[0] for line in lines}
    assert found == {ec2_id(region, n) for n in (1, 2, 3)}


def test_a_long_list_has_names_from_glance(keystone):
    _, lines = run(keystone, "ec2_image_list", "--long")

    assert sum(line.endswith("image 2") for line in lines) == 1
    _, rest = run(
        keystone,
        "ec2_image_list",
        "--marker",
        lines[0].split()[0],
        "--limit",
        "1",
    )
    assert rest == [lines[1].partition(" image")[0].rstrip()]


def test_an_image_is_shown_by_either_name(keystone, region):
    by_uuid = run(keystone, "ec2_image_show", image(2))
    by_id = run(keystone, "ec2_image_show", ec2_id(region, 2))

    assert by_uuid == by_id
    assert by_uuid[1][:2] == [image(2), ec2_id(region, 2)]
    with pytest.raises(CommandError, match="not known in RegionOne"):
        run(keystone, "ec2_image_show", image(9))


def test_a_check_lists_what_has_no_id(keystone):
    assert run(keystone, "ec2_image_check") == (1, [f"{image(4)} image 4"])
    assert run(keystone, "ec2_image_check", image(1)) == (0, [])


def test_a_region_without_an_api_is_said_to_have_none(keystone):
    with pytest.raises(EndpointNotFound):
        run(keystone, "ec2_image_list", region_name="Nowhere")
