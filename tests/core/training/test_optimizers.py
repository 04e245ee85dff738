"""Every optimizer of torch: those that replay, those that cannot, and the options that each has."""

from typing import Any

import pytest
import torch

from raypol import Dataset, SpoofConfig, TrainConfig, prove, spoof, verify
from raypol.core.errors import InputError
from raypol.core.proof import Recipe
from raypol.core.training.optimizers import learning_rates
from tests.toys import EXACT

CANNOT_REPLAY = {
    "LBFGS": "evaluates the loss several times in a step",
    "SparseAdam": "takes sparse gradients alone",
    "Optimizer": "is the base of all optimizers",
}
EVERY = [
    name
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and name not in CANNOT_REPLAY
]


def training(name: str, **changes: Any) -> TrainConfig:  # noqa: ANN401 - any field of TrainConfig
    """Five steps of the smallest model that the optimizer takes."""
    model = "tests.toys:matrices" if name == "Muon" else "tests.toys:mlp"
    shape: dict[str, Any] = {"steps": 5, "interval": 2, "batch_size": 8, "model": model, "lr": 0.01}
    return TrainConfig(**{**shape, "optimizer": name, **changes})


def declared(data: Dataset, name: str, **changes: Any) -> Recipe:  # noqa: ANN401 - as above
    return training(name, **changes).recipe(data, device="cpu", threads=1)


@pytest.mark.parametrize("name", EVERY)
def test_every_optimizer_replays_exactly_with_the_default_options(name: str, digits: Dataset) -> None:
    proof = prove(training(name), digits)
    assert len(learning_rates(proof.recipe)) == 5
    verdict = verify(proof, digits, thresholds=EXACT)
    assert verdict.is_valid, verdict.rejected_by


@pytest.mark.parametrize("name", ["Rprop", "Muon", "Adafactor"])
def test_its_spoof_is_made_and_judged(name: str, digits: Dataset) -> None:
    forged = spoof(prove(training(name), digits), digits, "null", SpoofConfig(steps=4, interval=2))
    assert "structure" not in verify(forged, digits).rejected_by


@pytest.mark.parametrize("name", CANNOT_REPLAY)
def test_an_optimizer_that_cannot_replay_says_why(name: str, digits: Dataset) -> None:
    with pytest.raises(InputError, match=f"optimizer {name} {CANNOT_REPLAY[name]}.*; possible: ASGD, "):
        declared(digits, name)


def test_muon_needs_a_model_of_matrices(digits: Dataset) -> None:
    with pytest.raises(InputError, match=r"Muon updates matrices alone: .*got 2 others, the first of shape \(12,\)"):
        declared(digits, "Muon", model="tests.toys:mlp")


@pytest.mark.parametrize(
    ("name", "given", "options"),
    [
        ("SGD", {}, {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}),
        ("SGD", {"momentum": 0.0, "weight_decay": 0.0}, {"lr": 0.01, "momentum": 0.0, "weight_decay": 0.0}),
        ("Rprop", {}, {"lr": 0.01}),
        ("Adam", {}, {"lr": 0.01, "weight_decay": 1e-4}),
        ("RMSprop", {}, {"lr": 0.01, "weight_decay": 1e-4}),
        ("RMSprop", {"momentum": 0.9}, {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}),
        ("Muon", {"momentum": 0.5}, {"lr": 0.01, "momentum": 0.5, "weight_decay": 1e-4}),
    ],
)
def test_the_options_declared_are_those_that_the_class_has(
    digits: Dataset, name: str, given: dict[str, float], options: dict[str, float]
) -> None:
    assert declared(digits, name, **given).optimizer.options == options


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("Rprop", {"weight_decay": 1e-4}, "optimizer Rprop has no weight_decay, got weight_decay 0.0001: leave it out"),
        ("Rprop", {"momentum": 0.9}, "optimizer Rprop has no momentum, .*optimizers that have it: Muon, RMSprop, SGD"),
        ("Adam", {"momentum": 0.0}, "optimizer Adam has no momentum, got momentum 0: leave it out"),
        ("sgd", {"momentum": 0.0}, "unknown optimizer 'sgd'"),
    ],
)
def test_an_option_that_was_given_and_is_lacking_is_an_error(
    digits: Dataset, name: str, given: dict[str, float], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        declared(digits, name, **given)


def test_a_configuration_is_named_by_the_options_that_are_taken() -> None:
    assert repr(TrainConfig()) == repr(TrainConfig(momentum=0.9, weight_decay=1e-4))
    assert repr(TrainConfig(optimizer="RMSprop")) != repr(TrainConfig(optimizer="RMSprop", momentum=0.9))
    assert repr(TrainConfig(momentum=0.5)) != repr(TrainConfig())
    assert "unknown" in repr(TrainConfig(optimizer="unknown"))
