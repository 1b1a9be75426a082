"""The directive ``release-notes``: all notes of the tree, by section.

reno lists them by release, but finds the releases in git's history; these
pages are also built where there is none.
"""

from collections.abc import Iterator
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

DIRECTORY = Path(__file__).parents[2] / "releasenotes"


def written(directory: Path) -> Iterator[str]:
    """Give the lines of the page."""
    settings = yaml.safe_load((directory / "config.yaml").read_text())
    notes = sorted((directory / "notes").glob("*.yaml"))
    said = [yaml.safe_load(note.read_text()) for note in notes]
    for section, title in settings["sections"]:
        items = [item for note in said for item in note.get(section, ())]
        if items:
            yield from (title, "=" * len(title), "")
        for item in items:
            text = item.strip().replace("\n", "\n  ")
            yield from (*f"- {text}".splitlines(), "")


class ReleaseNotes(SphinxDirective):
    """Puts the notes where it stands."""

    def run(self) -> list[nodes.Node]:
        """Parse what is written in the notes."""
        for path in DIRECTORY.rglob("*.yaml"):
            self.env.note_dependency(str(path))
        text = "\n".join(written(DIRECTORY))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("release-notes", ReleaseNotes)
    return {"parallel_read_safe": True}
