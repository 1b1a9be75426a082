"""What commands find out before they act, and within which bounds."""

import threading

from oslo_config import cfg
from patience import within

from ec2map_sync.operate.checks import finding
from ec2map_sync.operate.checks.finding import ok, run, unknown
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.settings.plainly import DOLLAR


def fails(error):
    def check():
        raise error

    return check


def test_a_check_that_hangs_is_given_up():
    given_up = threading.Event()

    def hangs():
        assert given_up.wait(within(60))
        return ok()

    findings = run({"hangs": hangs, "answers": ok}, deadline=within(0.4))
    given_up.set()

    hung, answered = findings
    assert hung.result.startswith("wrong: no answer within ")
    assert answered.result == "ok"
    assert [f.check for f in findings] == ["hangs", "answers"]


def test_a_check_that_fails_holds_no_other_up():
    findings = run(
        {
            "refused": fails(ConnectionRefusedError("nobody there")),
            "wrong": fails(ConfigError("[bus] url is missing")),
            "in a value": fails(cfg.NoSuchOptError("hunter2")),
            "broken": fails(ZeroDivisionError("oops")),
            "not yet": lambda: unknown("none yet"),
        }
    )

    assert [f.result for f in findings] == [
        "wrong: nobody there",
        "wrong: [bus] url is missing",
        f"wrong: {DOLLAR}",
        "wrong: ZeroDivisionError: oops",
        "unknown: none yet",
    ]
    assert not finding.in_order(findings)
    assert finding.in_order(findings[-1:])


def test_no_password_of_a_url_is_shown():
    error = OSError("amqp://user:geheim@host/ does not answer")

    (found,) = run({"broker": fails(error)})

    assert found.result == "wrong: amqp://***@host/ does not answer"
