"""Names with one spelling: sinks, loops, and where refused things came from.

They are keys of the ledger and labels of metrics, so they never change.
"""

from dataclasses import dataclass

GLANCE = "glance"
"""Source of notifications that were put into quarantine."""
REQUESTS = "requests"
"""Source of questions that were; no region may be called so."""

UNREADABLE = "ec2map_sync.unreadable"
"""The key under which a message that cannot be read says why."""

EC2API = "ec2api"
"""The sink in ec2-api's database."""

_CELL = "nova:"
_PEER = "peer:"


def source_of(peer: str) -> str:
    """Returns the source of what a peer has said and we have refused."""
    return f"{_PEER}{peer}"


def peer_of(source: str) -> str | None:
    """Returns the peer that a source stands for; None if it is no peer."""
    peer = source.removeprefix(_PEER)
    return peer if peer != source else None


def sink_of(cell: str) -> str:
    """Returns the name of a Nova cell's sink."""
    return f"{_CELL}{cell}"


def cell_of(sink: str) -> str:
    """Returns the name of the Nova cell that a sink is."""
    return sink.removeprefix(_CELL)


def is_cell(sink: str) -> bool:
    """Returns whether a sink is a Nova cell."""
    return sink.startswith(_CELL)


@dataclass(frozen=True, slots=True)
class LoopName:
    """What a loop of a service is called: what it does, and for whom."""

    role: str
    subject: str = ""
    """A peer or a sink, where there is a loop for each."""

    @classmethod
    def read(cls, text: str) -> "LoopName":
        """Reads what `str` has written."""
        role, _, subject = text.partition(" of ")
        return cls(role, subject)

    def __str__(self) -> str:
        return f"{self.role} of {self.subject}" if self.subject else self.role


LISTENER = LoopName("listener")
MEMORY = LoopName("memory")
BOOKKEEPER = LoopName("bookkeeper")
LOOKOUT = LoopName("lookout")
LISTENERS_WATCH = LoopName("listener's watch")
AUDITOR = LoopName("auditor")
PUBLISHER = LoopName("publisher")
NOTARY = LoopName("notary")
CANARY = LoopName("canary")
ANSWERER = LoopName("answerer")
CELLS = LoopName("cells")


def follower_of(peer: str) -> LoopName:
    """Returns the name of the loop that follows a peer."""
    return LoopName("follower", peer)


def writer_of(sink: str) -> LoopName:
    """Returns the name of the loop that writes into a sink."""
    return LoopName("writer", sink)


def memo_of(sink: str) -> LoopName:
    """Returns the name of the loop that deletes Nova's memos of a sink."""
    return LoopName("memo", sink)


def audit_of(sink: str) -> LoopName:
    """Returns the name of the loop that audits a sink."""
    return LoopName("audit", sink)
