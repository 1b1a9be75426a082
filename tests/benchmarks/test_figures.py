"""The benchmark's bookkeeping."""

import figures
from figures import Line


def _line(key, value):
    return Line(key=key, what=key, unit="", ours=[value])


def test_each_line_is_compared_with_its_last_run_of_the_same_size(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    for at, size, lines in (
        ("1", "normal", [_line("ingest", 1.0), _line("apply", 2.0)]),
        ("2", "normal", [_line("ingest", 3.0)]),
        ("3", "quick", [_line("ingest", 4.0)]),
    ):
        figures.record(lines, size=size, path=tmp_path / f"{at}.json")

    assert figures.last_run("normal") == {"ingest": 3.0, "apply": 2.0}
