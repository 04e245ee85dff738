"""Policies as data, and those that are measured on honest runs: what they accept, what they refuse, what is no calibration."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from raypol import SpoofConfig, TrainConfig, prove, spoof
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import METRICS
from raypol.core.errors import InputError
from raypol.core.models.independence import Dependence
from raypol.core.proof import MemoryProof
from raypol.core.spoofing.declarations import Declares
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.verification.checks import CALIBRATIONS, CHECKS
from raypol.core.verification.policies import BOUND, CALIBRATED, Policy, Use, calibrate, find_policy, published, strict
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import MOVES, Thresholds, slack_in_moves
from raypol.core.verification.verifier import Evidence, examine
from tests.toys import copy_of, rehash

SHARE = "5a" * 16
FRESH = Conditions(augmentation="fresh", seed=7)
TRAINING = TrainConfig(steps=48, interval=6, batch_size=32, share=SHARE)
CALIBRATED_ON = 4


def examined(
    proof: MemoryProof, digits: Dataset, conditions: Conditions = FRESH, share: str | None = SHARE
) -> Evidence:
    return examine(proof, digits, conditions, expected_share=share)


@pytest.fixture(scope="module")
def proofs(digits: Dataset) -> list[MemoryProof]:
    return [prove(replace(TRAINING, seed=seed), digits) for seed in range(CALIBRATED_ON + 2)]


@pytest.fixture(scope="module")
def honest(proofs: list[MemoryProof], digits: Dataset) -> list[Evidence]:
    return [examined(proof, digits) for proof in proofs]


@pytest.fixture(scope="module")
def calibrated(honest: list[Evidence]) -> Policy:
    return calibrate(honest[:CALIBRATED_ON], margin=4.0)


@pytest.fixture(scope="module")
def bound(honest: list[Evidence]) -> Policy:
    return calibrate(honest[:CALIBRATED_ON], kind="bound", margin=4.0)


# --- what calibrated policies say ------------------------------------------------------------------------------------


def test_honest_proofs_of_other_seeds_are_accepted(calibrated: Policy, bound: Policy, honest: list[Evidence]) -> None:
    for evidence in honest[CALIBRATED_ON:]:
        for policy in (calibrated, bound):
            assert policy(evidence).rejected_by == ""


@pytest.mark.parametrize("attack", ["null", "infinitesimal", "forged_momentum"])
@pytest.mark.parametrize("declares", ["honest_schedule", "no_momentum"])
def test_cheap_forgeries_are_rejected_and_not_by_their_family_alone(
    attack: str, declares: Declares, calibrated: Policy, proofs: list[MemoryProof], digits: Dataset
) -> None:
    made = spoof(proofs[0], digits, attack, SpoofConfig(steps=48, interval=6, declares=declares))
    assert published(examined(made, digits), Thresholds(l1=1e9, l2=1e9, linf=1e9, cos=2.0)).is_valid
    rejected = set(calibrated(examined(made, digits)).rejected_by.split(","))
    assert rejected - {"family"} >= {"forged_momentum": {"state_envelope"}}.get(attack, {"direction"})


def test_a_bound_seed_does_not_stop_steering_but_what_it_remembers_does(
    bound: Policy, proofs: list[MemoryProof], digits: Dataset
) -> None:
    share = "c3" * 16  # that the thief was given
    choices = SpoofConfig(
        steps=48,
        interval=6,
        trajectory=TrajectoryConfig(start="bound"),
        share=share,
        data_order="declared",
        augmentation="honest",
    )
    evidence = examined(spoof(proofs[0], digits, "steered", choices), digits, share=share)
    rejected = bound(evidence).rejected_by.split(",")
    assert "initial_memory" in rejected
    assert not {"bound_seed", "own_points", "fresh_order", "family"} & set(rejected), "all of that is as it should be"
    assert abs(evidence.memory.cosine) < 6.0 / math.sqrt(evidence.memory.num_entries)


def test_every_calibrated_check_rejects_when_its_numbers_are_out_of_range(
    bound: Policy, honest: list[Evidence]
) -> None:
    evidence = honest[-1]

    def shifted(**changes: Any) -> Evidence:  # noqa: ANN401 - fields of a replay
        return replace(evidence, replays=tuple(replace(replay, **changes) for replay in evidence.replays))

    far = replace(evidence.replays[0].error, l2=1e6)
    worse = {
        "envelope": shifted(error=far),
        "state_envelope": shifted(state_error=far),
        "direction": shifted(direction=0.0),
        "declared_rate": shifted(update=0.0),
        "norm_statistics": shifted(statistics_error=9.0),
        "accuracy_curve": replace(evidence, survey=replace(evidence.survey, accuracies=(0.0,) * 9)),
        "initial_memory": replace(evidence, memory=replace(evidence.memory, cosine=0.1)),
        "own_points": replace(evidence, num_points=1),
        "initial_independence": replace(
            evidence, survey=replace(evidence.survey, dependences=(Dependence("order", 0.0),))
        ),
        "bound_seed": replace(evidence, expected_share="00" * 16),
    }
    assert worse.keys() >= CALIBRATIONS.keys()
    for check, found in worse.items():
        assert bound(found).rejected_by == check


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nothing_that_is_not_finite_is_in_an_honest_range(value: float, bound: Policy, honest: list[Evidence]) -> None:
    evidence = honest[-1]
    for field in ("direction", "update", "statistics_error"):
        changed: dict[str, Any] = {field: value}
        replays = tuple(replace(replay, **changed) for replay in evidence.replays)
        if (field, value) != ("direction", math.inf):  # a cosine is at most 1
            assert not bound(replace(evidence, replays=replays)).is_valid, field
    assert not bound(replace(evidence, memory=replace(evidence.memory, cosine=value))).is_valid
    assert not bound(replace(evidence, replays=())).is_valid


# --- the family ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 64}, "batch_size: calibrated on 32, the proof has 64"),
        ({"interval": 12}, "interval: calibrated on 6, the proof has 12"),
        ({"lr": 0.03}, "optimizer: calibrated on"),
        ({"lr_drops": (0.25,)}, "learning rate at 25% of training: calibrated on 0.05, the proof has 0.005"),
        ({"crop_padding": 0}, "transform: calibrated on"),
        ({"steps": 120}, "steps: calibrated on T = 48, the proof has 120, expected half to twice of it"),
        ({"steps": 18}, "steps: calibrated on T = 48, the proof has 18"),
    ],
)
def test_another_family_is_said_and_not_judged(
    changes: dict[str, Any], said: str, calibrated: Policy, digits: Dataset
) -> None:
    other = examined(prove(replace(TRAINING, **changes), digits), digits)
    verdict = calibrated(other)
    assert not verdict.is_valid
    assert verdict.foreign.startswith(said)


@pytest.mark.parametrize("steps", [24, 96])
def test_lengths_from_half_to_twice_are_of_the_family(steps: int, calibrated: Policy, digits: Dataset) -> None:
    assert calibrated(examined(prove(replace(TRAINING, steps=steps), digits), digits)).foreign == ""


def test_other_conditions_are_another_family(calibrated: Policy, proofs: list[MemoryProof], digits: Dataset) -> None:
    recorded = examined(proofs[0], digits, Conditions(augmentation="recorded"))
    assert calibrated(recorded).foreign == "replay: calibrated under augmentation fresh, examined under recorded"


# --- calibrating -----------------------------------------------------------------------------------------------------


def test_a_calibration_says_what_it_was_made_of(calibrated: Policy, bound: Policy, honest: list[Evidence]) -> None:
    assert tuple(use.check for use in calibrated.checks) == CALIBRATED
    assert tuple(use.check for use in bound.checks) == BOUND
    assert calibrated.calibration is not None
    assert calibrated.calibration.roots == tuple(evidence.recorded_root for evidence in honest[:CALIBRATED_ON])
    assert 0 <= calibrated.calibration.left_out_rejected <= CALIBRATED_ON


def test_a_larger_margin_rejects_no_more(honest: list[Evidence]) -> None:
    limits = [
        next(use.parameters["limits"] for use in calibrate(honest, margin=margin).checks if use.check == "envelope")
        for margin in (1.0, 2.0, 50.0)
    ]
    for metric in METRICS:
        assert np.all(np.diff([one[metric] for one in limits], axis=0) >= 0.0)


BAD: dict[str, Callable[[Evidence], dict[str, Any]]] = {
    "not every interval was replayed": lambda third: {"replays": third.replays[1:]},
    "W_0 could not be tested": lambda third: {"survey": replace(third.survey, initial=())},
    "step 6: w has NaN": lambda third: {"survey": replace(third.survey, finite=("step 6: w has NaN",))},
    "the root does not match": lambda _: {"recorded_root": "0" * 64},
    "expected momentum": lambda third: {"survey": replace(third.survey, rule=("expected momentum",))},
    "calibrated under augmentation fresh": lambda _: {"conditions": Conditions(augmentation="recorded")},
}


@pytest.mark.parametrize("said", BAD)
def test_what_cannot_be_calibrated_on_is_an_error(said: str, honest: list[Evidence]) -> None:
    first, second, third, *_ = honest
    with pytest.raises(InputError, match=said):
        calibrate([first, second, replace(third, **BAD[said](third))])


def test_too_few_or_the_same_proofs_are_an_error(honest: list[Evidence]) -> None:
    with pytest.raises(InputError, match="at least 3 honest proofs"):
        calibrate(honest[:2])
    with pytest.raises(InputError, match="one of them twice"):
        calibrate([*honest[:2], honest[1]])


@pytest.mark.parametrize("margin", [0.5, math.nan, -1.0])
def test_a_margin_below_one_is_an_error(margin: float, honest: list[Evidence]) -> None:
    with pytest.raises(InputError, match="margin >= 1"):
        calibrate(honest, margin=margin)


# --- policies as data ------------------------------------------------------------------------------------------------


def test_a_policys_digest_is_that_of_what_decides(calibrated: Policy, bound: Policy) -> None:
    digests = {policy.sha256 for policy in (published, strict, calibrated, bound)}
    assert len(digests) == 4
    assert replace(strict, name="mine").sha256 == strict.sha256
    assert replace(strict, thresholds=MOVES).sha256 != strict.sha256
    assert replace(strict, selection="random", query_budget=2).sha256 != strict.sha256
    assert replace(calibrated, family=None).sha256 != calibrated.sha256


def test_a_default_and_the_same_said_are_one_policy() -> None:
    said = Use(check="fresh_order", parameters={"most_repeats": 0.0})
    policies = [Policy(name="p", checks=(use,)) for use in (said, Use(check="fresh_order"))]
    assert policies[0].sha256 == policies[1].sha256
    other = Policy(name="p", checks=(Use(check="fresh_order", parameters={"most_repeats": 0.5}),))
    assert other.sha256 != policies[0].sha256


def test_content_is_json(bound: Policy) -> None:
    assert json.loads(json.dumps(bound.content())) == bound.content()


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (Use(check="envelope"), "check envelope needs limits: `raypol calibrate` measures it"),
        (Use(check="direction", parameters={"most": 1.0}), "check direction has no parameter 'most'; possible: least"),
        (Use(check="hashes", parameters={"x": 1}), "check hashes has no parameter 'x'; possible: none"),
        (Use(check="nothing"), "unknown check 'nothing'"),
    ],
)
def test_parameters_that_a_check_lacks_or_needs_are_an_error(use: Use, said: str) -> None:
    with pytest.raises(InputError, match=said):
        use.complete()


def test_a_check_that_needs_numbers_cannot_be_added_by_name() -> None:
    with pytest.raises(InputError, match="check envelope needs limits"):
        find_policy("strict+envelope")


@pytest.mark.parametrize("name", sorted(CALIBRATIONS))
def test_calibrations_give_what_their_check_takes(name: str, honest: list[Evidence]) -> None:
    Use(check=name, parameters=CALIBRATIONS[name](honest, 2.0)).complete()
    assert name in CHECKS


# --- slack as large as the moves -------------------------------------------------------------------------------------


def test_intervals_whose_slack_is_at_least_the_move_are_counted(honest: list[Evidence]) -> None:
    evidence = honest[0]
    wide = Thresholds(l1=1e9, l2=1e9, linf=1e9, cos=2.0)
    assert strict(evidence, wide).unjudged == evidence.recipe.num_intervals
    assert strict(evidence, replace(wide, cos=0.0)).unjudged == 0, "one metric is enough"
    assert strict(evidence, MOVES).unjudged == 0
    still = replace(evidence.survey, movements=tuple(replace(m, l2=0.0) for m in evidence.survey.movements))
    assert strict(replace(evidence, survey=still), wide).unjudged == 0, "nothing is claimed"


def test_slack_in_moves_is_a_share_of_the_claimed_move(honest: list[Evidence]) -> None:
    move = honest[0].survey.movements[3]
    limit = MOVES.at(0.5, None, move)
    for metric in METRICS:
        assert limit[metric] == getattr(MOVES, metric) * move[metric]
    assert math.isnan(MOVES.at(0.5, None).l2), "without a move nothing is within it"


# --- what is recorded of the seed and the order ----------------------------------------------------------------------


def test_a_seed_without_shares_is_not_bound(digits: Dataset) -> None:
    check = CHECKS["bound_seed"]
    evidence = examined(prove(replace(TRAINING, share="", steps=6), digits), digits)
    assert "names no shares" in check(evidence, Thresholds(), None).detail
    evidence = examined(prove(replace(TRAINING, steps=6), digits), digits, share=None)
    assert "share is not known" in check(evidence, Thresholds(), None).detail


@pytest.mark.parametrize("part", ["seed", "start", "order"])
def test_each_part_that_does_not_follow_from_the_seed_is_seen(
    part: str, proofs: list[MemoryProof], digits: Dataset
) -> None:
    proof = copy_of(proofs[0])
    if part == "seed":
        proof.recipe = replace(proof.recipe, seed=proof.recipe.seed + 1)
    elif part == "start":
        weights = proof.checkpoints[0].parameters
        first = next(iter(weights))
        weights[first].view(-1)[0] *= 1.0 + 1e-6
    else:
        proof.records[5] = proof.records[5]._replace(indices=proof.records[5].indices[::-1].copy())
    rehash(proof, digits)
    check = CHECKS["bound_seed"](examined(proof, digits), Thresholds(), None)
    assert not check.passed
    words = {"seed": "not the hash", "start": "W_0 is not the draw", "order": "1 of 48 steps do not have the batch"}
    assert words[part] in check.detail


def test_shuffled_epochs_repeat_nothing_and_chosen_points_do(proofs: list[MemoryProof], digits: Dataset) -> None:
    fresh_order = CHECKS["fresh_order"]
    assert fresh_order(examined(proofs[0], digits), Thresholds(), None).passed
    proof = copy_of(proofs[0])
    proof.records[30] = proof.records[30]._replace(indices=proof.records[29].indices)
    rehash(proof, digits)
    check = fresh_order(examined(proof, digits), Thresholds(), None)
    assert not check.passed
    assert check.numbers["repeats"] == 32.0
    assert fresh_order(examined(proof, digits), Thresholds(), None, most_repeats=0.1).passed


def test_the_default_slack_grows_with_the_interval_up_to_half_a_move() -> None:
    assert slack_in_moves(1) == slack_in_moves(10) == MOVES
    assert slack_in_moves(20).l2 == pytest.approx(2 * MOVES.l2)
    longest = slack_in_moves(1_000)
    assert (longest.l1, longest.l2, longest.linf, longest.cos) == (0.5,) * 4
    recorded = Conditions(augmentation="recorded")
    assert strict.slack(recorded, 40) == slack_in_moves(40)
    assert published.slack(recorded, 40) == Thresholds()
    with pytest.raises(InputError, match="not calibrated for fresh augmentation"):
        strict.slack(Conditions(augmentation="fresh"), 40)
