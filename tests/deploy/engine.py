"""Stands for Docker behind kolla-ansible: writes down what it is asked for.

Kolla's own module has checked the arguments, and joined them with what is
common to all containers.
"""

import json
import os

from ansible.module_utils.kolla_container_worker import ContainerWorker


class DockerWorker:
    """Takes every action, and says that it has changed something."""

    generate_volumes = ContainerWorker.generate_volumes
    parse_healthcheck = ContainerWorker.parse_healthcheck

    def __init__(self, module):
        self.module = module
        self.params = module.params
        self.changed = True
        self.result = {}

    def __getattr__(self, action):
        return self.note

    def note(self):
        """Takes an action."""
        self.generate_volumes()
        self.parse_healthcheck(self.params.get("healthcheck"))
        with open(os.environ["EC2MAP_SYNC_ASKED"], "a") as file:
            file.write(json.dumps(self.params) + "\n")
        return True
