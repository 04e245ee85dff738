"""What was read of a proof, by digests: what is replayed must be what was surveyed, whoever may write to the storage meanwhile.

A verifier reads a proof more than once, in several processes: the survey everything in order, which is what hashes and root are
of, then replays the ends and batches of their intervals. Each later reading is remembered here, and compared at the end.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from raypol.core import hashing
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.proof import BatchRecord, Checkpoint, Points, ProofSource, Recipe

_CHANGED: Final = "the proof was changed while it was verified"


@dataclass(frozen=True, slots=True)
class Reading:
    """Digests of a part of a proof as it was read again."""

    checkpoints: tuple[tuple[int, bytes], ...] = ()
    """Position and `hashing.checkpoint_digest`."""
    steps: tuple[tuple[int, bytes], ...] = ()
    """Step and `hashing.step_digest`, of the batches themselves."""


@dataclass(slots=True)
class Witness:
    """A proof whose readings are remembered."""

    source: ProofSource
    dataset: Dataset
    _checkpoints: dict[int, bytes] = field(default_factory=dict)
    _records: dict[int, BatchRecord] = field(default_factory=dict)
    _points: dict[int, bytes] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """See ProofSource, as all that follow."""
        return self.source.recipe

    @property
    def root(self) -> str:
        """The recorded root hash."""
        return self.source.root

    @property
    def machine(self) -> str:
        """Class of the prover's machine."""
        return self.source.machine

    @property
    def checkpoint_steps(self) -> Sequence[int]:
        """Recorded steps."""
        return self.source.checkpoint_steps

    @property
    def num_points(self) -> int:
        """Number of own points."""
        return self.source.num_points

    def checkpoint(self, position: int) -> Checkpoint:
        """Read a checkpoint."""
        found = self.source.checkpoint(position)
        digest = hashing.checkpoint_digest(found.step, found.tensor_digests())
        _same(self._checkpoints.setdefault(position, digest), digest, f"checkpoint {position}")
        return found

    def batches(self, start: int, stop: int) -> list[BatchRecord]:
        """Read records."""
        records = self.source.batches(start, stop)
        for record in records:
            known = self._records.setdefault(record.step, record)
            _same(known.indices.tobytes(), record.indices.tobytes(), f"the batch of step {record.step}")
        return records

    def points(self, indices: npt.NDArray[np.int64]) -> Points:
        """Read own points."""
        found = self.source.points(indices)
        for index, digest in zip(indices.tolist(), hashing.point_digests(found.pixels, found.labels), strict=True):
            content = digest.tobytes()
            _same(self._points.setdefault(index, content), content, f"own point {index}")
        return found

    def reading(self) -> Reading:
        """What was read so far. Of batches with own points that nobody asked for, these are read now."""
        return Reading(
            checkpoints=tuple(sorted(self._checkpoints.items())),
            steps=tuple((step, self._step_digest(record)) for step, record in sorted(self._records.items())),
        )

    def _step_digest(self, record: BatchRecord) -> bytes:
        size = len(self.dataset)
        own = record.indices[record.indices >= size] - size
        if len(unread := np.array([index for index in own.tolist() if index not in self._points], dtype=np.int64)):
            self.points(unread)
        digests = b"".join(self._points[index] for index in own.tolist())
        known = np.frombuffer(digests, dtype=np.uint8).reshape(-1, hashing.DIGEST_BYTES)
        batch = hashing.batch_digests(record.indices, self.dataset.point_digests, known)
        return hashing.step_digest(record.step, batch)


def check_same_recipe(source: ProofSource, expected: str) -> None:
    """Check that a proof, opened again, declares what it did.

    Args:
        source: the proof.
        expected: `recipe_digest` of the recipe that was read before; empty = nothing was.

    Raises:
        InputError: it declares something else.
    """
    if expected and recipe_digest(source.recipe) != expected:
        raise InputError(f"{_CHANGED}: its recipe was another when it was read again")


def recipe_digest(recipe: Recipe) -> str:
    """SHA-256 of all that a recipe declares, hex."""
    return hashlib.sha256(recipe.canonical()).hexdigest()


def check_unchanged(
    readings: Iterable[Reading], checkpoint_digests: Sequence[bytes], step_digests: Sequence[bytes]
) -> None:
    """Compare what was read later with what the survey read, which is what hashes and root are of.

    Raises:
        InputError: something else was read.
    """
    for reading in readings:
        for position, digest in reading.checkpoints:
            _same(checkpoint_digests[position], digest, f"checkpoint {position}")
        for step, digest in reading.steps:
            _same(step_digests[step], digest, f"the batch of step {step}")


def _same(first: bytes, again: bytes, what: str) -> None:
    if first != again:
        raise InputError(f"{_CHANGED}: {what} was another when it was read again")
