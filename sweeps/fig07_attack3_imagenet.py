"""Figure 7: attack III on ten classes of ImageNet with ResNet-18; error, time and size against T', beside the honest proof.

Published success range of attack III: 500 < T' < 18,000; the points lie on both sides.
"""

from ray import tune

from raypol.core.attacks import find_attack
from raypol.face.sweep import main
from raypol.runs.design import Design, Sweep
from raypol.runs.experiments import DIGITS, IMAGENET, ON_GPUS, PUBLISHED_SLACK, PUBLISHED_SPOOF, SEEDS, SMALL_SPOOF

SWEEP = Sweep(
    name="fig07_attack3_imagenet",
    question="For which T' does a spoof by attack III beat the honest proof?",
    paper=Design(
        train=IMAGENET,
        arms={"III": "zhang2022_iii_imagenet"},
        space={"steps": tune.grid_search([300, 500, 1000, 3000, 8000, 14_000, 18_000, 20_000]), **SEEDS, **ON_GPUS},
        spoof=PUBLISHED_SPOOF,
        thresholds=PUBLISHED_SLACK,
    ),
    smoke=Design(
        train=DIGITS,
        arms={"III": find_attack("zhang2022_iii_imagenet", retries=1)},
        space={"steps": tune.grid_search([20, 40, 80])},
        spoof=SMALL_SPOOF,
    ),
)

if __name__ == "__main__":
    main(SWEEP)
