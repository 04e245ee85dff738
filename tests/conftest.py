"""Shared fixtures. Everything runs on one CPU thread: two threads round differently, and the machine may have one."""

import pytest
import torch
from hypothesis import settings

from raypol.core.augment import Transform
from raypol.core.data import Dataset, load_dataset
from raypol.core.proof import MemoryProof, Recipe, ScheduleConfig
from tests.toys import honest_proof, toy_recipe

torch.set_num_threads(1)
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
    return honest_proof(recipe, digits)
