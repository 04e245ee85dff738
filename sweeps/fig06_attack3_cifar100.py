"""Figure 6: attack III on CIFAR-100 with ResNet-50; error, time and size against T', beside the honest proof.

Published success range of attack III: 1,500 < T' < 4,000; the points lie on both sides.
"""

from ray import tune

from raypol.core.attacks import find_attack
from raypol.face.sweep import main
from raypol.runs.design import Design, Sweep
from raypol.runs.experiments import CIFAR100, DIGITS, ON_GPUS, PUBLISHED_SLACK, PUBLISHED_SPOOF, SEEDS, SMALL_SPOOF

SWEEP = Sweep(
    name="fig06_attack3_cifar100",
    question="For which T' does a spoof by attack III beat the honest proof?",
    paper=Design(
        train=CIFAR100,
        arms={"III": "zhang2022_iii"},
        space={"steps": tune.grid_search([1000, 1500, 2000, 3000, 4000, 6000]), **SEEDS, **ON_GPUS},
        spoof=PUBLISHED_SPOOF,
        thresholds=PUBLISHED_SLACK,
    ),
    smoke=Design(
        train=DIGITS,
        arms={"III": find_attack("zhang2022_iii", retries=1)},
        space={"steps": tune.grid_search([20, 40, 80])},
        spoof=SMALL_SPOOF,
    ),
)

if __name__ == "__main__":
    main(SWEEP)
