"""Glance's notifications: every real one is understood, no odd one hurts."""

import contextlib
import threading

import pytest
from fleet import captured, created
from hypothesis import HealthCheck, given, settings, strategies as st
from patience import within
from sqlalchemy.exc import OperationalError

from ec2map_sync.glance.listener import Recorder
from ec2map_sync.glance.notifications import is_selected, understand
from ec2map_sync.rules.claims import Sighting
from ec2map_sync.rules.ec2id import Kind
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.selection import Selection

IMAGE = "2a3d51d7-356a-45c5-aa8e-34d805812a68"
OTHER = "3b3d51d7-356a-45c5-aa8e-34d805812a68"


def test_every_created_image_is_seen_and_no_other():
    for region in (1, 2):
        envelopes = captured(region)
        seen = [understand(envelope.message) for envelope in envelopes]

        assert {s.uuid for s in seen if s} == created(envelopes)


def test_a_kind_that_is_set_later_becomes_known():
    kinds = {}
    for envelope in captured(1):
        sighting = understand(envelope.message)
        if sighting and sighting.kind:
            kinds[sighting.image] = sighting.kind

    assert set(kinds.values()) == set(Kind)
    assert kinds["cf621a65-ad0f-49ff-8f8a-0657c028ce80"] is Kind.AMI


def test_a_failed_upload_is_no_poison():
    failed = [e for e in captured(1) if e.routing_key == "notifications.error"]

    assert failed
    assert [understand(e.message) for e in failed] == [None] * len(failed)


def note(event="image.create", **payload):
    return {"event_type": event, "payload": {"id": IMAGE} | payload}


def test_upper_case_is_kept_as_spelling():
    assert understand(note(id=IMAGE.upper())) == Sighting(
        image=IMAGE, uuid=IMAGE.upper()
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ami-00000001", 1),
        ("ari-12345678", 0x12345678),
        ("AMI-3fffffff", 2**30 - 1),
        ("ami-40000000", None),
        ("ami-00000000", None),
        ("i-00000001", None),
        ("ami-", None),
        ("", None),
        (7, None),
        (None, None),
    ],
)
def test_the_id_that_ec2_api_has_promised_is_wanted_if_it_fits(text, wanted):
    sighting = understand(note(properties={"ec2_id": text}))

    assert sighting.wanted == wanted
    beyond = text in {"ami-40000000", "ami-00000000"}
    assert sighting.promised is beyond


@pytest.mark.parametrize("properties", [None, [], "ec2_id", {}])
def test_no_promise_is_none(properties):
    assert understand(note(properties=properties)).wanted is None


@pytest.mark.parametrize(
    ("options", "payload", "selected"),
    [
        ({}, {}, True),
        ({"visibility": {"public"}}, {"visibility": "public"}, True),
        ({"visibility": {"public"}}, {"visibility": "private"}, False),
        ({"visibility": {"public"}}, {}, False),
        ({"container_formats": {"bare"}}, {"container_format": "Bare"}, True),
        ({"container_formats": {"bare"}}, {"container_format": None}, False),
        (
            {"visibility": {"public"}, "container_formats": {"bare"}},
            {"visibility": "public", "container_format": "aki"},
            False,
        ),
    ],
)
def test_images_that_are_not_selected_make_no_claims(
    options, payload, selected
):
    selection = Selection(**{k: frozenset(v) for k, v in options.items()})

    assert is_selected(note(**payload), selection) is selected


@pytest.mark.parametrize(
    "notification",
    [
        {},
        {"event_type": 3},
        {"event_type": "image.create"},
        {"event_type": "image.create", "payload": []},
        note(id=None),
        note(id="x"),
        note(container_format=[]),
    ],
)
def test_what_cannot_be_glances_is_refused(notification):
    with pytest.raises(BadMessage):
        understand(notification)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "container_format", "deleted", "properties"]
            ),
            inner,
        )
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(["event_type", "payload"]), json_values)
    | json_values.map(lambda p: {"event_type": "image.create", "payload": p})
)
def test_nothing_but_bad_message_comes_out(notification):
    with contextlib.suppress(BadMessage):
        understand(notification)


class Incoming:
    def __init__(self, message):
        self.message = message
        self.lapsed = False


class LedgerStub:
    """Fails so often, then takes everything."""

    def __init__(self, failures=0):
        self.failures = failures
        self.seen = []
        self.quarantined = []
        self.asked = threading.Event()
        self.quarantine = self
        self.failing = lambda: None

    def see(self, sightings):
        self.asked.set()
        if self.failures:
            self.failures -= 1
            self.failing()
            raise OperationalError("INSERT", {}, Exception("gone"))
        self.seen += sightings
        return type("Recorded", (), {"news": len(sightings)})

    def put(self, entries):
        self.quarantined += entries


def test_a_batch_waits_for_the_ledger_and_is_then_recorded_once():
    ledger = LedgerStub(failures=2)
    woken = []
    recorder = Recorder(ledger, lambda: woken.append(1))

    back = recorder.dispatch([Incoming(note())])

    assert back == set()
    assert [s.image for s in ledger.seen] == [IMAGE]
    assert woken == [1]


def test_what_is_not_selected_is_acknowledged_and_not_recorded():
    ledger = LedgerStub(failures=0)
    public = Selection(visibility=frozenset({"public"}))
    recorder = Recorder(ledger, lambda: None, public)
    batch = [
        Incoming(note(visibility="private")),
        Incoming(note(id=IMAGE.upper(), visibility="public")),
    ]

    assert recorder.dispatch(batch) == set()
    assert [s.uuid for s in ledger.seen] == [IMAGE.upper()]


def test_a_stop_while_the_ledger_is_away_gives_the_batch_back():
    ledger = LedgerStub(failures=10**9)
    recorder = Recorder(ledger, lambda: None)
    batch = [Incoming(note())]
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(recorder.dispatch(batch))
    )
    thread.start()
    assert ledger.asked.wait(within(10))

    recorder.stop()
    thread.join(within(10))

    assert answers == [set(batch)]


def test_what_the_broker_takes_back_meanwhile_is_not_recorded():
    ledger = LedgerStub(failures=1)
    batch = [Incoming(note()), Incoming(note(id=OTHER)), Incoming([])]
    recorder = Recorder(ledger, lambda: None)
    ledger.failing = lambda: setattr(batch[0], "lapsed", True)

    assert recorder.dispatch(batch) == set()

    assert [s.image for s in ledger.seen] == [OTHER]
    assert len(ledger.quarantined) == 1
    assert recorder.too_late


def test_a_batch_that_is_taken_back_is_waited_for_no_longer():
    ledger = LedgerStub(failures=10**9)
    batch = [Incoming(note())]
    recorder = Recorder(ledger, lambda: None)
    ledger.failing = lambda: setattr(batch[0], "lapsed", True)

    assert recorder.dispatch(batch) == set()

    assert recorder.too_late


def test_a_batch_that_has_come_twice_before_is_no_reason_to_stop():
    batch = [Incoming(note())]
    batch[0].lapsed = True
    recorder = Recorder(LedgerStub(), lambda: None)

    assert recorder.dispatch(batch) == set()

    assert not recorder.too_late


def test_a_bad_one_among_good_ones_costs_only_itself():
    ledger = LedgerStub()
    batch = [Incoming(m) for m in (note(), [], note(id=3), note("x"), note())]

    assert Recorder(ledger, lambda: None).dispatch(batch) == set()

    assert len(ledger.seen) == 2
    assert len(ledger.quarantined) == 2
