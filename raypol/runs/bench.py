"""Measuring what attacks cost per claimed step, in honest steps on the same clock.

An honest step and an attack's are measured in turn (A B A B ...), so that a machine whose speed drifts drifts for both; ratios
are of neighbours, and their median counts. Every run of an attack begins with its proof: what it makes once and uses in all
intervals is taken apart from what each interval costs.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import torch

from raypol.cluster.inventory import usable_cores
from raypol.core.arithmetic.machine import device_name
from raypol.core.attacks import method_of
from raypol.core.clock import mark, synchronise
from raypol.core.costs import OperationCounter
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError, check_whole
from raypol.core.progress import Progress, no_progress
from raypol.core.proof import Cost, MemoryProof, Recipe, final_checkpoint
from raypol.core.protocol import prove
from raypol.core.spoofing.declarations import Declares
from raypol.core.spoofing.grants import USUAL, Grant
from raypol.core.spoofing.method import spoof_recipe
from raypol.core.spoofing.scene import Crafted, Scene
from raypol.core.spoofing.seal import seal_spoof, start_clock
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import Trajectory
from raypol.core.training.prover import record_training
from raypol.core.training.train_config import TrainConfig
from raypol.core.training.trainer import Trainer
from raypol.runs.trials.environment import versions
from raypol.store.step_costs import BenchFile, BenchSettings, Machine, MeasuredCost

_T = TypeVar("_T")

HONEST_STEP: Final = "honest"
"""The honest training against itself: how far a ratio is from 1 by chance."""
_MATRIX: Final = {"cpu": 1_024, "cuda": 8_192}
"""Rows of a square matrix that fills a core's caches, or a GPU."""
_PRODUCTS: Final = 7
"""Of which the fastest counts."""
_MOST: Final = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchPlan:
    """What to measure."""

    train: TrainConfig
    """The honest training; T' = T and k are its own."""
    attacks: Mapping[str, Any]
    """Configurations by name."""
    declares: Declares = "honest_schedule"
    """What A declares."""
    intervals: int = 2
    """The first intervals, where intervals are alike; else all are measured."""
    repeats: int = 5
    """Runs of each."""
    retries: int = 0
    """Most fresh batches that are drawn where a search is not accepted; 0 = costs of one try."""

    def __post_init__(self) -> None:
        check_whole("intervals", self.intervals, 1, _MOST)
        check_whole("repeats", self.repeats, 1, _MOST)
        check_whole("retries", self.retries, 0, _MOST)

    def settings(self, dataset: Dataset) -> BenchSettings:
        """What has to be the same for costs to compare."""
        return BenchSettings(
            dataset=dataset.name,
            dataset_sha256=dataset.sha256,
            model=self.train.model,
            steps=self.train.steps,
            interval=self.train.interval,
            batch_size=self.train.batch_size,
            declares=self.declares,
            intervals=self.intervals,
            retries=self.retries,
        )

    def bounded(self, attack: Any) -> Any:  # noqa: ANN401 - any configuration
        """The attack with as many retries as are allowed."""
        allowed = getattr(attack, "retries", 0)
        return attack if allowed <= self.retries else replace(attack, retries=self.retries)


def this_computer(device: str) -> Machine:
    """Identity of this machine and process for measured costs."""
    return Machine(
        processor=device_name("cpu"),
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        device=device_name(device),
    )


def measure_costs(
    plan: BenchPlan,
    dataset: Dataset,
    device: str = "cpu",
    *,
    on_progress: Progress = no_progress,
    on_refused: Callable[[str, InputError], None],
) -> BenchFile:
    """Measure the honest step and each attack, in this process and with its number of threads.

    Args:
        plan: what to measure.
        dataset: the one that the training names.
        device: cpu or cuda.
        on_progress: counts runs.
        on_refused: called with an attack that cannot be run so, and why; it is left out.
    """
    recipe = plan.train.recipe(dataset, device=device, threads=torch.get_num_threads())
    on_progress("proving", 0, 0)
    bench = _Bench(recipe, dataset, device, plan, prove(recipe, dataset, device=device))
    on_progress("multiplying matrices", 0, 0)
    rate = matrix_product_rate(torch.device(device))
    attacks = {name: plan.bounded(attack) for name, attack in plan.attacks.items()}
    kinds = {repr(attack): name for name, attack in attacks.items()}  # presets of equal settings are measured once
    runs: dict[str, Callable[[OperationCounter | None], _Run]] = {HONEST_STEP: bench.honest}
    runs |= {name: _run_of(bench, attacks[name]) for name in kinds.values()}
    found, honest_s, of = dict[str, MeasuredCost](), list[float](), len(runs) * (plan.repeats + 1)
    for position, (name, run) in enumerate(runs.items()):
        done = position * (plan.repeats + 1)
        on_progress(f"counting {name}", done, of)
        try:
            counted = run(OperationCounter())
        except InputError as err:
            on_refused(name, err)
            continue
        pairs = []
        for repeat in range(plan.repeats):
            on_progress(f"measuring {name}", done + 1 + repeat, of)
            pairs.append((bench.honest(None), run(None)))
        honest_s += [honest.step_s for honest, _ in pairs]
        found[name] = _measured(name, counted, pairs, rate, granted_beyond(attacks.get(name)))
    on_progress("measured", of, of)
    measured_as = {name: kinds[repr(attack)] for name, attack in attacks.items()} | {HONEST_STEP: HONEST_STEP}
    costs = [replace(found[twin], attack=name) for name, twin in measured_as.items() if twin in found]
    return BenchFile(
        machine=this_computer(device),
        settings=plan.settings(dataset),
        matrix_gflops=rate / 1e9,
        honest_ms=1e3 * statistics.median(honest_s),
        costs=tuple(sorted(costs, key=lambda cost: cost.median)),
        versions=versions(),
    )


def matrix_product_rate(device: torch.device) -> float:
    """Floating-point operations per second of a square matrix product in float32: the best of several."""
    n = _MATRIX[device.type]
    a, b = torch.rand(2, n, n, device=device, generator=torch.Generator(device).manual_seed(0))
    product = a @ b
    seconds = []
    for _ in range(_PRODUCTS):
        synchronise(device)
        begun = mark(device)
        torch.mm(a, b, out=product)
        seconds.append(begun.until(mark(device)))
    return 2.0 * n**3 / min(seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spent:
    """Time and work."""

    cost: Cost
    flops: float = 0.0

    def minus(self, other: "_Spent", share: float = 1.0) -> "_Spent":
        """What is left without a share of another, never below 0."""
        left = {
            name: max(getattr(self.cost, name) - share * getattr(other.cost, name), 0)
            for name in ("device_s", "gradient_evals", "forward_passes", "hashes", "writing_s")
        }
        return _Spent(cost=Cost(**left), flops=max(self.flops - share * other.flops, 0.0))


_NOTHING: Final = _Spent(cost=Cost())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """One run over some intervals."""

    steps: int
    spent: _Spent
    """Without what is in `once`."""
    once: _Spent = _NOTHING

    @property
    def step_s(self) -> float:
        """Device seconds per claimed step, without waiting for writes."""
        return max(self.spent.cost.device_s - self.spent.cost.writing_s, 1e-9) / self.steps


@dataclass(slots=True, eq=False)
class _WatchedScene(Scene):
    """A scene that notes what making shared things costs, and in which interval."""

    counter: OperationCounter | None = None
    shared: dict[int, list[_Spent]] = field(default_factory=dict)
    """By the number of intervals that were done."""
    progress: list[Crafted] = field(default_factory=list)
    """The intervals so far."""
    _depth: list[str] = field(default_factory=list)

    def once(self, what: str, make: Callable[[], _T]) -> _T:
        """See Scene."""
        if what in self._made or self._depth:  # what is made inside is part of it
            return Scene.once(self, what, make)
        self._depth.append(what)
        before = self._so_far()
        try:
            return Scene.once(self, what, make)
        finally:
            self._depth.pop()
            self.shared.setdefault(len(self.progress), []).append(self._so_far().minus(before))

    @contextmanager
    def off_the_clock(self) -> Iterator[None]:
        """See Scene."""
        with self.trainer.off_the_clock(), self.counter.pause() if self.counter else nullcontext():
            yield

    def _so_far(self) -> _Spent:
        trainer = self.trainer
        done = Cost(
            device_s=trainer.stopwatch.read(),
            gradient_evals=trainer.gradient_evals,
            forward_passes=trainer.forward_passes,
            hashes=self.hashes,
        )
        return _Spent(cost=done, flops=self.counter.counted.flops if self.counter else 0.0)

    def once_for_all(self) -> _Spent:
        """What the first interval made beyond what the others make too."""
        first, *later = [_summed(self.shared.get(i, [])) for i in range(len(self.progress))]
        return first.minus(_summed(later), 1.0 / len(later)) if later else first


def _summed(parts: Sequence[_Spent]) -> _Spent:
    return _Spent(cost=sum((part.cost for part in parts), Cost()), flops=sum(part.flops for part in parts))


@dataclass(frozen=True, slots=True, eq=False)
class _Bench:
    """What all runs share."""

    recipe: Recipe
    dataset: Dataset
    device: str
    plan: BenchPlan
    trace: MemoryProof

    def honest(self, counter: OperationCounter | None) -> _Run:
        """Train honestly as many steps as are measured of an attack."""
        steps = min(self.plan.intervals * self.recipe.interval, self.recipe.steps)
        short = replace(self.recipe, steps=steps)
        with counter or nullcontext():
            cost = record_training(short, self.dataset, MemoryProof(short, len(self.dataset)), device=self.device)
        return _Run(steps=steps, spent=_Spent(cost=cost, flops=counter.counted.flops if counter else 0.0))

    def attack(self, attack: Any, counter: OperationCounter | None) -> _Run:  # noqa: ANN401 - any configuration
        """Forge the first intervals, or all where they differ."""
        method, choices = method_of(attack), self.choices(attack)
        recipe = spoof_recipe(method, attack, choices, self.recipe, self.dataset)
        stolen = final_checkpoint(self.trace)
        # As `make_scene`, with a scene that watches.
        scene = _WatchedScene(
            recipe=recipe,
            dataset=self.dataset,
            trajectory=Trajectory(stolen, recipe, self.dataset, choices.trajectory, choices.seed),
            trainer=Trainer(recipe, self.dataset, self.device),
            choices=choices,
            trace=self.trace if "trace" in choices.grants else None,
            counter=counter,
        )
        scene.trajectory = method.path(scene, attack)
        num = min(self.plan.intervals, recipe.num_intervals) if method.independent else recipe.num_intervals
        sink = MemoryProof(recipe, len(self.dataset))
        with counter or nullcontext():
            stop = start_clock(scene)
            scene.trajectory.checkpoint(0)  # W_0 is found at first use, once
            begun = _Spent(cost=stop(), flops=counter.counted.flops if counter else 0.0)
            scene.shared.clear()
            cost = seal_spoof(method, scene, attack, None, sink, first=num, on_interval=scene.progress.append)
        once = scene.once_for_all()
        flops = counter.counted.flops - begun.flops if counter else 0.0
        spent = _Spent(cost=cost, flops=flops).minus(once)
        once = _summed([begun, once])
        return _Run(steps=sum(made.interval.num_steps for made in scene.progress), spent=spent, once=once)

    def choices(self, attack: Any) -> SpoofConfig:  # noqa: ANN401 - any configuration
        """A's choices: T' = T and all that the attack uses is granted."""
        method = method_of(attack)
        augments = method.declares_trace and self.recipe.transform.is_random
        return SpoofConfig(
            steps=self.recipe.steps,
            interval=self.recipe.interval,
            declares=self.plan.declares,
            augmentation="honest" if augments else "none",
            grants=(*USUAL, *granted_beyond(attack)),
        )


def granted_beyond(attack: Any) -> tuple[Grant, ...]:  # noqa: ANN401 - any configuration
    """What an attack uses that is not usual; nothing for an honest step, None."""
    return () if attack is None else tuple(grant for grant in method_of(attack).uses if grant not in USUAL)


def _run_of(bench: _Bench, attack: Any) -> Callable[[OperationCounter | None], _Run]:  # noqa: ANN401
    return lambda counter: bench.attack(attack, counter)


def _measured(
    name: str, counted: _Run, pairs: Sequence[tuple[_Run, _Run]], rate: float, granted: tuple[str, ...]
) -> MeasuredCost:
    equivalents = tuple(run.step_s / honest.step_s for honest, run in pairs)
    step_s = statistics.median(run.step_s for _, run in pairs)
    work, flops = counted.spent.cost, counted.spent.flops / counted.steps
    return MeasuredCost(
        attack=name,
        equivalents=equivalents,
        median=statistics.median(equivalents),
        device_ms=1e3 * step_s,
        gradient_evals=work.gradient_evals / counted.steps,
        forward_passes=work.forward_passes / counted.steps,
        hashes=work.hashes / counted.steps,
        flops=flops,
        rate_share=flops / (step_s * rate),
        once=statistics.median(run.once.cost.device_s / honest.step_s for honest, run in pairs),
        steps=counted.steps,
        granted=granted,
    )
