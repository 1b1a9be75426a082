"""What the ids in templates mean: here, and to a peer that is asked."""

import made
import pytest

from ec2map_sync.ledger import Ledger
from ec2map_sync.operate.templates import TemplateView, compared, unasked
from ec2map_sync.rules.claims import Claim, SeenKind, Wanted
from ec2map_sync.rules.ec2id import ON_DEMAND, Band, Kind, Scheme, format_id
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sql.database import create_engine, parse_url

SMALL = Scheme(b"test", Band(2**24, 2**24 + 8))


def claim(n, at=None, wanted=None, kind=None):
    image = f"00000000-0000-4000-8000-{n:012x}"
    return Claim(
        claimed_at=at or n,
        image=image,
        wanted=wanted and Wanted(1000, wanted),
        kind=kind and SeenKind(n, kind),
    )


def small(tmp_path, name, *claims):
    engine = create_engine(parse_url(f"sqlite:///{tmp_path}/{name}", "x"))
    made.make(engine)
    ledger = Ledger(engine, SMALL)
    ledger.record(claims)
    return ledger


class Peer:
    """Answers in the place of an Asker, as a ledger has it."""

    def __init__(self, theirs, ours):
        self.theirs, self.ours = theirs, ours

    def held(self, claims):
        known = self.theirs.claims(c.image for c in claims)
        return [known[c.image] for c in claims if c.image in known]

    def pull(self, span, take):
        page = self.theirs.page(span, 1000)
        known = self.ours.claims(c.image for c in page)
        take([c for c in page if known.get(c.image) != c])


def number(ledger, claim):
    return ledger.numbers_of([claim.image])[claim.image]


def verdicts(ledger, *ids, sinks=()):
    found = TemplateView(ledger, sinks, ids).meanings()
    return [found[one].verdict for one in ids]


def test_an_id_that_an_image_has_is_in_order(ledger):
    one, two = claim(1), claim(2, kind=Kind.AKI)
    ledger.record([one, two])
    ids = [
        format_id(number(ledger, one)),
        format_id(number(ledger, two), Kind.AKI),
    ]

    found = TemplateView(ledger, [], ids).meanings()

    assert [found[i].verdict for i in ids] == ["ok", "ok"]
    assert [found[i].image for i in ids] == [one.image, two.image]


def test_a_kind_that_does_not_fit_is_told_and_put_right(ledger):
    ledger.record([claim(1, kind=Kind.AMI)])
    wrong = format_id(number(ledger, claim(1)), Kind.AKI)

    found = TemplateView(ledger, [], [wrong]).meanings()[wrong]

    assert found.new == format_id(number(ledger, claim(1)))
    assert found.verdict == f"wrong kind: is {found.new}"


def test_an_id_from_before_an_adoption_leads_to_the_new_one(ledger):
    ledger.record([claim(1)])
    old = format_id(number(ledger, claim(1)))
    ledger.record([claim(1, wanted=42)])

    found = TemplateView(ledger, [], [old]).meanings()[old]

    assert (found.verdict, found.new, found.image) == (
        "moved to ami-0000002a",
        "ami-0000002a",
        claim(1).image,
    )


def test_the_id_that_is_reserved_for_an_adopted_image_leads_there(ledger):
    # Here it never had it: there is no move.
    ledger.record([claim(1, wanted=42)])
    derived = format_id(ledger.scheme.derive(claim(1).image))

    assert verdicts(ledger, derived) == ["moved to ami-0000002a"]


def test_an_id_that_another_image_has_by_now_is_ambiguous(tmp_path):
    claims = [claim(n, at=100 + n) for n in range(1, 5)]
    ledger = small(tmp_path, "ours", *claims)
    before = {c.image: number(ledger, c) for c in claims}
    rivals = (claim(n, at=n - 9) for n in range(10, 100))
    rival = next(c for c in rivals if SMALL.derive(c.image) in before.values())
    ledger.record([rival])
    taken = number(ledger, rival)
    loser = next(i for i, n in before.items() if n == taken)

    assert verdicts(ledger, format_id(taken)) == [
        f"ambiguous: was the id of {loser} before"
    ]


@pytest.mark.parametrize(
    "ec2_id", ["ami-00000000", "ami-80000000", "ami-ffffffff", "aki-12345678"]
)
def test_what_nobody_has_is_unknown(ledger, cell, ec2_id):
    assert verdicts(ledger, ec2_id, sinks=[NovaSink("cell1", cell)]) == [
        "unknown"
    ]


@pytest.mark.parametrize(
    ("number", "said"), [(7, "legacy"), (ON_DEMAND.first + 1, "on demand")]
)
def test_an_id_of_nova_leads_to_the_image_if_it_is_one(
    ledger, cell, number, said
):
    ledger.record([claim(1)])
    with cell.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO s3_images (id, uuid) "
            f"VALUES ({number}, '{claim(1).image}')"
        )
    ec2_id, other = format_id(number), format_id(number + 1)
    view = TemplateView(ledger, [NovaSink("cell1", cell)], [ec2_id, other])

    found = view.meanings()

    assert found[ec2_id].verdict.startswith(f"{said}: ")
    assert found[ec2_id].image == claim(1).image
    assert found[ec2_id].new == format_id(ledger.scheme.derive(claim(1).image))
    assert found[other].verdict.startswith(f"{said}: ")
    assert (found[other].image, found[other].new) == (None, None)


def test_an_id_that_a_cell_has_for_another_image_is_told(ledger, cell):
    ledger.record([claim(1)])
    held = number(ledger, claim(1))
    with cell.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO s3_images (id, uuid) "
            f"VALUES ({held}, '{claim(2).image}')"
        )

    assert verdicts(
        ledger, format_id(held), sinks=[NovaSink("cell1", cell)]
    ) == ["another image's in nova:cell1"]


def asked(tmp_path, ours, theirs, about):
    mine = small(tmp_path, "ours", *ours)
    peer = Peer(small(tmp_path, "theirs", *theirs), mine)
    ec2_id = mine.queries.by_image(about.image).ec2_id
    meanings = TemplateView(mine, [], [ec2_id]).meanings()
    assert meanings[ec2_id].verdict == "ok"
    return compared(mine, peer, "Two", meanings)[ec2_id].verdict


def rivals(count=2):
    """Give images whose first choice is one number, by claim."""
    seen = {}
    for n in range(1, 1000):
        sharing = seen.setdefault(SMALL.derive(claim(n).image), [])
        sharing.append(claim(n))
        if len(sharing) == count:
            return sharing
    raise AssertionError


def test_a_peer_that_knows_the_same_means_the_same(tmp_path):
    all_of_it = [claim(1), claim(2, kind=Kind.AKI), claim(3, wanted=42)]

    for n, about in enumerate(all_of_it):
        (tmp_path / f"{n}").mkdir()
        said = asked(
            tmp_path / f"{n}", all_of_it, [*all_of_it, claim(4)], about
        )
        assert said == "ok"


def test_a_peer_that_does_not_know_the_image_is_told(tmp_path):
    ours = [claim(1), claim(2)]

    assert asked(tmp_path, ours, [claim(1)], claim(2)) == "not known in Two"


@pytest.mark.parametrize(
    "there",
    [claim(1, wanted=42), claim(1, kind=Kind.ARI)],
    ids=["adopted", "kind"],
)
def test_a_peer_that_knows_more_of_the_image_differs(tmp_path, there):
    assert asked(tmp_path, [claim(1)], [there], claim(1)) == "differs in Two"


def test_a_peer_with_an_earlier_rival_differs(tmp_path):
    earlier, later = rivals()

    assert asked(tmp_path, [later], [earlier, later], later) == (
        "differs in Two"
    )


def test_a_peer_that_does_not_know_our_earlier_rival_differs(tmp_path):
    earlier, later = rivals()

    assert asked(tmp_path, [earlier, later], [later], later) == (
        "differs in Two"
    )


def test_nobody_knows_what_a_peer_means_that_was_not_asked(ledger):
    ledger.record([claim(1)])
    ids = [format_id(number(ledger, claim(1))), "ami-00000003"]

    found = unasked(TemplateView(ledger, [], ids).meanings(), "Two")

    assert found[ids[0]].verdict == "not asked: Two"
    assert found[ids[1]].verdict.startswith("legacy")
