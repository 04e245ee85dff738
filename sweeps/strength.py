"""Perturbation strength: alpha and the limit on a pixel's change in attack III, the noise on W_T and its decay.

The default runs the grids of `space`; `--search random` and `--search optuna` (error against cost) draw from `drawn` instead.
"""

from dataclasses import replace

from ray import tune

from raypol import Design, Sweep, TrajectoryConfig, run_sweep
from raypol.runs.designs.paper_experiments import (
    CIFAR10,
    DIGITS,
    ON_GPUS,
    PUBLISHED_SLACK,
    PUBLISHED_SPOOF,
    SEEDS,
    SMALL_III,
    SMALL_SPOOF,
)

NOISY = TrajectoryConfig(path="noisy", initial="published")
STRENGTH = {
    "attack.alpha": tune.loguniform(1e-3, 10.0),
    "attack.linf_limit": tune.choice([2 / 255, 8 / 255, 32 / 255, None]),
    "trajectory.noise": tune.loguniform(1e-3, 1.0),
    "trajectory.noise_decay": tune.uniform(0.5, 4.0),
}

SWEEP = Sweep(
    name="strength",
    question="How strong a perturbation, of data and of W_T, does a spoof need, and how strong a one does it stand?",
    paper=Design(
        train=CIFAR10,
        arms={"III": "zhang2022_iii"},
        space={
            "attack.alpha": tune.grid_search([0.01, 0.1, 1.0]),
            "attack.linf_limit": tune.grid_search([8 / 255, None]),
            "trajectory.noise": tune.grid_search([0.01, 0.1, 0.3]),
            "trajectory.noise_decay": tune.grid_search([1.0, 2.0, 4.0]),
            **SEEDS,
            **ON_GPUS,
        },
        drawn=STRENGTH | {"steps": tune.qrandint(1000, 6000, 100)},
        spoof=replace(PUBLISHED_SPOOF, trajectory=NOISY),
        thresholds=PUBLISHED_SLACK,
        samples=64,
    ),
    smoke=Design(
        train=DIGITS,
        arms={"III": SMALL_III},
        space={
            "attack.alpha": tune.grid_search([0.01, 1.0]),
            "trajectory.noise": tune.grid_search([0.01, 0.1]),
            "trajectory.noise_decay": tune.grid_search([2.0]),
        },
        drawn=STRENGTH | {"steps": tune.qrandint(20, 80, 10)},
        spoof=replace(SMALL_SPOOF, trajectory=NOISY),
        samples=4,
    ),
)

if __name__ == "__main__":
    run_sweep(SWEEP)
