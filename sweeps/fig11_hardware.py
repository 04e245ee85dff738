"""Figure 11: time of a spoof by attacks II and III on four kinds of GPU, against that of the honest proof on a V100.

At smoke size the kinds are one and two cores; the proof is then made and judged on the same, two cores being all there are.
"""

from ray import tune

from raypol import Design, Sweep, find_attack, run_sweep
from raypol.runs.designs.paper_experiments import (
    CIFAR10,
    DIGITS,
    PUBLISHED_SLACK,
    PUBLISHED_SPOOF,
    SEEDS,
    SMALL_III,
    SMALL_SPOOF,
)

GPUS = {
    "prover": tune.grid_search(["V100"]),
    "spoofer": tune.grid_search(["T4", "P40", "RTX2080Ti", "V100"]),
    "verifier": tune.grid_search(["V100"]),
}
CORES = {
    "machine": tune.grid_search([dict.fromkeys(("prover", "spoofer", "verifier"), cores) for cores in ("cpu", "cpu:2")])
}

SWEEP = Sweep(
    name="fig11_hardware",
    question="On which hardware is a spoof cheaper than the honest proof?",
    paper=Design(
        train=CIFAR10,
        arms={"II": "zhang2022_ii", "III": "zhang2022_iii"},
        space={"steps": tune.grid_search([1000, 3000, 6000]), **SEEDS, **GPUS},
        spoof=PUBLISHED_SPOOF,
        thresholds=PUBLISHED_SLACK,
    ),
    smoke=Design(
        train=DIGITS,
        arms={"II": find_attack("zhang2022_ii", retries=1), "III": SMALL_III},
        space={"steps": tune.grid_search([20]), **CORES},
        spoof=SMALL_SPOOF,
    ),
)

if __name__ == "__main__":
    run_sweep(SWEEP)
