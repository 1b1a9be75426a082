"""The application as uwsgi and gunicorn import it."""

import os
import subprocess
import sys

from commands import SmallRegion
from patience import within

ASK = """
from falcon import testing
from ec2map_sync.api.wsgi import application
print(testing.TestClient(application).simulate_get("/v1/").json["region"])
"""


def imported(region):
    """Import it in a process of its own, as a server does."""
    return subprocess.run(
        [sys.executable, "-P", "-c", ASK],
        env=os.environ
        | {"OS_EC2MAP_SYNC_CONFIG_FILES": str(region.config_file)},
        capture_output=True,
        text=True,
        check=False,
        timeout=within(60),
    )


def test_it_answers_by_the_files_that_the_environment_names(tmp_path):
    region = SmallRegion(tmp_path)
    with region.config_file.open("a") as file:
        file.write("[api]\nallow_unauthenticated = true\n")

    done = imported(region)

    assert (done.returncode, done.stdout) == (0, "RegionOne\n"), done


def test_it_lets_nobody_in_without_somebodys_decision(tmp_path):
    done = imported(SmallRegion(tmp_path))

    assert done.returncode == 1
    assert "allow_unauthenticated" in done.stderr
    assert "Traceback" not in done.stderr
