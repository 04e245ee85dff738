"""The work of each party: base_precision functions of one small, typed job each, run in an actor or in this process alike.

Jobs carry configurations and paths. Weights and points go from the worker to the store and back, never through the driver.
A job can be repeated: it replaces work that an earlier try left unfinished and reuses finished work.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from raypol.cluster.work_metrics import add_bytes, add_interval, count_intervals, counting_bytes
from raypol.core.arithmetic.machine import device_name, machine_class
from raypol.core.arithmetic.precision import base_precision
from raypol.core.attacks import method_of
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.source import DataSource
from raypol.core.proof import Cost, Interval, MemoryProof, ProofSource, Recipe, final_checkpoint
from raypol.core.spoofing.method import AttackMethod, make_scene, spoof_recipe
from raypol.core.spoofing.sampling import SampleCost, SampledProof, seal_sample
from raypol.core.spoofing.scene import Crafted, Scene
from raypol.core.spoofing.seal import craft_interval, seal_spoof
from raypol.core.spoofing.search import CraftStats
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.prover import record_training
from raypol.core.training.trainer import Trainer
from raypol.core.verification.replay import Conditions, IntervalReplay, replay_interval
from raypol.core.verification.survey import Survey, survey, survey_interval
from raypol.core.verification.wishes import Wish
from raypol.core.verification.witness import check_same_recipe
from raypol.store.location import Location, open_location
from raypol.store.proofs.crafted_shards import (
    read_sealing,
    read_shard_costs,
    read_shards,
    write_sealing,
    write_shard,
)
from raypol.store.proofs.format import MACHINE, Manifest
from raypol.store.proofs.reader import ParquetProof, read_manifest
from raypol.store.proofs.staging import abandoned_folders, crafted_folder, remove_folders
from raypol.store.proofs.writer import ProofWriter, new_proof
from raypol.store.results_folder import ResultsFolder


@dataclass(frozen=True, kw_only=True, slots=True)
class ProveJob:
    """Train honestly and write the proof."""

    results: str
    """`Location.address`, like every path in a job."""
    proof_id: str
    recipe: Recipe
    data: DataSource
    device: str
    environment: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpoofJob:
    """Craft a shard of a spoof's intervals, or seal the whole spoof."""

    results: str
    proof_id: str
    target: str
    """Folder of the proof whose final weights W_T are stolen."""
    attack: Any
    """The attack's configuration."""
    spoof: SpoofConfig
    data: DataSource
    """The adversary's."""
    device: str
    environment: dict[str, str] = field(default_factory=dict)
    shard: tuple[int, int] = (0, 0)
    """To craft: intervals shard[0], ..., shard[1] - 1."""
    shards: tuple[tuple[int, int], ...] = ()
    """To seal: the crafted shards; none = craft while sealing."""

    @property
    def crafted_folder(self) -> Location:
        """Folder of crafted shards, later also of the record of sealing."""
        return crafted_folder(open_location(self.results), self.proof_id)

    def shard_location(self, shard: tuple[int, int]) -> Location:
        """File of a shard's crafted intervals."""
        return self.crafted_folder / f"{shard[0]:08d}-{shard[1]:08d}.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class SpoofOutcome:
    """Result of crafting or sealing, with its cost."""

    cost: Cost
    stats: tuple[CraftStats, ...] = ()
    manifest: Manifest | None = None
    reused: bool = False
    """True if an earlier, interrupted run had finished it; the cost is that run's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Replays:
    """Fields of every job that re-trains intervals."""

    device: str
    conditions: Conditions
    control: Recipe | None = None
    """The ordinary hyperparameters of the unperturbed reference; None = do not replay it."""
    control_keeps_state: bool = True
    exact: bool = False
    """Also compare every bit under recorded augmentation."""

    def replayer(self, source: ProofSource, dataset: Dataset) -> tuple[Trainer, Callable[[Interval], IntervalReplay]]:
        """The declared recipe's trainer, and the function that re-trains an interval with it."""
        precision = self.conditions.precision_for(source.recipe.precision)
        trainer = Trainer(source.recipe, dataset, self.device, precision=precision)
        control = None if self.control is None else Trainer(self.control, dataset, self.device, precision=precision)

        compare_bits = self.exact

        def replay(interval: Interval) -> IntervalReplay:
            nonlocal compare_bits
            replayed = replay_interval(
                source,
                trainer,
                interval,
                self.conditions,
                control=control,
                control_keeps_state=self.control_keeps_state,
                exact=compare_bits,
            )
            compare_bits = compare_bits and replayed.is_exact is not False  # one interval that differs settles it
            return replayed

        return trainer, replay


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeJob(_Replays):
    """Replay the first crafted intervals of a spoof that is not sealed yet."""

    spoof: SpoofJob
    """With the crafted shards in order, from the first interval on."""
    first: int
    """Number of intervals whose sealing is simulated: 0, ..., first - 1."""
    known: int
    """Number of these that were replayed before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleJob:
    """Craft and seal a few intervals of a spoof whose other intervals are never made."""

    spoof: SpoofJob
    wanted: tuple[int, ...]
    """Indices, ascending."""

    @property
    def folder(self) -> Location:
        """Folder of the sealed intervals."""
        return self.spoof.crafted_folder / f"sample-{self.wanted[0]:08d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleOutcome:
    """Result of sampling intervals, with its cost."""

    cost: SampleCost
    stats: tuple[CraftStats, ...]
    manifest: Manifest
    """Of the sample's folder: its steps and sizes are those of the sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeJob(_Replays):
    """Survey and re-train sampled intervals."""

    sample: SampleJob
    manifest: Manifest
    accuracy: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class SurveyJob:
    """Read checkpoints positions[0], ..., positions[1] - 1 of a proof."""

    proof: str
    data: DataSource
    device: str
    positions: tuple[int, int]
    accuracy: frozenset[int] | bool = True
    """Also measure each recorded model's test accuracy, or that of these positions."""
    wanted: frozenset[Wish] = frozenset()
    """Evidence that only some checks look at."""
    recipe_sha256: str = ""
    """`recipe_digest` of the recipe that the proof had when it was opened; empty = any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayJob(_Replays):
    """Re-train some intervals of a proof."""

    proof: str
    data: DataSource
    intervals: tuple[int, ...]
    recipe_sha256: str = ""
    """As of `SurveyJob`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceFacts:
    """Hardware on which a worker computes."""

    name: str
    """Model, as the driver or the kernel reports it."""
    kind: str
    """Device of jobs as torch calls it: cpu or cuda."""
    threads: int
    node: str = ""
    """Host name, and under Ray the beginning of the node's id."""
    simulated: bool = False
    """True if the node only declares a GPU and jobs run on its CPU."""


def run_prove(job: ProveJob) -> Manifest:
    """Train and write the proof; resume where an interrupted try stopped."""
    dataset = job.data.load()
    results = open_location(job.results)
    abandoned = abandoned_folders(results, job.proof_id)
    with new_proof(results, job.proof_id, job.recipe, len(dataset)) as writer:
        resume = writer.resume_from(abandoned)
        remove_folders(abandoned)
        with counting_bytes(writer.num_bytes, already=writer.num_bytes()):
            cost = record_training(
                job.recipe, dataset, writer, device=job.device, resume=resume, on_recorded=writer.set_resume_point
            )
            return writer.finish(cost, _declared(job))


def run_craft(job: SpoofJob) -> SpoofOutcome:
    """Craft a shard of intervals, independently of other shards."""
    target = job.shard_location(job.shard)
    if target.exists():
        return _outcome(read_shard_costs(target), reused=True)
    method, scene = _spoof_scene(job)
    intervals = scene.recipe.intervals()[job.shard[0] : job.shard[1]]
    crafted = list(
        count_intervals("crafted", (craft_interval(method, scene, interval, job.attack) for interval in intervals))
    )
    job.crafted_folder.make_folder()
    write_shard(target, crafted)
    add_bytes(target.size)
    return _outcome([(made.cost, made.stats) for made in crafted])


def run_seal(job: SpoofJob) -> SpoofOutcome:
    """Carry the optimizer's state from interval to interval, write the spoof, and record that it is sealed."""
    results = open_location(job.results)
    paths, record = ResultsFolder(results), job.crafted_folder / "sealed.json"
    if record.exists() and paths.has_proof(job.proof_id):
        cost, stats = read_sealing(record)
        manifest = read_manifest(paths.proof(job.proof_id))
        return SpoofOutcome(cost=cost, stats=stats, manifest=manifest, reused=True)
    if not job.shards:
        _scenes.clear()  # what an earlier try made once would cost nothing now
    method, scene = _spoof_scene(job)
    shards = [job.shard_location(shard) for shard in job.shards]
    sealed: list[CraftStats] = []

    def note(made: Crafted) -> None:
        sealed.extend(made.stats)
        if not shards:
            add_interval("crafted")

    remove_folders(abandoned_folders(results, job.proof_id))
    with new_proof(results, job.proof_id, scene.recipe, len(scene.dataset)) as writer, counting_bytes(writer.num_bytes):
        cost = seal_spoof(
            method,
            scene,
            job.attack,
            read_shards(shards) if shards else None,
            writer,
            on_interval=note,
        )
        manifest = writer.finish(cost, _declared(job))
    job.crafted_folder.make_folder()
    write_sealing(record, cost, sealed)
    return SpoofOutcome(cost=cost, stats=tuple(sealed), manifest=manifest)


def run_probe(job: ProbeJob) -> tuple[IntervalReplay, ...]:
    """Replay a spoof's first intervals, with exactly the result that they will have once the spoof is sealed.

    A carried optimizer state is computed here as sealing computes it, which is exact only on a device of the same kind.
    """
    method, scene = _spoof_scene(replace(job.spoof, device=job.device))
    crafted = read_shards([job.spoof.shard_location(shard) for shard in job.spoof.shards])
    proof = MemoryProof(scene.recipe, len(scene.dataset))
    seal_spoof(method, scene, job.spoof.attack, crafted, proof, first=job.first)
    _, replay = job.replayer(proof, scene.dataset)
    return tuple(count_intervals("replayed", map(replay, scene.recipe.intervals()[job.known : job.first])))


def run_sample(job: SampleJob) -> SampleOutcome:
    """Craft and seal the sampled intervals of an estimate."""
    method, scene = _spoof_scene(job.spoof)
    stats: list[CraftStats] = []
    job.folder.remove()
    writer = ProofWriter(job.folder, scene.recipe, len(scene.dataset))

    def note(made: Sequence[CraftStats]) -> None:
        stats.extend(made)
        add_interval("crafted")

    try:
        with counting_bytes(writer.num_bytes):
            cost = seal_sample(method, scene, job.spoof.attack, job.wanted, writer, on_interval=note)
            manifest = writer.finish(cost.total, _declared(job.spoof))
    finally:
        writer.close()
    return SampleOutcome(cost=cost, stats=tuple(stats), manifest=manifest)


def run_judge(job: JudgeJob) -> tuple[tuple[Survey, IntervalReplay], ...]:
    """Survey and re-train each sampled interval of an estimate."""
    source = SampledProof(ParquetProof(job.sample.folder, job.manifest), job.sample.wanted)
    trainer, replay = job.replayer(source, job.sample.spoof.data.load())
    found = (
        (survey_interval(source, trainer, interval, accuracy=job.accuracy), replay(interval))
        for interval in map(source.recipe.interval_at, job.sample.wanted)
    )
    return tuple(count_intervals("replayed", found))


def run_survey(job: SurveyJob) -> Survey:
    """Read and check some checkpoints of a proof."""
    source = _opened_again(job)
    # Nothing is replayed here: to read models, a verifier's device need not have the prover's tensor cores.
    trainer = Trainer(source.recipe, job.data.load(), job.device, precision=base_precision(source.recipe.precision))
    asked = job.accuracy if isinstance(job.accuracy, bool) else job.accuracy.__contains__
    return survey(source, trainer, *job.positions, accuracy=asked, wanted=job.wanted)


def run_replay(job: ReplayJob) -> tuple[IntervalReplay, ...]:
    """Re-train some intervals of a proof."""
    source = _opened_again(job)
    _, replay = job.replayer(source, job.data.load())
    return tuple(count_intervals("replayed", map(replay, map(source.recipe.interval_at, job.intervals))))


def _opened_again(job: SurveyJob | ReplayJob) -> ParquetProof:
    source = ParquetProof(open_location(job.proof))
    check_same_recipe(source, job.recipe_sha256)
    return source


def run_facts(device: str) -> DeviceFacts:
    """Hardware of this process."""
    return DeviceFacts(
        name=device_name(device), kind=device, threads=torch.get_num_threads(), node=platform.node() or "this machine"
    )


def recipe_of_spoof(honest: Recipe, spoof: SpoofConfig, attack: object, data: DataSource) -> Recipe:
    """Recipe that the spoof will declare; `data` is the adversary's."""
    return spoof_recipe(method_of(attack), attack, spoof, honest, data.load())


def _declared(job: ProveJob | SpoofJob) -> dict[str, str]:
    """The environment that the proof declares, with the class of this very machine."""
    return {**job.environment, MACHINE: machine_class(job.device)}


# One scene is kept: a worker mostly crafts shard after shard of one spoof, and making the scene costs as much as a small shard.
_scenes: dict[str, Scene] = {}


def _spoof_scene(job: SpoofJob) -> tuple[AttackMethod[Any], Scene]:
    target, method = ParquetProof(open_location(job.target)), method_of(job.attack)
    recipe = recipe_of_spoof(target.recipe, job.spoof, job.attack, job.data)
    key = f"{target.root} {recipe!r} {replace(job, shard=(0, 0), shards=())!r}"
    if key not in _scenes:
        _scenes.clear()
        _scenes[key] = make_scene(
            method, job.attack, job.spoof, recipe, job.data.load(), final_checkpoint(target), job.device, trace=target
        )
    return method, _scenes[key]


def _outcome(made: list[tuple[Cost, tuple[CraftStats, ...]]], *, reused: bool = False) -> SpoofOutcome:
    cost = sum((cost for cost, _ in made), Cost())
    return SpoofOutcome(cost=cost, stats=tuple(one for _, stats in made for one in stats), reused=reused)
