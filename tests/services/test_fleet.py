"""The fleet page and the API of two regions, and of a link that is cut.

With EC2MAP_SYNC_PICTURES, a directory, the test that looks at the page takes
pictures of it there: those of the documentation, in doc/source/pictures.
"""

import json
import os
from pathlib import Path

import pytest
from axe_core_python.selenium import Axe
from browser import browser
from fleet import Region, running
from patience import wait_until
from proxy import Proxy
from scraping import Exporter, get
from servers import free_port

pytestmark = pytest.mark.services

PICTURES = os.environ.get("EC2MAP_SYNC_PICTURES")
NOTICED = 15
"""Seconds until a cut is seen on every region's page."""
AWAY = ("late", "silent")
SEES = ("RegionOne", "RegionTwo")


class Page:
    """A region's API, and its page."""

    def __init__(self) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.option = f"[api]\nlisten = {self.address}\n"
        self.url = f"http://{self.address}/"

    def get(self, path):
        response = get(f"http://{self.address}{path}")
        assert response.status == 200, response
        return json.loads(response.text)

    def states(self):
        """Give how each region sees each other one, as it is told here."""
        return {
            (region["name"], peer["name"]): peer["state"]
            for region in self.get("/v1/regions")["regions"]
            for peer in region["peers"]
        }


@pytest.fixture(scope="module")
def two_regions(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    """Two regions at work, their pages, and the link from Two to One."""
    directory = tmp_path_factory.mktemp("fleet")
    one = Region("RegionOne", rabbit_a, mariadb, directory)
    two = Region("RegionTwo", rabbit_b, mariadb, directory)
    pages = Page(), Page()
    metrics = Exporter(free_port())
    place = directory / "run"
    place.mkdir()
    before = os.environ.get("RUNTIME_DIRECTORY")
    os.environ["RUNTIME_DIRECTORY"] = str(place)
    two.configure(one, extra=pages[1].option)
    link = Proxy(rabbit_b.port)
    two.bus_url = link.url(two.bus_url)
    one.configure(two, extra=pages[0].option + metrics.option)
    one.glance.declare()
    two.glance.declare()
    with link, running(one, two):
        images = one.glance.create(5) | two.glance.create(5)
        one.await_images(images)
        two.await_images(images)
        yield (one, two), pages, link, sorted(images), metrics
    os.environ.pop("RUNTIME_DIRECTORY")
    if before is not None:
        os.environ["RUNTIME_DIRECTORY"] = before


@pytest.fixture(scope="module")
def looker(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as looker:
        yield looker


def await_state(pages, expected, seconds=30):
    """Wait until both pages say how One sees Two."""
    for page in pages:
        wait_until(lambda p=page: p.states().get(SEES) in expected, seconds)


def picture(looker, name):
    if PICTURES:
        looker.driver.save_screenshot(str(Path(PICTURES) / name))


def test_what_one_region_claims_every_regions_api_finds(two_regions):
    _, pages, _, images, metrics = two_regions
    found = [
        [page.get(f"/v1/images/{image}") for image in images] for page in pages
    ]

    assert found[0] == found[1]
    assert [one["image"] for one in found[0]] == images
    feed = pages[1].get("/v1/images")["images"]
    assert sorted(one["image"] for one in feed) == images
    by_id = pages[1].get(f"/v1/images/{feed[0]['ec2_id']}")
    assert by_id == feed[0]
    scrape = metrics.scrape()
    assert scrape.sum("api_requests_total", operation="image") == len(images)
    assert scrape.one("api_request_seconds_count", operation="image")
    assert scrape.one("process_up", process="api-0") == 1


def test_every_region_tells_how_each_of_them_sees_the_others(two_regions):
    _, pages, _, _, _ = two_regions
    expected = {SEES: "agrees", SEES[::-1]: "agrees"}

    for page in pages:
        wait_until(lambda p=page: p.states() == expected, 30)
        assert page.get("/v1/regions")["seen_from"] in SEES


def test_a_cut_is_seen_on_every_page_and_so_is_its_end(two_regions, looker):
    _, pages, link, _, _ = two_regions
    await_state(pages, ["agrees"])
    looker.driver.get(pages[1].url)
    wait_until(lambda: looker.texts("#freshness") != [""])
    picture(looker, "fleet.png")

    def row():
        """Give how One sees others, as Two's page shows it."""
        rows = looker.texts("#live tbody tr")
        return next((r for r in rows if r.startswith("RegionOne")), "")

    link.__exit__(None, None, None)
    try:
        wait_until(lambda: any(s in row() for s in AWAY), NOTICED)
        await_state(pages, AWAY, NOTICED)
        picture(looker, "cut.png")
    finally:
        link.__enter__()
    wait_until(lambda: "agrees" in row(), 2 * NOTICED)
    await_state(pages, ["agrees"])
    assert looker.console() == []


def test_a_search_shows_why_an_image_has_its_id(two_regions, looker):
    (one, _), pages, _, images, _ = two_regions
    looker.driver.get(pages[0].url)
    box = looker.driver.find_element("id", "name")

    box.send_keys(images[0])
    box.submit()

    said = json.loads(one.command("explain", images[0], "-f", "json"))
    wait_until(lambda: looker.texts("#found") != [])
    assert looker.texts("#found tbody th") == [step["what"] for step in said]
    picture(looker, "explained.png")
    looker.driver.get(f"{pages[0].url}?name=%3Cscript%3Ealert(1)%3C/script%3E")
    (text,) = looker.texts("#found")
    assert "'<script>alert(1)</script>' is not an image UUID" in text
    assert looker.console() == []


def test_the_page_can_be_heard_and_read_in_the_dark(two_regions, looker):
    _, pages, _, images, _ = two_regions
    looker.driver.get(f"{pages[0].url}?name={images[0]}")
    wait_until(lambda: looker.texts("#freshness") != [""])

    nodes = looker.nodes()

    roles = {role for role, _ in nodes}
    assert {"main", "banner", "search", "status", "heading"} <= roles
    for role in ("table", "textbox", "button", "region", "columnheader"):
        names = [name for r, name in nodes if r == role]
        assert names
        assert all(names), role
    label = "UUID or EC2 id of an image"
    assert any(r == "textbox" and label in name for r, name in nodes)
    assert {name for role, name in nodes if role == "rowheader"} >= set(SEES)
    colours = set()
    for scheme in ("light", "dark"):
        looker.prefer(scheme)
        script = "return getComputedStyle(document.body).backgroundColor"
        colours.add(looker.driver.execute_script(script))
        assert complaints(looker) == [], scheme
    assert len(colours) == 2
    assert looker.console() == []


def complaints(looker):
    """Give what axe finds wrong, and where; the contrast of texts too."""
    results = Axe().run(looker.driver)
    assert "color-contrast" in {found["id"] for found in results["passes"]}
    return [
        (found["id"], found["impact"], node["target"])
        for found in results["violations"]
        for node in found["nodes"]
    ]


def test_a_page_that_gets_no_answer_says_that_it_is_stale(two_regions, looker):
    (_, two), pages, _, _, _ = two_regions
    looker.driver.get(pages[1].url)
    wait_until(lambda: looker.texts("#freshness") != [""])

    two.stop()

    wait_until(lambda: looker.texts("#freshness")[0].startswith("Stale"), 30)
