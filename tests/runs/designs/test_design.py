"""Sweeps as they are declared: axes over typed fields, expanded by Tune, each trial named by its content."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import tune

from raypol.core.attacks import find_attack
from raypol.core.errors import InputError
from raypol.core.scoring import CONTROLS
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.train_config import TrainConfig
from raypol.core.verification.thresholds import RELATIVE
from raypol.runs.designs.design import Arm, Design, Search, Sweep
from raypol.runs.designs.points import (
    check_space,
    controls_beside,
    count_points,
    expand,
    honest_points,
    searchable,
    trial_at,
)
from raypol.runs.sweeps.failed_trials import unworked_row
from raypol.runs.sweeps.plan import SweepOptions, SweepPlan, honest_group, plan_sweep, trial_group

TRAIN = TrainConfig(steps=40, interval=10)
DESIGN = Design(
    train=TRAIN,
    arms={"III": "iii_loss", "forged": "forged_momentum"},
    space={"steps": tune.grid_search([20, 50]), "seed": tune.grid_search([0, 1])},
)


def design(**space: Any) -> Design:  # noqa: ANN401 - axes take anything
    return replace(DESIGN, space={name.replace("__", "."): values for name, values in space.items()})


def planned(asked: Design, search: Search = "grid", **options: Any) -> SweepPlan:  # noqa: ANN401 - any option
    sweep = Sweep(name="test", question="?", paper=asked, smoke=asked)
    return plan_sweep(sweep, "smoke", asked, SweepOptions(name="test", search=search, **options))


# --- grids -----------------------------------------------------------------------------------------------------------


def test_a_grid_runs_every_arm_at_every_point_and_both_controls() -> None:
    found = [(t.arm, t.spoof.steps, t.spoof.seed) for t in expand(DESIGN, "grid", samples=1, seed=0)]
    assert sorted(found) == sorted(
        (arm, steps, seed) for arm in (*CONTROLS, "III", "forged") for steps in (20, 50) for seed in (0, 1)
    )


def test_a_control_that_is_declared_is_not_added_again() -> None:
    own = replace(DESIGN, arms={"nothing": find_attack("null"), "III": "iii_loss"})
    assert list(own.attacks()) == ["infinitesimal", "nothing", "III"]


def test_short_axes_mean_proof_and_spoof_alike() -> None:
    trial = trial_at(DESIGN, {"arm": "III", "steps": 30, "interval": 5, "seed": 7})
    assert (trial.train.interval, trial.train.seed, trial.train.steps) == (5, 7, 40)
    assert (trial.spoof.interval, trial.spoof.seed, trial.spoof.steps) == (5, 7, 30)


AXES = [
    ("train.lr", 0.5, lambda s: s.train.lr),
    ("spoof.carry", "restart", lambda s: s.spoof.carry),
    ("trajectory.noise", 0.7, lambda s: s.spoof.trajectory.noise),
    ("attack.alpha", 0.25, lambda s: s.attack.alpha),
    ("conditions.precision", "float64", lambda s: s.examination.conditions.precision),
    ("thresholds.l2", 0.5, lambda s: s.thresholds.l2),
    ("verifier", "rtx2080ti:0.5", lambda s: s.verifier.replace("RTX-2080-Ti:0.5", "rtx2080ti:0.5")),
    ("spoof.steps", np.int64(60), lambda s: s.spoof.steps),
]


@pytest.mark.parametrize(("axis", "value", "read"), AXES, ids=[axis for axis, _, _ in AXES])
def test_every_field_can_be_an_axis(axis: str, value: object, read: Any) -> None:  # noqa: ANN401 - a lambda
    trial = trial_at(DESIGN, {"arm": "III", "steps": 20, axis: value})
    assert read(trial) == value
    assert not isinstance(read(trial), np.generic)


def test_an_arm_without_the_field_is_run_once_for_all_values_of_the_axis() -> None:
    asked = design(steps=tune.grid_search([20]), attack__alpha=tune.grid_search([0.1, 1.0, 9.0]))
    found = expand(asked, "grid", samples=1, seed=0)
    assert sorted(trial.arm for trial in found) == ["III", "III", "III", "forged", "infinitesimal", "null"]


# --- axes that change several fields together ------------------------------------------------------------------------

SETTING = {"train.lr": 0.5, "train.interval": 5, "spoof.interval": 5, "attack.alpha": 0.4}
SETTINGS = design(setting=tune.grid_search([{}, SETTING]), steps=tune.grid_search([20]), seed=tune.grid_search([0, 1]))


def test_a_setting_changes_its_fields_together_and_no_others() -> None:
    found = {
        (t.train.seed, t.train.lr == 0.5): t for t in expand(SETTINGS, "grid", samples=1, seed=0) if t.arm == "III"
    }
    assert len(found) == 4
    for (seed, changed), trial in found.items():
        plain = trial_at(DESIGN, {"arm": "III", "steps": 20, "seed": seed})
        assert (trial == plain) is not changed
        assert (trial.train.lr, trial.train.interval, trial.attack.alpha) == (
            (0.5, 5, 0.4) if changed else (plain.train.lr, 10, plain.attack.alpha)
        )


def test_an_axis_of_its_own_wins_over_a_setting_wherever_it_stands() -> None:
    for order in (("setting", "train.lr"), ("train.lr", "setting")):
        values = {"setting": SETTING, "train.lr": 0.7}
        trial = trial_at(DESIGN, {"arm": "III", "steps": 20, **{axis: values[axis] for axis in order}})
        assert (trial.train.lr, trial.spoof.interval) == (0.7, 5)


def test_a_setting_that_json_has_carried_names_the_same_trial() -> None:
    drops = {"train.lr_drops": (0.3, 0.6)}
    asked, carried = ({"arm": "null", "setting": value} for value in (drops, json.loads(json.dumps(drops))))
    assert trial_at(DESIGN, asked).trial_id("s") == trial_at(DESIGN, carried).trial_id("s")


def test_a_setting_that_changes_the_proof_is_an_honest_point() -> None:
    assert len({trial_at(SETTINGS, point).honest_key() for point in honest_points(SETTINGS)}) == 4
    assert len({repr(trial.data) for trial in planned(OTHER_DATA, "optuna").examples()}) == 2


OTHER_DATA = design(
    spoof__dataset=tune.choice(["digits/D1", "digits/D2"]), attack__alpha=tune.uniform(0.1, 1.0), prover="cpu"
)


def test_a_constant_is_proposed_as_it_is() -> None:
    assert searchable(OTHER_DATA)["prover"].categories == ["cpu"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"attack.no_such": 1}, "no arm's attack has this field"), ({"trian.lr": 1}, "unknown axis 'trian.lr'")],
)
def test_a_setting_of_what_does_not_exist_is_an_error(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        planned(design(setting=tune.grid_search([setting])))


# --- grids and distributions in one design ---------------------------------------------------------------------------


def test_a_search_draws_where_the_grid_lists() -> None:
    both = replace(DESIGN, drawn={"steps": tune.qrandint(100, 200, 10), "attack.alpha": tune.loguniform(1e-3, 1.0)})
    listed, drawn = planned(both), planned(both, "random", samples=3)
    assert {trial.spoof.steps for trial in listed.trials} == {20, 50}
    assert all(trial.spoof.steps >= 100 for trial in drawn.trials)
    assert len({trial.attack.alpha for trial in drawn.trials if trial.arm == "III"}) == 3
    assert {trial.train.seed for trial in drawn.trials} == {0, 1}
    assert listed.asked == planned(DESIGN).asked
    assert "axis attack.alpha" in drawn.asked


# --- distributions ---------------------------------------------------------------------------------------------------

RANDOM = design(steps=tune.qrandint(20, 100, 10), attack__alpha=tune.loguniform(1e-3, 1.0), seed=tune.grid_search([0]))


def test_a_random_search_is_repeatable_and_runs_all_arms_at_each_drawn_point() -> None:
    first, again, other = (expand(RANDOM, "random", samples=5, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    steps = {arm: [trial.spoof.steps for trial in first if trial.arm == arm] for arm in RANDOM.attacks()}
    assert len(steps["III"]) == 5
    # null does not depend on alpha, so two points of one T' share it.
    assert all(sorted(some) == sorted(set(steps["III"])) for arm, some in steps.items() if arm != "III")


def test_a_search_proposes_attacks_and_the_controls_follow() -> None:
    space = searchable(RANDOM)
    assert set(space["arm"].categories) == {"III", "forged"}
    assert space["seed"].categories == [0]
    visited = [{"arm": "III", "steps": 20, "attack.alpha": 0.5, "seed": 0}, {"arm": "forged", "steps": 20, "seed": 0}]
    assert [(trial.arm, trial.spoof.steps) for trial in controls_beside(RANDOM, visited)] == [
        ("null", 20),
        ("infinitesimal", 20),
    ]


def test_the_honest_side_of_a_search_is_known_beforehand() -> None:
    asked = design(
        steps=tune.qrandint(20, 100, 10),
        seed=tune.choice([0, 1]),
        interval=tune.grid_search([5, 10]),
        spoofer=tune.grid_search(["cpu", "T4"]),
    )
    points = honest_points(asked)
    assert len({trial_at(asked, point).honest_key() for point in points}) == 4
    assert {point["spoofer"] for point in points} == {"cpu", "T4"}
    with pytest.raises(InputError, match=r"axis train\.lr decides the honest proof: expected values to list"):
        honest_points(design(train__lr=tune.uniform(0.1, 0.2)))


# --- names -----------------------------------------------------------------------------------------------------------


def test_a_trial_is_named_by_what_decides_its_numbers_and_nothing_else() -> None:
    point = {"arm": "III", "steps": 20, "seed": 0}
    trial = trial_at(DESIGN, point)
    assert trial.trial_id("a") == trial_at(DESIGN, dict(reversed(point.items()))).trial_id("a")
    elsewhere = replace(trial, train=replace(trial.train, data_dir="/another/place"))
    assert elsewhere.trial_id("a") == trial.trial_id("a")
    assert elsewhere.honest_key() == trial.honest_key()
    others = [
        replace(trial, arm="III again"),
        replace(trial, attack=find_attack("iii_loss", alpha=0.5)),
        replace(trial, spoof=replace(trial.spoof, carry="restart")),
        replace(trial, spoofer="T4"),
        replace(trial, verifier="T4"),
        replace(trial, train=replace(trial.train, seed=9)),
        replace(trial, thresholds=replace(RELATIVE, l1=0.7)),
    ]
    assert len({trial.trial_id("a"), trial.trial_id("b"), *(other.trial_id("a") for other in others)}) == 9


def test_names_are_those_of_results_folders_written_before() -> None:
    """Else a resumed sweep would run everything again."""
    trial = trial_at(DESIGN, {"arm": "III", "steps": 20, "seed": 0, "spoofer": "T4"})
    assert (trial.trial_id("a"), trial.honest_key()) == ("trial-6d152f22095a", "honest-6fb608c29e3f")


def test_trials_share_the_honest_side_unless_it_differs() -> None:
    trial = trial_at(DESIGN, {"arm": "III", "steps": 20})
    same = [replace(trial, arm="null"), replace(trial, spoof=SpoofConfig(steps=30)), replace(trial, spoofer="T4")]
    other = [replace(trial, prover="T4"), replace(trial, verifier="T4"), replace(trial, train=replace(TRAIN, seed=1))]
    assert {s.honest_key() for s in same} == {trial.honest_key()}
    assert len({s.honest_key() for s in (*other, trial)}) == 4


@given(
    steps=st.lists(st.integers(10, 500), min_size=1, max_size=4, unique=True),
    seeds=st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
    alphas=st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=1, max_size=3, unique=True),
)
def test_a_grid_is_complete_and_free_of_doubles(steps: list[int], seeds: list[int], alphas: list[float]) -> None:
    asked = design(steps=tune.grid_search(steps), seed=tune.grid_search(seeds), attack__alpha=tune.grid_search(alphas))
    trials = expand(asked, "grid", samples=1, seed=0)
    assert len({trial.trial_id("x") for trial in trials}) == len(trials)
    assert len(trials) == len(steps) * len(seeds) * (len(alphas) + 3)
    assert count_points(asked, "grid", 1) >= len(trials)


# --- plans -----------------------------------------------------------------------------------------------------------

BAD: list[tuple[str, Design, Search, dict[str, Any], str]] = [
    ("empty axis", design(steps=tune.grid_search([])), "grid", {}, "axis steps is empty"),
    ("an arm's name", replace(DESIGN, arms={"honest": "null"}), "grid", {}, "an arm may not be called 'honest'"),
    ("no such axis", design(stepz=tune.grid_search([1])), "grid", {}, "unknown axis 'stepz'; possible: steps, interval"),
    ("no such field", design(spoof__foo=tune.grid_search([1])), "grid", {}, "unknown axis 'spoof.foo': SpoofConfig has"),
    ("no arm has it", design(attack__foo=tune.grid_search([1])), "grid", {}, "no arm's attack has this field"),
    ("T' below k", design(steps=tune.grid_search([5])), "grid", {}, "T' = 5 is not reachable with k = 10"),
    ("k of zero", design(interval=tune.grid_search([0])), "grid", {}, "expected interval (k) in 1..100000000, got 0"),
    ("another type", design(steps=tune.grid_search(["many"])), "grid", {}, "expected steps (T') in 1..100000000, got 'many'"),
    ("seed of no column", design(seed=tune.grid_search([0, 2**63])), "grid", {}, "seed in 0..9223372036854775807, got 9"),
    ("negative seed", design(spoof__seed=tune.grid_search([-1])), "grid", {}, "seed in 0..9223372036854775807, got -1"),
    ("verifier's seed", design(conditions__seed=tune.grid_search([2**63])), "grid", {}, "seed in 0..9223372036854775807, got 9"),
    ("seed of the search", RANDOM, "random", {"search_seed": -1}, "expected search_seed in 0..9223372036854775807, got -1"),
    ("steps of no column", design(steps=tune.grid_search([2**63])), "grid", {}, "steps (T') in 1..100000000"),
    ("a batch of True", design(train__batch_size=tune.grid_search([True])), "grid", {}, "batch_size in 1..1000000, got True"),
    ("no list", design(steps={"grid_search": 7}), "grid", {}, "axis steps: expected values to list, got 7"),
    ("distribution", design(steps=tune.randint(10, 20)), "grid", {}, "axis steps is a distribution; expected --search"),
    ("no such device", design(spoofer=tune.grid_search(["cpu:0.5"])), "grid", {}, "expected a whole number of CPU cores"),
    ("early stop", RANDOM, "optuna", {"early_stop": True}, "--early-stop leaves Optuna without numbers"),
    ("too many", design(spoof__seed=tune.grid_search(list(range(250_000)))), "grid", {}, "up to 1,000,000 trials; give --yes"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "search", "options", "said"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_a_bad_sweep_is_one_line(asked: Design, search: Search, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        planned(asked, search, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_search_without_an_attack_has_nothing_to_search() -> None:
    with pytest.raises(InputError, match="needs an arm that is no control"):
        searchable(replace(DESIGN, arms={}))


def test_many_trials_are_run_if_they_are_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raypol.runs.sweeps.plan.MANY_TRIALS", 15)
    with pytest.raises(InputError, match="up to 16 trials; give --yes"):
        planned(DESIGN)
    assert planned(DESIGN, confirmed=True).num_trials == 16


def test_a_plan_knows_what_must_be_had_at_once() -> None:
    asked = DESIGN.with_devices(prover=["V100"], spoofer=["T4", "cpu:2"], verifier=["V100"])
    groups = {tuple(map(str, group)) for group in planned(asked, workers=2).groups()}
    assert groups == {("T4", "T4", "V100", "V100"), ("cpu:2", "cpu:2", "V100", "V100"), ("V100",)}
    trial = trial_at(DESIGN, {"arm": "null", "steps": 20})
    assert [str(r) for r in trial_group(trial, 3)] == ["cpu"] * 3
    assert [str(r) for r in honest_group(trial)] == ["cpu"]


def test_what_is_asked_is_told_in_full() -> None:
    asked = planned(RANDOM, "random", samples=3).asked
    assert asked["axis attack.alpha"] == "Float(0.001, 1.0) LogUniform"
    assert asked["axis steps"] == "Integer(20, 100) Uniform Quantized (q 10)"
    wider = design(steps=tune.qrandint(20, 100, 20)).as_text()["axis steps"]
    assert wider != asked["axis steps"]
    assert (asked["samples"], asked["size"], asked["search"]) == ("3", "smoke", "random")
    assert "train.data_dir" not in asked or asked["train.data_dir"] == "None"
    changed = replace(DESIGN, thresholds=replace(RELATIVE, l2=0.123))
    assert {k for k, v in changed.as_text().items() if DESIGN.as_text()[k] != v} == {"thresholds.l2"}


def test_check_space_takes_what_it_should() -> None:
    check_space(RANDOM, "random")
    check_space(RANDOM, "optuna")
    check_space(DESIGN, "grid")


def test_a_trial_that_no_worker_could_write_has_a_row_with_all_that_was_asked() -> None:
    point = {
        "arm": "III",
        "steps": 20,
        "attack.alpha": 0.25,
        "trajectory.path": "noisy",
        "spoof.dataset": "digits/D2",
        "seed": 3,
    }
    row = unworked_row("s", trial_at(DESIGN, {**point, "verifier": "T4"}), "gone", simulated=True)
    assert (row.status, row.message, row.simulated, row.proof_id) == ("error", "gone", True, "")
    assert (row.attack, row.steps, row.interval, row.seed, row.alpha, row.objective) == ("iii", 20, 10, 3, 0.25, "loss")
    assert (row.trajectory, row.noise, row.carry, row.dataset) == ("noisy", 0.3, "exact", "digits/D2")
    assert (row.device, row.verifier_device) == ("cpu", "T4")
    assert "device=cuda" in row.replay


HALVES = Design(
    train=replace(TrainConfig(), dataset="cifar10/D1@3"),
    arms={"III": "iii"},
    space={},
    spoof=SpoofConfig(steps=20, interval=10, dataset="cifar10/D2@3"),
)


def test_a_stand_in_takes_the_place_of_the_dataset_and_halves_stay_halves() -> None:
    changed = HALVES.on_dataset("fashion_mnist_32x32x3")
    assert changed.train.dataset == "fashion_mnist_32x32x3/D1@3"
    assert changed.spoof.dataset == "fashion_mnist_32x32x3/D2@3"
    plain = replace(HALVES, train=replace(HALVES.train, dataset="cifar10"), spoof=replace(HALVES.spoof, dataset=""))
    assert plain.on_dataset("my_lab:load").train.dataset == "my_lab:load"
    assert plain.on_dataset("my_lab:load").spoof.dataset == "", "the adversary has the prover's"


@pytest.mark.parametrize(
    ("space", "name", "told"),
    [
        ({}, "digits/D1", "expected a whole dataset"),
        ({"train.dataset": tune.grid_search(["digits"])}, "digits", "are an axis"),
        ({"where": tune.grid_search([{"train.dataset": "digits"}])}, "digits", "are an axis"),
        ({"where": tune.choice([{"spoof.dataset": "digits"}])}, "digits", "are an axis"),
    ],
)
def test_a_stand_in_that_cannot_be_is_refused(space: dict[str, Any], name: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        replace(HALVES, space=space).on_dataset(name)


def test_an_arm_may_have_choices_of_its_own_which_win_over_axes() -> None:
    arms = {"plain": "null", "free": Arm("null", {"spoof.declares": "no_momentum", "steps": 20})}
    found = expand(replace(design(steps=tune.grid_search([10, 30])), arms=arms), "grid", samples=0, seed=0)
    asked = {(trial.arm, trial.spoof.steps, trial.spoof.declares) for trial in found if trial.arm in arms}
    assert asked == {
        ("plain", 10, "honest_schedule"),
        ("plain", 30, "honest_schedule"),
        ("free", 20, "no_momentum"),
    }, "what a choice makes equal is run once"
    assert "choices free" in replace(design(), arms=arms).as_text()
    with pytest.raises(InputError, match=r"unknown axis 'spoof\.lenght'"):
        expand(replace(design(), arms={"odd": Arm("null", {"spoof.lenght": 3})}), "grid", samples=0, seed=0)


@pytest.mark.parametrize("choice", ["interval", "seed", "train.lr", "thresholds.l2"])
def test_an_arm_does_not_choose_the_honest_side(choice: str) -> None:
    arms = {"odd": Arm("null", {choice: 1})}
    with pytest.raises(InputError, match="decides the honest proof, which all arms share"):
        expand(replace(design(), arms=arms), "grid", samples=0, seed=0)
