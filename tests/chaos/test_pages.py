"""What a run has measured is told as it was."""

from types import SimpleNamespace

from announcer import Announced
from doing import Tally
from faults import KINDS
from pages import written


def test_the_record_has_a_row_for_each_kind_with_what_was_done():
    tally = Tally(rests=[5.0, 30.0, 12.0], seconds=1800.0, moves=3)
    tally.done["link cut"] = 500
    tally.not_done["link cut"] = 7
    announced = Announced()
    announced.note("a", "RegionOne")
    ground = SimpleNamespace(
        announced=announced, watch=SimpleNamespace(looks=8, unhealthy=2)
    )
    options = SimpleNamespace(seed=17, regions=3, hosts=2)

    told = written(SimpleNamespace(tally=tally), ground, options, "abc-dirty")

    assert told.startswith("30 minutes on ")
    assert "commit abc-dirty, seed 17: 3 regions" in told
    assert "* - Faults an hour\n     - 1000\n" in told
    assert "median and greatest\n     - 12, 30\n" in told
    assert "* - link cut\n     - 500\n     - 7\n     - Cut a link" in told
    assert all(f"   * - {name}\n" in told for name in KINDS)
