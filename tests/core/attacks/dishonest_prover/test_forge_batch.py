"""Attack forge_batch: denied points are gone, the weights are the trace's, and an exact replay tells."""

from dataclasses import replace
from functools import cache
from statistics import mean
from typing import Any

import numpy as np
import pytest

from raypol import prove
from raypol.core.attacks import find_attack, method_of
from raypol.core.attacks.dishonest_prover.forge_batch import ForgeBatch, forged_batch
from raypol.core.augment import Transform
from raypol.core.costs import crafting_step_cost, training_step_cost
from raypol.core.datasets.load import load_dataset
from raypol.core.datasets.shapes import Shape
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof
from raypol.core.spoofing.grants import USUAL, NotGrantedError
from raypol.core.spoofing.method import make_scene, spoof_recipe
from raypol.core.spoofing.sampling import seal_sample
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.verification.thresholds import Thresholds
from tests.scenes import Forged, Invert, all_bits, forge, sgd, small_recipe, stolen_digits, tiny, zero

DATA = tiny()
CHOICES = SpoofConfig(steps=12, interval=4, grants=(*USUAL, "trace"))
EXACT = Thresholds(l1=0.0, l2=0.0, linf=0.0, cos=0.0)


@cache
def trace(**changes: Any) -> MemoryProof:  # noqa: ANN401 - any field of Recipe
    return prove(small_recipe(DATA, **changes), DATA)


def small(choices: SpoofConfig = CHOICES, honest: MemoryProof | None = None, **overrides: Any) -> Forged:  # noqa: ANN401
    return forge(find_attack("forge_batch", **{"candidates": 3, **overrides}), honest or trace(), DATA, choices)


@cache
def of_digits(candidates: int, interval: int = 1, **overrides: Any) -> Forged:  # noqa: ANN401
    """18 of 60 steps forged for k = 1, the smooth net; for k = 5 all 12 first steps."""
    dataset = load_dataset("digits")
    honest = prove(small_recipe(dataset, steps=60, interval=interval, batch_size=32), dataset)
    attack = find_attack("forge_batch", candidates=candidates, forged=0.3 if interval == 1 else 1.0, **overrides)
    return forge(attack, honest, dataset, replace(CHOICES, steps=60, interval=interval))


def errors(made: Forged) -> list[float]:
    return [replay.error.l2 for replay in made.replays if not zero(replay.error)]


# --- the error --------------------------------------------------------------------------------------------------------


def test_the_error_falls_with_the_number_of_candidates() -> None:
    one, ten, hundred = (errors(of_digits(M)) for M in (1, 10, 100))
    assert len(one) == len(ten) == len(hundred) == 18
    # The first candidates of more are those of fewer, so that at k = 1 no step may err more.
    assert all(b <= a for a, b in zip(one, ten, strict=True))
    assert all(b <= a for a, b in zip(ten, hundred, strict=True))
    assert mean(one) > 1.02 * mean(ten) > 1.04 * mean(hundred)


def test_replacing_the_denied_point_alone_comes_nearer_than_whole_batches() -> None:
    assert mean(errors(of_digits(10, redraw="denied"))) < 0.5 * mean(errors(of_digits(100)))


@pytest.mark.parametrize("redraw", ["batch", "denied"])
def test_no_point_that_is_denied_anywhere_is_recorded_in_a_forged_batch(redraw: str) -> None:
    honest = trace()
    made = small(denied=2, redraw=redraw, honest=honest)
    first = [(honest.records[t].indices, made.proof.records[t].indices) for t in range(0, 12, 4)]
    denied = {int(i) for real, _ in first for i in real[:2]}
    for real, forged in first:
        assert not denied & set(forged.tolist())
        kept = [i for i, (a, b) in enumerate(zip(real, forged, strict=True)) if a == b]
        if redraw == "denied":
            assert len(kept) >= len(real) - len(denied)


def test_the_difference_is_carried_to_the_end_of_longer_intervals() -> None:
    made = of_digits(10, interval=5)
    assert len(errors(made)) == 12
    assert all(replay.error.is_finite for replay in made.replays)


def test_at_exact_replay_the_honest_proof_has_error_zero_and_the_forged_one_has_not() -> None:
    honest, forged = stolen_digits(), load_dataset("digits")
    choices = replace(CHOICES, steps=160, interval=40)
    made = forge(find_attack("forge_batch", candidates=2), honest, forged, choices)
    assert all(replay.error.l2 > 0.0 for replay in made.replays)
    assert "replay" in made.rejected_by("strict", EXACT).split(",")
    none = forge(find_attack("forge_batch", forged=0.0), honest, forged, choices)
    assert all(zero(replay.error) for replay in none.replays)
    assert none.rejected_by("strict", EXACT) == ""
    assert none.proof.root == honest.root


def test_a_slack_above_the_error_takes_it() -> None:
    made = small()
    assert made.rejected_by("strict", Thresholds(l1=1e6, l2=1e3, linf=10.0, cos=2.0)) == ""


# --- what is recorded -------------------------------------------------------------------------------------------------


def test_only_first_batches_change_and_all_weights_and_states_are_the_traces() -> None:
    made, honest = small(), trace()
    assert [all_bits(c) for c in made.proof.checkpoints] == [all_bits(c) for c in honest.checkpoints]
    assert made.proof.recipe == honest.recipe
    changed = [
        a.step
        for a, b in zip(made.proof.records, honest.records, strict=True)
        if not np.array_equal(a.indices, b.indices)
    ]
    assert changed == [0, 4, 8]
    assert made.proof.num_points == 0


@pytest.mark.parametrize("denied", [1, 3])
def test_no_forged_batch_has_a_denied_point(denied: int) -> None:
    made, honest = small(denied=denied), trace()
    gone = {int(i) for step in (0, 4, 8) for i in honest.records[step].indices[:denied]}
    for step in (0, 4, 8):
        assert gone.isdisjoint(made.proof.records[step].indices.tolist())
        assert len(set(made.proof.records[step].indices.tolist())) == 16


def test_one_candidate_is_a_random_batch() -> None:
    """Whatever the criterion: nothing is chosen. Over many seeds every allowed point is as likely as another."""
    assert small(candidates=1).proof.root == small(candidates=1, criterion="gradient").proof.root
    method, attack = method_of(ForgeBatch()), ForgeBatch(candidates=1)
    recipe = spoof_recipe(method, attack, CHOICES, trace().recipe)
    counts = np.zeros(48)
    scene = make_scene(method, attack, CHOICES, recipe, DATA, trace().checkpoints[-1], trace=trace())
    for seed in range(200):
        other = replace(scene, choices=replace(CHOICES, seed=seed))
        counts[forged_batch(other, 0, trace().checkpoints[0], trace().records[0].indices, attack)] += 1
    denied = [int(trace().records[step].indices[0]) for step in (0, 4, 8)]
    allowed = np.setdiff1d(np.arange(48), denied)
    assert counts[denied].sum() == 0
    expected = 200 * 16 / 45
    # Largest of 45 deviations of a binomial of 200 draws at 16/45: standard deviation 6.8.
    assert np.abs(counts[allowed] - expected).max() < 4.5 * 6.8


def test_the_chosen_candidate_is_the_nearest_after_a_step_by_hand() -> None:
    """Plain SGD without momentum: w'(b) - w'(b_j) is the rate times the difference of gradients."""
    honest = prove(small_recipe(DATA, optimizer=sgd(), interval=1), DATA)
    choices = replace(CHOICES, interval=1)
    by_model = small(choices, honest, candidates=8)
    assert by_model.proof.root == small(choices, honest, candidates=8, criterion="gradient").proof.root
    singles = [small(choices, honest, candidates=M) for M in range(1, 9)]
    first = [made.replays[0].error.l2 for made in singles]
    assert first == sorted(first, reverse=True)
    assert by_model.replays[0].error.l2 == min(first)


def test_preselection_keeps_the_candidates_of_nearest_loss() -> None:
    made = small(candidates=2, preselect=9)
    assert made.proof.cost.gradient_evals == 3 * 3
    assert made.proof.cost.forward_passes == 3 * 10
    assert small(candidates=9, preselect=9).proof.root == small(candidates=9).proof.root


@pytest.mark.parametrize(("forged", "steps"), [(0.0, []), (0.34, [8]), (0.67, [4, 8]), (1.0, [0, 4, 8])])
def test_a_share_of_the_intervals_is_forged_at_the_cost_of_its_steps(forged: float, steps: list[int]) -> None:
    made = small(forged=forged, candidates=5)
    assert [replay.interval.start for replay in made.replays if not zero(replay.error)] == steps
    assert made.proof.cost.gradient_evals == len(steps) * 6


def test_recorded_augmentation_is_the_traces() -> None:
    honest = trace(transform=Transform(crop_padding=1))
    made = small(replace(CHOICES, augmentation="honest"), honest, forged=0.34)
    assert [zero(replay.error) for replay in made.replays] == [True, True, False]


def test_its_intervals_can_be_sampled() -> None:
    attack = ForgeBatch(candidates=3)
    method = method_of(attack)
    assert method.independent
    honest = prove(small_recipe(DATA, optimizer=sgd(momentum=0.5)), DATA)
    recipe = spoof_recipe(method, attack, CHOICES, honest.recipe)
    scene = make_scene(method, attack, CHOICES, recipe, DATA, honest.checkpoints[-1], trace=honest)
    proof = MemoryProof(recipe, len(DATA))
    seal_sample(method, scene, attack, (0, 2), proof)
    assert [checkpoint.step for checkpoint in proof.checkpoints] == [0, 4, 8, 12]
    assert all_bits(proof.checkpoints[-1]) == all_bits(honest.checkpoints[-1])


def test_a_forecast_counts_its_steps() -> None:
    shape, recipe = Shape(num_points=48, image_shape=(1, 5, 5), num_classes=3), trace().recipe
    step = training_step_cost(recipe, shape)
    asked = crafting_step_cost(recipe, shape, CHOICES, ForgeBatch(candidates=7, forged=0.5))
    assert asked.flops == pytest.approx(step.flops * 8 * 0.5 / 4)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["trace", "order", "data"])
def test_it_is_refused_without_what_it_uses(missing: str) -> None:
    given = ("usual", *(() if missing == "trace" else ("trace", f"no_{missing}")))
    with pytest.raises(NotGrantedError, match=f"uses {missing} "):
        small(replace(CHOICES, grants=given))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 20}, "contradicts steps 20, expected 12"),
        ({"interval": 3, "grants": (*USUAL, "trace", "interval")}, "contradicts interval 3, expected 4"),
        ({"batch_size": 8}, "contradicts batch_size 8, expected 16"),
        ({"declares": "no_momentum"}, "contradicts declares no_momentum, expected honest_schedule"),
        ({"carry": "restart"}, "contradicts carry restart, expected exact"),
        ({"data_order": "declared"}, "contradicts data_order declared, expected own"),
        (
            {"trajectory": TrajectoryConfig(start="bound"), "share": "ab" * 16},
            f"contradicts share {'ab' * 16}, expected none",
        ),
    ],
)
def test_a_choice_that_contradicts_the_trace_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        small(replace(CHOICES, **changes))
    assert "\n" not in str(caught.value)


def test_an_augmentation_that_is_not_the_traces_is_refused() -> None:
    with pytest.raises(InputError, match="contradicts augmentation none, expected honest"):
        small(honest=trace(transform=Transform(crop_padding=1)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"candidates": 0}, "candidates"),
        ({"preselect": -1}, "preselect"),
        ({"candidates": 10, "preselect": 5}, "preselect 5 contradicts candidates 10"),
        ({"criterion": "loss"}, "criterion"),
        ({"redraw": "point"}, "redraw"),
        ({"forged": 1.5}, "expected forged in 0..1, got 1.5"),
        ({"denied": 0}, "denied"),
        ({"denied": 17}, "denied 17 contradicts the trace's batch size 16"),
        ({"denied": 16}, r"denied 16 in 3 batches leaves \d+ of 48 points, expected at least 16"),
    ],
)
def test_bad_input_is_told_in_a_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        small(**fields)
    assert "\n" not in str(caught.value)


def test_a_trace_with_points_of_its_own_is_refused() -> None:
    spoofed = forge(Invert(), trace(), DATA, replace(CHOICES, grants=USUAL)).proof
    with pytest.raises(InputError, match="without points of its own"):
        small(honest=spoofed)
