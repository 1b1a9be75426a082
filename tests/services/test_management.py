"""What eats Glance's queues is seen where RabbitMQ's management is asked.

Also that of RabbitMQ 4, with EC2MAP_SYNC_BROKERS=all.
"""

import json
import os

import kombu
import pytest
from commands import run
from fleet import INFO, Glance, Region, running
from patience import wait_until
from servers import RabbitMQ, RabbitMQ4

pytestmark = pytest.mark.services

CHECK = "policies on Glance's queues"


KINDS = {"3.10": RabbitMQ, "4": RabbitMQ4}
if os.environ.get("EC2MAP_SYNC_BROKERS") != "all":
    del KINDS["4"]


@pytest.fixture(scope="module", params=KINDS)
def broker(request, tmp_path_factory, epmd):
    directory = tmp_path_factory.mktemp("managed")
    kind = KINDS[request.param]
    with kind(directory, "managed", epmd, managed=True) as server:
        yield server


@pytest.fixture
def region(broker, mariadb, tmp_path):
    region = Region("RegionOne", broker, mariadb, tmp_path)
    region.glance = Glance(broker, region.vhost, quorum=True)
    region.glance.declare()
    configure(region, f"http://guest:guest@127.0.0.1:{broker.management_port}")
    return region


def configure(region, url):
    region.configure(
        extra="\n[oslo_messaging_rabbit]\nrabbit_quorum_queue = true\n"
        f"[notifications]\nmanagement_url = {url}\n"
    )


def set_policy(region, pattern, definition, name="eater"):
    region.rabbit.ctl(
        *("set_policy", "-p", region.vhost, name, pattern),
        *(json.dumps(definition), "--apply-to", "queues"),
    )


def asked(region, *command):
    done = run(
        *command, "-f", "json", "--config-file", str(region.config_file)
    )
    assert done.stderr == ""
    return done.code, json.loads(done.stdout)


def checked(region):
    code, lines = asked(region, "config", "check")
    (line,) = [one for one in lines if one["check"] == CHECK]
    return code, line["result"], line["advice"]


def shown(region):
    _, lines = asked(region, "status")
    return {
        line["name"]: line["last_error"]
        for line in lines
        if line["what"] == "queue"
    }


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"message-ttl": 70000}, "throws away what has waited for 70 s"),
        pytest.param(
            {"max-length": 5},
            "keeps no more than 5 messages",
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"max-length-bytes": 999},
            "keeps no more than 999 bytes",
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"expires": 90000},
            "is deleted when unread for 90 s",
            marks=pytest.mark.long,
        ),
        ({"delivery-limit": 2}, "drops what was delivered 3 times"),
    ],
)
def test_a_policy_that_eats_is_named(region, definition, said):
    assert checked(region)[0] == 0
    set_policy(region, "^(?!(amq.|reply_)).*", definition)

    wait_until(lambda: checked(region)[0] == 1)

    _, result, advice = checked(region)
    assert result.startswith(f"wrong: {INFO} {said}")
    assert "policy 'eater'" in advice
    assert said in shown(region)[INFO]
    region.rabbit.ctl("clear_policy", "-p", region.vhost, "eater")
    wait_until(lambda: checked(region)[0] == 0)
    assert shown(region) == {}


def test_a_policy_on_other_queues_is_none_of_ours(region):
    set_policy(region, "^other", {"message-ttl": 1})

    assert checked(region)[0] == 0


def test_a_queue_that_nobody_reads_is_named(region):
    with kombu.Connection(region.bus_url) as connection:
        queue = kombu.Queue("notifications.sample.info", durable=True)
        queue(connection.default_channel).queue_declare()
        connection.Producer().publish("x", routing_key=queue.name)

    wait_until(lambda: checked(region)[0] == 1)

    _, result, advice = checked(region)
    assert "holds 1 messages that nobody reads, and grows" in result
    assert "topics of glance-api.conf" in advice
    assert "nobody reads" in shown(region)["notifications.sample.info"]


def test_the_log_of_an_agent_says_it_too(region):
    set_policy(region, "^notifications", {"message-ttl": 70000})

    with running(region):
        region.await_log("throws away what has waited for 70 s", 60)


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ("guest:wr0ng@", "it does not know the account"),
        ("guest:guest@", "does not answer"),
    ],
)
def test_who_cannot_be_asked_is_said_in_one_line(region, account, said):
    port = region.rabbit.management_port
    if said == "does not answer":
        port = 1
    configure(region, f"http://{account}127.0.0.1:{port}")

    code, result, _ = checked(region)

    assert code == 1
    assert f"[notifications] management_url{'' if port == 1 else ':'} " in (
        result
    )
    assert said in result
    assert said in shown(region)["management"]
    assert "wr0ng" not in result + str(shown(region))
