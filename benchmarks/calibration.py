r"""What calibrated policies accept: honest runs of seeds they never saw, and forgeries of a stolen W_T, each with its margins.

    python -m benchmarks.calibration --seeds 20                                               # digits, resnet8: 10 minutes
    python -m benchmarks.calibration --dataset fashion_mnist --model resnet20 --steps 300 --batch-size 128 \
        --crop-padding 2 --horizontal-flip --seeds 0 --no-full-length                         # 20 minutes

Each forgery is judged twice: as it declares itself, and by the checks alone, its family left aside. `steered` is the forgery that
really trains: from W_0 on it makes every declared step and is moved towards W_T by a share of the way after each interval.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import tyro

from raypol.core import hashing
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.source import DataSource
from raypol.core.models import build_model
from raypol.core.models.initial_laws import initial_laws
from raypol.core.models.legal_starts import rank_matched
from raypol.core.proof import BatchRecord, Checkpoint, MemoryProof, ProofSource, Recipe
from raypol.core.protocol import prove, spoof
from raypol.core.seeds import bound_seed
from raypol.core.spoofing.spoof_config import SpoofConfig, declare
from raypol.core.training.prover import data_order, initial_checkpoint
from raypol.core.training.train_config import TrainConfig
from raypol.core.training.trainer import Trainer
from raypol.core.verification.policies import Policy, calibrate
from raypol.core.verification.replay import Conditions, replay_interval
from raypol.core.verification.survey import survey
from raypol.core.verification.verifier import Evidence, examine

SHARE, OTHER_SHARE = "5a" * 16, "c3" * 16
"""What the verifier gave to honest provers, and to the thief."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Judge honest runs and forgeries by calibrated policies."""

    dataset: str = "digits"
    """Name of the dataset."""
    model: str = "resnet8"
    """Name of the model."""
    steps: int = 1000
    """T."""
    interval: int = 10
    """k."""
    batch_size: int = 64
    """B."""
    calibrated_on: int = 5
    """Honest runs that the policies are made of."""
    seeds: int = 20
    """Honest runs of other seeds; 0 = leave-one-out alone."""
    crop_padding: int = 1
    """Augmentation, in pixels."""
    horizontal_flip: bool = False
    """Augmentation."""
    full_length: bool = True
    """Also forgeries of T' = T, besides those of T' = T / 2."""


def steered(
    recipe: Recipe, target: Checkpoint, data: Dataset, first: Checkpoint, schedule: Callable[[float], float]
) -> MemoryProof:
    """Train as declared from `first`; after interval i of n go a share of the way to W_T, in proportion to schedule(i/n)."""
    proof, trainer, order = MemoryProof(recipe, len(data)), Trainer(recipe, data), data_order(recipe, data)
    weights, intervals = first, recipe.intervals()
    left = [schedule(interval.index / len(intervals)) for interval in intervals]
    for interval in intervals:
        proof.write_checkpoint(weights)
        indices = order.block(interval.start, interval.stop)
        proof.write_batches(
            [
                BatchRecord(step, row, hashing.step_digest(step, data.point_digests[row]))
                for step, row in zip(range(interval.start, interval.stop), indices, strict=True)
            ]
        )
        trainer.load(weights)
        where = torch.from_numpy(np.ascontiguousarray(indices))
        trainer.run(interval.start, data.pixels[where], data.labels[where])
        trained, share = trainer.snapshot(interval.stop), left[interval.index] / sum(left[interval.index :])

        def towards(own: torch.Tensor, goal: torch.Tensor, share: float = share) -> torch.Tensor:
            return own + share * (goal - own) if own.is_floating_point() else own

        weights = replace(
            trained,
            parameters={name: towards(w, target.parameters[name]) for name, w in trained.parameters.items()},
            buffers={name: towards(b, target.buffers[name]) for name, b in trained.buffers.items()},
        )
    proof.write_checkpoint(weights)
    proof.seal()
    return proof


def forgeries(stolen: MemoryProof, data: Dataset, steps: int) -> Iterator[tuple[str, ProofSource]]:
    """Forgeries of the stolen proof's W_T that claim `steps` steps."""
    honest, target = stolen.recipe, stolen.checkpoints[-1]
    config = SpoofConfig(steps=steps, interval=honest.interval)
    for attack, carry in (
        ("null", "exact"),
        ("null", "none"),
        ("infinitesimal", "exact"),
        ("forged_momentum", "exact"),
    ):
        yield f"{attack}, state {carry}", spoof(stolen, data, attack, replace(config, carry=carry))  # type: ignore[arg-type]
    shares = ("7", OTHER_SHARE)
    free = replace(declare(honest, config, data), transform=honest.transform)
    given = replace(free, shares=shares, seed=bound_seed(honest.dataset_sha256, honest.model, shares))
    laws = initial_laws(build_model(honest.model, in_channels=data.image_shape[0], num_classes=data.num_classes))
    near = rank_matched(target.parameters, laws, torch.Generator().manual_seed(0))
    for name, power in (("even", 0), ("4th power", 4)):
        schedule = _Falling(power)
        start = replace(initial_checkpoint(free, data), parameters=near)
        yield f"steered {name}, W_0 fitted", steered(free, target, data, start, schedule)
        start = initial_checkpoint(given, data)
        yield f"steered {name}, W_0 and order bound", steered(given, target, data, start, schedule)


@dataclass(frozen=True)
class _Falling:
    """(1 - t)^power."""

    power: int

    def __call__(self, progress: float) -> float:
        return (1.0 - progress) ** self.power


def main(options: Options) -> None:
    """Train, calibrate, judge, print."""
    torch.set_num_threads(1)
    data = DataSource(name=options.dataset, folder=None).load()
    training = TrainConfig(
        dataset=options.dataset,
        model=options.model,
        steps=options.steps,
        interval=options.interval,
        batch_size=options.batch_size,
        crop_padding=options.crop_padding,
        horizontal_flip=options.horizontal_flip,
        share=SHARE,
    )
    honest: list[Evidence] = []
    stolen: list[MemoryProof] = []
    for seed in range(options.calibrated_on + options.seeds):
        proof = prove(replace(training, seed=seed), data)
        if seed == 0:
            stolen.append(proof)
        honest.append(examine(proof, data, Conditions(seed=1_000 + seed), expected_share=SHARE))
        print(f"honest seed {seed}: cosine of W_0 and W_T {honest[-1].memory.cosine:.3f}", flush=True)
    made = honest[: options.calibrated_on]
    policies = [calibrate(made), calibrate(made, kind="bound")]
    for policy in policies:
        assert policy.calibration is not None
        rejected = [i for i, evidence in enumerate(honest) if i >= len(made) and not policy(evidence).is_valid]
        left_out = policy.calibration.left_out_rejected
        print(
            f"{policy.name} ({policy.sha256[:12]}): {left_out} of {len(made)} left out rejected, {len(rejected)} of "
            f"{options.seeds} honest proofs of other seeds rejected {rejected or ''}"
        )
    for steps in (options.steps // 2, options.steps)[: 1 + options.full_length]:
        for name, forged in forgeries(stolen[0], data, steps):
            evidence = examine(forged, data, Conditions(seed=5), expected_share=OTHER_SHARE)
            print(f"T' = {steps}, {name}:")
            for policy in policies:
                print(f"    {policy.name}: {told(policy, evidence)}")
    print_costs(stolen[0], data)


def told(policy: Policy, evidence: Evidence) -> str:
    """What a policy says with its family left aside, and by which margins."""
    verdict = replace(policy, family=None)(evidence)
    numbers = {check.name: check.numbers for check in verdict.checks}
    margins = (
        f"envelope {numbers['envelope']['worst_ratio']:.3g}x, direction {numbers['direction'].get('margin', 0.0):+.2f}"
    )
    foreign = policy(evidence).foreign
    declared = f"; another family ({foreign})" if foreign else ""
    return f"{'ACCEPTED' if verdict.is_valid else 'rejected by ' + verdict.rejected_by} [{margins}]{declared}"


def print_costs(proof: MemoryProof, data: Dataset) -> None:
    """Seconds of the replay alone, and of everything else that a calibrated policy looks at."""
    trainer, conditions = Trainer(proof.recipe, data), Conditions()
    start = time.perf_counter()
    for interval in proof.recipe.intervals():
        replay_interval(proof, trainer, interval, conditions)
    replays = time.perf_counter() - start
    every = len(proof.checkpoint_steps)
    last = {proof.recipe.num_intervals * (stage + 1) // 8 for stage in range(8)} | {0}
    start = time.perf_counter()
    survey(proof, trainer, 0, every, accuracy=last.__contains__)
    surveyed = time.perf_counter() - start
    start = time.perf_counter()
    survey(proof, trainer, 0, every, accuracy=False)
    bare = time.perf_counter() - start
    print(f"replay alone {replays:.1f} s; the whole examination {1.0 + surveyed / replays:.3f} times that, of which")
    print(
        f"reading, hashing and testing {bare / replays:.3f}, accuracies of 9 models {(surveyed - bare) / replays:.3f}"
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
