r"""What calibrated policies accept: honest runs of seeds they never saw, and forgeries of a stolen W_T, each with its margins.

    python -m benchmarks.calibration --seeds 20                                               # digits, resnet8: 10 minutes
    python -m benchmarks.calibration --dataset fashion_mnist --model resnet20 --steps 300 --batch-size 128 \
        --crop-padding 2 --horizontal-flip --seeds 0 --no-full-length                         # 20 minutes

Each forgery is judged twice: as it declares itself, and by the checks alone, its family left aside.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import tyro

from raypol.core.attacks.steered import Steered
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.source import DataSource
from raypol.core.proof import MemoryProof, ProofSource
from raypol.core.protocol import prove, spoof
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.training.train_config import TrainConfig
from raypol.core.training.trainer import Trainer
from raypol.core.verification.policies import Policy, calibrate
from raypol.core.verification.replay import Conditions, replay_interval
from raypol.core.verification.survey import survey
from raypol.core.verification.verifier import Evidence, examine

SHARE, OTHER_SHARE = "5a" * 16, "c3" * 16
"""What the verifier gave to honest provers, and to the thief."""
_SLACK, _LEAD = 0.8, 10.0
"""Share of the limits that a nudge has: what the honest noise of a fresh augmentation leaves. Intervals that the aim is ahead."""


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


def forgeries(
    stolen: MemoryProof, data: Dataset, steps: int, limits: Sequence[float]
) -> Iterator[tuple[str, ProofSource]]:
    """Forgeries of the stolen proof's W_T that claim `steps` steps; the optimal one knows the limits of the envelope in l2."""
    config = SpoofConfig(steps=steps, interval=stolen.recipe.interval)
    yield "null", spoof(stolen, data, "null", config)
    yield "null, no momentum", spoof(stolen, data, "null", replace(config, declares="no_momentum"))
    yield "infinitesimal", spoof(stolen, data, "infinitesimal", config)
    yield "forged_momentum", spoof(stolen, data, "forged_momentum", config)
    fitted = replace(config, augmentation="honest")
    honest = replace(fitted, trajectory=TrajectoryConfig(start="honest"), data_order="declared")
    bound = replace(honest, trajectory=TrajectoryConfig(start="bound"), share=OTHER_SHARE)
    for name, attack in {
        "even": Steered(),
        "4th power": Steered(schedule="power"),
        "optimal": Steered(schedule="optimal", envelope=tuple(limits), slack=_SLACK, lead=_LEAD),
    }.items():
        yield f"steered {name}, W_0 fitted", spoof(stolen, data, attack, fitted)
        yield f"steered {name}, W_0 and order of the seed", spoof(stolen, data, attack, honest)
        yield f"steered {name}, W_0 and order bound", spoof(stolen, data, attack, bound)


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
    limits = next(use.parameters["limits"]["l2"] for use in policies[0].checks if use.check == "envelope")
    for steps in (options.steps // 2, options.steps)[: 1 + options.full_length]:
        for name, forged in forgeries(stolen[0], data, steps, limits):
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
