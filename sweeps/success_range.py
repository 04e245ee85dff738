"""Success range of attack III on CIFAR-10 with ResNet-20: its ends by bisection instead of a grid over T'.

Published success range: 1,000 < T' < 6,000. `--search grid` runs the few points of `space` instead; the grid of the resolution in
`drawn` would have 200 per arm and seed.
"""

from dataclasses import replace

from ray import tune

from raypol import Design, Sweep, find_attack, run_sweep
from raypol.runs.designs.paper_experiments import (
    CIFAR10,
    DIGITS,
    ON_GPUS,
    PUBLISHED_SLACK,
    PUBLISHED_SPOOF,
    SEEDS,
    SMALL_SPOOF,
)

SWEEP = Sweep(
    name="success_range",
    question="Between which T' does a spoof by attack III succeed, what binds there, and is that more than ordinary batches do?",
    paper=Design(
        train=CIFAR10,
        arms={"III": "zhang2022_iii"},
        space={"steps": tune.grid_search([500, 1000, 2000, 4000, 6000, 8000]), **SEEDS, **ON_GPUS},
        drawn={"steps": tune.qrandint(100, 20_000, 100)},
        spoof=PUBLISHED_SPOOF,
        thresholds=PUBLISHED_SLACK,
    ),
    smoke=Design(
        train=replace(DIGITS, steps=80),
        arms={"III-invisible": find_attack("iii_invisible", iterations=2, retries=0)},
        space={"steps": tune.grid_search([20, 60]), "interval": 5, "seed": tune.grid_search([0, 1])},
        drawn={"steps": tune.qrandint(5, 160, 5)},
        spoof=SMALL_SPOOF,
    ),
)

if __name__ == "__main__":
    run_sweep(SWEEP, search="range")
