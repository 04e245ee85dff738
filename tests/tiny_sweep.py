"""A sweep file of six cheap trials, for tests of what surrounds the trials."""

import os
import runpy
from pathlib import Path

SOURCE = '''"""Six cheap trials."""

from ray import tune

from raypol.cli.sweep import run_sweep
from raypol.runs.designs.design import Design, Sweep
from raypol.core.training.train_config import TrainConfig

TRAIN = TrainConfig(steps=40, interval=10, batch_size=32)
ARMS = {"forged_momentum": "forged_momentum"}

SWEEP = Sweep(
    name="tiny",
    question="Does it run?",
    paper=Design(train=TRAIN, arms=ARMS, space={"steps": tune.grid_search([10, 20, 30])}),
    smoke=Design(train=TRAIN, arms=ARMS, space={"steps": tune.grid_search([10, 20])}),
)

if __name__ == "__main__":
    run_sweep(SWEEP)
'''


def tiny_sweep(folder: Path) -> Path:
    """The file, in this folder."""
    path = folder / "tiny.py"
    path.write_text(SOURCE)
    return path


def environment() -> dict[str, str]:
    """For a sweep in a process of its own, beside whatever else runs on the machine."""
    return {**os.environ, "RAY_AUTH_MODE": "disabled", "MLFLOW_TRACKING_URI": "", "RAY_worker_niceness": "0"}


def start(path: Path, words: list[str]) -> int:
    """Run the file's command line in this process; its exit code."""
    from raypol.cli.sweep import run_sweep

    try:
        run_sweep(runpy.run_path(str(path))["SWEEP"], words)
    except SystemExit as end:
        return int(end.code or 0)
    raise AssertionError("a command line ends with an exit code")
