"""What deployment tools make of etc/, by these tools: `tox -e deploy`."""

import os

# They come with the extra "deploy", 500 MB of them.
collect_ignore_glob = (
    [] if "EC2MAP_SYNC_DEPLOY" in os.environ else ["test_*.py"]
)
