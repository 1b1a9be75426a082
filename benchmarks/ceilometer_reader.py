"""Ceilometer's notification agent, reading the same notifications.

Runs in an environment of its own (`environment.py`), which has Ceilometer
from PyPI and nothing of ours: ``ceilometer_reader.py TOPIC '{"url": …}'``.
It is the service that ``ceilometer-agent-notification`` runs, in this
process, so that its processor time can be told. Both pipelines publish to
``test://``, which keeps what comes. It says "ready", works, and prints as
JSON what it has seen.
"""

import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from clock import Clock

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    # It is not the module of this name in tests/openstack, which mypy sees.
    from ceilometer import notification, service  # type: ignore[attr-defined]
    from ceilometer.publisher import test

CONF = """
[DEFAULT]
transport_url = {url}
[notification]
batch_size = {batch}
batch_timeout = 1
notification_control_exchanges = glance
[oslo_messaging_notifications]
topics = {topic}
[oslo_messaging_rabbit]
rabbit_qos_prefetch_count = 1000
[pipeline]
pipeline_cfg_file = {directory}/pipeline.yaml
event_pipeline_cfg_file = {directory}/event_pipeline.yaml
"""

PIPELINE = """
sources: [{{name: source, {what}: ["*"], sinks: [sink]}}]
sinks: [{{name: sink, publishers: ["test://"]}}]
"""


def configured(topic: str, options: dict[str, Any], directory: Path) -> Any:
    """Write Ceilometer's configuration, and read it as the agent does."""
    for name, what in (("pipeline", "meters"), ("event_pipeline", "events")):
        text = PIPELINE.format(what=what)
        (directory / f"{name}.yaml").write_text(text)
    path = directory / "ceilometer.conf"
    path.write_text(CONF.format(topic=topic, directory=directory, **options))
    return service.prepare_service(["agent"], config_files=[str(path)])


def main() -> None:
    """Run until all notifications have been published as events."""
    topic, options = sys.argv[1], json.loads(sys.argv[2])
    clock = Clock(options["count"])
    publish = test.TestPublisher.publish_events

    def publish_and_note(self: Any, events: list[Any]) -> None:
        publish(self, events)
        clock.saw(len(events))

    # Each notification becomes one event; that of image.create no sample.
    test.TestPublisher.publish_events = publish_and_note
    with tempfile.TemporaryDirectory() as directory:
        agent = notification.NotificationService(
            0, configured(topic, options, Path(directory))
        )
        agent.run()
        print("ready", flush=True)
        clock.done.wait()
    print(json.dumps(clock.result), flush=True)


if __name__ == "__main__":
    main()
    os._exit(0)  # the listener's threads would go on
