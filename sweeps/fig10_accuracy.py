"""Figure 10: accuracy of the intermediate models against training progress, proof against spoof by attack III.

One point per interval: column `accuracy` of RESULTS/intervals, against step_to / steps. A noisy path is there beside the linear
one because Zhang et al. 2022 (arXiv:2108.09454) use it to make a spoof's accuracy rise as an honest proof's does.
"""

from ray import tune

from raypol import Design, Sweep, run_sweep
from raypol.runs.designs.paper_experiments import (
    CIFAR10,
    DIGITS,
    ON_GPUS,
    PAPER_DATASETS,
    PUBLISHED_SLACK,
    PUBLISHED_SPOOF,
    SEEDS,
    SMALL_III,
    SMALL_SPOOF,
)

PATHS = {"trajectory.path": tune.grid_search(["linear", "noisy"])}

SWEEP = Sweep(
    name="fig10_accuracy",
    question="Does the accuracy of a spoof's intermediate models rise as that of an honest proof?",
    paper=Design(
        train=CIFAR10,
        arms={"III": "zhang2022_iii"},
        space={"setting": tune.grid_search([*PAPER_DATASETS]), **PATHS, **SEEDS, **ON_GPUS},
        spoof=PUBLISHED_SPOOF,
        thresholds=PUBLISHED_SLACK,
    ),
    smoke=Design(
        train=DIGITS,
        arms={"III": SMALL_III},
        space={"steps": tune.grid_search([80]), **PATHS},
        spoof=SMALL_SPOOF,
    ),
)

if __name__ == "__main__":
    run_sweep(SWEEP)
