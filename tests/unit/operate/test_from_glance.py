"""Ours from theirs: as deployment tools write it, and as nobody should.

The files of each tool stand in tests/data/clouds, with what has to come out:
`ec2map-sync.conf`, and in `advice` what goes to standard error. Whether that
works with a broker is seen in tests/services/test_from_glance.py.
"""

from pathlib import Path

import pytest
from oslo_config import cfg
from oslo_messaging.opts import list_opts

from ec2map_sync.glance.broker import broker_address, rabbit_options
from ec2map_sync.glance.listener import register_options
from ec2map_sync.operate.from_glance import propose
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.settings.loading import load
from ec2map_sync.settings.values import MemoTls

CLOUDS = Path(__file__).parents[2] / "data/clouds"
TOOLS = sorted(p.name for p in CLOUDS.iterdir() if p.is_dir())

MINIMAL = """
[DEFAULT]
transport_url = rabbit://u:p@h//
[oslo_messaging_notifications]
driver = messagingv2
topics = ec2map_sync
[oslo_messaging_rabbit]
rabbit_quorum_queue = true
"""


def files_of(tool):
    """Give Glance's and Nova's files, in the order in which they are read."""
    found = sorted(p.name for p in (CLOUDS / tool).glob("*.conf"))
    found.remove("ec2map-sync.conf")
    found.remove("nova.conf")
    return found, ["nova.conf"]


@pytest.fixture
def proposed(tmp_path):
    """Give what is proposed for a file of Glance's, and one of Nova's."""

    def act(glance, nova=None):
        files = []
        for name, text in (("glance.conf", glance), ("nova.conf", nova)):
            if text is not None:
                (tmp_path / name).write_text(text)
                files.append(str(tmp_path / name))
        return propose(files[:1], files[1:])

    return act


@pytest.fixture
def read(tmp_path):
    """Read what was proposed, as our agent does."""

    def act(proposal):
        file = tmp_path / "ours.conf"
        file.write_text(f"{proposal.text}\n[DEFAULT]\nregion = RegionOne\n")
        return load([], files=[str(file)], prepare=register_options)

    return act


def fitting(text):
    """Leave out what this release of oslo.messaging has no option for."""
    names = {option.dest for _, some in list_opts() for option in some}
    newer = {"use_queue_manager"} - names
    lines = text.splitlines(keepends=True)
    return "".join(one for one in lines if one.split(" ")[0] not in newer)


@pytest.mark.parametrize("tool", TOOLS)
def test_what_a_tool_writes_gives_what_we_need(tool, monkeypatch):
    monkeypatch.chdir(CLOUDS / tool)

    proposal = propose(*files_of(tool))

    text = proposal.text.replace("# memcached_servers", "memcached_servers")
    assert f"{text}\n" == fitting(Path("ec2map-sync.conf").read_text())
    said = "".join(f"{line}\n" for line in proposal.advised)
    assert said == Path("advice").read_text()
    assert proposal.needed == ()


@pytest.mark.parametrize("tool", TOOLS)
def test_what_comes_out_reaches_the_broker_as_glance_does(
    tool, monkeypatch, read
):
    monkeypatch.chdir(CLOUDS / tool)
    glance, nova = files_of(tool)
    theirs = cfg.ConfigOpts()
    register_options(theirs)
    theirs([], default_config_files=glance)

    ours = read(propose(glance, nova)).conf

    assert broker_address(ours) == broker_address(theirs)
    for name in ("amqp_durable_queues", "rabbit_quorum_queue"):
        assert rabbit_options(ours)[name] == rabbit_options(theirs)[name]


def test_nothing_is_said_where_all_is_well(proposed, read):
    proposal = proposed(MINIMAL)

    assert proposal.needed == proposal.advised == ()
    options = read(proposal).notifications
    assert (options.exchange, options.topics) == ("glance", ("ec2map_sync",))
    assert options.pool is None


NOT_NOTIFYING = {
    "no driver": ("driver = messagingv2", "", "driver is not set"),
    "noop": ("messagingv2", "noop", "driver is noop"),
    "log": ("messagingv2", "log", "set driver = messagingv2 in"),
    "no topic": ("topics = ec2map_sync", "topics =", "topics is empty"),
    "no images": (
        "[DEFAULT]",
        "[DEFAULT]\ndisabled_notifications = task, image",
        "take image out of disabled_notifications",
    ),
    "no new images": (
        "[DEFAULT]",
        "[DEFAULT]\ndisabled_notifications = image.create",
        "take image.create out of",
    ),
}


@pytest.mark.parametrize("case", NOT_NOTIFYING)
def test_a_glance_that_does_not_notify_is_told_why(proposed, read, case):
    old, new, said = NOT_NOTIFYING[case]

    proposal = proposed(MINIMAL.replace(old, new))

    (line,) = proposal.needed
    assert said in line
    assert read(proposal).notifications.topics  # it fits all the same


@pytest.mark.parametrize(
    "drivers",
    [
        "driver = messaging",
        "driver = log\ndriver = messagingv2",
        "driver = messagingv2\ndriver = noop",
    ],
)
def test_one_driver_that_notifies_is_enough(proposed, drivers):
    text = MINIMAL.replace("driver = messagingv2", drivers)

    assert proposed(text).needed == ()


@pytest.mark.parametrize(
    ("topics", "read_from"),
    [
        ("notifications", ("notifications", "ec2map_sync")),
        ("other,notifications", ("notifications", "ec2map_sync")),
        ("other,another", ("other", "ec2map_sync")),
        ("", ("notifications", "ec2map_sync")),
        ("notifications,ec2map_sync", ("ec2map_sync", None)),
        ("EC2Map,notifications", ("EC2Map", None)),
    ],
)
def test_a_topic_of_others_is_read_through_a_pool(
    proposed, read, topics, read_from
):
    text = MINIMAL.replace("topics = ec2map_sync", f"topics = {topics}")
    proposal = proposed(text)

    options = read(proposal).notifications
    assert ((options.topics[0], options.pool)) == read_from
    if topics and options.pool:
        assert f"set topics = {topics},ec2map_sync in" in proposal.advised[0]


def test_old_names_of_options_count(proposed, read):
    proposal = proposed(
        "[DEFAULT]\nnotification_driver = messagingv2\n"
        "notification_topics = ec2map_sync\n"
        "notification_transport_url = rabbit://u:p@own//v\n"
        "transport_url = rabbit://u:p@other//v\n"
        "rabbit_use_ssl = true\namqp_durable_queues = true\n"
        "[oslo_messaging_rabbit]\nkombu_ssl_ca_certs = /ca.pem\n"
    )

    assert proposal.needed == ()
    conf = read(proposal).conf
    assert conf.transport_url == "rabbit://u:p@own//v"
    assert rabbit_options(conf).amqp_durable_queues
    assert broker_address(conf).tls.ca_file == "/ca.pem"


def test_the_query_of_an_address_counts(proposed, read):
    proposal = proposed(
        MINIMAL.replace("p@h//", "p@h//?ssl=1&ssl_ca_file=/ca.pem").replace(
            "rabbit_quorum_queue", "amqp_durable_queues"
        )
    )

    address = broker_address(read(proposal).conf)
    assert address.tls.ca_file == "/ca.pem"
    assert "# /ca.pem has to be on this host as well." in proposal.text
    assert proposal.advised == ()


def test_another_exchange_is_taken_over(proposed, read):
    text = MINIMAL.replace("[DEFAULT]", "[DEFAULT]\ncontrol_exchange = xyz")

    assert read(proposed(text)).notifications.exchange == "xyz"


def test_a_dollar_stays_one(proposed, read):
    text = MINIMAL.replace("u:p@", "u:p$$w$$$$@")
    nova = "[api_database]\nconnection = mysql://n:a$$b@h/nova_api\n"

    conf = read(proposed(text, nova)).conf

    assert conf.transport_url == "rabbit://u:p$w$$@h//"
    assert conf.nova.api_connection == "mysql://n:a$b@h/nova_api"


def test_transient_queues_are_spoken_of(proposed):
    text = MINIMAL.partition("[oslo_messaging_rabbit]")[0]

    (line,) = proposed(text).advised

    assert "RabbitMQ 4.3 refuses them" in line
    assert "rabbit_quorum_queue = true" in line


def test_what_is_in_memory_of_variables_is_not_read(proposed, monkeypatch):
    monkeypatch.setenv("OS_DEFAULT__TRANSPORT_URL", "rabbit://another//")
    monkeypatch.setenv(
        "OS_OSLO_MESSAGING_NOTIFICATIONS__TRANSPORT_URL", "rabbit://another//"
    )

    assert "another" not in proposed(MINIMAL).text


def test_a_cell_is_read_where_nova_names_no_more(proposed, read):
    nova = (
        "[DEFAULT]\nsql_connection = mysql://n:p@h/nova\n"
        "[database]\nconnection_parameters = charset=utf8\n"
    )

    proposal = proposed(MINIMAL, nova)

    (cell,) = read(proposal).cells
    assert cell.name == "cell1"
    assert cell.url.database == "nova"
    assert cell.url.query == {"charset": "utf8"}
    assert "cell0" in proposal.advised[0]


CACHE = """\
[database]
connection = mysql://n:p@h/nova
[cache]
enabled = true
backend = dogpile.cache.pymemcache
memcache_servers = one:11211,two:11212
"""


def test_memcached_is_reached_over_tls_where_nova_does(proposed, read):
    ca = Path(__file__).resolve()  # any file will do
    tls = f"tls_enabled = true\ntls_cafile = {ca}\n"

    proposal = proposed(MINIMAL, CACHE + tls)

    config = read(proposal)
    assert config.memcached("nova:cell1") == (("one", 11211), ("two", 11212))
    assert config.memcached_tls("nova:cell1") == MemoTls(cafile=str(ca))
    assert f"# {ca} has to be on this host as well." in proposal.text


def test_without_tls_there_is_none_whatever_else_nova_says(proposed, read):
    proposal = proposed(MINIMAL, f"{CACHE}tls_cafile = /nowhere\n")

    assert read(proposal).memcached_tls("nova:cell1") is None
    assert "memcached_tls" not in proposal.text


def test_memcached_that_asks_for_a_password_is_said_and_left_out(proposed):
    proposal = proposed(MINIMAL, f"{CACHE}memcache_sasl_enabled = true\n")

    assert "memcached_servers" not in proposal.text
    assert any("(SASL), which we cannot give" in a for a in proposal.advised)


NOVA = "[database]\nconnection = mysql://n:p@h/nova\n"
BAD = {
    "no address": ("[DEFAULT]\nx = 1\n", None, "no transport_url"),
    "an empty file": ("", None, "no transport_url"),
    "an address that is none": (
        "[DEFAULT]\ntransport_url = u:p4ss@h\n",
        None,
        "transport_url",
    ),
    "a port that is none": (
        MINIMAL.replace("@h//", "@h:x//"),
        None,
        "transport_url: invalid literal",
    ),
    "another kind of broker": (
        MINIMAL.replace("rabbit:", "kafka:"),
        None,
        "only rabbit://",
    ),
    "a line that is none": (f"{MINIMAL}\nwhat\n", None, "glance.conf:10"),
    "no configuration": ('{"a": 1}', None, "glance.conf"),
    "a value that is none": (
        f"{MINIMAL}amqp_durable_queues = perhaps\n",
        None,
        "amqp_durable_queues",
    ),
    "a reference to nothing": (
        MINIMAL.replace("u:p@", "u:$nothing@"),
        None,
        "transport_url",
    ),
    "Nova's for Glance's": (f"{MINIMAL}[api_database]\n", None, "Nova's"),
    "Neutron's": (f"{MINIMAL}[ml2]\n", None, "Neutron's"),
    "our own": (f"{MINIMAL}[ec2_ids]\n", None, "ec2map-sync's"),
    "Glance's for Nova's": (MINIMAL, f"{NOVA}[glance_store]\n", "Glance's"),
    "no database": (MINIMAL, "[DEFAULT]\n", "no connection in"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_one_line(proposed, case):
    glance, nova, said = BAD[case]

    with pytest.raises(ConfigError) as refused:
        proposed(glance, nova)

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "p4ss" not in str(refused.value)


@pytest.mark.parametrize("make", ["missing", "directory", "binary"])
def test_what_is_no_file_is_one_line(tmp_path, make):
    file = tmp_path / "glance-api.conf"
    if make == "directory":
        file.mkdir()
    elif make == "binary":
        file.write_bytes(b"\xff\xfe\0")

    with pytest.raises(ConfigError) as refused:
        propose([str(file)])

    assert "\n" not in str(refused.value)


def test_what_has_passwords_is_not_shown(proposed):
    assert "p@h" not in repr(proposed(MINIMAL))
