"""Every option, with what it means and what happens if it is wrong."""

from collections.abc import Mapping, Sequence

from oslo_config import cfg

from ec2map_sync.settings import api, glance
from ec2map_sync.settings.sinks import CELL_OPTS, EC2API_OPTS, NOVA_OPTS

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
        "most. A transaction costs as much as a hundred images: smaller "
        "batches cost throughput, above 500 little is gained.",
    ),
    cfg.FloatOpt(
        "batch_timeout",
        default=0.005,
        min=0.001,
        max=5,
        help="Seconds to wait for the next notification while many come and "
        "a batch is not full. A single one never waits. Lower makes batches "
        "smaller under load, higher delays the last one of a burst.",
    ),
    cfg.IntOpt(
        "workers",
        default=1,
        min=1,
        max=32,
        help="Listener processes. One keeps up with some thousand "
        "notifications a second; on two cores a second brought a tenth.",
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
    cfg.StrOpt(
        "management_url",
        secret=True,
        help="RabbitMQ's management of Glance's broker, such as "
        "https://user:password@host:15671; without an account, that of "
        "transport_url. It needs the tag 'management'. 'config check', "
        "'status' and the log then tell of policies that throw "
        "notifications away, and of queues that nobody reads.",
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
    cfg.StrOpt(
        "ssl_ca_file",
        help="Certificates that the brokers' have to be signed with, for "
        "amqps:// URLs here and in [peer:NAME]; without it, those of the "
        "system. A URL may name its own: amqps://…/vhost?ca_file=FILE, "
        "and likewise cert_file and key_file.",
    ),
    cfg.StrOpt(
        "ssl_cert_file",
        help="Our own certificate, where brokers ask for one.",
    ),
    cfg.StrOpt("ssl_key_file", help="The private key that belongs to it."),
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
        "max_moves",
        default=1000,
        min=0,
        help="Ids that one message of a peer may move here, or give another "
        "kind; in 24 hours, ten times as many. Claims that would move more "
        "are held in quarantine until 'ec2map-sync quarantine retry'. Below "
        "batch_size, adoptions in other regions are held. Once all regions "
        "have adopted what they had, lower it: honest peers need no more "
        "than max_evictions.",
    ),
    cfg.IntOpt(
        "max_evictions",
        default=50,
        min=0,
        help="Numbers that the images which have them may lose here, in 24 "
        "hours, by the claims of each peer. What would take more is held in "
        "quarantine until 'ec2map-sync quarantine retry --all'; the rest is "
        "recorded. Regions that trust each other take hardly any: two that "
        "claim 2,700 images each in a day of which they hear nothing of each "
        "other collide in 2^30 numbers with a probability of 0.7 %. Only "
        "where two large sets meet for the first time there are more: about "
        "A * B / 2^31 here, for A images here and B there; 50 are reached "
        "by 330,000 and 330,000. An adoption takes no numbers.",
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

PEER = [
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

_agreement = [
    cfg.IntOpt(
        "interval",
        default=60,
        min=1,
        max=3600,
        help="Seconds between two moments of which every region signs what it "
        "knew; the same in all regions, and a part of an hour. Below two "
        "heartbeats, signatures are missed.",
    ),
]

_canary = [
    cfg.IntOpt(
        "interval",
        default=0,
        min=0,
        max=86400,
        help="Seconds between two canaries: markers that this region claims "
        "to see how long they take to each peer, and back; 0 for none. "
        "They stay in the ledgers of all regions, as images do, and no sink "
        "gets them: 300 make 105,000 in a year. Not before all regions have "
        "a release that knows them.",
    ),
]

_metrics = [
    cfg.StrOpt(
        "listen",
        help="host:port, such as 127.0.0.1:9427, where one process of the "
        "agent answers Prometheus (/metrics) and probes (/healthz, "
        "/readyz); unset, nothing is counted. There is neither TLS nor a "
        "password: name an address that only those reach who may know.",
    ),
]

GROUPS: Mapping[str | None, Sequence[cfg.Opt]] = {
    None: _default,
    "notifications": _notifications,
    "ec2_ids": _ec2_ids,
    "ledger": _ledger,
    "bus": _bus,
    "nova": NOVA_OPTS,
    "ec2api": EC2API_OPTS,
    "images": _images,
    "glance": glance.OPTIONS,
    "agreement": _agreement,
    "canary": _canary,
    "metrics": _metrics,
    "api": api.OPTIONS,
}


def list_opts() -> list[tuple[str | cfg.OptGroup | None, Sequence[cfg.Opt]]]:
    """Returns all options, for oslo-config-generator."""
    peer, cell = cfg.OptGroup("peer:NAME"), cfg.OptGroup("cell:NAME")
    return [
        *GROUPS.items(),
        ("glance", glance.sample_opts()),
        (peer, PEER),
        (cell, CELL_OPTS),
    ]
