"""What a check has found, and running many of them within bounds."""

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from oslo_config import cfg

from ec2map_sync import outages
from ec2map_sync.rules.errors import one_line
from ec2map_sync.settings.plainly import DOLLAR

DEADLINE = 8.0
"""Seconds that a check may take; all run at the same time."""

_SECRET = re.compile(r"(?<=://)[^/@\s]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check has found; ``good`` is None if there is nothing yet."""

    check: str
    good: bool | None
    found: str = ""
    advice: str = ""

    @property
    def result(self) -> str:
        """One line, beginning with ok, wrong or unknown."""
        judged = {True: "ok", False: "wrong", None: "unknown"}[self.good]
        return f"{judged}: {self.found}" if self.found else judged


Check = Callable[[], Finding]
"""Gives a finding; its name is filled in by whoever runs it."""


def run(
    found: Mapping[str, Check], deadline: float = DEADLINE
) -> list[Finding]:
    """Runs checks, all at once; one that hangs is given up."""
    results: dict[str, Finding] = {}

    def work(name: str, check: Check) -> None:
        results[name] = replace(_safely(check), check=name)

    threads = [
        # Whoever hangs shall not keep the program from ending.
        threading.Thread(target=work, args=item, daemon=True)
        for item in found.items()
    ]
    until = time.monotonic() + deadline
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, until - time.monotonic()))
    late = f"no answer within {deadline:.0f} s"
    return [
        _masked(results.get(name) or wrong(late, check=name)) for name in found
    ]


def ok(found: str = "", advice: str = "") -> Finding:
    """Says that something is in order."""
    return Finding(check="", good=True, found=found, advice=advice)


def wrong(found: str, advice: str = "", check: str = "") -> Finding:
    """Says that something is not in order."""
    return Finding(check=check, good=False, found=found, advice=advice)


def unknown(found: str, advice: str = "") -> Finding:
    """Says that there is nothing to judge yet."""
    return Finding(check="", good=None, found=found, advice=advice)


def _safely(check: Check) -> Finding:
    try:
        return check()
    except cfg.NoSuchOptError:
        return wrong(DOLLAR)
    except Exception as error:  # noqa: BLE001, one check is not all of them
        text = outages.describe(error, database="")
        return wrong(text or f"{type(error).__name__}: {one_line(error)}")


def _masked(finding: Finding) -> Finding:
    return replace(finding, found=_SECRET.sub("***@", finding.found))


def in_order(findings: Iterable[Finding]) -> bool:
    """Returns whether nothing is wrong."""
    return all(finding.good is not False for finding in findings)
