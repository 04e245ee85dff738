"""Bad proofs, and the honest ones that they are made from."""

import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from raypol import prove
from raypol.core import hashing
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.proof import BatchRecord, Checkpoint, Cost, MemoryProof, Points, Recipe
from raypol.core.training.prover import data_order, initial_checkpoint
from raypol.core.training.train_config import TrainConfig
from raypol.core.training.trainer import Trainer
from raypol.store.location import open_location
from raypol.store.proofs.reader import ParquetProof
from raypol.store.proofs.writer import new_proof
from tests.store.damage import edit_manifest
from tests.toys import copy_of, rehash

PUBLISHED: Final = "published"
BAR: Final = ("strict", "strict_trend", "calibrated", "bound")
"""Policies that must accept no bad proof."""
STRICT: Final = ("strict", "strict_trend")
SHARE: Final = "c0ffee" * 6
"""What the verifier gave the prover for the training."""


@dataclass(frozen=True, slots=True)
class Bad:
    """One bad proof."""

    name: str
    make: Callable[[Path], object]
    """Turns a folder with the honest proof into the bad one."""
    excuse: str = ""
    """Why a policy may accept it all the same; empty: none may."""
    excused: Collection[str] = BAR
    """Which policies may, where there is an excuse."""
    knows_root: bool = False
    """The verifier knows the honest proof's root beforehand."""


@dataclass(frozen=True, slots=True)
class Base:
    """An honest proof with what it takes to forge others from it."""

    name: str
    config: TrainConfig
    dataset: Dataset
    proof: MemoryProof
    folder: Path
    """The proof as it is written."""
    calibration: list[MemoryProof] = field(default_factory=list)
    """Honest proofs of other seeds."""

    @property
    def recipe(self) -> Recipe:
        """Of the honest proof."""
        return self.proof.recipe

    def forged(self, change: Callable[[MemoryProof], object]) -> Callable[[Path], None]:
        """A proof in memory changed, hashed, sealed and written: what the adversary does after every change."""

        def make(folder: Path) -> None:
            proof = copy_of(self.proof)
            change(proof)
            rehash(proof, self.dataset)
            write(proof, self.dataset, folder)

        return make


def honest_base(name: str, folder: Path, dataset: Dataset, config: TrainConfig, *, calibrating: int = 4) -> Base:
    """Train one honest proof and those that policies are calibrated on."""
    proofs = [
        prove(replace(config, seed=config.seed + i).recipe(dataset, device="cpu", threads=1), dataset)
        for i in range(1 + calibrating)
    ]
    write(proofs[0], dataset, folder)
    return Base(name=name, config=config, dataset=dataset, proof=proofs[0], folder=folder, calibration=proofs[1:])


def with_own_points(base: Base, folder: Path) -> Base:
    """Honest steps on points that the proof brings itself: the dataset's, every pixel one brighter."""
    recipe, dataset = base.recipe, base.dataset
    trainer, order = Trainer(recipe, dataset), data_order(recipe, dataset)
    proof = MemoryProof(recipe, len(dataset))
    proof.write_checkpoint(initial_checkpoint(recipe, dataset))
    trainer.load(proof.checkpoints[0])
    for step in range(recipe.steps):
        sources = torch.from_numpy(order(step))
        pixels, labels = dataset.pixels[sources].clip(max=254) + 1, dataset.labels[sources]
        indices = proof.add_points(Points(pixels=pixels, labels=labels, sources=sources))
        trainer.step(step, pixels, labels)
        proof.records.append(
            BatchRecord(step, indices, hashing.step_digest(step, hashing.point_digests(pixels, labels)))
        )
        if (step + 1) in recipe.checkpoint_steps():
            proof.write_checkpoint(trainer.snapshot(step + 1))
    proof.seal()
    write(proof, dataset, folder)
    return replace(base, name=f"{base.name} with own points", proof=proof, folder=folder)


def write(proof: MemoryProof, dataset: Dataset, folder: Path) -> None:
    """Write a sealed proof in place of what is in the folder; its recorded root may be any."""
    shutil.rmtree(folder, ignore_errors=True)
    results = folder.parent / "results"
    with new_proof(open_location(results), "p", proof.recipe, len(dataset)) as writer:
        for checkpoint in proof.checkpoints:
            writer.write_checkpoint(checkpoint)
        writer.write_batches(proof.records)
        if proof.num_points:
            writer.add_points(proof.all_points())
        writer.finish(Cost(device_s=1.0, wall_s=1.0, gradient_evals=proof.recipe.steps), {"torch": torch.__version__})
    shutil.move(results / "proofs" / "p", folder)
    shutil.rmtree(results)


def sealed(*damages: Callable[[Path], object]) -> Callable[[Path], None]:
    """Damages to a folder, and the root that goes with what it then says, if it can still be read."""

    def make(folder: Path) -> None:
        for damage in damages:
            damage(folder)
        with suppress(InputError, ValueError, OSError, IndexError):
            root = root_of(folder)
            edit_manifest(lambda manifest: manifest.update(root=root), folder)

    return make


def root_of(folder: Path) -> str:
    """The root of what a folder says, true or not."""
    source, seal = ParquetProof(open_location(folder)), hashing.Seal()
    for record in source.batches(0, source.recipe.steps):
        seal.add_step(record.sha256)
    for position in range(len(source.checkpoint_steps)):
        checkpoint = source.checkpoint(position)
        seal.add_checkpoint(hashing.checkpoint_digest(checkpoint.step, checkpoint.tensor_digests()))
    return seal.root(source.recipe.canonical())


def changed_at(proof: MemoryProof, position: int, group: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Replace tensors of one checkpoint; the group is parameters, buffers or optimizer_state."""
    checkpoint = proof.checkpoints[position]
    merged: dict[str, Any] = {group: {**getattr(checkpoint, group), **tensors}}
    proof.checkpoints[position] = replace(checkpoint, claimed_digests=None, **merged)


def continued(
    base: Base, start: Checkpoint, *, indices: Callable[[int], npt.NDArray[np.int64]] | None = None
) -> MemoryProof:
    """Honest steps from any W_0, in the honest order unless another is given."""
    recipe, dataset = base.recipe, base.dataset
    trainer, order = Trainer(recipe, dataset), indices or data_order(recipe, dataset)
    proof = MemoryProof(recipe, len(dataset))
    proof.write_checkpoint(start)
    trainer.load(start)
    for step in range(recipe.steps):
        where = np.asarray(order(step), dtype=np.int64)
        trainer.step(step, dataset.pixels[where], dataset.labels[where])
        proof.records.append(BatchRecord(step, where, hashing.step_digest(step, dataset.point_digests[where])))
        if (step + 1) in recipe.checkpoint_steps():
            proof.write_checkpoint(trainer.snapshot(step + 1))
    proof.seal()
    return proof
