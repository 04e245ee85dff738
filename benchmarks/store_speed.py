"""A proof's checkpoints in Parquet against the same tensors in safetensors files, on one disk.

Writing: all checkpoints, until the last file is on the disk (fsync of every file at the end, both sides). Reading: checkpoint by
checkpoint, until the tensors are copied into those of a model, from the disk (the system is asked to forget the file) and again
from its memory. Ours does what it always does: digests are made on writing; a file's claims are checked on reading, its
digests by the survey.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.loops import torch_threads
from benchmarks.ratios import Ratio, at_least, at_most
from raypol.core.models import build_model
from raypol.core.proof import BatchRecord, Checkpoint, Cost, Recipe
from raypol.store.location import open_location
from raypol.store.proofs.reader import ParquetProof
from raypol.store.proofs.writer import new_proof

CHECKPOINTS = 100
_REPEATS = 3  # of 27 GB each


@dataclass(slots=True)
class Seconds:
    """Times of one repeat over all checkpoints, as (ours, safetensors)."""

    written: list[float] = field(default_factory=lambda: [0.0, 0.0])
    unhashed_s: float = 0.0
    """Ours, with given digests."""
    cold: list[float] = field(default_factory=lambda: [0.0, 0.0])
    warm: list[float] = field(default_factory=lambda: [0.0, 0.0])
    hashing_s: float = 0.0
    """Time to hash the tensors that were read."""
    sizes: list[int] = field(default_factory=lambda: [0, 0])
    """Bytes."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Known(Checkpoint):
    """A checkpoint with given digests."""

    digests: dict[str, bytes]

    def tensor_digests(self) -> dict[str, bytes]:
        return self.digests


def store_ratios(
    device: torch.device, repeats: int, *, model: str = "resnet18", checkpoints: int = CHECKPOINTS
) -> Iterator[Ratio | str]:
    """Compare speed and size with those of safetensors files."""
    del device  # files know none
    state = example_state(model)
    raw = sum(tensor.nbytes for tensor in state.tensors().values())
    free = shutil.disk_usage(tempfile.gettempdir()).free
    count = min(checkpoints, int(free * 0.8) // (2 * raw))
    if count < 1:
        yield f"store: left out, {free / 1e9:.1f} GB are free and a checkpoint takes {2 * raw / 1e9:.1f} on both sides"
        return
    with torch_threads(2):  # large checkpoints are hashed by as many
        measured(state, model, count)  # the first round pays for memory and disk that nobody has used yet
        rounds = [measured(state, model, count) for _ in range(min(repeats, _REPEATS))]
    name = f"{model}, {count} checkpoints"
    yield f"{name}, 2 threads, of weights, norm statistics and momentum, {raw / 1e6:.1f} MB each"
    half = (">= 0.5", at_least(0.5))
    speeds = [count * raw / 1e6 / s for times in (rounds[0].written, rounds[0].cold) for s in times]
    yield "  MB/s to disk {:.0f} and {:.0f} (safetensors), from disk {:.0f} and {:.0f}".format(*speeds)
    yield Ratio(f"{name}: written to disk, speed / safetensors", [r.written[1] / r.written[0] for r in rounds], *half)
    yield Ratio("  the same without hashing", [r.written[1] / r.unhashed_s for r in rounds])
    yield Ratio(f"{name}: read from disk, speed / safetensors", [r.cold[1] / r.cold[0] for r in rounds], *half)
    yield Ratio("  read from the system's memory", [r.warm[1] / r.warm[0] for r in rounds])
    checked = [r.cold[1] / (r.cold[0] + r.hashing_s) for r in rounds]
    yield Ratio("  read from disk, digests compared too", checked)
    sizes = [r.sizes[0] / r.sizes[1] for r in rounds]
    yield Ratio(f"{name}: bytes of all files / safetensors", sizes, "<= 1.0000", at_most(1.00005), digits=4)
    own, other = rounds[0].sizes
    yield f"  {own} and {other} bytes; ours hold order, hashes and hyperparameters too"


def example_state(model: str) -> Checkpoint:
    """A checkpoint of this model under SGD with momentum; its values do not matter, for they are not compressed."""
    net = build_model(model, in_channels=3, num_classes=10)
    parameters = {name: p.detach().clone() for name, p in net.named_parameters()}
    return Checkpoint(
        step=0,
        parameters=parameters,
        buffers={name: b.clone() for name, b in net.named_buffers()},
        optimizer_state={f"{name}/momentum_buffer": torch.randn_like(p) for name, p in parameters.items()},
    )


def measured(state: Checkpoint, model: str, count: int) -> Seconds:
    """Write ours, ours without hashing and theirs; read ours and theirs."""
    spent = Seconds()
    recipe = Recipe(dataset="none", dataset_sha256="", model=model, steps=max(count - 1, 1), interval=1, batch_size=128)
    with tempfile.TemporaryDirectory() as place:
        proof, plain = Path(place) / "proofs" / "bench", Path(place) / "safetensors"
        known = _Known(step=0, **_contents(state), digests=state.tensor_digests())
        spent.unhashed_s = _proof_written(known, recipe, Path(place))
        shutil.rmtree(proof)
        spent.written = [_proof_written(state, recipe, Path(place)), _plainly_written(state, recipe, plain)]
        spent.sizes = [
            sum(file.stat().st_size for file in side.rglob("*") if file.is_file()) for side in (proof, plain)
        ]
        _read(state, recipe, proof, plain, spent)
    return spent


def _contents(state: Checkpoint) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ("parameters", "buffers", "optimizer_state")}


def _proof_written(state: Checkpoint, recipe: Recipe, folder: Path) -> float:
    """Seconds."""
    order = np.random.default_rng(0).integers(0, 50_000, (recipe.steps, recipe.batch_size))
    digests = [hashlib.sha256(indices.tobytes()).digest() for indices in order]
    started = time.perf_counter()
    with new_proof(open_location(folder), "bench", recipe, 50_000) as writer:
        for step in recipe.checkpoint_steps():
            writer.write_checkpoint(replace(state, step=step))
        writer.write_batches(
            [BatchRecord(step, *record) for step, record in enumerate(zip(order, digests, strict=True))]
        )
        writer.finish(Cost(device_s=0.0, wall_s=0.0, gradient_evals=0), {})
    _to_disk(folder / "proofs" / "bench")
    return time.perf_counter() - started


def _plainly_written(state: Checkpoint, recipe: Recipe, folder: Path) -> float:
    """Seconds."""
    from safetensors.torch import save_file

    folder.mkdir()
    started = time.perf_counter()
    for step in recipe.checkpoint_steps():
        save_file(state.tensors(), folder / f"{step}.safetensors")
    _to_disk(folder)
    return time.perf_counter() - started


def _read(state: Checkpoint, recipe: Recipe, proof: Path, plain: Path, spent: Seconds) -> None:
    from safetensors.torch import load_file

    goal = {name: torch.empty_like(tensor) for name, tensor in state.tensors().items()}
    files = [
        (proof / "weights" / f"step={step}.parquet", plain / f"{step}.safetensors")
        for step in recipe.checkpoint_steps()
    ]
    readers = [ParquetProof(open_location(proof)) for _ in range(2)]  # each keeps what it read last
    for position, (own, other) in enumerate(files):
        _forget(own)
        _forget(other)
        for reader, times in zip(readers, (spent.cold, spent.warm), strict=True):
            started = time.perf_counter()
            _copy_into(goal, reader.checkpoint(position).tensors())
            between = time.perf_counter()
            _copy_into(goal, load_file(other))
            times[0] += between - started
            times[1] += time.perf_counter() - between
        started = time.perf_counter()
        state.tensor_digests()
        spent.hashing_s += time.perf_counter() - started
    assert all(torch.equal(tensor, goal[name]) for name, tensor in state.tensors().items())


def _copy_into(goal: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        goal[name].copy_(tensor)


def _to_disk(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _forget(path: Path) -> None:
    """Ask the system to drop the file from its page cache, where it can."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
