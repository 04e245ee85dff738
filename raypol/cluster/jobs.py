"""The work of each party as plain functions of one typed, small job: they run in an actor or in this process alike.

Jobs carry configuration and names of places. Weights and points go from the worker to the store and back, never through the
driver. Every job can be repeated: it replaces what an earlier try left half done, and does not do again what one finished.
"""

import logging
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from raypol.cluster.inventory import device_name
from raypol.cluster.work_metrics import add_bytes, add_interval, counted, writing
from raypol.core.attacks import method_of
from raypol.core.datasets.source import DataSource
from raypol.core.precision import plain
from raypol.core.proof import Cost, MemoryProof, Recipe
from raypol.core.spoofing.method import AttackMethod, Crafted, Scene, make_scene
from raypol.core.spoofing.sampling import SampleCost, SampledProof, seal_sample
from raypol.core.spoofing.seal import craft_interval, seal_spoof
from raypol.core.spoofing.search import CraftStats
from raypol.core.spoofing.spoof_config import SpoofConfig, declare
from raypol.core.training.prover import prove
from raypol.core.training.trainer import Trainer
from raypol.core.verification.replay import Conditions, IntervalReplay, replay_interval
from raypol.core.verification.survey import Survey, survey, survey_interval
from raypol.store.location import Location, open_location
from raypol.store.proofs.crafted_shards import read_notes, read_receipt, read_shards, write_receipt, write_shard
from raypol.store.proofs.format import Manifest
from raypol.store.proofs.reader import ParquetProof, final_checkpoint, read_manifest
from raypol.store.proofs.staging import left_behind, remove_all, workshop_name
from raypol.store.proofs.writer import ProofWriter, new_proof
from raypol.store.results_folder import ResultsFolder

_log = logging.getLogger(__name__)


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
    spoof: SpoofConfig
    data: DataSource
    """The adversary's."""
    device: str
    environment: dict[str, str] = field(default_factory=dict)
    shard: tuple[int, int] = (0, 0)
    """Intervals shard[0], ..., shard[1] - 1."""
    shards: tuple[tuple[int, int], ...] = ()
    """For sealing: the shards that were crafted; none = craft while sealing."""

    @property
    def workshop(self) -> Location:
        """Folder of what is finished of this spoof: crafted shards, then the receipt of sealing."""
        return ResultsFolder(open_location(self.results)).staging / workshop_name(self.proof_id)

    def shard_location(self, shard: tuple[int, int]) -> Location:
        """Where a shard's crafted intervals wait to be sealed."""
        return self.workshop / f"{shard[0]:08d}-{shard[1]:08d}.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class SpoofOutcome:
    """What crafting or sealing cost and did."""

    cost: Cost
    stats: tuple[CraftStats, ...] = ()
    manifest: Manifest | None = None
    reused: bool = False
    """True if an earlier, interrupted run had finished it; the cost is from then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeJob:
    """Replay the first crafted intervals of a spoof that is not sealed yet."""

    spoof: SpoofJob
    """With the shards that are crafted, in order, from the first interval on."""
    first: int
    """Look at intervals 0, ..., first - 1."""
    known: int
    """Of which so many were looked at before."""
    device: str
    conditions: Conditions


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleJob:
    """Craft and seal some intervals of a spoof, the rest of which nobody makes."""

    spoof: SpoofJob
    wanted: tuple[int, ...]
    """Indices, ascending."""

    @property
    def folder(self) -> Location:
        """Where the intervals go."""
        return self.spoof.workshop / f"sample-{self.wanted[0]:08d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleOutcome:
    """What a sample of intervals cost and did."""

    cost: SampleCost
    stats: tuple[CraftStats, ...]
    manifest: Manifest
    """Of the folder: its steps and sizes are those of the sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeJob:
    """Survey and re-train sampled intervals."""

    sample: SampleJob
    manifest: Manifest
    device: str
    conditions: Conditions
    control: Recipe
    control_keeps_state: bool = True
    accuracy: bool = True


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


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceFacts:
    """What a worker computes on."""

    name: str
    """The model, as the driver or the kernel reports it."""
    kind: str
    """torch's name of the device that jobs must use: cpu or cuda."""
    threads: int
    node: str = ""
    """The machine: host name, and under Ray the beginning of the node's id."""
    simulated: bool = False
    """True if the node only declares a GPU: the work runs on its CPU."""


def run_prove(job: ProveJob) -> Manifest:
    """The prover's job; returns the manifest, the weights stay in the store. A try that was interrupted is taken up."""
    dataset = job.data.load()
    results = open_location(job.results)
    left = left_behind(results, job.proof_id)
    with new_proof(results, job.proof_id, job.recipe, len(dataset)) as writer:
        begun = writer.take_up(left)
        remove_all(left)
        with writing(writer.num_bytes, already=writer.num_bytes()):
            cost = prove(job.recipe, dataset, writer, device=job.device, begun=begun, on_recorded=writer.note)
            return writer.finish(cost, job.environment)


def run_craft(job: SpoofJob) -> SpoofOutcome:
    """The spoofer's parallel part: craft a shard of intervals."""
    target = job.shard_location(job.shard)
    if target.exists():
        return _outcome(read_notes(target), reused=True)
    method, scene = _spoof_scene(job)
    intervals = scene.recipe.intervals()[job.shard[0] : job.shard[1]]
    crafted = list(counted("crafted", (craft_interval(method, scene, interval, job.attack) for interval in intervals)))
    job.workshop.make_folder()
    write_shard(target, crafted)
    add_bytes(target.size)
    return _outcome([(made.cost, made.stats) for made in crafted])


def run_seal(job: SpoofJob) -> SpoofOutcome:
    """The spoofer's part in order: carry the optimizer's state, write the spoof, leave a receipt."""
    results = open_location(job.results)
    paths, receipt = ResultsFolder(results), job.workshop / "sealed.json"
    if receipt.exists() and paths.has_proof(job.proof_id):
        cost, stats = read_receipt(receipt)
        manifest = read_manifest(paths.proof(job.proof_id))
        return SpoofOutcome(cost=cost, stats=stats, manifest=manifest, reused=True)
    method, scene = _spoof_scene(job)
    shards = [job.shard_location(shard) for shard in job.shards]
    sealed: list[CraftStats] = []

    def note(made: Crafted) -> None:
        sealed.extend(made.stats)
        if not shards:
            add_interval("crafted")

    remove_all(left_behind(results, job.proof_id))
    with new_proof(results, job.proof_id, scene.recipe, len(scene.dataset)) as writer, writing(writer.num_bytes):
        cost = seal_spoof(
            method,
            scene,
            job.attack,
            job.spoof,
            read_shards(shards) if shards else None,
            writer,
            on_interval=note,
        )
        manifest = writer.finish(cost, job.environment)
    job.workshop.make_folder()
    write_receipt(receipt, cost, sealed)
    return SpoofOutcome(cost=cost, stats=tuple(sealed), manifest=manifest)


def run_probe(job: ProbeJob) -> tuple[IntervalReplay, ...]:
    """The verifier's look at a spoof's first intervals: exactly what replaying them will show once it is sealed.

    A carried optimizer state is computed here as sealing will: that is exact only on a device of the same kind.
    """
    method, scene = _spoof_scene(replace(job.spoof, device=job.device))
    crafted = read_shards([job.spoof.shard_location(shard) for shard in job.spoof.shards])
    proof = MemoryProof(scene.recipe, len(scene.dataset))
    seal_spoof(method, scene, job.spoof.attack, job.spoof.spoof, crafted, proof, first=job.first)
    precision = job.conditions.precision_for(scene.recipe.precision)
    trainer = Trainer(scene.recipe, scene.dataset, job.device, precision=precision)
    wanted = scene.recipe.intervals()[job.known : job.first]
    return tuple(counted("replayed", (replay_interval(proof, trainer, one, job.conditions) for one in wanted)))


def run_sample(job: SampleJob) -> SampleOutcome:
    """The spoofer's part of an estimate."""
    method, scene = _spoof_scene(job.spoof)
    stats: list[CraftStats] = []
    job.folder.remove()
    writer = ProofWriter(job.folder, scene.recipe, len(scene.dataset))

    def note(made: Sequence[CraftStats]) -> None:
        stats.extend(made)
        add_interval("crafted")

    try:
        with writing(writer.num_bytes):
            cost = seal_sample(method, scene, job.spoof.attack, job.spoof.spoof, job.wanted, writer, on_interval=note)
            manifest = writer.finish(cost.total, job.spoof.environment)
    finally:
        writer.close()
    return SampleOutcome(cost=cost, stats=tuple(stats), manifest=manifest)


def run_judge(job: JudgeJob) -> tuple[tuple[Survey, IntervalReplay], ...]:
    """The verifier's part of an estimate: what reading and re-training each interval found."""
    source = SampledProof(ParquetProof(job.sample.folder, job.manifest), job.sample.wanted)
    dataset = job.sample.spoof.data.load()
    precision = job.conditions.precision_for(source.recipe.precision)
    trainer, control = (Trainer(r, dataset, job.device, precision=precision) for r in (source.recipe, job.control))
    found = []
    for interval in map(source.recipe.interval_at, job.sample.wanted):
        read = survey_interval(source, trainer, interval, accuracy=job.accuracy)
        replay = replay_interval(
            source, trainer, interval, job.conditions, control=control, control_keeps_state=job.control_keeps_state
        )
        found.append((read, replay))
        add_interval("replayed")
    return tuple(found)


def run_survey(job: SurveyJob) -> Survey:
    """The verifier's reading part."""
    source = ParquetProof(open_location(job.proof))
    # Nothing is replayed here: a verifier's device need not have the prover's tensor cores to read his models.
    trainer = Trainer(source.recipe, job.data.load(), job.device, precision=plain(source.recipe.precision))
    return survey(source, trainer, *job.positions, accuracy=job.accuracy)


def run_replay(job: ReplayJob) -> tuple[IntervalReplay, ...]:
    """The verifier's re-training part."""
    source = ParquetProof(open_location(job.proof))
    dataset = job.data.load()
    precision = job.conditions.precision_for(source.recipe.precision)
    trainer = Trainer(source.recipe, dataset, job.device, precision=precision)
    control = None
    if job.control is not None:
        control = Trainer(job.control, dataset, job.device, precision=precision)
    replays = (
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
    return tuple(counted("replayed", replays))


def run_facts(device: str) -> DeviceFacts:
    """What this worker computes on."""
    return DeviceFacts(
        name=device_name(device), kind=device, threads=torch.get_num_threads(), node=platform.node() or "this machine"
    )


def spoof_recipe(honest: Recipe, spoof: SpoofConfig, attack: object, data: DataSource) -> Recipe:
    """The recipe that the spoof will declare; `data` is A's."""
    method: AttackMethod[Any] = method_of(attack)
    return method.declare(declare(honest, spoof, data.load()), attack)


# One scene is kept: a worker mostly crafts shard after shard of one spoof, and setting the scene costs as much as a small shard.
_scenes: dict[str, Scene] = {}


def _spoof_scene(job: SpoofJob) -> tuple[AttackMethod[Any], Scene]:
    target = ParquetProof(open_location(job.target))
    recipe = spoof_recipe(target.recipe, job.spoof, job.attack, job.data)
    key = f"{target.root} {recipe!r} {replace(job, shard=(0, 0), shards=())!r}"
    if key not in _scenes:
        _scenes.clear()
        _scenes[key] = make_scene(recipe, job.data.load(), final_checkpoint(target), job.spoof, job.device)
    return method_of(job.attack), _scenes[key]


def _outcome(made: list[tuple[Cost, tuple[CraftStats, ...]]], *, reused: bool = False) -> SpoofOutcome:
    cost = sum((cost for cost, _ in made), Cost())
    return SpoofOutcome(cost=cost, stats=tuple(one for _, stats in made for one in stats), reused=reused)
