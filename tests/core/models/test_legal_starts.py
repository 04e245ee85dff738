"""W_0 as an adversary chooses it: legal to the verifier's test, and as near to W_T as that leaves it."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from raypol import prove
from raypol.core.attacks import find_attack
from raypol.core.datasets.load import load_dataset
from raypol.core.distances import METRICS, cosine_of, parameter_distances
from raypol.core.models.initial_laws import (
    SIGNIFICANCE,
    Constant,
    Law,
    Normal,
    RandomLaw,
    Uniform,
    draw_initial,
    ks_p_value,
    num_impossible,
)
from raypol.core.models.legal_starts import closest_legal, mixed, rank_matched
from raypol.core.proof import MemoryProof
from raypol.core.seeds import bound_seed
from raypol.core.spoofing.spoof_config import SpoofConfig, declare
from raypol.core.spoofing.trajectory import Trajectory, TrajectoryConfig
from raypol.core.training.prover import initial_checkpoint
from raypol.core.verification.policies import Policy, Use
from raypol.core.verification.verifier import examine
from tests.scenes import RECORDED, SHORT, all_bits, forge, small_recipe, stolen_digits, tiny

DATA = tiny()
LAWS: dict[str, Law] = {"conv": Normal(0.2), "linear": Uniform(0.1), "bias": Uniform(0.1), "scale": Constant(1.0)}
SHAPES = {
    "conv": torch.Size([8, 4, 3, 3]),
    "linear": torch.Size([10, 30]),
    "bias": torch.Size([1]),
    "scale": torch.Size([8]),
}
RANDOM = [name for name, law in LAWS.items() if isinstance(law, RandomLaw)]
SHARE = "5a" * 16


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- the order of W_T ------------------------------------------------------------------------------------------------


def trained() -> dict[str, Tensor]:
    """Weights that no law gives: shifted, too wide, with a few large entries."""
    drawn = draw_initial(LAWS, SHAPES, rng(99))
    return {name: 1.7 * tensor + 0.05 * torch.randn(tensor.shape, generator=rng(5)) for name, tensor in drawn.items()}


@pytest.mark.parametrize("seed", range(10))
def test_rank_matched_is_legal_and_closer_than_a_fresh_draw(seed: int) -> None:
    target = trained()
    matched, fresh = rank_matched(target, LAWS, rng(seed)), draw_initial(LAWS, SHAPES, rng(seed))
    for name in ("conv", "linear"):
        assert ks_p_value(matched[name], LAWS[name]) >= SIGNIFICANCE
        assert torch.equal(matched[name].flatten().argsort(), target[name].flatten().argsort())
        # The same values, only re-ordered: the law cannot tell.
        assert torch.equal(matched[name].flatten().sort().values, fresh[name].flatten().sort().values)
        near, far = (parameter_distances({name: w[name]}, {name: target[name]}) for w in (matched, fresh))
        assert near.l1 < far.l1
        assert near.l2 < far.l2
        assert near.linf <= far.linf
        assert near.cos < far.cos


@pytest.mark.parametrize("seed", range(5))
def test_no_other_order_of_the_same_values_is_closer(seed: int) -> None:
    law, target = {"w": Normal(1.0)}, {"w": 3.0 * torch.randn(6, generator=rng(100 + seed))}
    matched = rank_matched(target, law, rng(seed))
    best = parameter_distances(matched, target)
    for order in itertools.permutations(range(6)):
        other = parameter_distances({"w": matched["w"][list(order)]}, target)
        # 1e-9: equal sums taken in another order.
        assert best.l1 <= other.l1 + 1e-9
        assert best.l2 <= other.l2 + 1e-9
        assert best.linf <= other.linf + 1e-9


def test_constants_start_at_their_constants() -> None:
    assert torch.equal(rank_matched(trained(), LAWS, rng())["scale"], torch.ones(8))


def test_rank_matching_survives_ties_in_the_target() -> None:
    law, target = {"w": Uniform(1.0)}, {"w": torch.zeros(3, 100)}
    matched = rank_matched(target, law, rng())
    assert matched["w"].shape == (3, 100)
    assert ks_p_value(matched["w"], law["w"]) >= SIGNIFICANCE


# --- the closest values that the test takes --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [1, 2, 7, 300])
@pytest.mark.parametrize("law", [Normal(0.2), Uniform(0.1)], ids=["normal", "uniform"])
def test_the_ball_of_the_test_is_reached_and_not_left(law: Law, n: int, seed: int) -> None:
    for spread in (0.01, 0.3, 30.0):
        target = {"w": spread * torch.randn(n, generator=rng(seed)) + 0.02}
        start = closest_legal(target, {"w": law}, rng())["w"]
        assert ks_p_value(start, law) >= SIGNIFICANCE
        assert num_impossible(start, law) == 0
        assert start.dtype == torch.float32


def test_it_is_legal_in_every_tensor_and_nearer_than_the_rank_matched_draw() -> None:
    target = trained()
    ball, matched = closest_legal(target, LAWS, rng()), rank_matched(target, LAWS, rng())
    assert {name: tensor.shape for name, tensor in ball.items()} == SHAPES
    assert torch.equal(ball["scale"], torch.ones(8))
    for name in ("conv", "linear"):
        assert ks_p_value(ball[name], LAWS[name]) >= SIGNIFICANCE
        near, far = (parameter_distances({name: w[name]}, {name: target[name]}) for w in (ball, matched))
        assert near.l1 < far.l1
        assert near.l2 < far.l2
        assert near.linf < far.linf


def test_no_entry_can_move_nearer_without_being_seen() -> None:
    """Each by itself: 2 % of the distance that is left, or what moves its share of the law by 0.002, and p < 0.01."""
    law, n = Normal(1.0), 60
    target = 3.0 * torch.randn(n, generator=rng(1)).double() + 1.0
    start = closest_legal({"w": target.float()}, {"w": law}, rng())["w"].double()
    moved = (start - target).abs() > 1e-6
    assert 10 < int(moved.sum()) < n, "some stay where W_T has them, others may not"
    for i in moved.nonzero().flatten().tolist():
        nearer = start.clone()
        share = torch.special.ndtr(start[i]) + 0.002 * torch.sign(target[i] - start[i])
        nearer[i] = torch.special.ndtri(share.clamp(1e-9, 1.0 - 1e-9))
        assert ks_p_value(nearer, law) < SIGNIFICANCE, i


def test_weights_that_the_test_takes_stay_as_they_are() -> None:
    drawn = draw_initial(LAWS, SHAPES, rng(3))
    ball = closest_legal(drawn, LAWS, rng())
    assert all(torch.equal(ball[name], drawn[name]) for name in LAWS)


# --- a given cosine --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cosine", [0.0, 0.3, 0.6, 0.8])
def test_a_mixed_start_has_the_cosine_that_was_asked(cosine: float) -> None:
    target = trained()
    start = mixed(target, LAWS, rng(), cosine=cosine)
    random = {name: start[name] for name in RANDOM}
    # At 0 the order is random, and 589 entries have a cosine of 1/sqrt(589) = 0.04 by chance; else the search settles it.
    assert cosine_of(random, target) == pytest.approx(cosine, abs=0.01 if cosine else 0.12)
    assert all(ks_p_value(start[name], LAWS[name]) >= SIGNIFICANCE for name in RANDOM)
    assert torch.equal(start["scale"], torch.ones(8))


def test_no_mixed_start_is_nearer_than_the_rank_matched_one() -> None:
    target = trained()
    nearest, matched = mixed(target, LAWS, rng(), cosine=1.0), rank_matched(target, LAWS, rng())
    assert all(torch.equal(nearest[name], matched[name]) for name in LAWS)


# --- along a spoof ---------------------------------------------------------------------------------------------------


def honest(**changes: Any) -> MemoryProof:  # noqa: ANN401 - any field of Recipe
    return prove(small_recipe(DATA, **changes), DATA)


def starting(start: str, **choices: Any) -> SpoofConfig:  # noqa: ANN401 - any field of SpoofConfig
    trajectory = TrajectoryConfig(start=start)  # type: ignore[arg-type]
    return replace(SHORT, trajectory=trajectory, **choices)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("start", ["rank_matched", "ks_ball", "mixed", "honest"])
def test_every_start_is_legal_to_strict(start: str, precision: str) -> None:
    made = forge(find_attack("null"), honest(precision=precision), DATA, starting(start))
    assert set(made.rejected_by("strict").split(",")) <= {"", "replay"}


def test_an_honest_start_is_the_draw_of_the_declared_seed_bit_for_bit() -> None:
    made = forge(find_attack("infinitesimal"), honest(), DATA, starting("honest")).proof
    assert all_bits(made.checkpoints[0]) == all_bits(initial_checkpoint(made.recipe, DATA))


def test_a_bound_start_passes_the_check_of_bound_seeds_and_another_share_does_not() -> None:
    stolen = honest()
    made = forge(find_attack("null"), stolen, DATA, starting("bound", share=SHARE, data_order="declared")).proof
    assert made.recipe.seed == bound_seed(DATA.sha256, made.recipe.model, made.recipe.shares)
    assert made.recipe.shares[1:] == (SHARE,)
    assert all_bits(made.checkpoints[0]) == all_bits(initial_checkpoint(made.recipe, DATA))
    check = Policy(name="binding", checks=(Use(check="bound_seed"),))
    for share, passes in ((SHARE, True), ("5b" * 16, False)):
        evidence = examine(made, DATA, RECORDED, expected_share=share)
        assert check(evidence).is_valid == passes, share
    unbound = forge(find_attack("null"), stolen, DATA, starting("honest", data_order="declared")).proof
    assert not check(examine(unbound, DATA, RECORDED, expected_share=SHARE)).is_valid


def test_of_a_real_model_the_ball_is_nearest_in_every_metric() -> None:
    stolen, dataset = stolen_digits(), load_dataset("digits")
    recipe = declare(stolen.recipe, SHORT)
    target = stolen.checkpoints[-1]
    found = {}
    for start in ("rank_matched", "ks_ball", "mixed", "honest"):
        path = Trajectory(target, recipe, dataset, starting(start).trajectory, 0)
        found[start] = parameter_distances(path.start, target.parameters)
    for metric in METRICS:
        assert found["ks_ball"][metric] < found["rank_matched"][metric] < found["honest"][metric]
        assert found["rank_matched"][metric] <= found["mixed"][metric] < found["honest"][metric]
