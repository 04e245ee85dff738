"""`forged_momentum`: an invented buffer does all the work. Accepted by `published`, rejected by `strict`, and by which check."""

from dataclasses import replace
from typing import Any, Final, Literal

import pytest

from raypol import prove
from raypol.core.attacks import find_attack
from raypol.core.attacks.forged_momentum import ForgedMomentum
from raypol.core.datasets.dataset import Dataset
from raypol.core.proof import MemoryProof, OptimizerConfig
from raypol.core.spoofing.trajectory import TrajectoryConfig
from tests.scenes import SHORT, Forged, claiming, forge, sgd, small_recipe, tiny

DATA = tiny()
CARRIES: Final[list[dict[str, Any]]] = [{"carry": "exact"}, {"carry": "restart"}]
NO_STATE: Final[dict[str, Any]] = {"declares": "no_momentum"}


@pytest.fixture(scope="module")
def forged(stolen: MemoryProof, dataset: Dataset) -> Forged:
    return forge(find_attack("forged_momentum"), stolen, dataset, claiming(steps=7, interval=3))


def test_it_reproduces_large_moves_with_an_error_near_zero(forged: Forged) -> None:
    moved = forged.evidence.survey.movements
    for replay, movement in zip(forged.replays, moved, strict=True):
        assert movement.l2 > 0.5
        # lr k |g| / (1 - mu) with lr = 1e-6 and |g| of order 1, and float32 rounding of 20,000 weights.
        assert replay.error.l2 < 1e-4 * movement.l2
        assert replay.error.linf < 1e-4


def test_the_published_verifier_accepts_it_and_strict_sees_the_state(forged: Forged) -> None:
    assert forged.rejected_by("published") == ""
    assert forged.rejected_by("strict") == "optimizer_state"
    assert forged.evidence.survey.state_at_start


def test_one_interval_is_enough(stolen: MemoryProof, dataset: Dataset) -> None:
    made = forge(ForgedMomentum(), stolen, dataset, claiming(steps=1, interval=1))
    assert made.rejected_by("published") == ""
    # W_T's norm statistics cannot come from one step either.
    assert made.rejected_by("strict") == "optimizer_state,buffers"


def test_it_needs_no_data_of_its_own(forged: Forged) -> None:
    assert forged.proof.num_points == 0
    assert all(crafted.cost.gradient_evals == 0 for crafted in forged.made)


ADAM = OptimizerConfig(name="Adam", options={"lr": 1e-3})


@pytest.mark.parametrize(
    ("optimizer", "choices"),
    [
        *((sgd(**options), c) for options in ({}, {"momentum": 0.5, "nesterov": True}) for c in (*CARRIES, NO_STATE)),
        *((ADAM, c) for c in CARRIES),
    ],
)
def test_it_declares_an_optimizer_of_its_own_whatever_the_honest_one(
    optimizer: OptimizerConfig, choices: dict[str, Any]
) -> None:
    stolen = prove(small_recipe(DATA, optimizer=optimizer), DATA)
    made = forge(ForgedMomentum(momentum=0.7), stolen, DATA, replace(SHORT, **choices))
    assert made.proof.recipe.optimizer == OptimizerConfig(name="SGD", options={"lr": 1e-6, "momentum": 0.7})
    assert made.rejected_by("published") == ""
    assert made.rejected_by("strict") == "optimizer_state"


@pytest.mark.parametrize("path", ["linear", "eased", "noisy"])
def test_it_follows_any_path(path: Literal["linear", "eased", "noisy"]) -> None:
    stolen = prove(small_recipe(DATA), DATA)
    made = forge(ForgedMomentum(), stolen, DATA, replace(SHORT, trajectory=TrajectoryConfig(path=path)))
    assert made.rejected_by("published") == ""
    assert all(replay.error.linf < 1e-4 for replay in made.replays)
