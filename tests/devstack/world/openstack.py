"""The commands of openstack that the plugin uses, for a Glance of one file.

Notifications are sent as Glance does: by oslo.messaging, with the options of
the glance-api.conf that the plugin has changed.
"""

import os
import sys
import warnings
from pathlib import Path
from uuid import uuid4

IMAGES = Path(os.environ["WORLD"], "images")


def notify(event, image):
    """Send a notification about an image."""
    from oslo_config import cfg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import oslo_messaging
    conf = cfg.ConfigOpts()
    oslo_messaging.set_transport_defaults("glance")  # as Glance does
    conf([], default_config_files=[os.environ["GLANCE_API_CONF"]])
    notifier = oslo_messaging.Notifier(
        oslo_messaging.get_notification_transport(conf), "image.localhost"
    )
    payload = {"id": image, "container_format": "bare", "deleted": False}
    notifier.info({}, event, payload)


def main(arguments):
    """Run `openstack image create|list|delete`."""
    verb = arguments[arguments.index("image") + 1]
    images = IMAGES.read_text().split()
    if verb == "list":
        print("\n".join(images))
    elif verb == "create":
        image = str(uuid4())
        IMAGES.write_text("\n".join([*images, image]))
        if arguments[-1] != "unheard":
            notify("image.create", image)
        print(image)
    elif verb == "delete":
        images.remove(arguments[-1])
        IMAGES.write_text("\n".join(images))
        notify("image.delete", arguments[-1])
    else:
        sys.exit(f"what is {verb}?")


main(sys.argv[1:])
