"""The pictures of the pages are what their script draws."""

import importlib
import runpy
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "doc/source/pictures"
DRAWINGS = runpy.run_path(str(ROOT / "doc/pictures.py"))["DRAWINGS"]


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_as_it_is_drawn(name):
    assert (PICTURES / name).read_text() == DRAWINGS[name](), (
        "run python doc/pictures.py"
    )


def test_a_plot_is_of_what_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "doc")
    for name in ("pictures", "plots"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    plots = importlib.import_module("plots").PLOTS

    old = {
        name
        for name, draw in plots.items()
        if (PICTURES / name).read_text() != draw()
    }

    assert old == set(), "run python doc/plots.py"


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.svg")), ids=str)
def test_a_picture_can_be_read_and_loads_nothing(path):
    found = path.read_text()

    assert ET.fromstring(found).tag == "{http://www.w3.org/2000/svg}svg"
    assert "url(http" not in found
    assert "href" not in found
    assert "<script" not in found


def test_every_picture_is_on_a_page():
    pages = [ROOT / "README.rst", *(ROOT / "doc/source").glob("*.rst")]
    text = "".join(page.read_text() for page in pages)

    for path in PICTURES.iterdir():
        assert f"pictures/{path.name}" in text


def test_the_recording_is_of_a_good_end():
    text = "".join(ET.parse(PICTURES / "demo.svg").getroot().itertext())

    said = text.replace("\xa0", " ")
    assert "All 200 images have one EC2 id in all 3 regions." in said
    assert "Next, in a region of your own" in said
