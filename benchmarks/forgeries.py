"""What forgeries of this project cost and how far they err, with the bars of its claims.

Costs are of one process, both sides in turn. Errors are the largest over a proof's intervals, in l2 unless said: of a forgery
under the recorded conditions, of honest training under fresh augmentation.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.loops import bare_loop
from benchmarks.ratios import Ratio, at_least, at_most
from raypol.core.attacks import find_attack, ii, iii, method_of
from raypol.core.attacks.selected import Selected
from raypol.core.attacks.steered import Steered
from raypol.core.clock import synchronise
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import METRICS, Metric
from raypol.core.errors import InputError
from raypol.core.proof import Cost, MemoryProof, final_checkpoint
from raypol.core.protocol import prove, spoof
from raypol.core.scoring import largest
from raypol.core.spoofing.method import make_scene, spoof_recipe
from raypol.core.spoofing.objectives import double_backward_objective
from raypol.core.spoofing.seal import craft_interval
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.training.train_config import TrainConfig
from raypol.core.training.trainer import Trainer
from raypol.core.verification.policies import strict_trend
from raypol.core.verification.replay import Conditions, IntervalReplay, replay_interval
from raypol.core.verification.stages import STAGES, stage_of
from raypol.core.verification.thresholds import slack_in_moves
from raypol.core.verification.verifier import examine
from raypol.runs.bench import BenchPlan, measure_costs

SHARE = "5a" * 16
"""The verifier's part of a bound seed."""
RECORDED, FRESH = Conditions(augmentation="recorded"), Conditions(augmentation="fresh")
_SEEDS = 3
"""Of errors, which rest on the seed alone."""
_SLACK = 0.9
CHOSEN = Selected(candidates=320)
"""Out of five batches of points: a pass over all 1,437 costs as much as the rest of the spoof."""
_CHOSEN_NAME = "selected of 320"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A stolen proof and the data it is of."""

    train: TrainConfig
    data: Dataset
    device: torch.device

    def prove(self, seed: int = 0) -> MemoryProof:
        """Train honestly into memory."""
        return prove(replace(self.train, seed=seed), self.data, device=self.device)

    def choices(self, part: float = 1.0, **changes: Any) -> SpoofConfig:  # noqa: ANN401 - any field
        """A's choices at T' = part T."""
        return SpoofConfig(steps=round(part * self.train.steps), interval=self.train.interval, **changes)

    def forge(self, stolen: MemoryProof, attack: object, choices: SpoofConfig) -> MemoryProof:
        """Forge into memory."""
        return spoof(stolen, self.data, attack, choices, device=self.device)

    def replays(self, proof: MemoryProof, conditions: Conditions, every: int = 1) -> list[IntervalReplay]:
        """Replay every so many intervals."""
        trainer = Trainer(proof.recipe, self.data, self.device)
        return [replay_interval(proof, trainer, one, conditions) for one in proof.recipe.intervals()[::every]]


def forgery_ratios(device: torch.device, repeats: int, *, quick: bool) -> Iterator[Ratio | str]:
    """Measure all claims on digits; on fashion_mnist those of `selected`."""
    train = TrainConfig(steps=400 if quick else 1000, interval=10)
    setting = Setting(train=train, data=train.data.load().to(device), device=device)
    yield f"resnet8 on digits, T = {train.steps}, k = 10, B = 64, crops; all in memory, times without waiting for writes"
    setting.prove()  # warm-up
    stolen = setting.prove()
    yield from cheap_forgeries(setting, stolen, repeats)
    yield from _selected_errors(setting, stolen, CHOSEN, _CHOSEN_NAME)
    yield from _steered(setting, stolen)
    yield from _equivalents(setting, repeats)
    yield from search_ratios(setting, stolen, repeats)
    yield from _fashion(device, quick=quick)


def cheap_forgeries(setting: Setting, stolen: MemoryProof, repeats: int) -> Iterator[Ratio]:
    """What needs no gradient, and what records and replays without losing time, against a proof and the bare loop."""
    free = setting.choices(declares="no_momentum")
    proofs, loops, replays, nulls, chosen = [], list[float](), list[float](), list[Cost](), list[Cost]()
    for _ in range(repeats):
        proofs.append(_seconds(setting.prove().cost))
        loops.append(bare_loop(stolen.recipe, setting.data, setting.device).wall_s)
        replays.append(_replaying(setting, stolen))
        nulls.append(setting.forge(stolen, "null", free).cost)
        chosen.append(setting.forge(stolen, CHOSEN, free).cost)
    yield Ratio("proving / bare training loop", _over(proofs, loops), "<= 1.05", at_most(1.05), digits=3)
    yield Ratio("replaying / bare training loop", _over(replays, loops), "<= 1.05", at_most(1.05), digits=3)
    for name, costs in (("null", nulls), (_CHOSEN_NAME, chosen)):
        claim = f"{name}, no momentum, T' = T"
        evals = [float(cost.gradient_evals) for cost in costs]
        yield Ratio(f"{claim}: gradient evaluations", evals, "<= 0", at_most(0.0), digits=0)
        times = _over([_seconds(cost) for cost in costs], proofs)
        yield Ratio(f"{claim}: time / proof's", times, "<= 0.02", at_most(0.02), digits=4)


def _selected_errors(
    setting: Setting, stolen: MemoryProof, attack: Selected, name: str, *, every: int = 1, seeds: int = _SEEDS
) -> Iterator[Ratio]:
    """Largest errors of chosen points over those of ordinary ones, in each metric."""
    found: dict[Metric, list[float]] = {metric: [] for metric in METRICS}
    for seed in range(seeds):
        free = setting.choices(declares="no_momentum", seed=seed)
        ours, usual = (
            setting.replays(setting.forge(stolen, one, free), RECORDED, every) for one in (attack, find_attack("null"))
        )
        for metric in METRICS:
            found[metric].append(_largest(ours, metric) / _largest(usual, metric))
    for metric, values in found.items():
        bar = 1.05 if metric == "linf" else 1.0
        holds = at_most(bar) if metric == "linf" else lambda median: median < 1.0
        yield Ratio(f"{name} / null: largest error in {metric}", values, f"{'<=' if bar > 1 else '<'} {bar:g}", holds)


def _steered(setting: Setting, stolen: MemoryProof) -> Iterator[Ratio]:
    """Errors of real training that is nudged, over those of honest training under fresh augmentation."""
    proofs = [stolen, *(setting.prove(seed) for seed in range(1, _SEEDS))]
    honest = [setting.replays(proof, FRESH) for proof in proofs]
    usual = _largest(honest[0])
    accepted, strictly = list[float](), list[float]()
    errors: dict[str, list[float]] = {"even": [], "bound": [], "bound, crops": []}
    for seed in range(_SEEDS):
        forged = setting.forge(stolen, "steered", setting.choices(0.5, seed=seed, augmentation="honest"))
        evidence = examine(forged, setting.data, RECORDED, device=setting.device)
        accepted.append(float(strict_trend(evidence).is_valid))
        strictly.append(float(strict_trend(evidence, slack_in_moves(forged.recipe.interval)).is_valid))
        errors["even"].append(_largest(evidence.replays) / usual)
        tied = setting.choices(
            0.5, seed=seed, data_order="declared", share=SHARE, trajectory=TrajectoryConfig(start="bound")
        )
        for name, choices in (("bound", tied), ("bound, crops", replace(tied, augmentation="honest"))):
            replays = setting.replays(setting.forge(stolen, "steered", choices), RECORDED)
            errors[name].append(_largest(replays) / usual)
    claim = "steered, crops, T' = T/2: accepted by strict_trend, published slack"
    yield Ratio(claim, accepted, ">= 1", at_least(1.0), digits=0)
    yield Ratio("  the same with a slack of a share of each move", strictly, digits=0)
    yield Ratio("  its error / honest", errors["even"], "<= 0.1", at_most(0.1), digits=3)
    claim = "steered, T' = T/2, W_0 and order bound: error / honest"
    yield Ratio(claim, errors["bound"], "<= 0.4", at_most(0.4), digits=3)
    yield Ratio("  the same, declaring crops as the proof does", errors["bound, crops"], digits=3)
    envelope = _envelope(setting, honest)
    attack = Steered(schedule="optimal", envelope=envelope, slack=_SLACK)
    ratios = []
    for seed in range(_SEEDS):
        forged = setting.forge(stolen, attack, setting.choices(0.9, seed=seed))
        ratios.append(
            max(
                one.error.l2 / envelope[stage_of(one.interval.start, forged.recipe.steps, STAGES)]
                for one in setting.replays(forged, RECORDED)
            )
        )
    claim = "steered optimal, T' = 0.9 T: largest error / its stage's envelope"
    yield Ratio(claim, ratios, "<= 1.0", at_most(1.0), digits=3)


def _envelope(setting: Setting, honest: Sequence[Sequence[IntervalReplay]]) -> tuple[float, ...]:
    """The largest honest error of each stage, in the weights' unit."""
    limits = [0.0] * STAGES
    for one in (replay for replays in honest for replay in replays):
        stage = stage_of(one.interval.start, setting.train.steps, STAGES)
        limits[stage] = max(limits[stage], one.error.l2)
    return tuple(limits)


def _equivalents(setting: Setting, repeats: int) -> Iterator[Ratio]:
    """Honest steps per claimed step."""

    def refuse(name: str, reason: InputError) -> None:
        raise InputError(f"{name}: {reason}")

    plan = BenchPlan(
        train=replace(setting.train, steps=200), attacks={"steered": Steered()}, intervals=20, repeats=repeats
    )
    made = measure_costs(plan, setting.data, setting.device.type, on_refused=refuse)
    by_name = {cost.attack: cost.equivalents for cost in made.costs}
    yield Ratio("steered: honest steps per claimed step", by_name["steered"], "<= 1.1", at_most(1.1), digits=3)
    yield Ratio("  honest training likewise", by_name["honest"], digits=3)


def search_ratios(setting: Setting, stolen: MemoryProof, repeats: int) -> Iterator[Ratio]:
    """Attacks II and III against the same searches by double backward."""
    for title, module, preset in (("II", ii, "zhang2022_ii"), ("III, gradient", iii, "iii")):
        attack = find_attack(preset, retries=0)
        speeds, found = [], []
        for repeat in range(repeats):
            fast, reached = _crafting(setting, stolen, attack, repeat)
            with patch.object(module, "gradient_objective", double_backward_objective):
                slow, oracle = _crafting(setting, stolen, attack, repeat)
            speeds.append(slow / fast)
            found.append(reached / oracle)
        yield Ratio(f"attack {title}: speed / double backward", speeds, ">= 1.5", at_least(1.5))
        claim = "  its |grad|^2 after the search / double backward's"
        yield Ratio(claim, found, "1 +- 0.02", lambda median: abs(median - 1.0) <= 0.02, digits=4)


def _crafting(setting: Setting, stolen: MemoryProof, attack: Any, index: int) -> tuple[float, float]:  # noqa: ANN401
    """Seconds and mean |grad|^2 after the searches of an interval of T' = T, each with its own start and batches."""
    method, choices = method_of(attack), setting.choices(declares="no_momentum")
    recipe = spoof_recipe(method, attack, choices, stolen.recipe)
    scene = make_scene(method, attack, choices, recipe, setting.data, final_checkpoint(stolen), setting.device)
    made = craft_interval(method, scene, recipe.interval_at(recipe.num_intervals // 2 + index), attack)
    return made.cost.device_s, fmean(one.grad_norm2_after for one in made.stats)


def _fashion(device: torch.device, *, quick: bool) -> Iterator[Ratio | str]:
    """The claims of `selected` on larger images, if they are installed."""
    train = TrainConfig(
        dataset="fashion_mnist",
        model="resnet20",
        steps=100 if quick else 400,
        interval=10,
        batch_size=128,
        crop_padding=2,
        horizontal_flip=True,
    )
    try:
        data = train.data.load().to(device)
    except InputError:
        yield "fashion_mnist is left out: it is not installed (Debian: dataset-fashion-mnist)"
        return
    yield f"resnet20 on fashion_mnist, T = {train.steps}, k = 10, B = 128, crops and flips; every 4th interval replayed"
    setting = Setting(train=train, data=data, device=device)
    stolen = setting.prove()
    attack = Selected(candidates=10 * train.batch_size)
    free = setting.choices(declares="no_momentum")
    times = [_seconds(setting.forge(stolen, attack, free).cost) / _seconds(stolen.cost) for _ in range(_SEEDS)]
    claim = "selected of 1280, no momentum, T' = T: time / proof's"
    yield Ratio(claim, times, "<= 0.02", at_most(0.02), digits=4)
    yield from _selected_errors(setting, stolen, attack, "selected of 1280", every=4, seeds=1 if quick else _SEEDS)


def _replaying(setting: Setting, proof: MemoryProof) -> float:
    """Seconds to re-train every interval."""
    trainer = Trainer(proof.recipe, setting.data, setting.device)
    synchronise(setting.device)
    started = time.perf_counter()
    for interval in proof.recipe.intervals():
        replay_interval(proof, trainer, interval, RECORDED)
    synchronise(setting.device)
    return time.perf_counter() - started


def _seconds(cost: Cost) -> float:
    """On the device, without waiting for writes."""
    return cost.device_s - cost.writing_s


def _over(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(ours, others, strict=True)]


def _largest(replays: Sequence[IntervalReplay], metric: Metric = "l2") -> float:
    return largest(one.error for one in replays)[metric]
