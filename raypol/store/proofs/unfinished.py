"""The resume point of an unfinished honest proof: how far it came, and the check that its checkpoints are the ones meant."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Self

from pydantic import Field, TypeAdapter

from raypol.core import hashing
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, Cost, Recipe
from raypol.store.location import Location, reason_of
from raypol.store.proofs.format import FORMAT, FORMAT_VERSION, Manifest, PointsFormat, Sizes, weights_file
from raypol.store.proofs.reader import ParquetProof

_log = logging.getLogger(__name__)

RESUME_FILE: Final = "begun.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumePoint:
    """How far an unfinished proof came."""

    cost: Cost
    steps: Annotated[tuple[int, ...], Field(min_length=1)]
    """Steps at which proving was resumed; the last is the step reached."""
    checkpoints: str
    """Digest of all checkpoints up to the step reached."""
    source: str
    """Digest of the source file of a model named by import path; empty for a built-in one."""


RESUME_POINT: Final = TypeAdapter(ResumePoint)


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """Digest and sizes of a checkpoint's file."""

    step: int
    digest: bytes
    weight_bytes: int
    state_bytes: int

    @classmethod
    def of(cls, checkpoint: Checkpoint, digests: dict[str, bytes]) -> Self:
        """Describe a checkpoint with these tensor digests."""
        state_bytes = sum(tensor.nbytes for tensor in checkpoint.optimizer_state.values())
        every = sum(tensor.nbytes for tensor in checkpoint.tensors().values())
        digest = hashing.checkpoint_digest(checkpoint.step, digests)
        return cls(checkpoint.step, digest, every - state_bytes, state_bytes)


def read_resume_point(folder: Location) -> ResumePoint | None:
    """Resume point of an unfinished proof; None if it has none that can be used."""
    try:
        with folder.filesystem.open_input_file((folder / RESUME_FILE).path) as stream:
            point: ResumePoint = RESUME_POINT.validate_json(stream.read())
        if sorted(set(point.steps)) != list(point.steps):
            raise ValueError(f"its steps do not ascend: {point.steps}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (PermissionError, ValueError) as err:
        _log.warning("%s cannot be used (%s)", folder / RESUME_FILE, reason_of(err))
        return None
    return point


def reread_checkpoints(
    folder: Location, recipe: Recipe, steps: Sequence[int], point: ResumePoint
) -> tuple[Checkpoint, list[StoredCheckpoint]]:
    """Read and hash every checkpoint of an unfinished proof again; return the last one and the descriptions of all.

    Raises:
        InputError: one is missing or damaged, or they are not the ones that the resume point means.
    """
    manifest = Manifest(
        format=FORMAT,
        version=FORMAT_VERSION,
        recipe=recipe,
        root="",
        checkpoint_steps=tuple(steps),
        points=PointsFormat(),
        files=dict(folder.files()),
        sizes=Sizes(),
        generation=Cost(),
    )
    source = ParquetProof(folder, manifest)
    stored, seal = [], hashing.Seal()
    for position, step in enumerate(steps):
        latest = source.checkpoint(position)
        digests = latest.tensor_digests()
        if digests != latest.claimed_digests:
            raise InputError(f"{folder / weights_file(step)}: its tensors are not those that were written")
        stored.append(StoredCheckpoint.of(latest, digests))
        seal.add_checkpoint(stored[-1].digest)
    if seal.checkpoints() != point.checkpoints:
        raise InputError(f"{folder}: its weights are not those that {RESUME_FILE} recorded at step {point.steps[-1]}")
    return latest, stored
