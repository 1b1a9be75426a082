"""Every option, and the configuration as frozen, checked values."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from oslo_config import cfg

from ec2map_sync.ec2id import Scheme
from ec2map_sync.errors import ConfigError
from ec2map_sync.selection import EVERYTHING, Selection

if TYPE_CHECKING:  # `ec2map-sync id` should not wait for these imports
    from sqlalchemy.engine import URL

    from ec2map_sync.signing import PublicKey, SigningKey

PROJECT = "ec2map-sync"
_NAME = re.compile(r"[A-Za-z0-9_-]+")

_default = [
    cfg.StrOpt(
        "region",
        help="Name of this region, as the peers call it: letters, digits, "
        "'_' and '-'. It names queues and signs messages, so it must not "
        "change later.",
    ),
    cfg.ListOpt(
        "peers",
        default=[],
        help="Names of the other regions. Each needs a section [peer:NAME]; "
        "a section without its name here is an error.",
    ),
    cfg.StrOpt(
        "state_path",
        default="/var/lib/ec2map-sync",
        help="Directory for a small file that remembers how far the ledger "
        "has come, so that one restored from a backup is noticed.",
    ),
]

_notifications = [
    cfg.StrOpt(
        "exchange",
        default="glance",
        help="Glance's control_exchange. It is never created from here: "
        "whoever creates it decides its durability, and Glance loses "
        "notifications if that is not its own choice.",
    ),
    cfg.ListOpt(
        "topics",
        default=["notifications"],
        help="Topics to listen on. Where Ceilometer or others read "
        "'notifications', give Glance one more topic of our own "
        "([oslo_messaging_notifications] topics = notifications,"
        "ec2map_sync) and name it here: its queue exists from Glance's "
        "first notification, so nothing is missed. Without that, two "
        "readers of one topic take each other's messages.",
    ),
    cfg.StrOpt(
        "pool",
        help="Name of a listener pool: reads a copy of the topic from a "
        "queue of this name, beside other consumers. What was published "
        "before the queue existed is not in it, and somebody has to read "
        "the topic's own queue, or it grows for ever. Prefer a topic of "
        "our own.",
    ),
    cfg.IntOpt(
        "batch_size",
        default=500,
        min=1,
        max=5000,
        help="Notifications recorded in one transaction of the ledger, at "
        "most. Larger batches save commits under load; above 500 little is "
        "gained.",
    ),
    cfg.FloatOpt(
        "batch_timeout",
        default=0.005,
        min=0.001,
        max=5,
        help="Seconds to wait for a batch to fill up. Adds about half of "
        "itself to the delay of a single notification; lower costs CPU "
        "while idle (0.005 takes 4 % of a core, 0.05 takes 1 %).",
    ),
    cfg.IntOpt(
        "workers",
        default=1,
        min=1,
        max=32,
        help="Listener processes. One keeps up with some thousand "
        "notifications a second; more help only where the broker is far.",
    ),
    cfg.FloatOpt(
        "stall_timeout",
        default=30,
        min=1,
        help="Seconds that notifications may wait in the queue while the "
        "listener gets none. Then its process is started anew, and what it "
        "had not acknowledged comes again. Too low, and a slow broker "
        "restarts it for nothing.",
    ),
]

_ec2_ids = [
    cfg.StrOpt(
        "hash_key",
        default="",
        secret=True,
        help="Key of the hash that derives ids, at most 64 bytes. It must be "
        "the same in all regions and must never change: another key gives "
        "every image another id, and peers refuse each other. A secret one "
        "keeps users who may choose image UUIDs from choosing ones that "
        "collide.",
    ),
]

_ledger = [
    cfg.StrOpt(
        "connection",
        secret=True,
        help="Database of this region's ledger: "
        "mysql+pymysql://user:password@host/ec2map_sync. A '$' in the "
        "password is written '$$'.",
    ),
]

_bus = [
    cfg.StrOpt(
        "url",
        secret=True,
        help="This region's own broker, to which we publish for the peers: "
        "amqp://user:password@host:5672/vhost, or amqps:// for TLS; "
        "several hosts of a cluster with ';' between the URLs.",
    ),
    cfg.StrOpt(
        "exchange",
        default="ec2map_sync",
        help="Exchange and prefix of the queues between regions; the same "
        "in all regions.",
    ),
    cfg.StrOpt(
        "signing_key_file",
        help="Private key that signs what we publish, made by 'ec2map-sync "
        "key generate FILE'. Needed as soon as there are peers.",
    ),
    cfg.FloatOpt(
        "heartbeat_interval",
        default=5,
        min=0.1,
        max=600,
        help="Seconds between heartbeats. Each costs one message to every "
        "peer; a peer counts as silent after some of them are missing.",
    ),
    cfg.FloatOpt(
        "claim_wait",
        default=30,
        min=0,
        max=3600,
        help="Seconds after a start during which no claims are made unless "
        "the ledger has been compared with every peer: one that was "
        "restored or emptied must not hand out numbers that are in use. "
        "Notifications wait meanwhile. Too short, and a slow peer is not "
        "waited for; too long, and a dead one delays the first images.",
    ),
    cfg.IntOpt(
        "queue_max_bytes",
        default=256 * 1024 * 1024,
        min=1024 * 1024,
        help="Bytes that our queue on a peer's broker may hold while we are "
        "away; then the oldest messages go. 256 MiB hold about two million "
        "claims. Must not change while the queue exists.",
    ),
    cfg.IntOpt(
        "queue_expires",
        default=7 * 24 * 3600,
        min=60,
        help="Seconds after which a peer's broker deletes our queue if we "
        "do not come back. Must not change while the queue exists.",
    ),
    cfg.IntOpt(
        "batch_size",
        default=500,
        min=1,
        max=5000,
        help="Claims in one message, at most: 500 are 60 KB, which sign, "
        "send and record well as one.",
    ),
]

_peer = [
    cfg.StrOpt(
        "url",
        secret=True,
        help="The peer's broker, with an account that the peer has given "
        "us: amqp://user:password@host:5672/vhost.",
    ),
    cfg.ListOpt(
        "public_keys",
        default=[],
        help="The peer's public key, as its 'ec2map-sync key generate' "
        "printed it; two of them while it changes keys.",
    ),
]

_nova = [
    cfg.ListOpt(
        "cells",
        default=[],
        help="Names of the Nova cells to write, cell0 included: an image "
        "that is booted where its row is missing gets another id there. "
        "Each needs a section [cell:NAME]. Where cells come and go, give "
        "api_connection instead.",
    ),
    cfg.StrOpt(
        "api_connection",
        secret=True,
        help="Nova's API database: all cells are read from its table "
        "cell_mappings, and new ones are noticed. Grants: SELECT on that "
        "table. The accounts that stand there are used for the cells. Not "
        "together with cells.",
    ),
    cfg.StrOpt(
        "cell_template_connection",
        secret=True,
        help="What Nova's own processes have as [database] connection. "
        "Needed where the URLs in cell_mappings are templates such as "
        "{scheme}://{username}:{password}@{hostname}/nova_cell1, which are "
        "filled from it.",
    ),
    cfg.FloatOpt(
        "cells_interval",
        default=60,
        min=1,
        help="Seconds between two looks into cell_mappings: how late a new "
        "cell gets its rows, at most.",
    ),
    cfg.StrOpt(
        "existing_rows",
        default="keep",
        choices=[
            ("keep", "leave rows that Nova made alone, and list them"),
            ("rewrite", "make a row under our number ours"),
        ],
        help="What to do where our number is held by a row that is not "
        "ours. Nova processes remember an old id for up to a week.",
    ),
    cfg.FloatOpt(
        "audit_interval",
        default=3600,
        min=1,
        help="Seconds between two audits of all rows of each sink, by "
        "primary key: rows that are missing, as after a restore of a cell's "
        "database, are written again, and rows of others listed. A million "
        "rows take about a minute of one core. What Nova adds is looked at "
        "every minute besides.",
    ),
]

_cell = [
    cfg.StrOpt(
        "connection",
        secret=True,
        help="The cell's database, as in [database] connection of its "
        "conductor. Grants: SELECT, INSERT, UPDATE, DELETE on s3_images; on "
        "PostgreSQL also SELECT, UPDATE on the sequence s3_images_id_seq.",
    ),
]

_ec2api = [
    cfg.StrOpt(
        "connection",
        secret=True,
        help="Database of ec2-api, if one is in use: images get the same "
        "ids there. Grants: SELECT, INSERT, UPDATE, DELETE on items.",
    ),
]

_images = [
    cfg.ListOpt(
        "visibility",
        default=[],
        help="Images of which visibility get ids: public, community, "
        "shared, private; all, if empty. What another region has given an "
        "id has it here too, so this should be the same everywhere.",
    ),
    cfg.ListOpt(
        "container_formats",
        default=[],
        help="Images of which container formats get ids: bare, ami, aki, "
        "ari and so on; all, if empty. Otherwise an image gets its id only "
        "when its format is known.",
    ),
]

_glance = [
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

_GROUPS: Mapping[str | None, Sequence[cfg.Opt]] = {
    None: _default,
    "notifications": _notifications,
    "ec2_ids": _ec2_ids,
    "ledger": _ledger,
    "bus": _bus,
    "nova": _nova,
    "ec2api": _ec2api,
    "images": _images,
    "glance": _glance,
}

_GLANCE_TIMEOUT = 60
"""Seconds after which a silent Glance counts as gone."""


def _keystone_opts() -> list[cfg.Opt]:
    """Give keystoneauth's options for a session and a service's address."""
    from keystoneauth1 import loading  # noqa: PLC0415, slow

    opts: list[cfg.Opt] = [
        *loading.get_session_conf_options(),
        *loading.get_adapter_conf_options(include_deprecated=False),
    ]
    for opt in opts:
        if opt.dest == "timeout":
            opt.default = _GLANCE_TIMEOUT
        elif opt.dest == "region_name":
            opt.help = (
                "The region's name in Keystone's catalogue, if it is not "
                "that of [DEFAULT] region."
            )
    return opts


def _sample_opts() -> list[cfg.Opt]:
    """Give what [glance] has besides, with auth_type = password."""
    from keystoneauth1 import loading  # noqa: PLC0415, slow

    return [
        *loading.get_auth_common_conf_options(),
        *loading.get_auth_plugin_conf_options("password"),
        *_keystone_opts(),
    ]


def list_opts() -> list[tuple[str | cfg.OptGroup | None, Sequence[cfg.Opt]]]:
    """Give all options, for oslo-config-generator."""
    peer, cell = cfg.OptGroup("peer:NAME"), cfg.OptGroup("cell:NAME")
    return [
        *_GROUPS.items(),
        ("glance", _sample_opts()),
        (peer, _peer),
        (cell, _cell),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifications:
    """Where Glance's notifications are read, and how."""

    exchange: str
    topics: tuple[str, ...]
    pool: str | None
    batch_size: int
    batch_timeout: float
    workers: int
    stall_timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another region: its broker, and who may speak for it."""

    name: str
    url: str = field(repr=False)
    keys: tuple["PublicKey", ...]
    exchange: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    """How regions reach each other."""

    region: str
    url: str | None = field(repr=False)
    exchange: str
    key: "SigningKey | None"
    heartbeat_interval: float
    claim_wait: float
    queue_max_bytes: int
    queue_expires: int
    batch_size: int
    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """How often Glance is asked what it has, and as what.

    How it is reached stands in keystoneauth's own options in [glance].
    """

    region_name: str
    endpoint: str | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    audit_interval: float
    poll_interval: float
    selection: Selection = EVERYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A Nova cell's database."""

    name: str
    url: "URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaApi:
    """Where Nova lists its cells."""

    url: "URL"
    template: str | None = field(repr=False)
    """What Nova's own processes have as [database] connection."""
    interval: float
    """Seconds between two looks."""


class Config:
    """The configuration of one region.

    Each method gives one part, checked; what a command does not need does
    not have to be there.

    :raises ConfigError: from every method, with one line for the operator.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf
        """For the oslo libraries, which take their options from it."""

    @property
    def region(self) -> str:
        """This region's name."""
        return _name(self.conf.region, "[DEFAULT] region")

    @property
    def state_path(self) -> Path:
        """Where this host remembers the ledger's revision."""
        return Path(self.conf.state_path)

    @property
    def scheme(self) -> Scheme:
        """How ids are derived."""
        key = self.conf.ec2_ids.hash_key.encode()
        if len(key) > blake2b.MAX_KEY_SIZE:
            raise ConfigError("[ec2_ids] hash_key is longer than 64 bytes")
        return Scheme(key)

    @property
    def ledger(self) -> "URL":
        """The ledger's database."""
        return _database(self.conf.ledger.connection, "[ledger] connection")

    @property
    def notifications(self) -> Notifications:
        """How to listen to Glance."""
        conf = self.conf.notifications
        if not conf.topics:
            raise ConfigError("[notifications] topics is empty")
        return Notifications(
            exchange=conf.exchange,
            topics=tuple(conf.topics),
            pool=conf.pool or None,
            batch_size=conf.batch_size,
            batch_timeout=conf.batch_timeout,
            workers=conf.workers,
            stall_timeout=conf.stall_timeout,
        )

    @property
    def bus(self) -> Bus:
        """How to reach the other regions."""
        conf = self.conf.bus
        peers = self._peers()
        if peers and not conf.url:
            raise ConfigError(
                "[bus] url is missing: our own broker, where peers read"
            )
        return Bus(
            region=self.region,
            url=_broker(conf.url, "[bus] url") if conf.url else None,
            exchange=conf.exchange,
            key=self._signing_key(needed=bool(peers)),
            heartbeat_interval=conf.heartbeat_interval,
            claim_wait=conf.claim_wait,
            queue_max_bytes=conf.queue_max_bytes,
            queue_expires=conf.queue_expires,
            batch_size=conf.batch_size,
            peers=peers,
        )

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The Nova cells to write that are named here."""
        names = self.conf.nova.cells
        self._require_sections("cell", names, "[nova] cells")
        sections = self._register("cell", names, _cell)
        return tuple(
            Cell(
                name=name,
                url=_database(section.connection, f"[cell:{name}] connection"),
            )
            for name, section in sections.items()
        )

    @property
    def glance(self) -> Glance | None:
        """How to ask Glance's API; None if it is not to be asked."""
        if "glance" not in self.conf.list_all_sections():
            return None
        from keystoneauth1 import loading  # noqa: PLC0415, slow

        loading.register_auth_conf_options(self.conf, "glance")
        self.conf.register_opts(_keystone_opts(), group="glance")
        conf = self.conf.glance
        endpoint = conf.endpoint_override
        if not (endpoint or conf.auth_section or conf.auth_type):
            return None
        return Glance(
            region_name=conf.region_name or self.region,
            endpoint=endpoint,
            headers=dict(conf.headers),
            audit_interval=conf.audit_interval,
            poll_interval=conf.poll_interval,
            selection=self.selection,
        )

    @property
    def nova_api(self) -> NovaApi | None:
        """Where Nova lists its cells, if they are to be discovered."""
        conf = self.conf.nova
        if not conf.api_connection:
            if conf.cell_template_connection:
                raise ConfigError(
                    "[nova] cell_template_connection is of no use without "
                    "api_connection"
                )
            return None
        if conf.cells:
            raise ConfigError(
                "[nova] cells and api_connection are both given: either "
                "name the cells, or have them discovered"
            )
        template = conf.cell_template_connection
        if template:
            _database(template, "[nova] cell_template_connection")
        return NovaApi(
            url=_database(conf.api_connection, "[nova] api_connection"),
            template=template or None,
            interval=conf.cells_interval,
        )

    @property
    def ec2api(self) -> "URL | None":
        """The database of ec2-api, if there is one."""
        url = self.conf.ec2api.connection
        return _database(url, "[ec2api] connection") if url else None

    @property
    def selection(self) -> Selection:
        """Which images get ids."""
        conf = self.conf.images
        return Selection(
            visibility=frozenset(map(str.lower, conf.visibility)),
            container_formats=frozenset(
                map(str.lower, conf.container_formats)
            ),
            ec2_ids=bool(self.conf.ec2api.connection),
        )

    @property
    def rewrite_rows(self) -> bool:
        """Whether rows that are not ours are made ours."""
        return bool(self.conf.nova.existing_rows == "rewrite")

    @property
    def sink_audit_interval(self) -> float:
        """Seconds between two audits of a sink."""
        return float(self.conf.nova.audit_interval)

    def check(self) -> None:
        """Read every part once, so that an agent starts only if all fit."""
        _transport(self.conf)
        _ = (self.region, self.scheme, self.ledger, self.notifications)
        _ = (self.nova_api, self.ec2api, self.selection)
        _ = (self.bus, self.cells, self.glance)

    def _peers(self) -> tuple[Peer, ...]:
        from ec2map_sync.signing import PublicKey  # noqa: PLC0415, slow

        names = self.conf.peers
        self._require_sections("peer", names, "[DEFAULT] peers")
        if self.region in names:
            raise ConfigError(
                f"[DEFAULT] peers names {self.region}, this region itself"
            )
        peers = []
        for name, section in self._register("peer", names, _peer).items():
            _name(name, "[DEFAULT] peers")
            where = f"[peer:{name}]"
            if not section.public_keys:
                raise ConfigError(
                    f"{where} public_keys is missing: run 'ec2map-sync key "
                    f"generate FILE' in {name} and copy what it prints"
                )
            peers.append(
                Peer(
                    name=name,
                    url=_broker(section.url, f"{where} url"),
                    keys=tuple(PublicKey(k) for k in section.public_keys),
                    exchange=self.conf.bus.exchange,
                )
            )
        return tuple(peers)

    def _signing_key(self, *, needed: bool) -> "SigningKey | None":
        from ec2map_sync.signing import SigningKey  # noqa: PLC0415, slow

        path = self.conf.bus.signing_key_file
        if path:
            return SigningKey.load(Path(path))
        if needed:
            raise ConfigError(
                "[bus] signing_key_file is missing: peers believe only "
                "signed messages; make a key with 'ec2map-sync key "
                "generate FILE'"
            )
        return None

    def _require_sections(
        self, kind: str, names: Sequence[str], option: str
    ) -> None:
        """Match the names in an option with the sections in the files.

        oslo.config ignores a section that nobody asks for; here that is an
        operator's slip of the pen, and costs a region or a cell.
        """
        if len(set(names)) != len(names):
            raise ConfigError(f"{option} names one twice")
        found = {
            section.partition(":")[2]
            for section in self.conf.list_all_sections()
            if section.startswith(f"{kind}:")
        }
        for name in sorted(set(names) - found):
            raise ConfigError(
                f"{option} names {name}, but there is no [{kind}:{name}]"
            )
        for name in sorted(found - set(names)):
            raise ConfigError(
                f"[{kind}:{name}] is not used: add {name} to {option}, or "
                "remove the section"
            )

    def _register(
        self, kind: str, names: Sequence[str], opts: Sequence[cfg.Opt]
    ) -> Mapping[str, Any]:
        for name in names:
            self.conf.register_opts(opts, group=f"{kind}:{name}")
        return {name: self.conf[f"{kind}:{name}"] for name in names}


def load(
    args: Sequence[str],
    *,
    files: Sequence[str] | None = None,
    prepare: Callable[[cfg.ConfigOpts], None] | None = None,
) -> Config:
    """Read configuration files.

    ``args`` is a command line of oslo.config's own options; ``files``
    replaces the usual places. ``prepare`` may register further options.

    :raises ConfigError: a file is missing or a value does not fit.
    """
    conf = cfg.ConfigOpts()
    for group, opts in _GROUPS.items():
        conf.register_opts(opts, group=group)
    if prepare:
        prepare(conf)
    try:
        conf(
            list(args),
            project=PROJECT,
            prog=f"{PROJECT}-agent",
            default_config_files=None if files is None else list(files),
        )
        _read_all(conf)
    except cfg.ConfigFilesNotFoundError as error:
        missing = ", ".join(error.config_files)
        raise ConfigError(f"no configuration file {missing}") from error
    except cfg.ConfigFileParseError as error:
        raise ConfigError(" ".join(str(error).split())) from error
    except (cfg.Error, ValueError) as error:
        raise ConfigError(" ".join(str(error).split())) from error
    return Config(conf)


def _read_all(conf: cfg.ConfigOpts) -> None:
    """Read each value once: oslo.config checks it only then."""
    for group, opts in _GROUPS.items():
        for opt in opts:
            _ = (conf if group is None else conf[group])[opt.dest]


def _name(text: str | None, option: str) -> str:
    if not text:
        raise ConfigError(f"{option} is missing")
    if not _NAME.fullmatch(text) or text == "requests":
        raise ConfigError(
            f"{option}: {text!r} is no name (letters, digits, '_', '-'; not "
            "'requests', which names a queue)"
        )
    return text


def _database(url: str | None, option: str) -> "URL":
    from ec2map_sync.database import parse_url  # noqa: PLC0415, slow

    if not url:
        raise ConfigError(f"{option} is missing")
    return parse_url(url, option)


def _broker(urls: str | None, option: str) -> str:
    """Check kombu URLs, with ';' between those of one cluster."""
    if not urls:
        raise ConfigError(f"{option} is missing")
    for url in urls.split(";"):
        _check_url(
            url,
            option,
            schemes=("amqp", "amqps", "memory"),
            form="amqp://user:password@host:5672/vhost",
        )
    return urls


def _transport(conf: cfg.ConfigOpts) -> None:
    url = conf.transport_url if "transport_url" in conf else None
    if not url:
        return
    # Hosts of a cluster stand in one URL, each with its own port.
    scheme, mark, rest = url.partition("://")
    for host in rest.split("/")[0].split(","):
        _check_url(
            f"{scheme}{mark}{host}",
            "[DEFAULT] transport_url",
            schemes=("rabbit", "kombu+memory"),
            form="rabbit://user:password@host:5672/vhost",
        )


def _check_url(
    url: str, option: str, *, schemes: Sequence[str], form: str
) -> None:
    """Check a broker's URL; what is wrong is said without its password."""
    scheme = re.match(r"([a-z0-9+]+)://", url)
    if scheme is None:
        raise ConfigError(f"{option} is no URL; needed is {form}")
    if scheme[1] not in schemes:
        raise ConfigError(
            f"{option} begins with {scheme[1][:20]}://; needed is {form}"
        )
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        raise ConfigError(
            f"{option}: the port is no number up to 65535; needed is {form}"
        ) from error
