"""What RabbitMQ's management tells of Glance's queues, and AMQP does not.

A policy may throw away what waits, or what there is too much of; the queue of
a topic that nobody reads grows until the broker stops all who publish. Whoever
reads a queue is told of neither.
"""

import base64
import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from oslo_config import cfg

from ec2map_sync.glance.broker import (
    Queues,
    broker_address,
    notifications_url,
    rabbit_options,
)
from ec2map_sync.rules.errors import Ec2MapError, one_line
from ec2map_sync.settings.values import Notifications

TIMEOUT = 5.0
"""Seconds for an answer."""

_OPTION = "[notifications] management_url"
_COLUMNS = (
    "name,messages,consumers,policy,operator_policy,"
    "effective_policy_definition,arguments"
)
_SHARED = re.compile(r"notifications[\w.-]*\.(info|warn|error)")

_EATERS: Mapping[str, Callable[[Any], str]] = {
    "message-ttl": lambda v: f"throws away what has waited for {v / 1000:g} s",
    "expires": lambda v: f"is deleted when unread for {v / 1000:g} s",
    "max-length": lambda v: f"keeps no more than {v} messages",
    "max-length-bytes": lambda v: f"keeps no more than {v} bytes",
    "delivery-limit": lambda v: f"drops what was delivered {v + 1} times",
}
"""By what notifications get lost, as policies name it."""

_REFUSALS = {
    401: "it does not know the account",
    403: "the account needs the tag 'management', and rights on the virtual "
    "host",
    404: "there is no such virtual host, or no management there",
}


class ManagementError(Ec2MapError):
    """The management does not answer, or not as it should."""


@dataclass(frozen=True, slots=True)
class Eater:
    """What makes a queue lose notifications, or grow for ever."""

    queue: str
    what: str
    advice: str

    def __str__(self) -> str:
        """Says it in one line."""
        return f"the queue {self.queue!r} {self.what}: {self.advice}"


def eaters(conf: cfg.ConfigOpts, options: Notifications) -> list[Eater]:
    """Returns what is amiss with the queues of Glance's virtual host.

    :raises ManagementError: nobody tells.
    """
    ours = Queues(broker_address(conf), options).names
    found: list[Eater] = []
    for queue in _queues(conf, options):
        if queue["name"] in ours:
            found += _policies(queue)
        elif _SHARED.fullmatch(queue["name"]):
            found += _unread(queue)
    return found


def _policies(queue: Mapping[str, Any]) -> Iterator[Eater]:
    policies = [queue.get("policy"), queue.get("operator_policy")]
    names = " and ".join(repr(name) for name in policies if name)
    by_policy = queue.get("effective_policy_definition") or {}
    declared = queue.get("arguments") or {}
    for name, say in _EATERS.items():
        for value, advice in (
            (
                by_policy.get(name),
                f"leave it out of the pattern of the policy {names}",
            ),
            (
                declared.get(f"x-{name}"),
                f"it was declared with x-{name}; delete it, to be declared "
                "as our options say",
            ),
        ):
            if isinstance(value, int) and value >= 0:
                yield Eater(queue["name"], say(value), advice)


def _unread(queue: Mapping[str, Any]) -> Iterator[Eater]:
    if queue.get("messages") and not queue.get("consumers"):
        yield Eater(
            queue["name"],
            f"holds {queue['messages']} messages that nobody reads, and grows",
            "take its topic out of [oslo_messaging_notifications] topics of "
            "glance-api.conf and of whoever else sends there, or let "
            "somebody read it",
        )


def _queues(
    conf: cfg.ConfigOpts, options: Notifications
) -> Sequence[Mapping[str, Any]]:
    """Lists the queues of Glance's virtual host."""
    glance = notifications_url(conf)
    vhost = unquote(glance.virtual_host or "") or "/"
    url = urlsplit(options.management_url or "")
    place, _, _ = url.netloc.rpartition("@")[2].partition("/")
    account = next(iter(glance.hosts), None)
    user = url.username or getattr(account, "username", None) or "guest"
    password = url.password or getattr(account, "password", None) or "guest"
    login = f"{unquote(user)}:{unquote(password)}".encode()
    request = urllib.request.Request(  # noqa: S310, settings allow no other
        f"{url.scheme}://{place}{url.path.rstrip('/')}/api/queues/"
        f"{quote(vhost, safe='')}?columns={_COLUMNS}",
        headers={"Authorization": f"Basic {base64.b64encode(login).decode()}"},
    )
    try:
        with urllib.request.urlopen(  # noqa: S310, as above
            request,
            timeout=TIMEOUT,
            context=ssl.create_default_context(
                cafile=rabbit_options(conf).ssl_ca_file or None
            ),
        ) as answer:
            found = json.load(answer)
    except urllib.error.HTTPError as error:
        said = _REFUSALS.get(error.code, "") or one_line(error)
        raise ManagementError(f"{_OPTION}: {said}") from error
    except (OSError, ValueError) as error:
        said = one_line(getattr(error, "reason", error))
        raise ManagementError(f"{_OPTION} does not answer: {said}") from error
    if not isinstance(found, list):
        raise ManagementError(f"{_OPTION}: that is no RabbitMQ's management")
    return found
