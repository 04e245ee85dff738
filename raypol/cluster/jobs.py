"""The work of each party as plain functions of one typed, small job: they run in an actor or in this process alike.

Jobs carry configuration and names of places. Weights and points go from the worker to the store and back, never through the
driver. Every job can be repeated: it replaces what an earlier try left.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from raypol.cluster.inventory import device_name
from raypol.core.attacks import METHODS, method_of
from raypol.core.crafting import CraftStats
from raypol.core.data import Dataset, load_dataset
from raypol.core.errors import InputError
from raypol.core.imports import is_import_path
from raypol.core.proof import Checkpoint, Cost, Recipe
from raypol.core.prover import prove
from raypol.core.spoofing import (
    AttackMethod,
    Crafted,
    Scene,
    SpoofConfig,
    craft_interval,
    declare,
    make_scene,
    seal_spoof,
)
from raypol.core.training import Trainer
from raypol.core.verifier import Conditions, IntervalReplay, Survey, replay_interval, survey
from raypol.store.crafted import read_shards, write_shard
from raypol.store.location import Location, open_location
from raypol.store.proofs import Manifest, ParquetProof, new_proof


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSource:
    """Which public dataset, and where its files lie."""

    name: str
    folder: str | None = None
    """Absolute: a worker's current folder may be another."""

    def __post_init__(self) -> None:
        if self.folder is not None:
            object.__setattr__(self, "folder", str(Path(self.folder).expanduser().absolute()))

    def load(self) -> Dataset:
        """The dataset; read once per process."""
        return _load(self.name, self.folder)


@lru_cache(maxsize=2)
def _load(name: str, folder: str | None) -> Dataset:
    return load_dataset(name, folder)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProveJob:
    """Train honestly and write the proof."""

    results: str
    """`Location.address`, as every place in a job."""
    proof_id: str
    recipe: Recipe
    data: DataSource
    device: str
    environment: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpoofJob:
    """Forge a proof for the final weights of another; `shard` names the intervals to craft, sealing does all."""

    results: str
    proof_id: str
    target: str
    """Folder of the proof whose last weights are W_T."""
    attack: Any
    """The attack's configuration."""
    attack_path: str = ""
    """Import path of an own attack; empty for a built-in one."""
    spoof: SpoofConfig
    data: DataSource
    device: str
    environment: dict[str, str] = field(default_factory=dict)
    shard: tuple[int, int] = (0, 0)
    """Intervals shard[0], ..., shard[1] - 1."""
    shards: tuple[tuple[int, int], ...] = ()
    """For sealing: the shards that were crafted; none = craft while sealing."""

    def shard_location(self, shard: tuple[int, int]) -> Location:
        """Where a shard's crafted intervals wait to be sealed."""
        return open_location(self.results) / ".staging" / _crafted_name(self.proof_id) / f"{shard[0]:08d}.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class SpoofOutcome:
    """What crafting or sealing cost and did."""

    cost: Cost
    stats: tuple[CraftStats, ...] = ()
    manifest: Manifest | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SurveyJob:
    """Read checkpoints positions[0], ..., positions[1] - 1 of a proof."""

    proof: str
    data: DataSource
    device: str
    positions: tuple[int, int]
    accuracy: bool = True
    """Also measure each recorded model's test accuracy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayJob:
    """Re-train some intervals of a proof."""

    proof: str
    data: DataSource
    device: str
    conditions: Conditions
    intervals: tuple[int, ...]
    control: Recipe | None = None
    """The ordinary hyperparameters of the unperturbed reference; None = do not replay it."""
    control_keeps_state: bool = True


def final_checkpoint(proof: ParquetProof) -> Checkpoint:
    """W_T of a proof.

    Raises:
        InputError: the proof records no weights at its last step.
    """
    recorded = proof.checkpoint_steps
    if not recorded or recorded[-1] != proof.recipe.steps:
        raise InputError(
            f"{proof.folder}: expected weights at the last step, {proof.recipe.steps}; "
            f"the last recorded are of {f'step {recorded[-1]}' if recorded else 'no step'}"
        )
    return proof.checkpoint(len(recorded) - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceFacts:
    """What a worker computes on."""

    name: str
    kind: str
    threads: int


def run_prove(job: ProveJob) -> Manifest:
    """The prover's job; returns the manifest, the weights stay in the store."""
    dataset = job.data.load()
    results = open_location(job.results)
    _clear_staging(results, job.proof_id)
    with new_proof(results, job.proof_id, job.recipe, len(dataset)) as writer:
        cost = prove(job.recipe, dataset, writer, device=job.device)
        return writer.finish(cost, job.environment)


def run_craft(job: SpoofJob) -> SpoofOutcome:
    """The spoofer's parallel part: craft a shard of intervals."""
    method, scene = _spoof_scene(job)
    intervals = scene.recipe.intervals()[job.shard[0] : job.shard[1]]
    crafted = [craft_interval(method, scene, interval, job.attack) for interval in intervals]
    target = job.shard_location(job.shard)
    (open_location(job.results) / ".staging" / _crafted_name(job.proof_id)).make_folder()
    write_shard(target, crafted)
    return _outcome(crafted)


def run_seal(job: SpoofJob) -> SpoofOutcome:
    """The spoofer's part in order: carry the optimizer's state, write the spoof, remove the shards."""
    method, scene = _spoof_scene(job)
    results = open_location(job.results)
    shards = [job.shard_location(shard) for shard in job.shards]
    sealed: list[CraftStats] = []
    _clear_staging(results, job.proof_id, keep=_crafted_name(job.proof_id))
    with new_proof(results, job.proof_id, scene.recipe, len(scene.dataset)) as writer:
        cost = seal_spoof(
            method,
            scene,
            job.attack,
            job.spoof,
            read_shards(shards) if shards else None,
            writer,
            on_interval=lambda made: sealed.extend(made.stats),
        )
        manifest = writer.finish(cost, job.environment)
    remove_crafted(results, job.proof_id)
    return SpoofOutcome(cost=cost, stats=tuple(sealed), manifest=manifest)


def run_survey(job: SurveyJob) -> Survey:
    """The verifier's reading part."""
    source = ParquetProof(open_location(job.proof))
    trainer = Trainer(source.recipe, job.data.load(), job.device)
    return survey(source, trainer, *job.positions, accuracy=job.accuracy)


def run_replay(job: ReplayJob) -> tuple[IntervalReplay, ...]:
    """The verifier's re-training part."""
    source = ParquetProof(open_location(job.proof))
    dataset = job.data.load()
    trainer = Trainer(source.recipe, dataset, job.device, precision=job.conditions.precision)
    control = None
    if job.control is not None:
        control = Trainer(job.control, dataset, job.device, precision=job.conditions.precision)
    return tuple(
        replay_interval(
            source,
            trainer,
            source.recipe.interval_at(index),
            job.conditions,
            control=control,
            control_keeps_state=job.control_keeps_state,
        )
        for index in job.intervals
    )


def run_facts(device: str) -> DeviceFacts:
    """What this worker computes on."""
    return DeviceFacts(name=device_name(device), kind=device, threads=torch.get_num_threads())


def spoof_recipe(honest: Recipe, spoof: SpoofConfig, attack: object) -> Recipe:
    """The recipe that the spoof will declare."""
    method: AttackMethod[Any] = method_of(attack)
    return method.declare(declare(honest, spoof), attack)


def remove_crafted(results: Location, proof_id: str) -> None:
    """Remove the shards that wait to be sealed, if there are any."""
    (results / ".staging" / _crafted_name(proof_id)).remove()


def _crafted_name(proof_id: str) -> str:
    return f"{proof_id}-crafted"


def _clear_staging(results: Location, proof_id: str, keep: str = "") -> None:
    """Remove what a try that was killed left of this proof. Only locally, where a lock says that nobody else makes it now."""
    if results.is_local:
        staging = results / ".staging"
        staging.make_folder()  # listing it while another job creates it would be an error
        for name in {path.split("/", 1)[0] for path, _ in staging.files()}:
            if name.startswith(f"{proof_id}-") and name != keep:
                (staging / name).remove()


def _spoof_scene(job: SpoofJob) -> tuple[AttackMethod[Any], Scene]:
    if is_import_path(job.attack_path):
        from raypol.core.attacks import find_attack

        find_attack(job.attack_path)  # makes the user's method known in this process
    target = ParquetProof(open_location(job.target))
    dataset = job.data.load()
    recipe = spoof_recipe(target.recipe, job.spoof, job.attack)
    stolen = final_checkpoint(target)
    return METHODS[type(job.attack)], make_scene(recipe, dataset, stolen, job.spoof, job.device)


def _outcome(crafted: list[Crafted]) -> SpoofOutcome:
    cost = sum((made.cost for made in crafted), Cost())
    return SpoofOutcome(cost=cost, stats=tuple(stats for made in crafted for stats in made.stats))
