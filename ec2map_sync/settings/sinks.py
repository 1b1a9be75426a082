"""The options of sinks: Nova's cells, and ec2-api."""

from oslo_config import cfg

# Without defaults: a cell that says nothing is as [nova] is.
MEMCACHED_TLS_OPTS = [
    cfg.BoolOpt(
        "memcached_tls_enabled",
        help="Whether memcached is asked over TLS: [cache] tls_enabled of "
        "Nova. The certificate has to be that of the host as named in "
        "memcached_servers.",
    ),
    cfg.StrOpt(
        "memcached_tls_cafile",
        help="Who signs certificates of memcached servers, a file in PEM: "
        "[cache] tls_cafile. Without it, those whom the system trusts.",
    ),
    cfg.StrOpt(
        "memcached_tls_certfile",
        help="Our certificate, in PEM, where memcached asks for one: [cache] "
        "tls_certfile.",
    ),
    cfg.StrOpt(
        "memcached_tls_keyfile",
        help="The key of that, if it is in another file: [cache] tls_keyfile.",
    ),
    cfg.StrOpt(
        "memcached_tls_allowed_ciphers",
        help="Ciphers, as OpenSSL writes them: [cache] tls_allowed_ciphers.",
    ),
]

NOVA_OPTS = [
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
            ("rewrite", "delete them, and write what is settled"),
        ],
        help="What to do with rows of Nova's under our numbers, and with "
        "other rows, older or made on demand, of images that have a number "
        "of ours: on MySQL and MariaDB, Nova answers the lowest id that an "
        "image has. Before rewriting, see what 'ec2map-sync divergence "
        "list' has: guests of these images will see another id, at once if "
        "memcached_servers is all that remembers the old one. A row that was "
        "chosen to be kept ('divergence resolve keep') stays.",
    ),
    cfg.ListOpt(
        "memcached_servers",
        default=[],
        help="host:port of every memcached server in which Nova's processes "
        "remember ids: [cache] memcache_servers, where its enabled is true. "
        "When an image's row has changed, after a move, an adoption or a "
        "rewritten row, what they remember of it is deleted there, so that "
        "guests see the new id at once. Otherwise Nova answers the old one "
        "for up to a week, also after a restart. With SASL they cannot be "
        "asked.",
    ),
    *MEMCACHED_TLS_OPTS,
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

CELL_OPTS = [
    cfg.StrOpt(
        "connection",
        secret=True,
        help="The cell's database, as in [database] connection of its "
        "conductor. Grants: SELECT, INSERT, DELETE on s3_images; on "
        "PostgreSQL also SELECT, UPDATE on the sequence s3_images_id_seq.",
    ),
    cfg.ListOpt(
        "memcached_servers",
        help="As in [nova], in whose place it stands, where this cell's Nova "
        "has others.",
    ),
    *MEMCACHED_TLS_OPTS,
]

EC2API_OPTS = [
    cfg.StrOpt(
        "connection",
        secret=True,
        help="Database of ec2-api, if one is in use: images get the same "
        "ids there. Grants: SELECT, INSERT, DELETE on items.",
    ),
]
