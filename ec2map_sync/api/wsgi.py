"""The API for uwsgi or gunicorn: ``ec2map_sync.api.wsgi:application``.

``OS_EC2MAP_SYNC_CONFIG_FILES`` names the configuration, several files with
';' between them; without it, those of the usual places are read.
"""

import os
import sys

from oslo_log import log

from ec2map_sync.api import app
from ec2map_sync.rules.errors import Ec2MapError
from ec2map_sync.settings import api
from ec2map_sync.settings.config import PROJECT
from ec2map_sync.settings.loading import load


def _application() -> app.Application:
    try:
        return _configured()
    except Ec2MapError as error:
        sys.exit(f"{PROJECT}: {error}")


def _configured() -> app.Application:
    named = os.environ.get("OS_EC2MAP_SYNC_CONFIG_FILES", "")
    files = [name for name in named.split(";") if name]
    config = load([], files=files or None, prepare=log.register_options)
    # Who reaches it, the server that runs it decides.
    api.require(config.api, "as a WSGI application")
    log.setup(config.conf, PROJECT)
    return app.application(config, app.region_of(config))


application = _application()
