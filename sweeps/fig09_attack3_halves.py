"""Figure 9: attack III by an adversary with other data; the prover has one half of CIFAR-10, the adversary the other."""

from dataclasses import replace

from ray import tune

from raypol.core.attacks import find_attack
from raypol.face.sweep import main
from raypol.runs.design import Design, Sweep
from raypol.runs.experiments import (
    DIGITS,
    HALF_OF_CIFAR10,
    ON_GPUS,
    PUBLISHED_SLACK,
    PUBLISHED_SPOOF,
    SEEDS,
    SMALL_SPOOF,
)

SWEEP = Sweep(
    name="fig09_attack3_halves",
    question="Does a spoof by attack III need the prover's own data, or do data of the same distribution do?",
    paper=Design(
        train=HALF_OF_CIFAR10,
        arms={"III": "zhang2022_iii"},
        space={"steps": tune.grid_search([500, 1000, 2000, 3000, 4500, 6000, 8000]), **SEEDS, **ON_GPUS},
        spoof=replace(PUBLISHED_SPOOF, dataset="cifar10/D2"),
        thresholds=PUBLISHED_SLACK,
    ),
    smoke=Design(
        train=replace(DIGITS, dataset="digits/D1"),
        arms={"III": find_attack("zhang2022_iii", retries=1)},
        space={"steps": tune.grid_search([20, 40, 80])},
        spoof=replace(SMALL_SPOOF, dataset="digits/D2"),
    ),
)

if __name__ == "__main__":
    main(SWEEP)
