"""Merkle trees as RFC 6962 hashes them: roots, and paths that lead to one.

Whoever knows the root of a tree is shown by a path of a few hashes that a
leaf is in it, and at which place.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import islice

_PART = 2**12
"""Leaves that are kept before they become one node: few steps in Python for
each leaf, and little memory."""

_LEAF, _NODE = b"\0", b"\1"

Hash = bytes


def leaf_hashes(leaves: Iterable[bytes]) -> list[Hash]:
    """Returns the hash of each of some leaves."""
    return [sha256(_LEAF + leaf).digest() for leaf in leaves]


def _node_hash(left: Hash, right: Hash) -> Hash:
    return sha256(_NODE + left + right).digest()


def join(hashes: list[Hash]) -> Hash:
    """Returns the root of nodes that are side by side.

    Each is of as many leaves, a power of two, and the last one of as many or
    fewer: neighbours are joined level by level, and an odd one out goes up
    as it is.
    """
    while len(hashes) > 1:
        odd = hashes[-1:] if len(hashes) % 2 else []
        pairs = iter(hashes)
        hashes = [
            sha256(_NODE + left + right).digest()
            for left, right in zip(pairs, pairs, strict=False)
        ]
        hashes += odd
    return hashes[0]


class Tree:
    """A tree that grows to the right; what it keeps hardly grows."""

    def __init__(self) -> None:
        self._nodes: list[tuple[int, Hash]] = []
        """How many parts lie under each, and its hash; ever fewer."""
        self._rest: list[Hash] = []

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Adds leaves."""
        rest = self._rest
        rest += leaf_hashes(leaves)
        whole = len(rest) - len(rest) % _PART
        for start in range(0, whole, _PART):
            self._put(1, join(rest[start : start + _PART]))
        del rest[:whole]

    def _put(self, parts: int, node: Hash) -> None:
        while self._nodes and self._nodes[-1][0] == parts:
            _, left = self._nodes.pop()
            parts, node = 2 * parts, _node_hash(left, node)
        self._nodes.append((parts, node))

    def root(self) -> Hash:
        """Returns the root; of no leaves, that is the hash of nothing."""
        hashes = [node for _, node in self._nodes]
        if self._rest:
            hashes.append(join(self._rest))
        if not hashes:
            return sha256().digest()
        *lefts, root = hashes
        for left in reversed(lefts):
            root = _node_hash(left, root)
        return root


def root_of(leaves: Iterable[bytes]) -> Hash:
    """Returns the root of some leaves."""
    tree = Tree()
    tree.extend(leaves)
    return tree.root()


def path_of(leaves: Iterable[bytes], index: int, count: int) -> list[Hash]:
    """Returns the path of one of ``count`` leaves, from it to the root.

    The leaves are read once, and not kept.
    """
    rest, at = iter(leaves), 0
    found: dict[tuple[int, int], Hash] = {}
    beside = _beside(index, count)
    for start, stop in sorted(beside):
        tree = Tree()
        for _ in islice(rest, start - at):
            pass  # the leaf itself
        tree.extend(islice(rest, stop - start))
        found[start, stop] = tree.root()
        at = stop
    return [found[span] for span in beside]


def _beside(index: int, count: int) -> list[tuple[int, int]]:
    """Returns which leaves lie under each hash of a path."""
    start, stop = 0, count
    found = []
    while stop - start > 1:
        middle = start + 2 ** ((stop - start - 1).bit_length() - 1)
        if index < middle:
            found.append((middle, stop))
            stop = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


def root_by(
    leaf: bytes, index: int, count: int, path: Sequence[Hash]
) -> Hash | None:
    """Returns the root that a path leads to; None if it leads nowhere."""
    if not 0 <= index < count or len(path) != len(_beside(index, count)):
        return None
    (node,), last = leaf_hashes([leaf]), count - 1
    for hash_ in path:
        while not index % 2 and index == last:
            index, last = index // 2, last // 2  # it was the odd one out
        if index % 2:
            node = _node_hash(hash_, node)
        else:
            node = _node_hash(node, hash_)
        index, last = index // 2, last // 2
    return node
