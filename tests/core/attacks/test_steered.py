"""Attack steered: true but for the nudge, from a W_0 that A did not choose as well, and as long as the envelope allows."""

import math
from dataclasses import replace
from typing import Any, Final

import pytest
import torch

from raypol import prove
from raypol.core.attacks import find_attack
from raypol.core.attacks.steered import Steered
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import parameter_distances
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof
from raypol.core.spoofing.spoof_config import SpoofConfig, check_together
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.training.prover import data_order, initial_checkpoint
from tests.scenes import SHORT, Forged, all_bits, claiming, forge, small_recipe, tiny, zero

BOUND: Final[dict[str, Any]] = {
    "trajectory": TrajectoryConfig(start="bound"),
    "share": "5a" * 16,
    "data_order": "declared",
}


@pytest.fixture(scope="module")
def even(stolen: MemoryProof, dataset: Dataset) -> Forged:
    return forge(find_attack("steered"), stolen, dataset, claiming(steps=80, interval=10))


def test_it_ends_at_the_stolen_weights(even: Forged, stolen: MemoryProof) -> None:
    end = even.proof.checkpoints[-1].parameters
    assert all(torch.equal(end[name], W) for name, W in stolen.checkpoints[-1].parameters.items())


def test_state_and_statistics_follow_exactly_and_the_error_is_the_nudge(even: Forged) -> None:
    assert all(zero(error) for error in even.state_errors)
    assert all(zero(replay.buffer_error) for replay in even.replays)
    assert even.proof.num_points == 0
    assert even.proof.cost.gradient_evals == 80
    assert all(replay.error.l2 > 0.0 for replay in even.replays)


def test_it_errs_less_than_ordinary_batches_on_the_line(even: Forged, null: Forged) -> None:
    assert even.mean_error_l2 < null.mean_error_l2


def test_a_bound_start_and_order_are_the_declared_seeds_bit_for_bit(stolen: MemoryProof, dataset: Dataset) -> None:
    made = forge(Steered(), stolen, dataset, claiming(steps=40, interval=10, **BOUND))
    recipe = made.proof.recipe
    assert all_bits(made.proof.checkpoints[0]) == all_bits(initial_checkpoint(recipe, dataset))
    order = data_order(recipe, dataset)
    assert all((record.indices == order(record.step)).all() for record in made.proof.records)


@pytest.mark.parametrize("missing", ["initial", "order", "weights"])
def test_what_it_does_not_choose_need_not_be_granted(missing: str, stolen: MemoryProof, dataset: Dataset) -> None:
    choices = claiming(steps=20, interval=10, **BOUND)
    choices = replace(choices, grants=("usual", "interval", f"no_{missing}"))
    if missing == "weights":
        with pytest.raises(InputError, match="uses weights"):
            forge(Steered(), stolen, dataset, choices)
    else:
        forge(Steered(), stolen, dataset, choices)


def nudges(made: Forged) -> list[float]:
    return [replay.error.l2 for replay in made.replays]


def test_the_optimal_schedule_stays_within_its_envelope(stolen: MemoryProof, dataset: Dataset) -> None:
    choices = claiming(steps=160, interval=10, declares="no_momentum")
    distance = parameter_distances(
        forge(find_attack("null"), stolen, dataset, choices).proof.checkpoints[0].parameters,
        stolen.checkpoints[-1].parameters,
    ).l2
    envelope = (distance / 4.0, distance / 8.0)  # the second for the last eight intervals
    made = forge(Steered(schedule="optimal", envelope=envelope, slack=0.9), stolen, dataset, choices)
    limits = [envelope[min(replay.interval.start * 2 // 160, 1)] for replay in made.replays]
    ratios = [error / limit for error, limit in zip(nudges(made), limits, strict=True)]
    assert max(ratios) <= 0.9 * (1.0 + 1e-3)
    even = forge(Steered(), stolen, dataset, choices)
    assert ratios[0] == pytest.approx(0.9, rel=1e-3), "it starts with the whole length"
    assert nudges(even)[0] < nudges(made)[0]


def test_an_envelope_is_followed_in_proportion(stolen: MemoryProof, dataset: Dataset) -> None:
    """Where training hardly moves, nudges are in proportion to the envelope, whatever its unit."""
    quiet = claiming(steps=60, interval=10, declares="vanishing", carry="restart")
    for scale in (1.0, 50.0):
        config = Steered(schedule="envelope", envelope=(2.0 * scale, 1.0 * scale))
        found = nudges(forge(config, stolen, dataset, quiet))
        assert found[0] / found[-1] == pytest.approx(2.0, rel=0.02)
    falling = nudges(forge(Steered(schedule="power", power=2.0), stolen, dataset, quiet))
    assert falling[0] / falling[3] == pytest.approx((1.0 / 0.5) ** 2, rel=0.02)


def test_aiming_ahead_turns_the_replayed_move_towards_the_claimed_one(stolen: MemoryProof, dataset: Dataset) -> None:
    choices = claiming(steps=160, interval=10)

    def late_cosine(lead: float) -> float:
        config = Steered(schedule="optimal", envelope=(1e3,), lead=lead)  # no limit: W_T is held, or aimed at
        made = forge(config, stolen, dataset, choices)
        late = [replay.direction for replay in made.replays[8:-1]]
        return math.fsum(late) / len(late)

    assert abs(late_cosine(0.0)) < 0.05
    assert late_cosine(4.0) > 0.1


def test_tiny_and_uneven_intervals() -> None:
    data = tiny()
    honest = prove(small_recipe(data), data)
    for schedule in ("even", "power", "envelope", "optimal"):
        made = forge(Steered(schedule=schedule, lead=1.0), honest, data, SHORT)
        assert [replay.interval.num_steps for replay in made.replays] == [3, 3, 1]
        assert all(replay.error.is_finite for replay in made.replays)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"schedule": "odd"}, "possible: envelope, even, optimal, power"),
        ({"slack": 0.0}, "slack > 0"),
        ({"lead": -1.0}, "lead >= 0"),
        ({"envelope": (1.0,)}, "an envelope contradicts schedule even"),
        ({"schedule": "optimal", "envelope": (0.0,)}, "errors > 0"),
        ({"power": math.nan}, "power >= 0"),
    ],
)
def test_bad_settings_are_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words.replace("(", "\\(")):
        Steered(**fields)


def test_choices_that_contradict_each_other_are_named() -> None:
    with pytest.raises(InputError, match="start bound needs a share"):
        check_together(SpoofConfig(trajectory=TrajectoryConfig(start="bound")))


def test_chosen_batches_lead_towards_the_stolen_weights(stolen: MemoryProof, dataset: Dataset) -> None:
    choices = claiming(steps=80, interval=10)

    def early_cosine(made: Forged) -> float:
        return math.fsum(replay.direction for replay in made.replays[:4]) / 4

    made = forge(Steered(pool=2), stolen, dataset, choices)
    assert early_cosine(made) > early_cosine(forge(Steered(), stolen, dataset, choices)) + 0.02
    assert made.proof.num_points == 0
    assert made.proof.cost.gradient_evals == 80
    pool = 2 * 10 * 32  # points, passed in batches of 32, at W and at W_T, in each of 8 intervals
    assert made.proof.cost.forward_passes == 8 * 2 * pool // 32


def test_chosen_batches_contradict_an_order_of_the_verifiers(stolen: MemoryProof, dataset: Dataset) -> None:
    choices = claiming(steps=20, interval=10, data_order="declared")
    with pytest.raises(InputError, match="attack Steered chooses the batches: it contradicts data_order declared"):
        forge(Steered(pool=2), stolen, dataset, choices)


def test_knowing_the_envelope_has_to_be_granted(stolen: MemoryProof, dataset: Dataset) -> None:
    choices = replace(claiming(steps=20, interval=10), grants=("usual", "interval", "no_policy"))
    forge(Steered(schedule="optimal"), stolen, dataset, choices)
    with pytest.raises(InputError, match="uses policy"):
        forge(Steered(schedule="optimal", envelope=(1.0,)), stolen, dataset, choices)


@pytest.mark.parametrize("attack", ["steered", "glue", "retrain", "continue", "subtract"])
@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (
            {"trajectory": TrajectoryConfig(path="eased")},
            "contradicts path eased: it really trains, expected path linear",
        ),
        ({"buffers": "exact"}, "contradicts buffers exact: it really trains, expected buffers linear"),
    ],
    ids=["path", "buffers"],
)
def test_choices_that_would_change_nothing_are_refused(
    attack: str, choices: dict[str, Any], words: str, stolen: MemoryProof, dataset: Dataset
) -> None:
    claimed = claiming(steps=20, interval=10, **choices)
    if attack == "glue" and "buffers" in choices:  # at the joint nothing trains
        forge(find_attack(attack), stolen, dataset, claimed)
        return
    with pytest.raises(InputError, match=words):
        forge(find_attack(attack), stolen, dataset, claimed)
