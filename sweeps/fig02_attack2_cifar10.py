"""Figure 2: attack II on CIFAR-10 with ResNet-20; error, time and size against T', beside the honest proof.

Published success range of attack III: 1,000 < T' < 6,000; the points lie on both sides.
"""

from ray import tune

from raypol.core.attacks import find_attack
from raypol.face.sweep import main
from raypol.runs.design import Design, Sweep
from raypol.runs.experiments import CIFAR10, DIGITS, ON_GPUS, PUBLISHED_SLACK, PUBLISHED_SPOOF, SEEDS, SMALL_SPOOF

SWEEP = Sweep(
    name="fig02_attack2_cifar10",
    question="For which T' does a spoof by attack II beat the honest proof?",
    paper=Design(
        train=CIFAR10,
        arms={"II": "zhang2022_ii"},
        space={"steps": tune.grid_search([500, 1000, 2000, 3000, 4500, 6000, 8000]), **SEEDS, **ON_GPUS},
        spoof=PUBLISHED_SPOOF,
        thresholds=PUBLISHED_SLACK,
    ),
    smoke=Design(
        train=DIGITS,
        arms={"II": find_attack("zhang2022_ii", retries=1)},
        space={"steps": tune.grid_search([20, 40, 80])},
        spoof=SMALL_SPOOF,
    ),
)

if __name__ == "__main__":
    main(SWEEP)
