"""Merkle trees: as RFC 6962 writes them, and as certificate logs test them."""

from hashlib import sha256
from itertools import islice

import pytest
from hypothesis import given, settings, strategies as st

from ec2map_sync.rules import merkle
from ec2map_sync.rules.merkle import (
    Tree,
    leaf_hashes,
    path_of,
    root_by,
    root_of,
)


def naive(leaves):
    """MTH, word by word from section 2.1."""
    n = len(leaves)
    if n == 0:
        return sha256(b"").digest()
    if n == 1:
        return sha256(b"\0" + leaves[0]).digest()
    k = 1
    while k * 2 < n:
        k *= 2
    return sha256(b"\1" + naive(leaves[:k]) + naive(leaves[k:])).digest()


def naive_path(m, leaves):
    """PATH, word by word from section 2.1.1."""
    n = len(leaves)
    if n == 1:
        return []
    k = 1
    while k * 2 < n:
        k *= 2
    if m < k:
        return [*naive_path(m, leaves[:k]), naive(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive(leaves[:k])]


# Inputs and roots of the tests of certificate-transparency implementations.
KNOWN = [b"", b"\0", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW"]
KNOWN.append(b"`abcdefghijklmno")
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("count", ROOTS)
def test_known_leaves_have_known_roots(count):
    assert root_of(KNOWN[:count]).hex() == ROOTS[count]


LEAVES = st.lists(st.binary(max_size=3), min_size=1, max_size=70)


@pytest.mark.parametrize("part", [1, 2, 4, 4096])
@settings(deadline=None, max_examples=500)
@given(leaves=LEAVES, cuts=st.lists(st.integers(0, 40), max_size=9))
def test_a_tree_is_as_the_rfc_writes_it(part, leaves, cuts):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(merkle, "_PART", part)
        tree, rest = Tree(), iter(leaves)
        for cut in cuts:
            tree.extend(islice(rest, cut))
            tree.root()
        tree.extend(rest)

        assert tree.root() == naive(leaves)


@settings(deadline=None, max_examples=500)
@given(leaves=LEAVES, data=st.data())
def test_a_path_is_as_the_rfc_writes_it_and_leads_to_the_root(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))

    path = path_of(iter(leaves), index, len(leaves))

    assert path == naive_path(index, leaves)
    assert root_by(leaves[index], index, len(leaves), path) == naive(leaves)


@settings(deadline=None, max_examples=500)
@given(leaves=LEAVES, data=st.data())
def test_whatever_is_changed_leads_elsewhere(leaves, data):
    leaves = [bytes([at]) + leaf for at, leaf in enumerate(leaves)]
    count = len(leaves)
    index = data.draw(st.integers(0, count - 1))
    path = path_of(leaves, index, count)
    other = data.draw(st.integers(-1, count + 1))
    leaf = data.draw(st.binary(max_size=4))
    at = data.draw(st.integers(0, max(0, len(path) - 1)))
    changed = [*path[:at], *leaf_hashes([leaf]), *path[at + 1 :]]

    root = root_of(leaves)

    if leaf != leaves[index]:
        assert root_by(leaf, index, count, path) != root
    if other != index:
        assert root_by(leaves[index], other, count, path) != root
    if changed != path:  # it may be the very hash that was there
        assert root_by(leaves[index], index, count, changed) != root
    if path:
        assert root_by(leaves[index], index, count, path[1:]) is None
    assert root_by(leaves[index], index, count, [*path, root]) is None
