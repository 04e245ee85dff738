"""The arena on fashion_mnist with a small network, T = 20,000: every attack against every verifier, adapted to it."""

from raypol import run_sweep
from raypol.runs.arena.tasks import TASKS

SWEEP = TASKS["simple_conv"]

if __name__ == "__main__":
    run_sweep(SWEEP, search="adaptive")
