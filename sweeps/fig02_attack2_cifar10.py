"""Figure 2: attack II on CIFAR-10 with ResNet-20; error, time and size against T', beside the honest proof.

Published success range of attack III: 1,000 < T' < 6,000; the points lie on both sides.
"""

from ray import tune

from raypol import run_sweep
from raypol.runs.designs.paper_experiments import CIFAR10, against_steps

SWEEP = against_steps(
    "fig02_attack2_cifar10",
    question="For which T' does a spoof by attack II beat the honest proof?",
    train=CIFAR10,
    attack="zhang2022_ii",
    steps=tune.grid_search([500, 1000, 2000, 3000, 4500, 6000, 8000]),
)

if __name__ == "__main__":
    run_sweep(SWEEP)
