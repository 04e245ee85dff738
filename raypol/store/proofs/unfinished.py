"""Notes of a proof in the making: what an interrupted prover goes on from."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field, TypeAdapter

from raypol.core import hashing
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, Cost, Recipe
from raypol.store.location import Location, reason_of
from raypol.store.proofs.format import FORMAT, VERSION, Manifest, PointsFormat, Sizes, weights_file
from raypol.store.proofs.reader import ParquetProof

_log = logging.getLogger(__name__)

NOTE: Final = "begun.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """How far an unfinished proof came."""

    cost: Cost
    steps: Annotated[tuple[int, ...], Field(min_length=1)]
    """The last is where it stands, those before where it was taken up."""
    checkpoints: str
    """Digest of all up to there."""
    source: str
    """Digest of the file of an own model."""


NOTES: Final = TypeAdapter(Note)


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """What the manifest says of a checkpoint's file."""

    step: int
    digest: bytes
    weight_bytes: int
    state_bytes: int


def stored_checkpoint(checkpoint: Checkpoint, digests: dict[str, bytes]) -> StoredCheckpoint:
    """Describe a checkpoint as the manifest does."""
    state_bytes = sum(tensor.nbytes for tensor in checkpoint.optimizer_state.values())
    every = sum(tensor.nbytes for tensor in checkpoint.tensors().values())
    digest = hashing.checkpoint_digest(checkpoint.step, digests)
    return StoredCheckpoint(checkpoint.step, digest, every - state_bytes, state_bytes)


def read_note(folder: Location) -> Note | None:
    """How far an unfinished proof came; None if it has no usable note."""
    try:
        with folder.filesystem.open_input_file((folder / NOTE).path) as stream:
            note = NOTES.validate_json(stream.read())
        if sorted(set(note.steps)) != list(note.steps):
            raise ValueError(f"its steps do not ascend: {note.steps}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (PermissionError, ValueError) as err:
        _log.warning("the note of %s is of no use (%s)", folder, reason_of(err))
        return None
    return note


def reread_checkpoints(
    folder: Location, recipe: Recipe, steps: Sequence[int], note: Note
) -> tuple[Checkpoint, list[StoredCheckpoint]]:
    """The last of these checkpoints of an unfinished proof, and what is known of all: each is read whole and hashed anew.

    Raises:
        InputError: one is missing or damaged, or they are not those of the note.
    """
    manifest = Manifest(
        format=FORMAT,
        version=VERSION,
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
        stored.append(stored_checkpoint(latest, digests))
        seal.add_checkpoint(stored[-1].digest)
    if seal.checkpoints() != note.checkpoints:
        raise InputError(f"{folder}: the weights are not those that the note of step {note.steps[-1]} speaks of")
    return latest, stored
