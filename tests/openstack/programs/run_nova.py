"""Runs Nova's own code: each connection gets a Nova process of its own.

The processes are forked from one that has imported Nova and asked nothing
yet, so each begins as a fresh nova-conductor does and remembers nothing. A
line asks, a line answers; the first one names the cell.

    run_nova.py PORT --config-file FILE
"""

import functools
import hmac
import json
import socketserver
import sys

import webob
from nova import monkey_patch

monkey_patch.patch(backend="threading")

from nova import config, context, objects  # noqa: E402
from nova.api.metadata.handler import MetadataRequestHandler  # noqa: E402
from nova.cmd import manage  # noqa: E402
from nova.conf import CONF  # noqa: E402
from nova.network import security_group_api  # noqa: E402
from nova.network.model import NetworkInfo  # noqa: E402
from nova.objects import ec2  # noqa: E402
from oslo_utils import uuidutils  # noqa: E402

SIZES = ("memory_mb", "vcpus", "root_gb", "ephemeral_gb", "swap", "id")


class Process(socketserver.StreamRequestHandler):
    """A Nova process, at work in one cell."""

    def handle(self):
        """Answer until the other side has heard enough."""
        self.mapped = set()
        self.context = context.get_admin_context()
        self.context.project_id = "project"
        self.context.user_id = "operator"
        for line in self.rfile:
            name, arguments = json.loads(line)
            answer = getattr(self, f"do_{name}")(**arguments)
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    def do_register(self, cells, broker):
        """Make the cells known, as "nova-manage cell_v2" does."""
        commands = manage.CellV2Commands()
        commands.map_cell0(cells.pop("cell0"))
        for name, database in cells.items():
            # A cell has a broker of its own; here nobody connects to it.
            url = f"{broker}_{name}"
            assert commands.create_cell(name, database, url) == 0, name

    def do_enter(self, cell):
        """Turn to a cell, as Nova's processes do for every instance."""
        cells = objects.CellMappingList.get_all(self.context)
        self.cell = next(mapping for mapping in cells if mapping.name == cell)
        context.set_target_cell(self.context, self.cell)
        # The connection is there before anything is timed or raced.
        objects.InstanceList.get_all(self.context)

    def do_look_up(self, images):
        """Give the EC2 ids of (image, kind) pairs, by Nova's own lookup."""
        return [
            ec2.glance_id_to_ec2_id(self.context, image, kind)
            for image, kind in images
        ]

    def do_boot(self, image, kernel=None, ramdisk=None):
        """Create an instance; in cell0, one that could not be scheduled."""
        flavor = objects.Flavor(name="tiny", **dict.fromkeys(SIZES, 1))
        network = objects.InstanceInfoCache(network_info=NetworkInfo())
        instance = objects.Instance(
            self.context,
            uuid=uuidutils.generate_uuid(),
            project_id="project",
            user_id="operator",
            image_ref=image,
            kernel_id=kernel or "",
            ramdisk_id=ramdisk or "",
            vm_state="error" if self.cell.is_cell0() else "active",
            display_name="guest",
            hostname="guest",
            flavor=flavor,
            info_cache=network,
        )
        instance.create()
        ids = instance.ec2_ids
        return {
            "instance": instance.uuid,
            "ami": ids.ami_id,
            "aki": ids.kernel_id,
            "ari": ids.ramdisk_id,
        }

    def do_serve(self, instance, paths):
        """Answer a guest as the metadata service does; the texts alone."""
        return [self.do_answer(instance, path)[1] for path in paths]

    def do_answer(self, instance, path):
        """Answer a guest as the metadata service does behind Neutron."""
        self._map(instance)
        # The one thing that it has to ask Neutron for, which is not there.
        security_group_api.get_instance_security_groups = lambda *_: []
        secret = CONF.neutron.metadata_proxy_shared_secret.encode()
        signature = hmac.new(secret, instance.encode(), "sha256").hexdigest()
        headers = {
            "X-Instance-ID": instance,
            "X-Instance-ID-Signature": signature,
            "X-Tenant-ID": "project",
        }
        request = webob.Request.blank(path, headers=headers)
        response = request.get_response(self.service)
        return response.status_int, response.text

    @functools.cached_property
    def service(self):
        """Nova's metadata API, which remembers for 15 seconds."""
        return MetadataRequestHandler()

    def _map(self, instance):
        """Make known in which cell an instance is, once."""
        if instance not in self.mapped:
            self.mapped.add(instance)
            objects.InstanceMapping(
                context.get_admin_context(),
                instance_uuid=instance,
                project_id="project",
                user_id="operator",
                cell_mapping=self.cell,
                queued_for_delete=False,
            ).create()

    def do_destroy(self, instance):
        """Delete an instance, as Nova does: softly."""
        objects.Instance.get_by_uuid(self.context, instance).destroy()


class Server(socketserver.ForkingTCPServer):
    """Forks a process for each connection."""

    allow_reuse_address = True
    max_children = 100


if __name__ == "__main__":
    port = int(sys.argv.pop(1))
    config.parse_args(["nova", *sys.argv[1:]])
    objects.register_all()
    Server(("127.0.0.1", port), Process).serve_forever()
