"""H: hashes that bind pixels, label, order and step of every batch, every recorded tensor, and all of it by one root.

SHA-256 over the raw bytes of the tensors, never over a printed form (the published hash of `str(ndarray)` covers 3.5 % of
the pixels and no label). Each point is hashed once and each step hashes its points' digests in order, so 200 epochs
over a dataset cost one pass over its bytes. Every hashed message starts with its own tag and lengths: no two kinds of
message can collide by concatenation.
"""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core.errors import InputError, in_short

DIGEST_BYTES = 32
_WORTH_THREADS: Final = 8 << 20
"""Bytes from which hashing in threads is faster."""
_HEX_DIGITS: Final = frozenset("0123456789abcdef")
Digests = npt.NDArray[np.uint8]
"""(N, 32) digests, one per row."""


def check_sha256(text: object, name: str) -> None:
    """Raise the InputError for anything but 32 bytes in their one spelling in hex."""
    if not isinstance(text, str) or len(text) != 2 * DIGEST_BYTES or not _HEX_DIGITS.issuperset(text):
        raise InputError(f"expected {name} as 64 lower-case hex digits, got {in_short(text)}")


def byte_tensor(tensor: Tensor) -> Tensor:
    """The tensor's bytes, row-major and little-endian: (bytes,) uint8, where 0 and -0 differ and NaN is itself."""
    plain = tensor.detach().cpu().resolve_conj().contiguous()  # a conjugate may be a view with a mark
    return plain.reshape(-1).view(torch.uint8)


def raw_bytes(tensor: Tensor) -> memoryview:
    """The tensor's bytes, row-major and little-endian."""
    return memoryview(byte_tensor(tensor).numpy().data)


def point_digests(pixels: Tensor, labels: Tensor) -> Digests:
    """(N, 32): SHA-256 of each data point.

    Args:
        pixels: (N, C, H, W) uint8 or float32.
        labels: (N,) int64.
    """
    tag = hashlib.sha256(f"raypol point v1 {pixels.dtype} {tuple(pixels.shape[1:])}".encode())
    data, classes = raw_bytes(pixels), raw_bytes(labels)
    size = len(data) // max(len(labels), 1)
    digests = np.empty((len(labels), DIGEST_BYTES), dtype=np.uint8)
    for i in range(len(labels)):
        digest = tag.copy()
        digest.update(classes[8 * i : 8 * i + 8])
        digest.update(data[size * i : size * i + size])
        digests[i] = np.frombuffer(digest.digest(), dtype=np.uint8)
    return digests


def step_digest(step: int, batch: Digests) -> bytes:
    """SHA-256 that binds one step: its number and its points in order. `batch` is (B, 32)."""
    digest = hashlib.sha256(f"raypol step v1 {step} {len(batch)} ".encode())
    digest.update(np.ascontiguousarray(batch).data)
    return digest.digest()


def batch_digests(indices: npt.NDArray[np.int64], public: Digests, own: Digests) -> Digests:
    """(B, 32): digests of the points of a batch, in its order.

    Args:
        indices: (B,), legal: those from N on are own points.
        public: (N, 32), of the dataset's points.
        own: (n, 32), of the own points among them, in their order.
    """
    is_own = indices >= len(public)
    batch = np.empty((len(indices), DIGEST_BYTES), dtype=np.uint8)
    batch[~is_own], batch[is_own] = public[indices[~is_own]], own
    return batch


def tensor_digest(tensor: Tensor) -> bytes:
    """SHA-256 of one tensor's dtype, shape and bytes."""
    digest = hashlib.sha256(f"raypol tensor v1 {tensor.dtype} {tuple(tensor.shape)} ".encode())
    digest.update(raw_bytes(tensor))
    return digest.digest()


def tensor_digests(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    """`tensor_digest` of each; large ones in torch's number of threads, for SHA-256 takes as long as writing them."""
    threads = torch.get_num_threads()
    if threads == 1 or sum(tensor.nbytes for tensor in tensors.values()) < _WORTH_THREADS:
        return {name: tensor_digest(tensor) for name, tensor in tensors.items()}
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(tensors, pool.map(tensor_digest, tensors.values()), strict=True))


def checkpoint_digest(step: int, digests: Mapping[str, bytes]) -> bytes:
    """SHA-256 of one checkpoint from the digests of its tensors by qualified name ("parameter/conv1.weight")."""
    digest = hashlib.sha256(f"raypol checkpoint v1 {step} {len(digests)}".encode())
    for name in sorted(digests):
        digest.update(f" {len(name.encode())} {name} ".encode())
        digest.update(digests[name])
    return digest.digest()


class Seal:
    """Collects the digests of a proof, in step order, into the root that binds all of it.

    A root is worth as much as the time at which it was published: a forger hashes forged data as well as anyone.
    """

    def __init__(self) -> None:
        self._steps = hashlib.sha256(b"raypol steps v1 ")
        self._checkpoints = hashlib.sha256(b"raypol checkpoints v1 ")

    def copy(self) -> "Seal":
        """Return a seal of what was added so far, to which other things can be added."""
        copied = Seal()
        copied._steps, copied._checkpoints = self._steps.copy(), self._checkpoints.copy()
        return copied

    def add_step(self, digest: bytes) -> None:
        """Add the next step's digest."""
        self._steps.update(digest)

    def add_checkpoint(self, digest: bytes) -> None:
        """Add the next checkpoint by its digest."""
        self._checkpoints.update(digest)

    def checkpoints(self) -> str:
        """Digest as hex of the checkpoints so far; an interrupted proof is resumed only if it matches."""
        return self._checkpoints.hexdigest()

    def root(self, auxiliary: bytes) -> str:
        """Root as hex: `auxiliary` is A in canonical form, so a changed hyperparameter changes the root."""
        root = hashlib.sha256(f"raypol root v1 {len(auxiliary)} ".encode())
        root.update(auxiliary)
        root.update(self._steps.digest())
        root.update(self._checkpoints.digest())
        return root.hexdigest()
