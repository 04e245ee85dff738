"""Figure 5: attack III on CIFAR-10 with ResNet-20; error, time and size against T', beside the honest proof.

Published success range of attack III: 1,000 < T' < 6,000; the points lie on both sides.
"""

from ray import tune

from raypol import run_sweep
from raypol.runs.designs.paper_experiments import CIFAR10, against_steps

SWEEP = against_steps(
    "fig05_attack3_cifar10",
    question="For which T' does a spoof by attack III beat the honest proof?",
    train=CIFAR10,
    attack="zhang2022_iii",
    steps=tune.grid_search([500, 1000, 2000, 3000, 4500, 6000, 8000]),
)

if __name__ == "__main__":
    run_sweep(SWEEP)
