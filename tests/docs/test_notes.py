"""Release notes are what reno takes, and speak of the project alone."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
NOTES = sorted((ROOT / "releasenotes/notes").iterdir())


SETTINGS = yaml.safe_load((ROOT / "releasenotes/config.yaml").read_text())
SECTIONS = [name for name, _title in SETTINGS["sections"]]


def test_a_new_note_has_the_sections_that_are_shown():
    assert list(yaml.safe_load(SETTINGS["template"])) == SECTIONS


@pytest.mark.parametrize("path", NOTES, ids=lambda path: path.name)
def test_a_note_has_a_name_and_sections_that_reno_takes(path):
    assert re.fullmatch(r"[a-z0-9-]+-[0-9a-f]{16}\.yaml", path.name)
    note = yaml.safe_load(path.read_text())

    assert note
    assert note.keys() <= set(SECTIONS)
    for items in note.values():
        assert items
        assert all(isinstance(item, str) and item.strip() for item in items)


def test_no_two_notes_have_one_id():
    ids = [path.stem.rpartition("-")[2] for path in NOTES]

    assert len(set(ids)) == len(ids)
