"""What a compare costs: messages, bytes and claims that it sends.

Two ledgers share a million claims made in ten years, and one lacks a
thousand of them, made in one hour or spread over all the time; or each lacks
half of them. No broker: questions and answers are encoded as they would be
sent, and counted; ``--plain`` as to a peer of a release that neither inflates
nor reads sketches.

    python benchmarks/compare_bytes.py [--claims N] [--differences N]
        [--plain]
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from uuid import UUID

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ec2map_sync.ledger import Ledger, schema, tables
from ec2map_sync.peers.compare import PAGE, Pull, answer
from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.signing import SigningKey
from ec2map_sync.rules.claims import EVERYTHING, Claim, SeenKind, print_of
from ec2map_sync.rules.ec2id import Kind, Scheme
from ec2map_sync.sql.database import create_engine, parse_url
from ec2map_sync.sql.statements import batched

SCHEME = Scheme(b"benchmark")
HOUR = 3600 * 1_000_000
TEN_YEARS = 10 * 365 * 24 * HOUR
BEGIN = 1_450_000_000_000_000


@dataclass(kw_only=True)
class Cost:
    """What went over the bus, in bytes of headers and bodies."""

    questions: int = 0
    answers: int = 0
    bytes_asked: int = 0
    bytes_answered: int = 0
    claims_sent: int = 0
    found: int = 0
    own_bytes: int = 0
    """Those of the claims that are missing, deflated, in pages."""
    seconds: float = 0.0
    """Of a processor, for both sides together."""

    @property
    def ratio(self) -> float:
        return (self.bytes_asked + self.bytes_answered) / self.own_bytes


def pen(region: str) -> wire.Pen:
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    return wire.Pen(
        region=region,
        scheme=SCHEME.fingerprint,
        key=key,
        clock=lambda: BEGIN + 2 * TEN_YEARS,
    )


def size(message: messages.Message, region: str, reads: int) -> int:
    headers, body = wire.encode(message, pen(region), reads)
    return len(body) + sum(len(f"{k}{v}") for k, v in headers.items())


def some_claims(
    random: Random, count: int, first: int, span: int
) -> Iterator[Claim]:
    for _ in range(count):
        at = first + random.randrange(span)
        yield Claim(
            claimed_at=at,
            image=str(UUID(int=random.getrandbits(128))),
            kind=SeenKind(at, Kind.AMI),
        )


def fill(engine: sa.Engine, claims: Iterator[Claim]) -> None:
    """Put claims into an empty ledger, without settling them."""
    total = print_of([])
    with engine.begin() as connection:
        while page := [c for _, c in zip(range(10_000), claims, strict=False)]:
            total += print_of(page)
            connection.execute(
                sa.insert(tables.claims), [as_row(claim) for claim in page]
            )
        connection.execute(
            sa.update(tables.head).values(
                total_count=total.count, total_sum=total.sum
            )
        )


def as_row(claim: Claim) -> dict[str, object]:
    return {
        "image": claim.image,
        "spelling": "",
        "claimed_at": claim.claimed_at,
        "kind_at": claim.claimed_at,
        "kind": Kind.AMI.value,
        "hash": claim.hash,
    }


@contextmanager
def opened(path: Path) -> Iterator[tuple[sa.Engine, Ledger]]:
    engine = create_engine(parse_url(f"sqlite:///{path}", "benchmark"))
    yield engine, Ledger(engine, SCHEME)
    engine.dispose()


def pull(ours: Ledger, theirs: Ledger, reads: int) -> Cost:
    """Let our ledger take over what it lacks; count what that costs."""
    cost = Cost()
    questions: list[messages.Compare] = []
    begun = time.process_time()
    reader = Pull(
        ours, questions.append, span=EVERYTHING, monotonic=lambda: 0.0
    )
    reader.step()
    while not reader.complete:
        question = replace(questions[-1], reads=reads)
        reply = answer(theirs, question)
        reader.take(reply)
        cost.found += ours.record(reply.claims).news
        cost.questions += 1
        cost.answers += 1
        cost.claims_sent += len(reply.claims)
        cost.bytes_asked += size(question, "RegionOne", question.version)
        cost.bytes_answered += size(reply, "RegionTwo", reads)
    cost.seconds = time.process_time() - begun
    return cost


def own_bytes(claims: Sequence[Claim]) -> int:
    """Give what claims would take if it were known which are missing."""
    return sum(
        size(messages.Claims(claims=tuple(some)), "RegionTwo", wire.DEFLATED)
        for some in batched(claims, PAGE)
    )


DISTRIBUTIONS = {
    "in one hour": (BEGIN + TEN_YEARS // 2, HOUR, False),
    "spread over all time": (BEGIN, TEN_YEARS, False),
    "on either side, over all time": (BEGIN, TEN_YEARS, True),
}
"""When what is missing was claimed, and whether both lack of it."""


def measure(
    directory: Path, shared: int, differences: int, reads: int = wire.DEFLATED
) -> dict[str, Cost]:
    """Compare, once for each way in which claims can be missing."""
    random = Random(7)
    with opened(directory / "shared") as (engine, _):
        schema.upgrade(engine)
        fill(engine, some_claims(random, shared, BEGIN, TEN_YEARS))
    costs = {}
    for name, (first, span, both) in DISTRIBUTIONS.items():
        extra = list(some_claims(random, differences, first, span))
        for copy in ("ours", "theirs"):
            shutil.copy(directory / "shared", directory / copy)
        with (
            opened(directory / "ours") as (_, ours),
            opened(directory / "theirs") as (_, theirs),
        ):
            missing = extra[::2] if both else extra
            theirs.record(missing)
            ours.record(extra[1::2] if both else [])
            cost = pull(ours, theirs, reads)
            assert cost.found == len(missing)
            assert ours.head().total.count == shared + differences
            cost.own_bytes = own_bytes(missing)
            costs[name] = cost
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claims", type=int, default=1_000_000)
    parser.add_argument("--differences", type=int, default=1000)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    reads = wire.VERSION if options.plain else wire.DEFLATED
    with tempfile.TemporaryDirectory() as directory:
        costs = measure(
            Path(directory), options.claims, options.differences, reads
        )
    print(f"{options.differences:,} differences in {options.claims:,} claims")
    for name, cost in costs.items():
        print(
            f"{name}: {cost.questions} questions, {cost.answers} answers, "
            f"{cost.bytes_asked:,} + {cost.bytes_answered:,} bytes, "
            f"{cost.claims_sent:,} claims sent, {cost.seconds:.1f} s of CPU, "
            f"{cost.ratio:.2f} times the {cost.own_bytes:,} bytes that the "
            "missing claims take deflated"
        )


if __name__ == "__main__":
    main()
