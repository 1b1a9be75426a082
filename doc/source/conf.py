"""How Sphinx builds these pages; warnings are errors (tools/test)."""

import logging
from importlib.metadata import version as version_of

project = "ec2map-sync"
author = "the ec2map-sync contributors"
copyright = f"2026, {author}"
release = version_of(project)

extensions = ["cliff.sphinxext", "oslo_config.sphinxext"]
html_theme = "furo"
html_title = f"{project} {release}"
nitpicky = True

# It says for each of our groups with a NAME that it writes it in lower case.
logging.getLogger("oslo_config.generator").setLevel(logging.ERROR)
