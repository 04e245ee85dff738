"""Figure 4: attack II on ten classes of ImageNet with ResNet-18; error, time and size against T', beside the honest proof.

Published success range of attack III: 500 < T' < 18,000; the points lie on both sides.
"""

from ray import tune

from raypol import run_sweep
from raypol.runs.designs.paper_experiments import IMAGENET, against_steps

SWEEP = against_steps(
    "fig04_attack2_imagenet",
    question="For which T' does a spoof by attack II beat the honest proof?",
    train=IMAGENET,
    attack="zhang2022_ii",
    steps=tune.grid_search([300, 500, 1000, 3000, 8000, 14_000, 18_000, 20_000]),
)

if __name__ == "__main__":
    run_sweep(SWEEP)
