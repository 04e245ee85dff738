"""A Merkle tree over digests: 32 bytes commit to all of them, and any one can be shown later with log2 of their number.

Leaves, nodes and root are hashed with tags of their own. A leaf is hashed with its index and the number of leaves, and so is the
root with the number: a digest can be shown at its own place in a list of its own length alone. A node without a neighbour goes up
as it is, so that index and count say how long a path is.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from raypol.core.errors import InputError
from raypol.core.hashing import DIGEST_BYTES

MAX_PATH: Final = 64
"""Digests that a path may have, whatever the number of leaves."""


@dataclass(frozen=True, slots=True)
class Opening:
    """One leaf, and what it takes to hash from it to the root."""

    digest: bytes
    path: tuple[bytes, ...]
    """Neighbours from the leaf up."""

    @property
    def num_bytes(self) -> int:
        """Bytes that cross."""
        return DIGEST_BYTES * (1 + len(self.path))


class MerkleTree:
    """The tree over some digests."""

    def __init__(self, purpose: str, digests: Sequence[bytes]) -> None:
        """Hash it.

        Args:
            purpose: what the leaves are; trees of different purposes have different roots.
            digests: at least one, 32 bytes each.
        """
        if not digests or any(len(digest) != DIGEST_BYTES for digest in digests):
            raise InputError(f"expected at least one digest of {DIGEST_BYTES} bytes")
        self._digests = list(digests)
        leaves = [_leaf(purpose, digest, i, len(digests)) for i, digest in enumerate(digests)]
        self._levels = [leaves]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            pairs = range(0, len(below) - 1, 2)
            self._levels.append([_node(below[i], below[i + 1]) for i in pairs] + below[len(below) & ~1 :])
        self.root = _root(purpose, self._levels[-1][0], len(digests))

    def __len__(self) -> int:
        return len(self._digests)

    def open(self, index: int) -> Opening:
        """Show the leaf at this index."""
        path, place = [], index
        for level in self._levels[:-1]:
            if place ^ 1 < len(level):
                path.append(level[place ^ 1])
            place //= 2
        return Opening(self._digests[index], tuple(path))


def is_bound(opening: Opening, purpose: str, root: bytes, index: int, count: int) -> bool:
    """True if this root commits to this digest at this index of `count` leaves."""
    if not 0 <= index < count or len(opening.digest) != DIGEST_BYTES:
        return False
    if len(opening.path) > MAX_PATH or any(len(neighbour) != DIGEST_BYTES for neighbour in opening.path):
        return False
    found, place, width, path = _leaf(purpose, opening.digest, index, count), index, count, list(opening.path)
    while width > 1:
        if place ^ 1 < width:
            if not path:
                return False
            neighbour = path.pop(0)
            found = _node(neighbour, found) if place % 2 else _node(found, neighbour)
        place, width = place // 2, (width + 1) // 2
    return not path and _root(purpose, found, count) == root


def _leaf(purpose: str, digest: bytes, index: int, count: int) -> bytes:
    return hashlib.sha256(f"raypol merkle leaf v1 {purpose} {index} of {count} ".encode() + digest).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"raypol merkle node v1 " + left + right).digest()


def _root(purpose: str, top: bytes, count: int) -> bytes:
    return hashlib.sha256(f"raypol merkle root v1 {purpose} {count} ".encode() + top).digest()
