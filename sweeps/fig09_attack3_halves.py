"""Figure 9: attack III by an adversary with other data; the prover has one half of CIFAR-10, the adversary the other."""

from ray import tune

from raypol import run_sweep
from raypol.runs.designs.paper_experiments import HALF_OF_CIFAR10, against_steps

SWEEP = against_steps(
    "fig09_attack3_halves",
    question="Does a spoof by attack III need the prover's own data, or do data of the same distribution do?",
    train=HALF_OF_CIFAR10,
    attack="zhang2022_iii",
    steps=tune.grid_search([500, 1000, 2000, 3000, 4500, 6000, 8000]),
    halves=True,
)

if __name__ == "__main__":
    run_sweep(SWEEP)
