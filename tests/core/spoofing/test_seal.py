"""From crafted intervals to a sealed spoof: what is declared, drawn, retried, recorded and carried, wherever done."""

import itertools
import math
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from raypol import prove
from raypol.core.attacks import find_attack, method_of
from raypol.core.attacks.ii import AttackII
from raypol.core.attacks.iii import AttackIII
from raypol.core.attacks.selected import Selected
from raypol.core.augment import Transform
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof, OptimizerConfig, ScheduleConfig
from raypol.core.spoofing.crafting import craft_until_accepted
from raypol.core.spoofing.method import make_scene, spoof_recipe
from raypol.core.spoofing.objectives import gradient_objective, measure
from raypol.core.spoofing.scene import Scene
from raypol.core.spoofing.seal import craft_interval
from raypol.core.spoofing.search import CraftingConfig
from raypol.core.spoofing.spoof_config import SpoofConfig, declare
from raypol.core.spoofing.trajectory import Trajectory, TrajectoryConfig
from raypol.core.training.optimizers import learning_rates
from raypol.core.verification.thresholds import Thresholds
from tests.scenes import (
    SHORT,
    Forged,
    Invert,
    all_bits,
    bits,
    forge,
    sgd,
    small_recipe,
    stolen_digits,
    tiny,
    zero,
)

DATA = tiny()
Kept = Literal["exact", "restart", "nothing"]
STATES: Final[dict[Kept, dict[str, Any]]] = {
    "exact": {"carry": "exact"},
    "restart": {"carry": "restart"},
    "nothing": {"declares": "no_momentum"},
}
"""What a spoof records of the optimizer's state, and the choices that lead there."""
GENEROUS = Thresholds(l1=1e6, l2=1e3, linf=10.0, cos=2.0)
"""For checks that are not about the size of the error: three intervals from W_0 to W_T are large moves."""
SIGNED = AttackIII(objective="loss", crafting="signed", iterations=2, linf_limit=0.1, alpha=0.0, retries=0)


def honest(**changes: Any) -> MemoryProof:  # noqa: ANN401 - any field of Recipe
    return prove(small_recipe(DATA, **changes), DATA)


def scene(spoof: SpoofConfig = SHORT, **changes: Any) -> Scene:  # noqa: ANN401 - any field of Recipe
    proof = honest(**changes)
    made = scene_of(proof, spoof)
    made.trainer.load(made.trajectory.checkpoint(0))
    return made


def scene_of(stolen: MemoryProof, spoof: SpoofConfig, dataset: Dataset = DATA) -> Scene:
    """What the control `null` holds; attacks by their own functions find it all the same."""
    attack = find_attack("null")
    recipe = spoof_recipe(method_of(attack), attack, spoof, stolen.recipe, dataset)
    return make_scene(method_of(attack), attack, spoof, recipe, dataset, stolen.checkpoints[-1])


def assert_same_spoof(one: MemoryProof, other: MemoryProof) -> None:
    """Bit for bit, hence the same root."""
    assert [all_bits(c) for c in one.checkpoints] == [all_bits(c) for c in other.checkpoints]
    assert [(r.step, r.indices.tolist(), r.sha256) for r in one.records] == [
        (r.step, r.indices.tolist(), r.sha256) for r in other.records
    ]
    assert one.num_points == other.num_points
    if one.num_points:
        ours, theirs = one.all_points(), other.all_points()
        assert bits(ours.pixels) == bits(theirs.pixels)
        assert torch.equal(ours.labels, theirs.labels)
        assert torch.equal(ours.sources, theirs.sources)
    assert one.root == other.root


# --- what is declared ----------------------------------------------------------------------------------------------


def test_published_hyperparameters_are_those_of_the_paper() -> None:
    recipe = small_recipe(DATA, schedule=ScheduleConfig(name="StepLR", options={"step_size": 3}))
    declared = declare(recipe, replace(SHORT, declares="published"))
    assert declared.optimizer == OptimizerConfig(
        name="SGD", options={"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
    )
    assert learning_rates(declared).tolist() == [0.01] * SHORT.steps


@pytest.mark.parametrize("steps", [3, 6, 12, 24, 60])
def test_the_honest_schedule_is_stretched_to_the_claimed_steps(steps: int) -> None:
    schedule = ScheduleConfig(name="MultiStepLR", options={"milestones": [4, 8], "gamma": 0.1})
    recipe = small_recipe(DATA, optimizer=sgd(momentum=0.9), schedule=schedule)
    declared = declare(recipe, SpoofConfig(steps=steps, interval=3))
    rates = learning_rates(declared)
    thirds = [0.05] * (steps // 3) + [0.005] * (steps // 3) + [0.0005] * (steps // 3)
    assert rates.tolist() == pytest.approx(thirds)
    again = declare(declared, SpoofConfig(steps=12, interval=3))  # a spoof of a spoof has the first one's schedule
    assert learning_rates(again).tolist() == pytest.approx(learning_rates(recipe).tolist())


@pytest.mark.parametrize(
    "options", [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "dampening": 0.5}, {}]
)
def test_without_momentum_the_declared_optimizer_keeps_no_state(options: dict[str, float | bool]) -> None:
    made = forge(find_attack("null"), honest(optimizer=sgd(**options)), DATA, replace(SHORT, declares="no_momentum"))
    assert made.proof.recipe.optimizer.options["momentum"] == 0.0
    assert all(not checkpoint.optimizer_state for checkpoint in made.proof.checkpoints)
    assert all(zero(error) for error in made.state_errors)


def test_an_optimizer_that_cannot_go_without_state_is_refused() -> None:
    recipe = small_recipe(DATA, optimizer=OptimizerConfig(name="Adam", options={"lr": 1e-3}))
    with pytest.raises(InputError, match="got Adam"):
        declare(recipe, replace(SHORT, declares="no_momentum"))


def test_a_spoof_claims_its_own_length_and_no_augmentation() -> None:
    recipe = small_recipe(DATA, precision="float64", transform=replace(small_recipe(DATA).transform, crop_padding=1))
    declared = declare(recipe, SpoofConfig(steps=9, interval=2, batch_size=0))
    assert (declared.steps, declared.interval, declared.batch_size) == (9, 2, recipe.batch_size)
    assert not declared.transform.is_random
    assert (declared.model, declared.dataset_sha256, declared.precision, declared.loss) == (
        recipe.model,
        recipe.dataset_sha256,
        "float64",
        recipe.loss,
    )
    assert declare(recipe, SpoofConfig(batch_size=5)).batch_size == 5


def test_an_adversary_with_other_data_declares_them_and_keeps_what_belongs_to_the_stolen_weights() -> None:
    recipe = small_recipe(DATA, transform=Transform(crop_padding=1, mean=(0.3,), std=(0.4,)))
    other = replace(DATA, name="other", labels=2 - DATA.labels)
    plain = declare(recipe, SHORT)
    assert declare(recipe, SHORT, other) == plain, "not looked at where the config names none"
    own = declare(recipe, replace(SHORT, dataset="other"), other)
    assert (own.dataset, own.dataset_sha256) == ("other", other.sha256)
    assert replace(own, dataset=plain.dataset, dataset_sha256=plain.dataset_sha256) == plain


def test_other_data_than_the_named_are_refused() -> None:
    for dataset, got in ((None, "none"), (DATA, DATA.name)):
        with pytest.raises(InputError, match=f"names dataset 'other'; expected it, got {got}"):
            declare(small_recipe(DATA), replace(SHORT, dataset="other"), dataset)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"declares": "own"}, "possible: accumulator, honest_schedule, no_momentum, published, vanishing"),
        ({"carry": "none"}, "possible: exact, restart"),
        ({"augmentation": "some"}, "possible: honest, none"),
        ({"buffers": "published"}, "possible: exact, linear"),
        ({"data_order": "any"}, "possible: declared, own"),
    ],
)
def test_choices_that_do_not_exist_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SpoofConfig(**fields)


@pytest.mark.parametrize("fields", [{"steps": 3, "interval": 4}, {"interval": 0}, {"batch_size": -1}, {"steps": 10**9}])
def test_impossible_lengths_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        declare(small_recipe(DATA), SpoofConfig(**fields))


def test_a_batch_larger_than_the_dataset_is_refused() -> None:
    with pytest.raises(InputError, match="batch_size"):
        scene(replace(SHORT, batch_size=len(DATA) + 1)).batch(0)


# --- what is drawn -------------------------------------------------------------------------------------------------


def test_the_first_batches_of_every_attack_are_those_of_the_control() -> None:
    stolen = honest()
    null = forge(find_attack("null"), stolen, DATA)
    for config in (SIGNED, AttackII(iterations=1, retries=0), find_attack("i", iterations=1), Invert()):
        made = forge(config, stolen, DATA)
        for ours, theirs in zip(made.made, null.made, strict=True):
            for batch, control in zip(ours.batches, theirs.batches, strict=True):
                assert batch.sources.tolist() == control.sources.tolist()
                assert batch.labels.tolist() == control.labels.tolist()


def test_a_batch_is_what_the_dataset_holds_and_another_attempt_is_another_batch() -> None:
    made = scene()
    drawn = set()
    for attempt in range(5):
        for step in (0, 1, 2, 100):
            sources, pixels, labels = made.batch(step, attempt)
            assert torch.equal((pixels * 255.0).round().to(torch.uint8), DATA.pixels[sources])
            assert torch.equal(labels, DATA.labels[sources])
            assert len(set(sources.tolist())) == 16
            drawn.add(tuple(sources.tolist()))
            assert made.batch(step, attempt)[0].tolist() == sources.tolist()
    assert len(drawn) == 20


# --- acceptance and retries ----------------------------------------------------------------------------------------


def unit_of(pixels: Tensor) -> Tensor:
    return pixels.float() / 255.0 if pixels.dtype == torch.uint8 else pixels


NEVER = [{"max_grad_norm2": 0.0}, {"max_perturbation_norm2": 0.0}, {"max_grad_norm2": 1e-12}]


@pytest.mark.parametrize("pixel_dtype", ["uint8", "float32"])
@pytest.mark.parametrize("limits", NEVER)
@pytest.mark.parametrize("retries", [0, 1, 4])
def test_what_is_never_accepted_is_recorded_from_the_last_try_with_its_own_perturbation(
    retries: int, limits: dict[str, Any], pixel_dtype: Literal["uint8", "float32"]
) -> None:
    made = scene()
    config = CraftingConfig(
        crafting="signed", linf_limit=0.1, iterations=2, retries=retries, pixel_dtype=pixel_dtype, **limits
    )
    steps = [3, 4]
    batches, stats = craft_until_accepted(
        made, steps, config, lambda X, y: gradient_objective(made.trainer, X, y, alpha=0.0)
    )
    assert stats.retries == retries
    assert not stats.accepted
    R = []
    for step, batch in zip(steps, batches, strict=True):
        sources, X, y = made.batch(step, retries)  # attempts are counted from 0: the last one
        assert batch.sources.tolist() == sources.tolist()
        assert torch.equal(batch.labels, y)
        assert batch.pixels is not None
        R.append(unit_of(batch.pixels) - X)
    # The perturbation is that of these very points: a stale one on fresh points would be as large as they differ.
    perturbation = torch.stack(R)
    assert 0.0 < float(perturbation.abs().max()) <= 0.1 + 1e-6
    assert float(perturbation.square().sum()) == pytest.approx(stats.perturbation_norm2, rel=1e-5)
    assert float(perturbation.abs().max()) == pytest.approx(stats.perturbation_linf, rel=1e-5)
    # Measured on what is stored, not on what was searched.
    X = torch.stack([unit_of(batch.pixels) for batch in batches if batch.pixels is not None])
    y = torch.stack([batch.labels for batch in batches])
    assert measure(made.trainer, X, y) == pytest.approx((stats.loss_after, stats.grad_norm2_after), rel=1e-5)


def flat_objective(R: Tensor) -> tuple[float, Tensor]:
    """Nothing to gain: the search returns no perturbation, and a try is the batch as drawn."""
    return 0.0, torch.zeros_like(R)


def test_the_first_acceptable_try_ends_the_search() -> None:
    made = scene()
    config = CraftingConfig(crafting="signed", linf_limit=1 / 255, iterations=1, retries=9)
    tries = []
    for attempt in range(10):
        _, X, y = made.batch(0, attempt)
        tries.append(measure(made.trainer, X[None], y[None])[1])
    # A limit between the smallest gradient and the next: which try passes is known beforehand.
    first = int(np.argsort(tries)[0])
    limit = (sorted(tries)[0] + sorted(tries)[1]) / 2.0
    assert first > 0
    _, stats = craft_until_accepted(made, [0], replace(config, max_grad_norm2=limit), lambda _X, _y: flat_objective)
    assert stats.accepted
    assert stats.retries == first
    assert stats.grad_norm2_before == pytest.approx(tries[first], rel=1e-5)


def test_a_gradient_that_is_not_a_number_is_never_accepted() -> None:
    made = scene()
    with torch.no_grad():
        next(iter(made.trainer.parameters.values())).fill_(math.nan)
    config = CraftingConfig(retries=2, max_grad_norm2=math.inf, max_perturbation_norm2=math.inf, iterations=2)
    for crafting in ("lbfgs", "adam", "signed"):
        batches, stats = craft_until_accepted(
            made,
            [0],
            replace(config, crafting=crafting, linf_limit=0.1, line_search="strong_wolfe"),
            lambda X, y: gradient_objective(made.trainer, X, y, alpha=0.0),
        )
        assert not stats.accepted
        assert stats.retries == 2
        assert batches[0].pixels is not None
        assert torch.equal(batches[0].pixels, DATA.pixels[batches[0].sources])


def test_what_only_the_report_needs_is_not_on_the_adversarys_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raypol.core.clock.time.perf_counter", itertools.count().__next__)
    made = scene()
    made.trainer.stopwatch.start()
    config = CraftingConfig(crafting="signed", linf_limit=0.1, iterations=3, retries=0)
    before = made.trainer.gradient_evals
    craft_until_accepted(made, [0], config, lambda X, y: gradient_objective(made.trainer, X, y, alpha=0.0))
    # Three iterations of a gradient and its derivative, and the gradient that acceptance looks at; not that at R = 0.
    assert made.trainer.gradient_evals - before == 3 * 2 + 1
    assert made.trainer.stopwatch.read() == 2, "one tick before the pause and one after it"


# --- what is recorded ----------------------------------------------------------------------------------------------


def points_used(made: Forged) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Per step: the pixels as crafted, the dataset's, and the recorded indices."""
    batches = [batch for crafted in made.made for batch in crafted.batches]
    found = []
    for batch, record in zip(batches, made.proof.records, strict=True):
        source = DATA.pixels[torch.from_numpy(batch.sources)]
        found.append((source if batch.pixels is None else batch.pixels, source, torch.from_numpy(record.indices)))
    return found


@pytest.mark.parametrize(
    "config",
    [
        Invert(every=3),
        AttackII(crafting="signed", iterations=1, step_size=0.5 / 255, retries=0),  # some pixels round, some do not
        AttackII(crafting="adam", iterations=1, step_size=1e-4, retries=0),  # nothing survives rounding
        AttackII(crafting="adam", iterations=1, step_size=1e-4, retries=0, pixel_dtype="float32"),
    ],
)
def test_a_point_used_unchanged_stays_an_index_into_the_dataset(config: object) -> None:
    made = forge(config, honest(), DATA)
    own = 0
    for pixels, source, indices in points_used(made):
        as_stored = source if pixels.dtype == torch.uint8 else source.float() / 255.0
        changed = (pixels != as_stored).flatten(1).any(1)
        assert torch.equal(indices >= len(DATA), changed)
        own += int(changed.sum())
        if changed.any():
            stored = made.proof.points(indices[changed].numpy() - len(DATA))
            assert bits(stored.pixels) == bits(pixels[changed])
    assert (made.proof.num_points > 0) == (own > 0)
    if isinstance(config, AttackII) and config.crafting == "adam" and config.pixel_dtype == "uint8":
        assert own == 0
    assert made.rejected_by("strict") in ("", "replay")  # hashes and indices hold


def test_a_point_used_again_is_stored_once() -> None:
    """Nine steps of 16 points over a dataset of 48 see every point three times; its negative is one point all along."""
    made = forge(Invert(), honest(), DATA, replace(SHORT, steps=9))
    used = np.concatenate([record.indices for record in made.proof.records])
    assert len(used) == 144
    assert made.proof.num_points == 48
    assert sorted(set(used.tolist())) == list(range(48, 96))
    own = made.proof.all_points()
    assert torch.equal(own.pixels, 255 - DATA.pixels[own.sources])
    assert torch.equal(own.labels, DATA.labels[own.sources])
    assert len(set(own.sources.tolist())) == 48


@pytest.mark.parametrize("initial", ["strict", "published"])
@pytest.mark.parametrize("path", ["linear", "eased", "noisy"])
@pytest.mark.parametrize("attack", ["null", "iii_loss"])
def test_a_spoof_claims_the_trajectory_and_passes_every_check_but_the_errors_size(
    attack: str, path: Literal["linear", "eased", "noisy"], initial: Literal["strict", "published"]
) -> None:
    stolen = honest()
    spoof = replace(SHORT, trajectory=TrajectoryConfig(path=path, initial=initial))
    made = forge(find_attack(attack), stolen, DATA, spoof)
    assert made.proof.checkpoint_steps == [0, 3, 6, 7]
    path_of_it = Trajectory(stolen.checkpoints[-1], made.proof.recipe, DATA, spoof.trajectory, spoof.seed)
    for checkpoint in made.proof.checkpoints:
        expected = path_of_it.checkpoint(checkpoint.step)
        assert all(torch.equal(checkpoint.parameters[n], W) for n, W in expected.parameters.items())
        assert all(torch.equal(checkpoint.buffers[n], b) for n, b in expected.buffers.items())
    assert made.rejected_by("published") in ("", "replay")
    rejected = set(made.rejected_by("strict").split(",")) - {"replay", ""}
    assert rejected == (set() if initial == "strict" else {"initial_state"})


# --- the optimizer's state -----------------------------------------------------------------------------------------


ANY_OPTIMIZER = ["null", "ii", "iii_loss", "selected", "infinitesimal"]
MOMENTUM = sgd(momentum=0.9, weight_decay=1e-4)
ADAM = OptimizerConfig(name="Adam", options={"lr": 1e-3})


@pytest.mark.parametrize(
    ("attack", "optimizer"),
    [*((name, MOMENTUM) for name in (*ANY_OPTIMIZER, "i", "i_tail")), *((name, ADAM) for name in ANY_OPTIMIZER)],
)
def test_exact_carry_records_the_state_that_an_exact_replay_sees(attack: str, optimizer: OptimizerConfig) -> None:
    config = find_attack(attack)
    config = replace(config, iterations=2, retries=0) if isinstance(config, CraftingConfig) else config
    made = forge(config, honest(optimizer=optimizer), DATA, replace(SHORT, carry="exact"))
    assert all(zero(error) for error in made.state_errors)
    assert all(not replay.state_problem for replay in made.replays)
    assert "optimizer_state" not in made.rejected_by("strict")
    assert not made.proof.checkpoints[0].optimizer_state
    assert all(checkpoint.optimizer_state for checkpoint in made.proof.checkpoints[1:])


@pytest.mark.parametrize("attack", ["null", "iii_loss", "i", "i_tail"])
def test_restart_carry_is_seen_by_strict_and_by_nobody_else(attack: str) -> None:
    config = find_attack(attack)
    config = replace(config, iterations=2, retries=0) if isinstance(config, CraftingConfig) else config
    made = forge(config, honest(optimizer=sgd(momentum=0.9)), DATA, replace(SHORT, carry="restart"))
    assert all(not checkpoint.optimizer_state for checkpoint in made.proof.checkpoints)
    assert made.rejected_by("published", GENEROUS) == ""
    assert made.rejected_by("strict", GENEROUS) == "optimizer_state"


def test_restart_carry_is_seen_under_the_default_thresholds_where_the_moves_are_small() -> None:
    spoof = replace(SHORT, steps=80, interval=2, carry="restart")
    made = forge(find_attack("null"), honest(optimizer=sgd(momentum=0.9)), DATA, spoof)
    assert made.rejected_by("published") == ""
    assert made.rejected_by("strict") == "optimizer_state"


@pytest.mark.parametrize("kept", STATES)
@pytest.mark.parametrize("config", [SIGNED, AttackII(iterations=2, retries=1), Selected(every=1)])
def test_what_is_kept_changes_no_weight_and_no_datum_of_an_attack_on_fixed_weights(config: object, kept: Kept) -> None:
    stolen = honest(optimizer=sgd(momentum=0.9))
    made, exact = (forge(config, stolen, DATA, replace(SHORT, **STATES[k])).proof for k in (kept, "exact"))
    for ours, theirs in zip(made.checkpoints, exact.checkpoints, strict=True):
        assert {n: bits(t) for n, t in ours.parameters.items()} == {n: bits(t) for n, t in theirs.parameters.items()}
    assert [r.sha256 for r in made.records] == [r.sha256 for r in exact.records]


# --- sharding ------------------------------------------------------------------------------------------------------

SHARDED: Final[list[tuple[object, Kept]]] = [
    (SIGNED, "exact"),
    (SIGNED, "restart"),
    (AttackII(iterations=3, retries=2, max_grad_norm2=1e-4), "exact"),
    (AttackIII(iterations=3, retries=1, max_perturbation_norm2=1e-4), "nothing"),
    (Selected(every=1), "exact"),
    (Invert(every=2), "exact"),
    (find_attack("i", iterations=2), "restart"),
    (find_attack("i", iterations=2), "nothing"),
]


@pytest.mark.parametrize("path", ["linear", "noisy"])
@pytest.mark.parametrize(("config", "kept"), SHARDED)
def test_intervals_crafted_in_any_order_and_place_give_the_same_spoof(
    config: object, kept: Kept, path: Literal["linear", "noisy"]
) -> None:
    stolen = honest(optimizer=sgd(momentum=0.9))
    spoof = replace(SHORT, trajectory=TrajectoryConfig(path=path), **STATES[kept])
    reference = forge(config, stolen, DATA, spoof)
    backwards = forge(config, stolen, DATA, spoof, order=[2, 1, 0])
    torch.manual_seed(12345)  # another process has another state of torch's own generator
    elsewhere = forge(config, stolen, DATA, spoof, order=[1, 2, 0], scene_per_interval=True)
    for other in (backwards, elsewhere):
        assert_same_spoof(other.proof, reference.proof)
        assert other.stats == reference.stats


@pytest.mark.parametrize("attack", ["ii", "iii", "iii_loss", "selected", "i", "i_tail", "null"])
def test_with_dropout_too_the_seed_alone_decides(attack: str) -> None:
    stolen = honest(model="tests.scenes:smooth_dropout_net", optimizer=sgd(momentum=0.9))
    config = find_attack(attack)
    config = replace(config, iterations=2, retries=0) if isinstance(config, CraftingConfig) else config
    torch.manual_seed(1)
    first = forge(config, stolen, DATA)
    torch.manual_seed(2)
    second = forge(config, stolen, DATA, order=[2, 0, 1], scene_per_interval=True)
    assert_same_spoof(first.proof, second.proof)
    assert all(zero(error) for error in first.state_errors)


def test_another_seed_is_another_spoof() -> None:
    stolen = honest()
    one, other = (forge(SIGNED, stolen, DATA, replace(SHORT, seed=seed)).proof for seed in (1, 2))
    assert one.root != other.root
    assert one.all_points().sources.tolist() != other.all_points().sources.tolist()


def test_crafting_leaves_torchs_generator_and_the_recorded_start_alone() -> None:
    made = scene(optimizer=sgd(momentum=0.9))
    state = torch.get_rng_state()
    start = made.trajectory.checkpoint(3)
    kept = all_bits(start)
    for attack in ("null", "i", "ii", "iii", "iii_loss", "selected", "forged_momentum", "i_tail"):
        config = find_attack(attack)
        config = replace(config, iterations=2, retries=0) if isinstance(config, CraftingConfig) else config
        craft_interval(method_of(config), made, made.recipe.interval_at(1), config, start)
        assert all_bits(start) == kept, attack
    assert torch.equal(torch.get_rng_state(), state)


def test_crafting_changes_neither_the_dataset_nor_the_stolen_model() -> None:
    stolen = honest()
    pixels, labels, kept = DATA.pixels.clone(), DATA.labels.clone(), all_bits(stolen.checkpoints[-1])
    for config in (SIGNED, AttackII(iterations=2, retries=1), Invert(), Selected(every=1)):
        forge(config, stolen, DATA)
    assert torch.equal(DATA.pixels, pixels)
    assert torch.equal(DATA.labels, labels)
    assert all_bits(stolen.checkpoints[-1]) == kept


# --- own models ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", ["null", "ii", "iii", "iii_loss", "selected", "i", "i_tail", "forged_momentum"])
@pytest.mark.parametrize(
    "changes", [{"precision": "float64"}, {"model": "tests.scenes:reordering_net"}, {"channels_last": False}]
)
def test_every_attack_takes_every_model(attack: str, changes: dict[str, Any]) -> None:
    stolen = honest(optimizer=sgd(momentum=0.9), **changes)
    config = find_attack(attack)
    config = replace(config, iterations=2, retries=0) if isinstance(config, CraftingConfig) else config
    made = forge(config, stolen, DATA)
    assert set(made.rejected_by("strict").split(",")) <= {
        "",
        "replay",
        *(["optimizer_state"] if attack == "forged_momentum" else []),
    }


def test_a_frozen_layer_is_not_moved_for_a_replay_would_show_it() -> None:
    stolen = honest(model="tests.scenes:half_frozen_net")
    made = forge(AttackII(iterations=2, retries=0), stolen, DATA)
    for checkpoint in made.proof.checkpoints:
        assert torch.equal(checkpoint.parameters["frozen.weight"], stolen.checkpoints[-1].parameters["frozen.weight"])
    assert set(made.rejected_by("strict").split(",")) <= {"", "replay"}


# --- cost ----------------------------------------------------------------------------------------------------------


def test_a_control_costs_no_gradient_and_carrying_its_state_one_per_step() -> None:
    stolen = stolen_digits()
    dataset = load_dataset("digits")
    made = scene_of(stolen, SHORT, dataset)
    config = find_attack("null")
    crafted = craft_interval(method_of(config), made, made.recipe.interval_at(0), config)
    assert crafted.cost.gradient_evals == 0
    assert 0.0 <= crafted.cost.device_s < 5.0
    assert crafted.cost.device_s == crafted.cost.wall_s
