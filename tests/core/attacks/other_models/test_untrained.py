"""Control untrained: W_0 at every step, hardly moved, at no rate; who accepts it establishes nothing about training."""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

from raypol import prove
from raypol.core.attacks import find_attack
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, MemoryProof, OptimizerConfig
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import Start, TrajectoryConfig
from raypol.core.training.optimizers import learning_rates
from raypol.core.training.prover import initial_checkpoint
from raypol.core.verification.policies import find_policy, published
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verifier import examine
from tests.scenes import Forged, bits, forge, sgd, small_recipe, tiny
from tests.toys import FRESH

DATA = tiny()
HONEST = TrajectoryConfig(start="honest")
CHOICES = SpoofConfig(steps=12, interval=4, trajectory=HONEST, declares="no_momentum", buffers="exact")
STATIC = Thresholds()


@cache
def target() -> MemoryProof:
    return prove(small_recipe(DATA, optimizer=sgd(momentum=0.9)), DATA)


def made(choices: SpoofConfig = CHOICES, honest: MemoryProof | None = None, *, drift: float = 0.0) -> Forged:
    return forge(find_attack("untrained", drift=drift), honest or target(), DATA, choices)


def weights(checkpoint: Checkpoint) -> dict[str, object]:
    return {name: bits(tensor) for name, tensor in checkpoint.parameters.items()}


@pytest.mark.parametrize("start", ["honest", "rank_matched"])
def test_without_a_drift_the_weights_never_move(start: Start) -> None:
    forged = made(replace(CHOICES, trajectory=TrajectoryConfig(start=start)))
    first, *others = map(weights, forged.proof.checkpoints)
    assert all(other == first for other in others)
    assert [checkpoint.step for checkpoint in forged.proof.checkpoints] == [0, 4, 8, 12]
    drawn = weights(initial_checkpoint(forged.proof.recipe, DATA))
    assert (first == drawn) is (start == "honest")
    assert first != weights(target().checkpoints[-1]), "it claims nothing of W_T's"


def test_the_drift_is_a_share_of_w_0() -> None:
    first, *_, last = made(drift=1e-2).proof.checkpoints
    for name, W in first.parameters.items():
        torch.testing.assert_close(last.parameters[name], 1.01 * W)


def test_a_drift_passes_strict_which_says_nothing_about_training() -> None:
    assert made(drift=1e-4).rejected_by("strict", STATIC) == ""


@pytest.mark.parametrize("drift", [-0.1, 1.0, math.nan])
def test_drifts_out_of_range(drift: float) -> None:
    with pytest.raises(InputError, match="drift"):
        find_attack("untrained", drift=drift)


def test_it_costs_no_gradient_and_brings_no_points() -> None:
    forged = made()
    assert forged.proof.cost.gradient_evals == 0
    assert forged.proof.num_points == 0
    assert forged.stats == ()
    assert learning_rates(forged.proof.recipe).max() <= 1e-6


def test_who_looks_at_errors_alone_accepts_it_and_who_looks_at_moves_or_bits_does_not() -> None:
    forged = made()
    assert forged.rejected_by("published", STATIC) == ""
    assert forged.rejected_by("strict", STATIC) == "admissible"
    seen = examine(forged.proof, DATA, FRESH, exact=True)
    for check in ("direction", "declared_rate", "exact"):
        assert find_policy(f"published+{check}")(seen, STATIC).rejected_by == check


def test_it_needs_no_model() -> None:
    granted = replace(CHOICES, data_order="declared", grants=("data", "policy", "optimizer"))
    assert made(granted).rejected_by("published", STATIC) == ""


def test_other_optimizers_and_models_without_statistics() -> None:
    honest = prove(
        small_recipe(DATA, model="tests.toys:mlp", optimizer=OptimizerConfig(name="Adam", options={"lr": 1e-3})), DATA
    )
    forged = made(replace(CHOICES, declares="honest_schedule"), honest)
    assert weights(forged.proof.checkpoints[0]) == weights(forged.proof.checkpoints[-1])
    assert published(forged.evidence, STATIC).is_valid
