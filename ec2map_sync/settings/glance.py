"""The options of [glance]: when it is asked, and keystoneauth's: how."""

from oslo_config import cfg

TIMEOUT = 60
"""Seconds after which a silent Glance counts as gone."""

OPTIONS = [
    cfg.FloatOpt(
        "audit_interval",
        default=3600,
        min=1,
        help="Seconds between two audits of all images that Glance has: "
        "notifications get lost while its API answers that all is well. "
        "Needs auth_type and what belongs to it, or endpoint_override. One "
        "audit is a request for every thousand images, twice.",
    ),
    cfg.FloatOpt(
        "poll_interval",
        default=30,
        min=0.1,
        help="Seconds between two looks at what has changed in Glance since "
        "the last one: how late an image can be whose notification was "
        "lost. Each look is four small requests.",
    ),
    cfg.DictOpt(
        "headers",
        default={},
        secret=True,
        help="Headers of each request, for a Glance without Keystone: "
        "X-Identity-Status:Confirmed,X-Roles:admin where its pipeline takes "
        "the identity from headers.",
    ),
]


def keystone_opts() -> list[cfg.Opt]:
    """Returns keystoneauth's options for a session and a service's address."""
    from keystoneauth1 import loading  # noqa: PLC0415, slow

    opts: list[cfg.Opt] = [
        *loading.get_session_conf_options(),
        *loading.get_adapter_conf_options(include_deprecated=False),
    ]
    for opt in opts:
        if opt.dest == "timeout":
            opt.default = TIMEOUT
        elif opt.dest == "region_name":
            opt.help = (
                "The region's name in Keystone's catalogue, if it is not "
                "that of [DEFAULT] region."
            )
    return opts


def sample_opts() -> list[cfg.Opt]:
    """Returns what [glance] has besides, with auth_type = password."""
    from keystoneauth1 import loading  # noqa: PLC0415, slow

    return [
        *loading.get_auth_common_conf_options(),
        *loading.get_auth_plugin_conf_options("password"),
        *keystone_opts(),
    ]
