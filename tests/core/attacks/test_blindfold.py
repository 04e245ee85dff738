"""Attack blindfold: all that a verifier with top_q replays is true, and the rest is not."""

from dataclasses import replace
from typing import Any, Final

import pytest
import torch

from raypol import prove
from raypol.core.attacks import find_attack
from raypol.core.attacks.blindfold import Blindfold
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import METRICS
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof
from raypol.core.spoofing.grants import USUAL
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.verification.policies import strict
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verifier import Selection
from tests.scenes import Forged, forge, small_recipe, tiny, zero

Q: Final = 2
MEMBERS: Final = 11
"""Intervals of 4 steps in an epoch of 44."""
CHOICES: Final = SpoofConfig(steps=264, interval=4, grants=(*USUAL, "interval", "selection"))
TRUE: Final = {index for index in range(66) if index % MEMBERS < Q}


@pytest.fixture(scope="module")
def blind(stolen: MemoryProof, dataset: Dataset) -> Forged:
    return forge(Blindfold(query_budget=Q), stolen, dataset, CHOICES)


def slack(made: Forged) -> Thresholds:
    """Half of the least error of a claimed interval, in each metric."""
    claimed = [replay.error for replay in made.replays if replay.interval.index not in TRUE]
    return Thresholds(**{metric: 0.5 * min(error[metric] for error in claimed) for metric in METRICS})  # type: ignore[arg-type]


def rejected_by(made: Forged, selection: Selection, nonce: int = 0) -> str:
    seen = made.evidence.restricted(selection, Q, nonce)
    return strict(seen, slack(made), None).rejected_by


def test_it_ends_at_the_stolen_weights_without_own_points(blind: Forged, stolen: MemoryProof) -> None:
    end = blind.proof.checkpoints[-1].parameters
    assert all(torch.equal(end[name], W) for name, W in stolen.checkpoints[-1].parameters.items())
    assert blind.proof.num_points == 0


def test_true_intervals_replay_without_error_state_included(blind: Forged) -> None:
    assert all(zero(blind.replays[index].error) for index in TRUE)
    assert all(blind.replays[index].error.l2 > 0.0 for index in range(66) if index not in TRUE)
    assert all(zero(error) for error in blind.state_errors)


@pytest.mark.parametrize("metric", METRICS)
def test_the_largest_moves_of_each_epoch_are_the_true_ones(blind: Forged, metric: str) -> None:
    moves = [move[metric] for move in blind.evidence.survey.movements]  # type: ignore[index]
    for first in range(0, 66, MEMBERS):
        members = sorted(range(first, first + MEMBERS), key=lambda index: moves[index], reverse=True)
        assert set(members[:Q]) == {first, first + 1}


def test_top_q_accepts_and_what_looks_elsewhere_rejects(blind: Forged) -> None:
    assert {replay.interval.index for replay in blind.evidence.restricted("top_q", Q, 0).replays} == TRUE
    assert rejected_by(blind, "top_q") == ""
    assert rejected_by(blind, "all") == "replay"
    # A random selection of 2 of 11 in six epochs misses all claimed intervals with probability 1 / 55^6.
    assert [rejected_by(blind, kind, nonce) for kind in ("random", "both") for nonce in range(5)] == ["replay"] * 10


def test_a_larger_budget_than_foreseen_sees_it(blind: Forged) -> None:
    seen = blind.evidence.restricted("top_q", Q + 1, 0)
    assert strict(seen, slack(blind), None).rejected_by == "replay"


def test_only_true_steps_cost_gradients_where_no_state_is_declared(stolen: MemoryProof, dataset: Dataset) -> None:
    choices = replace(CHOICES, steps=88, declares="no_momentum")
    made = forge(Blindfold(query_budget=Q), stolen, dataset, choices)
    assert made.proof.cost.gradient_evals == 2 * Q * 4
    assert made.proof.cost.forward_passes == 0


def test_at_the_published_pace_an_epoch_ends_on_the_straight_line(stolen: MemoryProof, dataset: Dataset) -> None:
    made = forge(find_attack("fang2023_blindfold", query_budget=Q), stolen, dataset, replace(CHOICES, steps=88))
    W_0, W_T = made.proof.checkpoints[0].parameters, stolen.checkpoints[-1].parameters
    middle = made.proof.checkpoints[MEMBERS].parameters
    assert all(torch.allclose(W, torch.lerp(W_0[name], W_T[name], 0.5), atol=1e-6) for name, W in middle.items())


@pytest.mark.parametrize("missing", ["weights", "selection"])
def test_what_it_uses_has_to_be_granted(missing: str) -> None:
    data = tiny()
    choices = replace(
        CHOICES, steps=12, batch_size=4, interval=2, grants=tuple(grant for grant in CHOICES.grants if grant != missing)
    )
    with pytest.raises(InputError, match=f"uses {missing}"):
        forge(Blindfold(), prove(small_recipe(data), data), data, choices)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"query_budget": 6}, "query_budget 6 contradicts epoch 0 of 6 intervals"),
        ({"query_budget": 3}, "query_budget 3 contradicts epoch 1 of 3 intervals"),
        ({"query_budget": 0}, "expected query_budget in 1.."),
        ({"pace": "slow"}, "possible: even, greedy"),
        ({"margin": 1.5}, "margin in (0, 1], got 1.5"),
    ],
)
def test_bad_input_is_one_line(fields: dict[str, Any], words: str) -> None:
    data = tiny()
    choices = replace(CHOICES, steps=18, interval=2, batch_size=4)
    with pytest.raises(InputError) as caught:
        forge(Blindfold(**fields), prove(small_recipe(data), data), data, choices)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
