"""The audit against Glance: what it claims, and what it leaves alone."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import made
import pytest
from fake_glance import FakeGlance

from ec2map_sync.glance import catalogue as images
from ec2map_sync.glance.audit import Auditor
from ec2map_sync.glance.catalogue import Catalogue, GlanceError
from ec2map_sync.glance.watch import ListenerWaiting, Watchdog
from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.claims import Claim, SeenKind, Sighting, claim_of
from ec2map_sync.rules.ec2id import Kind, Scheme
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.settings import loading
from ec2map_sync.sql.database import create_engine, parse_url

IMAGE = "aaaaaaaa-0000-4000-8000-000000000001"


@pytest.fixture
def glance():
    with FakeGlance() as server:
        yield server


@pytest.fixture
def ledger(tmp_path):
    engine = create_engine(parse_url(f"sqlite:///{tmp_path}/ledger", "x"))
    made.make(engine)
    yield Ledger(engine, Scheme())
    engine.dispose()


def load(directory, text):
    path = directory / "conf"
    path.write_text(f"[DEFAULT]\nregion = RegionOne\n[glance]\n{text}\n")
    return loading.load([], files=[str(path)])


@pytest.fixture
def catalogue(tmp_path, glance):
    conf = load(tmp_path, f"endpoint_override = {glance.url}")
    return Catalogue(conf.conf, conf.glance)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def auditor(ledger, catalogue, clock):
    return Auditor(
        ledger,
        catalogue,
        recorded=lambda: None,
        audit_interval=3600,
        poll_interval=30,
        monotonic=clock,
    )


@pytest.fixture
def watched(ledger, catalogue, clock):
    """An auditor, and what it remarks."""
    remarks = []
    auditor = Auditor(
        ledger,
        catalogue,
        recorded=lambda: None,
        remark=remarks.append,
        audit_interval=3600,
        poll_interval=30,
        monotonic=clock,
    )
    return auditor, remarks


def run(auditor):
    while auditor.step():
        pass


def kind_of(ledger, image):
    claim = ledger.claims([image.id])[image.id]
    return claim.kind and claim.kind.kind


# Claims


def sighting(kind, *, fills_only):
    return Sighting(image=IMAGE, uuid=IMAGE, kind=kind, fills_only=fills_only)


def test_who_only_fills_makes_a_claim_of_what_is_unknown():
    claim = claim_of(sighting(Kind.AKI, fills_only=True), None, 7)

    assert claim == Claim(
        claimed_at=7, image=IMAGE, kind=SeenKind(7, Kind.AKI)
    )


def test_who_only_fills_tells_an_unknown_kind():
    known = Claim(claimed_at=5, image=IMAGE)

    claim = claim_of(sighting(Kind.AKI, fills_only=True), known, 7)

    assert claim.kind == SeenKind(7, Kind.AKI)


def test_who_only_fills_never_changes_a_known_kind():
    known = Claim(claimed_at=5, image=IMAGE, kind=SeenKind(5, Kind.AMI))

    assert claim_of(sighting(Kind.AKI, fills_only=True), known, 7) is None
    assert claim_of(sighting(Kind.AKI, fills_only=False), known, 7)


# The list


def test_every_image_comes_once_whatever_its_visibility(glance, catalogue):
    glance.page = 7
    for n in range(50):
        glance.add(
            os_hidden=n % 5 == 0,
            visibility=["public", "private", "shared", "community"][n % 4],
        )

    listed = [
        image.uuid
        for hidden in (False, True)
        for image in catalogue.images(hidden=hidden)
    ]

    assert sorted(listed) == sorted(image.id for image in glance.images)
    assert glance.requests[0] == {
        "visibility": "all",
        "os_hidden": "False",
        "sort": "created_at:asc,id:asc",
        "limit": str(images.PAGE),
    }


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "does not know us"), (403, "needs a role"), (500, "HTTP 500")],
)
def test_a_refusal_is_one_clear_line(glance, catalogue, status, said):
    glance.status = status

    with pytest.raises(GlanceError, match=said) as caught:
        list(catalogue.images(hidden=False))

    assert "\n" not in str(caught.value)


def test_a_glance_that_is_away_is_one_clear_line(glance, catalogue):
    glance.stop()

    with pytest.raises(GlanceError, match="Glance's API") as caught:
        list(catalogue.images(hidden=False))

    assert "\n" not in str(caught.value)


def test_a_glance_that_is_slow_is_not_waited_for_for_ever(tmp_path, glance):
    conf = load(tmp_path, f"endpoint_override = {glance.url}\ntimeout = 0.3\n")
    glance.seconds = 3  # after which the answer would be a good one

    with pytest.raises(GlanceError):
        list(Catalogue(conf.conf, conf.glance).images(hidden=False))


def test_a_glance_without_keystone_takes_the_identity_from_headers(
    tmp_path, glance
):
    glance.roles_needed = True
    glance.add()
    conf = load(
        tmp_path,
        f"auth_type = none\nendpoint = {glance.url}/v2/\n"
        "headers = X-Identity-Status:Confirmed,X-Roles:admin\n",
    )

    found = list(Catalogue(conf.conf, conf.glance).images(hidden=False))

    assert len(found) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("auth_type = password", "auth_url"),
        ("auth_type = fingerprint", "fingerprint"),
    ],
)
def test_options_that_do_not_fit_are_one_clear_line(tmp_path, text, said):
    conf = load(tmp_path, text)

    with pytest.raises(ConfigError, match=said):
        Catalogue(conf.conf, conf.glance).newest_update()


@pytest.mark.parametrize("text", ["", "audit_interval = 5", "timeout = 5"])
def test_without_an_address_glance_is_not_asked(tmp_path, text):
    assert load(tmp_path, text).glance is None


# The audit


def test_an_audit_claims_every_image_with_its_kind(glance, auditor, ledger):
    ami = glance.add()
    aki = glance.add(container_format="aki", os_hidden=True)
    unknown = glance.add(container_format=None)

    run(auditor)

    assert ledger.head().total.count == 3
    assert kind_of(ledger, ami) is Kind.AMI
    assert kind_of(ledger, aki) is Kind.AKI
    assert kind_of(ledger, unknown) is None


def test_a_spelling_in_upper_case_is_kept(glance, auditor, ledger):
    glance.add(IMAGE.upper())

    run(auditor)

    assert ledger.claims([IMAGE])[IMAGE].uuid == IMAGE.upper()


def test_a_second_audit_writes_nothing(glance, auditor, ledger, clock):
    for n in range(20):
        glance.add(os_hidden=n % 2 == 0)
    run(auditor)
    head = ledger.head()

    clock.now += 3600
    run(auditor)

    assert ledger.head() == head


def test_two_glances_that_disagree_do_not_answer_each_other(
    glance, auditor, ledger, clock
):
    image = glance.add(container_format="aki")
    other = Sighting(image=image.id, uuid=image.id, kind=Kind.ARI)
    ledger.see([other])

    for _ in range(2):
        run(auditor)
        clock.now += 3600

    assert kind_of(ledger, image) is Kind.ARI
    assert ledger.head().revision == 1


def test_between_audits_only_what_has_changed_is_asked_for(
    glance, auditor, ledger, clock
):
    old = glance.add(
        container_format=None,
        created_at="2020-01-01T00:00:00Z",
        updated_at="2020-01-01T00:00:00Z",
    )
    glance.add()
    run(auditor)
    glance.requests.clear()
    glance.update(old, container_format="ari")
    late = glance.add(os_hidden=True)

    run(auditor)
    assert glance.requests == []

    clock.now += 30
    run(auditor)

    assert kind_of(ledger, old) is Kind.ARI
    assert kind_of(ledger, late) is Kind.AMI
    lists = [q for q in glance.requests if q["limit"] != "1"]
    assert len(lists) == 2
    assert all(q["updated_at"].startswith("gte:20") for q in lists)


def test_what_changes_during_an_audit_is_found_by_the_next_look(
    glance, auditor, ledger, clock, monkeypatch
):
    monkeypatch.setattr(images, "PAGE", 4)
    for second in range(12):
        moment = f"2026-01-01T00:00:{second:02}Z"
        glance.add(container_format=None, created_at=moment, updated_at=moment)
    first, last = glance.images[0], glance.images[-1]
    monkeypatch.setattr(
        "ec2map_sync.glance.audit.Survey.batch.__defaults__", (4,)
    )
    auditor.step()
    glance.update(first, container_format="aki")
    glance.update(last, container_format="aki")

    run(auditor)
    assert kind_of(ledger, first) is None
    clock.now += 30
    run(auditor)

    assert kind_of(ledger, first) is kind_of(ledger, last) is Kind.AKI


AHEAD = "2999-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("fields", "date", "ahead"),
    [
        ({"updated_at": AHEAD}, None, 0),
        ({"updated_at": AHEAD, "created_at": AHEAD}, None, 0),
        ({"updated_at": AHEAD, "os_hidden": True}, None, 0),
        ({"updated_at": AHEAD}, "Thu, 01 Jan 2998 00:00:00 GMT", 0),
        ({"updated_at": AHEAD}, "at noon", 0),
        ({"updated_at": AHEAD}, None, 10 * 86400),
    ],
)
def test_no_image_and_no_single_clock_hides_what_is_changed_next(
    glance, auditor, ledger, clock, monkeypatch, *, fields, date, ahead
):
    monkeypatch.setattr(
        "ec2map_sync.glance.audit.wall_clock",
        lambda: wall_clock() + ahead * 1_000_000,
    )
    glance.date = date
    glance.add(**fields)
    run(auditor)
    lost = glance.add()

    clock.now += 30
    run(auditor)

    assert ledger.claims([lost.id])


def test_an_audit_that_is_cut_off_goes_on_where_it_was(
    glance, auditor, ledger, monkeypatch
):
    monkeypatch.setattr(images, "PAGE", 5)
    monkeypatch.setattr(
        "ec2map_sync.glance.audit.Survey.batch.__defaults__", (5,)
    )
    for second in range(30):
        moment = f"2026-01-01T00:00:{second:02}Z"
        glance.add(created_at=moment, updated_at=moment)
    glance.fail_after = 5
    with pytest.raises(GlanceError):
        run(auditor)
    auditor.reset()
    glance.fail_after = None
    known = ledger.head().total.count
    assert 0 < known < 30
    # What was the page's last one may be gone, too.
    del glance.images[known - 1]
    glance.requests.clear()

    run(auditor)

    assert ledger.head().total.count == 30
    assert "created_at" in glance.requests[0]


def test_a_batch_that_the_ledger_did_not_take_comes_again(
    glance, auditor, ledger, monkeypatch
):
    images = [glance.add() for _ in range(3)]
    with monkeypatch.context() as broken:
        broken.setattr(ledger, "see", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(auditor)
    auditor.reset()

    run(auditor)

    assert ledger.claims(i.id for i in images).keys() == {i.id for i in images}


def test_an_id_that_is_no_uuid_holds_nothing_up(
    glance, auditor, ledger, caplog
):
    glance.add("17")
    image = glance.add()

    run(auditor)

    assert ledger.claims([image.id])
    assert "1 images of Glance have ids that are no UUIDs" in caplog.text


# The watchdog


class FakeRecorder:
    batches = 0
    busy = False


class FakeQueues:
    names = ("notifications.info",)
    depth = 0
    readers = 1

    def states(self):
        return {"notifications.info": (self.depth or 0, self.readers)}


class Dog:
    """A watchdog that is looked after once a second."""

    def __init__(self):
        self.recorder, self.queues = FakeRecorder(), FakeQueues()
        self.healed = 0
        self.clock = Clock()
        self.watchdog = Watchdog(
            self.recorder,
            self.queues,
            patience=30,
            heal=self.heal,
            monotonic=self.clock,
        )

    def heal(self, _text):
        self.healed += 1

    def watch(self, seconds, *, batches=0):
        for _ in range(seconds):
            self.clock.now += 1
            self.recorder.batches += batches
            self.watchdog.step()


@pytest.fixture
def dog():
    return Dog()


def test_a_listener_that_gets_nothing_of_what_waits_is_healed(dog, caplog):
    dog.queues.depth = 7

    dog.watch(35)

    assert dog.healed == 1
    assert "7 notifications wait in notifications.info" in caplog.text


def test_a_queue_that_moves_is_no_stall(dog):
    dog.queues.depth = 7

    dog.watch(100, batches=1)

    assert dog.healed == 0


def test_an_empty_queue_is_no_stall(dog):
    dog.watch(100)

    assert dog.healed == 0


def test_waiting_for_the_ledger_is_no_stall(dog):
    dog.queues.depth = 7
    dog.recorder.busy = True

    dog.watch(100)

    assert dog.healed == 0


def test_a_queue_that_is_not_read_is_said_unless_at_once(dog):
    dog.queues.readers = 0
    dog.watch(1)

    with pytest.raises(
        ListenerWaiting, match=r"not read notifications\.info:"
    ):
        dog.watch(1)

    dog.queues.readers = 1
    dog.watch(1)
    assert dog.healed == 0


def test_a_queue_that_grows_and_is_not_read_is_healed_all_the_same(dog):
    dog.queues.depth, dog.queues.readers = 7, 0

    for _ in range(35):
        with suppress(ListenerWaiting):
            dog.watch(1)

    assert dog.healed == 1


# What no notification has told of


def changed(seconds):
    """Give the time of a change so long ago, as Glance writes it."""
    at = datetime.now(UTC) - timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_what_the_first_look_finds_was_there_before_us(
    glance, watched, caplog
):
    auditor, remarks = watched
    glance.add(updated_at=changed(3600))

    run(auditor)

    assert remarks == []
    assert "no notification" not in caplog.text


def test_an_image_that_nobody_told_of_is_said_with_the_likely_cause(
    glance, watched, clock, caplog
):
    auditor, remarks = watched
    glance.add(updated_at=changed(3600))
    run(auditor)

    glance.add(updated_at=changed(20))
    glance.add(updated_at=changed(0))  # whose notification is on its way
    clock.now += 30
    run(auditor)

    (remark,) = remarks
    assert remark.startswith("1 images of Glance were found of which no ")
    assert "a policy of its broker" in remark
    assert "management_url" in caplog.text


def test_what_a_notification_has_told_of_is_not_counted(
    ledger, glance, watched, clock
):
    auditor, remarks = watched
    glance.add(updated_at=changed(3600))
    run(auditor)

    image = glance.add(updated_at=changed(20))
    ledger.see([Sighting(image=image.id, uuid=image.id)])
    clock.now += 30
    run(auditor)

    assert remarks == []
