"""The configuration of a region as frozen, checked values."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from oslo_config import cfg

from ec2map_sync.broker.address import Address, Tls
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.rules.names import cell_of, is_cell, sink_of
from ec2map_sync.rules.selection import Selection
from ec2map_sync.settings import addresses, api, options
from ec2map_sync.settings.glance import keystone_opts

if TYPE_CHECKING:  # `ec2map-sync id` should not wait for these imports
    from sqlalchemy.engine import URL

    from ec2map_sync.protocol.signing import SigningKey

from ec2map_sync.settings.plainly import read_all
from ec2map_sync.settings.sinks import CELL_OPTS
from ec2map_sync.settings.values import (
    Api,
    Bus,
    Cell,
    Glance,
    MemoTls,
    Notifications,
    NovaApi,
    Peer,
)

PROJECT = "ec2map-sync"

_T = TypeVar("_T")


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
        return addresses.name(self.conf.region, "[DEFAULT] region")

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
        return self._database("ledger")

    @property
    def notifications(self) -> Notifications:
        """How to listen to Glance."""
        conf = self.conf.notifications
        if not conf.topics:
            raise ConfigError("[notifications] topics is empty")
        return _filled(
            Notifications,
            conf,
            topics=tuple(conf.topics),
            pool=conf.pool or None,
            management_url=addresses.management(conf.management_url),
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
        return _filled(
            Bus,
            conf,
            region=self.region,
            broker=self._broker(conf.url, "[bus] url") if conf.url else None,
            key=self._signing_key(needed=bool(peers)),
            peers=peers,
            canary_interval=int(self.conf.canary.interval),
        )

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The Nova cells to write that are named here."""
        names = self.conf.nova.cells
        self._sections("cell", names, "[nova] cells", CELL_OPTS)
        return tuple(
            Cell(name=name, url=self._database(f"cell:{name}"))
            for name in names
        )

    def memcached(self, sink: str) -> tuple[addresses.MemcachedServer, ...]:
        """Where Nova remembers the ids of a sink's cell, if we may delete."""
        if not is_cell(sink):
            return ()
        found, option = self._of_cell(sink, "memcached_servers")
        return tuple(addresses.memcached(one, option) for one in found)

    def memcached_tls(self, sink: str) -> MemoTls | None:
        """How a sink's memcached servers are asked over TLS, if they are."""
        if not self._of_cell(sink, "memcached_tls_enabled")[0]:
            return None
        found = {
            name: self._of_cell(sink, f"memcached_tls_{name}")
            for name in ("cafile", "certfile", "keyfile")
        }
        for path, option in found.values():
            if path:
                addresses.file(path, option)
        return MemoTls(
            **{name: path for name, (path, _) in found.items()},
            allowed_ciphers=self._of_cell(
                sink, "memcached_tls_allowed_ciphers"
            )[0],
        )

    def _of_cell(self, sink: str, name: str) -> tuple[Any, str]:
        """Returns what a cell says, or else [nova], and the option."""
        cell = cell_of(sink)
        if cell in {one.name for one in self.cells}:
            own = self.conf[f"cell:{cell}"][name]
            if own is not None:
                return own, f"[cell:{cell}] {name}"
        return self.conf.nova[name], f"[nova] {name}"

    @property
    def all_memcached(
        self,
    ) -> Mapping[addresses.MemcachedServer, MemoTls | None]:
        """All servers in which Nova remembers ids, and how to ask them."""
        sinks = [sink_of(one) for one in ("", *(c.name for c in self.cells))]
        return {
            server: self.memcached_tls(sink)
            for sink in sinks
            for server in self.memcached(sink)
        }

    @property
    def glance(self) -> Glance | None:
        """How to ask Glance's API; None if it is not to be asked."""
        if "glance" not in self.conf.list_all_sections():
            return None
        from keystoneauth1 import loading  # noqa: PLC0415, slow

        loading.register_auth_conf_options(self.conf, "glance")
        self.conf.register_opts(keystone_opts(), group="glance")
        conf = self.conf.glance
        endpoint = conf.endpoint_override
        if not (endpoint or conf.auth_section or conf.auth_type):
            return None
        return _filled(
            Glance,
            conf,
            region_name=conf.region_name or self.region,
            endpoint=endpoint,
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
        if conf.cell_template_connection:
            self._database("nova", "cell_template_connection")
        return NovaApi(
            url=self._database("nova", "api_connection"),
            template=conf.cell_template_connection or None,
            interval=conf.cells_interval,
        )

    @property
    def ec2api(self) -> "URL | None":
        """The database of ec2-api, if there is one."""
        there = self.conf.ec2api.connection
        return self._database("ec2api") if there else None

    @property
    def selection(self) -> Selection:
        """Which images get ids."""
        conf = self.conf.images
        return Selection(
            visibility=frozenset(map(str.lower, conf.visibility)),
            container_formats=frozenset(
                map(str.lower, conf.container_formats)
            ),
        )

    @property
    def rewrite_rows(self) -> bool:
        """Whether rows that are not ours are made ours."""
        return bool(self.conf.nova.existing_rows == "rewrite")

    @property
    def sink_audit_interval(self) -> float:
        """Seconds between two audits of a sink."""
        return float(self.conf.nova.audit_interval)

    @property
    def agreement_interval(self) -> int:
        """Seconds between two moments that are signed."""
        return int(self.conf.agreement.interval)

    @property
    def metrics(self) -> addresses.Listen | None:
        """Where Prometheus and probes are answered, if they are."""
        text = self.conf.metrics.listen
        return addresses.listen(text, "[metrics] listen") if text else None

    @property
    def api(self) -> Api:
        """Who may ask for mappings, and how many at a time."""
        return api.checked(_filled(Api, self.conf.api))

    @property
    def api_listen(self) -> addresses.Listen | None:
        """Where they are looked up for others, if they are."""
        text = self.conf.api.listen
        return api.listen(text, self.api) if text else None

    def check(self) -> None:
        """Reads every part once, so that an agent starts only if all fit."""
        addresses.transport(self.conf)
        _ = (self.region, self.scheme, self.ledger, self.notifications)
        _ = (self.nova_api, self.ec2api, self.selection)
        _ = (self.bus, self.cells, self.glance, self.metrics)
        _ = (self.all_memcached, self.api_listen)

    def _peers(self) -> tuple[Peer, ...]:
        option = "[DEFAULT] peers"
        found = self._sections("peer", self.conf.peers, option, options.PEER)
        if self.region in found:
            raise ConfigError(
                f"{option} names {self.region}, this region itself"
            )
        return tuple(self._peer(name, found[name]) for name in found)

    def _peer(self, name: str, section: Any) -> Peer:
        from ec2map_sync.protocol.signing import PublicKey  # noqa: PLC0415, slow

        addresses.name(name, "[DEFAULT] peers")
        if not section.public_keys:
            raise ConfigError(
                f"[peer:{name}] public_keys is missing: run 'ec2map-sync key "
                f"generate FILE' in {name} and copy what it prints"
            )
        return Peer(
            name=name,
            broker=self._broker(section.url, f"[peer:{name}] url"),
            keys=tuple(PublicKey(k) for k in section.public_keys),
            exchange=self.conf.bus.exchange,
        )

    def _broker(self, urls: str | None, option: str) -> Address:
        conf = self.conf.bus
        tls = Tls(
            ca_file=conf.ssl_ca_file,
            cert_file=conf.ssl_cert_file,
            key_file=conf.ssl_key_file,
        )
        return addresses.broker(urls, option, tls)

    def _signing_key(self, *, needed: bool) -> "SigningKey | None":
        from ec2map_sync.protocol.signing import SigningKey  # noqa: PLC0415, slow

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

    def _database(self, group: str, option: str = "connection") -> "URL":
        return addresses.database(
            self.conf[group][option], f"[{group}] {option}"
        )

    def _sections(
        self,
        kind: str,
        names: Sequence[str],
        option: str,
        opts: Sequence[cfg.Opt],
    ) -> Mapping[str, Any]:
        """Reads the sections of the peers, or cells, with these names."""
        addresses.sections(kind, names, option, self.conf.list_all_sections())
        for name in names:
            section = f"{kind}:{name}"
            self.conf.register_opts(opts, group=section)
            read_all(self.conf[section], section, opts)
        return {name: self.conf[f"{kind}:{name}"] for name in names}


def _filled(kind: type[_T], section: Mapping[str, Any], **given: Any) -> _T:
    """Fills a dataclass from the options that its fields are named after."""
    names = kind.__annotations__.keys() - given.keys()
    return kind(**{name: section[name] for name in names}, **given)
