"""The options of [api]: who may ask for mappings, and where."""

from importlib.util import find_spec

from oslo_config import cfg

from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.settings import addresses
from ec2map_sync.settings.values import Api

_KEYSTONE = ("keystonemiddleware", "oslo_policy")
"""What verifies tokens, and is an extra."""

OPTIONS = [
    cfg.StrOpt(
        "listen",
        help="host:port, such as 127.0.0.1:9428, where one process of the "
        "agent answers look-ups (/v1/) and shows the fleet (/); unset, there "
        "is none. It speaks no TLS: put a proxy before it that does, or have "
        "uwsgi or gunicorn run ec2map_sync.api.wsgi:application.",
    ),
    cfg.StrOpt(
        "auth",
        default="none",
        choices=[
            ("none", "everybody who reaches the address may ask"),
            (
                "keystone",
                "who asks needs a token; [keystone_authtoken] says whose, "
                "and [oslo_policy] what each role may",
            ),
        ],
        help="Who may ask. 'keystone' needs the extra 'api' of this package "
        "(pip install 'ec2map-sync[api]').",
    ),
    cfg.BoolOpt(
        "allow_unauthenticated",
        default=False,
        help="Whether auth = none is right although the address is none of "
        "this machine alone. Whoever reaches it then learns the UUIDs of all "
        "images and how the regions are, and can change nothing.",
    ),
    cfg.IntOpt(
        "threads",
        default=8,
        min=2,
        max=64,
        help="Requests that are worked on at a time, each with a connection "
        "to the ledger's database. Who is slow to ask or to read holds none "
        "of them. More help only while the database is far away.",
    ),
    cfg.IntOpt(
        "connections",
        default=2000,
        min=100,
        max=100_000,
        help="Clients that may be connected at a time. One that has said "
        "nothing for 30 seconds is disconnected; further ones wait. Each "
        "needs an open file.",
    ),
]


def checked(api: Api) -> Api:
    """Returns what is configured, if it can be had.

    :raises ConfigError: what it needs is not installed.
    """
    if api.auth == "keystone" and not all(map(find_spec, _KEYSTONE)):
        raise ConfigError(
            "[api] auth = keystone needs more than is installed: pip "
            "install 'ec2map-sync[api]'"
        )
    return api


def listen(text: str, api: Api) -> addresses.Listen:
    """Reads where others may ask.

    :raises ConfigError: it is no address, or everybody could ask there.
    """
    found = addresses.listen(text, "[api] listen")
    if not found.is_loopback:
        require(api, f"listen = {found}")
    return found


def require(api: Api, address: str) -> None:
    """Makes sure that not everybody may ask where many reach us.

    :raises ConfigError: everybody may, and nobody has said so.
    """
    if api.auth == "none" and not api.allow_unauthenticated:
        raise ConfigError(
            f"[api] {address} with auth = none lets everybody ask: set "
            "auth = keystone, or allow_unauthenticated = true if that "
            "is right"
        )
