"""How Sphinx builds these pages; warnings are errors (tools/test)."""

import logging
import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "ext"))

project = "ec2map-sync"
author = "the ec2map-sync contributors"
copyright = f"2026, {author}"
release = version_of(project)

extensions = [
    "cliff.sphinxext",
    "oslo_config.sphinxext",
    "openapi",
    "release_notes",
]
html_theme = "furo"
html_title = f"{project} {release}"
nitpicky = True

# It says for each of our groups with a NAME that it writes it in lower case.
logging.getLogger("oslo_config.generator").setLevel(logging.ERROR)
