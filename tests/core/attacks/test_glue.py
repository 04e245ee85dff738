"""Attack glue: honest to the bit but for its joint, whose move no honest interval makes."""

from dataclasses import replace
from statistics import median
from typing import Literal

import pytest
import torch

from raypol import prove
from raypol.core.attacks import find_attack
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof
from raypol.core.spoofing.grants import USUAL, NotGrantedError
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.verification.thresholds import slack_in_moves
from tests.scenes import Forged, forge, small_recipe, tiny, zero

DATA = tiny()
CHOICES = SpoofConfig(steps=12, interval=2, grants=(*USUAL, "interval"))


@pytest.fixture(scope="module")
def glued(stolen: MemoryProof, dataset: Dataset) -> Forged:
    """Two trainings with different W_0, both drawn as honest ones are."""
    choices = replace(CHOICES, steps=100, interval=10, trajectory=TrajectoryConfig(start="honest"))
    return forge(find_attack("glue"), stolen, dataset, choices)


def small(joint: float = 0.5, bad_intervals: int = 1, choices: SpoofConfig = CHOICES) -> Forged:
    return forge(
        find_attack("glue", joint=joint, bad_intervals=bad_intervals), prove(small_recipe(DATA), DATA), DATA, choices
    )


def test_the_joint_moves_ten_times_the_median(glued: Forged) -> None:
    moves = [movement.l2 for movement in glued.evidence.survey.movements]
    assert max(range(10), key=moves.__getitem__) == 5
    assert moves[5] / median(moves) > 10.0


def test_a_replay_of_all_rejects_the_joint_alone(glued: Forged) -> None:
    assert [replay.interval.index for replay in glued.replays if not zero(replay.error)] == [5]
    assert glued.replays[5].error.l2 > 0.9 * glued.evidence.survey.movements[5].l2
    assert glued.rejected_by("strict", slack_in_moves(10)) == "replay"


def test_a_selection_without_the_joint_accepts(glued: Forged) -> None:
    kept = tuple(replay for replay in glued.replays if replay.interval.index != 5)
    blind = replace(glued, evidence=replace(glued.evidence, replays=kept))
    assert blind.rejected_by("strict", slack_in_moves(10)) == ""


@pytest.mark.parametrize("joint", [0.0, 0.2, 0.5, 0.99, 1.0])
def test_training_is_real_before_and_after_the_joint(joint: float) -> None:
    made = small(joint)
    at = min(int(joint * 6), 5)
    assert [replay.interval.index for replay in made.replays if not zero(replay.error)] == [at]
    target = prove(small_recipe(DATA), DATA).checkpoints[-1]
    end = made.proof.checkpoints[at + 1]
    assert all(torch.equal(end.parameters[name], W) for name, W in target.parameters.items())
    assert made.proof.cost.gradient_evals == 12


def test_at_the_end_the_claimed_model_is_the_stolen_one() -> None:
    target = prove(small_recipe(DATA), DATA).checkpoints[-1]
    for joint, same in ((1.0, True), (0.5, False)):
        last = small(joint).proof.checkpoints[-1].parameters
        assert all(torch.equal(last[name], W) for name, W in target.parameters.items()) == same


def test_the_way_is_spread_in_equal_shares() -> None:
    made = small(0.4, bad_intervals=3)
    moves = [movement.l2 for movement in made.evidence.survey.movements]
    assert [replay.interval.index for replay in made.replays if not zero(replay.error)] == [2, 3, 4]
    assert moves[2] == pytest.approx(moves[3], rel=1e-4)
    assert moves[3] == pytest.approx(moves[4], rel=1e-4)


@pytest.mark.parametrize("buffers", ["linear", "exact"])
@pytest.mark.parametrize("carry", ["exact", "restart"])
def test_states_and_statistics_are_those_that_were_chosen(
    carry: Literal["exact", "restart"], buffers: Literal["linear", "exact"]
) -> None:
    made = small(choices=replace(CHOICES, carry=carry, buffers=buffers))
    assert all(zero(error) for error in made.state_errors) == (carry == "exact")
    assert all(not c.optimizer_state for c in made.proof.checkpoints) == (carry == "restart")
    assert all(not replay.buffer_problem for replay in made.replays)
    wrong = [replay.interval.index for replay in made.replays if replay.statistics_error > 0.0]
    # Without a state to carry nothing is trained at the joint: its statistics come from forward passes on the straight way.
    assert wrong == ([] if (buffers, carry) == ("exact", "exact") else [3])


@pytest.mark.parametrize("missing", ["weights", "data", "initial", "order"])
def test_it_is_refused_without_what_it_uses(missing: str) -> None:
    with pytest.raises(NotGrantedError, match=f"uses {missing} "):
        small(choices=replace(CHOICES, grants=("usual", "interval", f"no_{missing}")))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"joint": -0.1}, "expected joint in 0..1, got -0.1"),
        ({"joint": float("nan")}, "expected joint in 0..1, got nan"),
        ({"bad_intervals": 0}, "bad_intervals"),
        ({"bad_intervals": 7}, "bad_intervals 7 contradicts steps 12 in intervals of 2: there are 6"),
    ],
)
def test_bad_input_is_told_in_a_line(fields: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        forge(find_attack("glue", **fields), prove(small_recipe(DATA), DATA), DATA, CHOICES)
    assert "\n" not in str(caught.value)
