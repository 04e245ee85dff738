"""Figure 12: points before and after attack III, on three datasets.

The spoofs are kept: a perturbed point and the one it was made from are a row of RESULTS/proofs/<proof_id>/points.parquet.
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
    SMALL_III,
    SMALL_SPOOF,
)

SWEEP = Sweep(
    name="fig12_images",
    question="Can one see what attack III does to a point?",
    paper=Design(
        train=CIFAR10,
        arms={"III": "zhang2022_iii"},
        space={"setting": tune.grid_search([*PAPER_DATASETS]), **ON_GPUS},
        spoof=PUBLISHED_SPOOF,
        thresholds=PUBLISHED_SLACK,
    ),
    smoke=Design(
        train=DIGITS,
        arms={"III": SMALL_III, "III-invisible": "iii_invisible"},
        space={"steps": tune.grid_search([40])},
        spoof=SMALL_SPOOF,
    ),
)

if __name__ == "__main__":
    run_sweep(SWEEP)
