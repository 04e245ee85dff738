"""Figure 3: attack II on CIFAR-100 with ResNet-50; error, time and size against T', beside the honest proof.

Published success range of attack III: 1,500 < T' < 4,000; the points lie on both sides.
"""

from ray import tune

from raypol import run_sweep
from raypol.runs.designs.paper_experiments import CIFAR100, against_steps

SWEEP = against_steps(
    "fig03_attack2_cifar100",
    question="For which T' does a spoof by attack II beat the honest proof?",
    train=CIFAR100,
    attack="zhang2022_ii",
    steps=tune.grid_search([1000, 1500, 2000, 3000, 4000, 6000]),
)

if __name__ == "__main__":
    run_sweep(SWEEP)
