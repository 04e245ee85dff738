"""Shared fixtures. Everything runs on one CPU thread: two threads round differently, and the machine may have one.

RAYPOL_TEST_THREADS runs the suite on another number: `make test-elsewhere` shows that no outcome depends on it.
"""

import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TypeVar, cast

import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from rich.console import Console

from raypol import prove
from raypol.cli.commands.demo import show_demo
from raypol.cluster.runners import LocalRunner
from raypol.core.augment import Transform
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.proof import MemoryProof, Recipe, ScheduleConfig
from raypol.runs.sweeps.demo import DemoRun, run_demo
from raypol.runs.verifiable.proving import make_keys
from raypol.store.location import open_location
from tests.proved import MEMORY, small_run
from tests.studies import FEW_ARMS, QUICK_ARMS, TRAIN, on
from tests.toys import toy_recipe

torch.set_num_threads(int(os.environ.get("RAYPOL_TEST_THREADS", "1")))
# Derandomized: a red run can be repeated. No deadline: the first example pays for imports.
settings.register_profile("raypol", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("raypol")


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def recipe(digits: Dataset) -> Recipe:
    """22 steps in intervals of 8, 8 and 6, with everything that a replay has to repeat: crops, flips, momentum, a schedule."""
    return toy_recipe(
        digits,
        model="resnet8",
        steps=22,
        transform=Transform(crop_padding=1, horizontal_flip=True, mean=(0.3,), std=(0.35,)),
        schedule=ScheduleConfig(name="MultiStepLR", options={"milestones": [10, 18], "gamma": 0.2}),
    )


@pytest.fixture(scope="session")
def honest(recipe: Recipe, digits: Dataset) -> MemoryProof:
    """An honest, sealed proof. Shared by all tests: tamper with a `copy_of` it."""
    return prove(recipe, digits)


_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A demo of two arms at (T', k) = (10, 5) and (10, 4), then one of all quick arms in the same, awkwardly named folder."""

    first: DemoRun
    second: DemoRun
    folder: Path
    out: str
    err: str


def once_per_run(factory: pytest.TempPathFactory, make: Callable[[Path], _T]) -> _T:
    """What `make` makes in a new folder, made by one of the processes of a run and read by the others."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / make.__name__
    with FileLock(folder.with_suffix(".lock")):
        kept = folder / "made.pickle"
        if not kept.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a try that failed
            folder.mkdir()
            made = make(folder)
            kept.write_bytes(pickle.dumps(made))
            return made
        found: _T = pickle.loads(kept.read_bytes())  # noqa: S301 - our own
        return found


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Shared by all tests: only look."""
    return once_per_run(tmp_path_factory, _shown)


def _shown(base: Path) -> Shown:
    folder = base / 'it\'s a "demo" for $5 & more `x` [1] #2 %41 seed=5 ü'
    folder.mkdir()
    results, points = open_location(folder), ((10, 5), (10, 4))
    out, err = Console(file=StringIO(), width=80), Console(file=StringIO(), width=80)
    with pytest.MonkeyPatch.context() as patched, LocalRunner(on()) as runner:
        patched.setenv("MLFLOW_TRACKING_URI", "")
        first = run_demo(runner, results, TRAIN, points=points, arms=FEW_ARMS)
        second = show_demo(runner, results, TRAIN, out=out, err=err, points=points[:1], arms=QUICK_ARMS)
        return Shown(
            first=first,
            second=second,
            folder=folder,
            out=cast("StringIO", out.file).getvalue(),
            err=cast("StringIO", err.file).getvalue(),
        )


@pytest.fixture(scope="session")
def vc_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of the circuit of `small_run`; the costly part of a proof by verifiable computation. Shared: only look."""
    return once_per_run(tmp_path_factory, _vc_keys)


def _vc_keys(base: Path) -> Path:
    make_keys(base / "keys", small_run().shape, limit=MEMORY)
    return base / "keys"
