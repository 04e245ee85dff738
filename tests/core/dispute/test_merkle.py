"""The tree binds every digest to its index, its number of leaves and its purpose."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.core.dispute.merkle import MAX_PATH, MerkleTree, Opening, is_bound
from raypol.core.errors import InputError


def digests(count: int) -> list[bytes]:
    return [hashlib.sha256(str(i).encode()).digest() for i in range(count)]


@given(st.integers(1, 300), st.data())
def test_every_leaf_opens_at_its_own_place_alone(count: int, data: st.DataObject) -> None:
    tree = MerkleTree("x", digests(count))
    index = data.draw(st.integers(0, count - 1))
    opening = tree.open(index)
    assert is_bound(opening, "x", tree.root, index, count)
    assert len(opening.path) <= (count - 1).bit_length()
    other = data.draw(st.integers(-1, count))
    assert is_bound(opening, "x", tree.root, other, count) == (other == index)
    assert not is_bound(opening, "y", tree.root, index, count)
    assert not is_bound(opening, "x", tree.root, index, count + data.draw(st.sampled_from([-1, 1, count, 2**60])))
    assert not is_bound(replace(opening, digest=hashlib.sha256(b"other").digest()), "x", tree.root, index, count)


@given(st.integers(2, 200), st.data())
def test_one_byte_of_a_path_or_one_digest_more_or_less_binds_nothing(count: int, data: st.DataObject) -> None:
    tree = MerkleTree("x", digests(count))
    index = data.draw(st.integers(0, count - 1))
    opening = tree.open(index)
    place = data.draw(st.integers(0, len(opening.path) - 1))
    flipped = bytearray(opening.path[place])
    flipped[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
    path = list(opening.path)
    for wrong in (
        [*path[:place], bytes(flipped), *path[place + 1 :]],
        path[:-1],
        [*path, path[0]],
        [*path[:place], b""],
    ):
        assert not is_bound(Opening(opening.digest, tuple(wrong)), "x", tree.root, index, count)


@given(st.integers(1, 100), st.integers(1, 100))
def test_lists_of_other_lengths_or_orders_have_other_roots(one: int, other: int) -> None:
    assert (MerkleTree("x", digests(one)).root == MerkleTree("x", digests(other)).root) == (one == other)
    assert one < 2 or MerkleTree("x", digests(one)[::-1]).root != MerkleTree("x", digests(one)).root


def test_an_inner_node_is_no_leaf() -> None:
    """A tree of two of its own nodes would have the same root without tags."""
    tree = MerkleTree("x", digests(4))
    neighbour = tree.open(0).path[1]
    assert not is_bound(Opening(neighbour, (tree.open(2).path[1],)), "x", tree.root, 1, 2)


def test_hostile_openings_are_refused() -> None:
    tree = MerkleTree("x", digests(3))
    for path in ((b"\0" * 32,) * (MAX_PATH + 1), (b"\0" * 31, b"\0" * 32), ()):
        assert not is_bound(Opening(digests(1)[0], path), "x", tree.root, 0, 3)
    assert not is_bound(Opening(b"", tree.open(0).path), "x", tree.root, 0, 3)
    assert not is_bound(tree.open(0), "x", tree.root, 0, 0)
    with pytest.raises(InputError, match="at least one digest"):
        MerkleTree("x", [])
    with pytest.raises(InputError, match="32 bytes"):
        MerkleTree("x", [b"short"])
