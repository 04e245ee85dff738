"""`training_of`: from a recipe back to the training that declares it, and only if there is one."""

from dataclasses import fields, replace
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.errors import InputError
from raypol.core.proof import OptimizerConfig, Recipe, ScheduleConfig
from raypol.core.training.train_config import TrainConfig, training_of
from tests.scenes import TINY, tiny

DATA: Final = replace(tiny(), name=TINY)
SMALL: Final[dict[str, Any]] = {"dataset": TINY, "model": "tests.toys:mlp", "steps": 12, "interval": 4, "batch_size": 8}
SHARE: Final = "0123456789abcdef" * 2

TABLE: Final[dict[str, dict[str, Any]]] = {
    "as declared": {},
    "Adam": {"optimizer": "Adam", "lr": 1e-3},
    "Adam, decay": {"optimizer": "AdamW", "lr": 1e-3, "weight_decay": 0.02},
    "RMSprop, its own momentum": {"optimizer": "RMSprop", "lr": 1e-3},
    "RMSprop, momentum": {"optimizer": "RMSprop", "lr": 1e-3, "momentum": 0.5},
    "no weight decay to be had": {"optimizer": "Rprop", "lr": 1e-3},
    "SGD, no momentum": {"momentum": 0.0, "weight_decay": 0.0},
    "constant": {"lr_drops": ()},
    "one drop": {"lr_drops": (0.3,), "lr_factor": 0.5},
    "drops out of order": {"lr_drops": (0.75, 0.25)},
    "two at a step": {"lr_drops": (0.5, 0.51)},
    "at once": {"lr_drops": (0.01, 0.5)},
    "to nothing": {"lr_drops": (0.5,), "lr_factor": 0.0},
    "flips and turns": {"horizontal_flip": True, "rotation_degrees": 7.5, "crop_padding": 2},
    "no augmentation": {"crop_padding": 0},
    "float64": {"precision": "float64"},
    "bf16": {"precision": "bf16"},
    "contiguous": {"memory_format": "contiguous"},
    "channels last": {"memory_format": "channels_last", "model": "tests.scenes:smooth_net"},
    "a shorter last interval": {"steps": 10},
    "another seed": {"seed": 2**63 - 1},
    "a share": {"share": SHARE, "seed": 7},
    "given weights": {"model": "tests.own_models:tuned_head"},
}


def declared(config: TrainConfig, dataset: Dataset, **where: Any) -> Recipe:  # noqa: ANN401 - device and threads
    return config.recipe(dataset, **{"device": "cpu", "threads": 1, **where})


@pytest.mark.parametrize("case", TABLE)
def test_it_is_the_inverse_of_a_declaration(case: str) -> None:
    config = TrainConfig(**{**SMALL, **TABLE[case]})
    recipe = declared(config, DATA, device="cuda", threads=3)
    found = training_of(recipe, DATA)
    assert declared(found, DATA, device="cuda", threads=3).canonical() == recipe.canonical()
    stated, again = config.stated(), found.stated()
    assert again.pop("memory_format") == ("channels_last" if recipe.channels_last else "contiguous")
    stated.pop("memory_format", None)
    about = {"lr_drops", "lr_factor", "momentum", "weight_decay"}  # several spellings of one rule
    assert {k: v for k, v in again.items() if k not in about} == {k: v for k, v in stated.items() if k not in about}
    assert training_of(declared(found, DATA), DATA) == found


@pytest.mark.parametrize("half", ["digits/D1", "digits/D2"])
def test_half_a_dataset_stays_half(half: str) -> None:
    config = TrainConfig(**{**SMALL, "dataset": half})
    dataset = load_dataset(half)
    assert training_of(declared(config, dataset), dataset).dataset == half


@settings(max_examples=15)
@given(
    steps=st.integers(4, 500),
    drops=st.lists(st.floats(0.0, 1.0, exclude_min=True, exclude_max=True), max_size=3).map(tuple),
    factor=st.floats(0.0, 1.0),
)
def test_learning_rates_fall_where_they_fell(steps: int, drops: tuple[float, ...], factor: float) -> None:
    changes = {"steps": steps, "lr_drops": drops, "lr_factor": factor, "memory_format": "contiguous"}
    recipe = declared(TrainConfig(**{**SMALL, **changes}), DATA)
    assert declared(training_of(recipe, DATA), DATA).schedule == recipe.schedule


UNSAYABLE: Final[list[tuple[str, dict[str, Any]]]] = [
    ("optimizer", {"optimizer": OptimizerConfig(options={"lr": 0.05, "momentum": 0.9, "nesterov": True})}),
    ("optimizer", {"optimizer": OptimizerConfig(options={"lr": 0.05, "momentum": 0.9})}),
    ("schedule", {"schedule": ScheduleConfig(name="StepLR", options={"step_size": 3})}),
    (
        "schedule",
        {"schedule": ScheduleConfig(name="MultiStepLR", options={"milestones": [6], "gamma": 0.1, "last_epoch": -1})},
    ),
    ("schedule", {"schedule": ScheduleConfig(name="MultiStepLR", options={"milestones": [12], "gamma": 0.1})}),
    ("schedule", {"schedule": ScheduleConfig(name="MultiStepLR", options={"milestones": [-1], "gamma": 0.1})}),
    ("schedule", {"schedule": ScheduleConfig(name="MultiStepLR", options={"milestones": [10**400], "gamma": 0.1})}),
    ("schedule", {"schedule": ScheduleConfig(name="MultiStepLR", options={"milestones": "sooner", "gamma": 0.1})}),
    ("schedule", {"schedule": ScheduleConfig(name="MultiStepLR", options={"milestones": 6, "gamma": 0.1})}),
    ("schedule", {"schedule": ScheduleConfig(name="constant", base_steps=5)}),
    ("seed", {"shares": ("3", SHARE)}),
    ("shares", {"shares": ("three", SHARE)}),
    ("shares", {"shares": ("-3", SHARE)}),
    ("share", {"shares": ("3", "no hex")}),
    ("dataset_sha256", {"dataset_sha256": "0" * 64}),
    ("given", {"given": {"4.weight": "0" * 64}}),
]


@pytest.mark.parametrize(("part", "changes"), UNSAYABLE, ids=lambda one: str(one)[:60])
def test_what_no_training_says_is_refused_by_name(part: str, changes: dict[str, Any]) -> None:
    recipe = replace(declared(TrainConfig(**SMALL), DATA), **changes)
    with pytest.raises(InputError, match=part):
        training_of(recipe, DATA)


def test_every_part_of_a_recipe_is_compared() -> None:
    """Statistics of other pixels stand for a part that no field of a training names."""
    recipe = declared(TrainConfig(**SMALL), DATA)
    other = replace(recipe, transform=replace(recipe.transform, mean=(0.25,)))
    with pytest.raises(InputError, match="transform"):
        training_of(other, DATA)
    assert {field.name for field in fields(Recipe)} >= {"transform", "given", "shares", "channels_last"}
