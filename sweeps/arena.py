"""The arena on digits: every attack against every verifier, adapted to it."""

from raypol import run_sweep
from raypol.runs.arena.tasks import TASKS

SWEEP = TASKS["digits"]

if __name__ == "__main__":
    run_sweep(SWEEP, search="adaptive")
