"""The update rule: schedules against torch's own, state in and out, drift."""

import itertools
import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raypol.core.augment import Transform
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.models import build_model
from raypol.core.proof import Checkpoint, OptimizerConfig, Recipe, ScheduleConfig
from raypol.core.training.optimizers import _scheduled, learning_rates, reach_of_state
from raypol.core.training.prover import data_order, initial_checkpoint
from raypol.core.training.trainer import Trainer, mean_loss, state_template
from tests.toys import toy_recipe

OPTIMIZERS: dict[str, Mapping[str, Any]] = {
    "SGD": {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "ASGD": {"lr": 0.01},
    "Adadelta": {"lr": 0.5},
    "Adafactor": {"lr": 0.01},
    "Adagrad": {"lr": 0.01},
    "Adam": {"lr": 0.003, "amsgrad": True},
    "AdamW": {"lr": 0.003},
    "Adamax": {"lr": 0.003},
    "NAdam": {"lr": 0.003},
    "RAdam": {"lr": 0.003},
    "RMSprop": {"lr": 0.003, "momentum": 0.5, "centered": True},
    "Rprop": {"lr": 0.003},
}


def optimizer(name: str) -> OptimizerConfig:
    return OptimizerConfig(name=name, options=OPTIMIZERS[name])


def make_steps(trainer: Trainer, start: int, stop: int) -> list[float]:
    """Honest steps on the recipe's own batches."""
    order = data_order(trainer.recipe, trainer.dataset)
    losses = []
    for step in range(start, stop):
        indices = order(step)
        losses.append(float(trainer.step(step, trainer.dataset.pixels[indices], trainer.dataset.labels[indices])))
    return losses


def trained(recipe: Recipe, dataset: Dataset, steps: int = 5) -> tuple[Trainer, Checkpoint]:
    trainer = Trainer(recipe, dataset)
    trainer.load(initial_checkpoint(recipe, dataset))
    make_steps(trainer, 0, steps)
    return trainer, trainer.snapshot(steps)


def same(a: Checkpoint, b: Checkpoint) -> bool:
    ours, theirs = a.tensors(), b.tensors()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


# --- learning rates --------------------------------------------------------------------------------------------------

SCHEDULES: dict[str, Mapping[str, Any]] = {
    "MultiStepLR": {"milestones": [5, 11], "gamma": 0.2},
    "StepLR": {"step_size": 7, "gamma": 0.5},
    "ExponentialLR": {"gamma": 0.9},
    "CosineAnnealingLR": {"T_max": 20},
    "CosineAnnealingWarmRestarts": {"T_0": 6, "T_mult": 2},
    "LinearLR": {"start_factor": 0.1, "total_iters": 10},
    "PolynomialLR": {"total_iters": 15, "power": 2.0},
    "OneCycleLR": {"max_lr": 0.4, "total_steps": 20, "cycle_momentum": False},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4, "cycle_momentum": False},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rates_are_those_of_a_plain_torch_loop(name: str) -> None:
    weight = nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([weight], lr=0.05, momentum=0.9)
    scheduler = getattr(torch.optim.lr_scheduler, name)(sgd, **SCHEDULES[name])
    expected = []
    for _ in range(20):
        expected.append(float(sgd.param_groups[0]["lr"]))
        weight.grad = torch.ones(1)
        sgd.step()
        scheduler.step()
    config = OptimizerConfig(options={"lr": 0.05, "momentum": 0.9})
    schedule = ScheduleConfig(name=name, options=SCHEDULES[name])
    assert learning_rates(plain(optimizer=config, schedule=schedule)).tolist() == expected


def plain(**changes: Any) -> Recipe:  # noqa: ANN401 - any field of Recipe
    fields: dict[str, Any] = {
        "dataset": "digits", "dataset_sha256": "", "model": "resnet8", "steps": 20, "interval": 5, "batch_size": 8,
    }  # fmt: skip
    return Recipe(**{**fields, **changes})


def test_constant_is_constant() -> None:
    assert learning_rates(plain(optimizer=OptimizerConfig(options={"lr": 0.3}))).tolist() == [0.3] * 20


@pytest.mark.parametrize(("steps", "base"), [(20, 40), (20, 10), (20, 20), (7, 20), (20, 1)])
def test_a_stretched_schedule_takes_the_rates_of_the_base_run_in_proportion(steps: int, base: int) -> None:
    schedule = ScheduleConfig(name="ExponentialLR", options={"gamma": 0.9})
    rates = learning_rates(plain(steps=base, interval=1, schedule=schedule))
    stretched = learning_rates(plain(steps=steps, schedule=replace(schedule, base_steps=base)))
    assert stretched.tolist() == [rates[math.floor(i * base / steps)] for i in range(steps)]


@pytest.mark.parametrize("changes", [{"steps": 10**7}, {"schedule": ScheduleConfig(name="StepLR", base_steps=10**7)}])
def test_a_schedule_that_takes_minutes_to_compute_is_refused_at_once(changes: dict[str, Any]) -> None:
    schedule = ScheduleConfig(name="StepLR", options={"step_size": 9})
    with pytest.raises(InputError, match="schedule StepLR: expected at most 1000000 steps, got 10000000"):
        learning_rates(plain(**{"schedule": schedule, **changes}))


def test_a_schedule_is_computed_once() -> None:
    recipe = plain(steps=5_000, schedule=ScheduleConfig(name="StepLR", options={"step_size": 901}))
    learning_rates(recipe)[:] = -1.0  # what is handed out is the caller's own
    hits = _scheduled.cache_info().hits
    assert learning_rates(recipe).min() > 0.0
    assert _scheduled.cache_info().hits == hits + 1


@pytest.mark.parametrize("total_steps", [20, 21, 22, 40])
@pytest.mark.parametrize("declared", [0.9, 0.95])
def test_a_schedule_that_cycles_momentum_is_an_error(total_steps: int, declared: float) -> None:
    # After 20 of 21 steps the momentum is back where the cycle began; and 0.95 is where it begins.
    schedule = ScheduleConfig(name="OneCycleLR", options={"max_lr": 0.1, "total_steps": total_steps})
    config = OptimizerConfig(options={"lr": 0.05, "momentum": declared})
    with pytest.raises(InputError, match="changes more than the learning rate"):
        learning_rates(plain(optimizer=config, schedule=schedule))


def test_a_schedule_that_sets_momentum_once_is_an_error() -> None:
    # Ten steps up: after the first step nothing is back yet, and one step of one is never compared with the next.
    schedule = ScheduleConfig(name="OneCycleLR", options={"max_lr": 0.1, "total_steps": 20, "base_momentum": 0.95})
    with pytest.raises(InputError, match="changes more than the learning rate"):
        learning_rates(plain(schedule=schedule))  # cycles between 0.95 and 0.95; declared is 0.9


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("NoSuchLR", {}),
        ("ReduceLROnPlateau", {}),
        ("SequentialLR", {}),
        ("ChainedScheduler", {}),
        ("LRScheduler", {}),
        ("Optimizer", {}),
        ("StepLR", {}),
        ("StepLR", {"step_size": 0}),
        ("StepLR", {"step_size": 5, "no_such_option": 1}),
        ("StepLR", {"step_size": 5, "last_epoch": 3}),
        ("StepLR", {"step_size": "five"}),
        ("LambdaLR", {"lr_lambda": "lambda step: 1.0"}),
        ("MultiStepLR", {"milestones": 5}),
        ("MultiStepLR", {"milestones": [1, 1, 1], "gamma": 1e300}),
        ("CosineAnnealingLR", {"T_max": 0}),
        ("OneCycleLR", {"max_lr": 0.1, "total_steps": 10, "cycle_momentum": False}),  # shorter than the run
        ("OneCycleLR", {"max_lr": 0.1}),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.2, "mode": "no such mode"}),
        ("LinearLR", {"start_factor": 7.0}),
    ],
)
def test_an_impossible_schedule_is_an_error(name: str, options: Mapping[str, Any]) -> None:
    with pytest.raises(InputError, match="schedule"):
        learning_rates(plain(schedule=ScheduleConfig(name=name, options=options)))


# --- the optimizer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("NoSuchOptimizer", {"lr": 0.1}),
        ("LBFGS", {"lr": 0.1}),
        ("SparseAdam", {"lr": 0.1}),
        ("Optimizer", {"lr": 0.1}),
        ("SGD", {}),
        ("Adam", {}),
        ("SGD", {"lr": "0.1"}),
        ("SGD", {"lr": True}),
        ("SGD", {"lr": -0.1}),
        ("SGD", {"lr": math.nan}),
        ("SGD", {"lr": math.inf}),
        ("SGD", {"lr": 10**400}),
        ("SGD", {"lr": 0.1, "no_such_option": 1}),
        ("SGD", {"lr": 0.1, "momentum": -1.0}),
        ("SGD", {"lr": 0.1, "momentum": "high"}),
        ("SGD", {"lr": 0.1, "nesterov": True}),
        ("SGD", {"lr": 0.1, "params": "mine"}),
        ("Adam", {"lr": 0.1, "betas": 0.9}),
        ("Adam", {"lr": 0.1, "capturable": True}),
        ("Adam", {"lr": 0.1, "differentiable": True}),
        ("Muon", {"lr": 0.1}),  # takes matrices only
    ],
)
def test_an_impossible_optimizer_is_an_error(name: str, options: Mapping[str, Any], digits: Dataset) -> None:
    recipe = toy_recipe(digits, model="resnet8", optimizer=OptimizerConfig(name=name, options=options))
    with pytest.raises(InputError, match="optimizer"):
        trained(recipe, digits, steps=1)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_has_the_names_shapes_and_types_that_the_template_says(name: str, digits: Dataset) -> None:
    recipe = toy_recipe(digits, model="resnet8", optimizer=optimizer(name))
    trainer, checkpoint = trained(recipe, digits, steps=2)
    recorded = {key: (value.shape, value.dtype) for key, value in checkpoint.optimizer_state.items()}
    assert recorded == state_template(trainer)
    assert recorded


def test_plain_sgd_has_no_state(digits: Dataset) -> None:
    recipe = toy_recipe(digits, optimizer=OptimizerConfig(options={"lr": 0.1}))
    trainer, checkpoint = trained(recipe, digits)
    assert checkpoint.optimizer_state == state_template(trainer) == {}


# --- load and snapshot -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_going_on_from_a_snapshot_is_going_on(name: str, channels_last: bool, digits: Dataset) -> None:
    recipe = toy_recipe(digits, model="resnet8", optimizer=optimizer(name), channels_last=channels_last)
    trainer, middle = trained(recipe, digits, steps=3)
    make_steps(trainer, 3, 6)
    straight_on = trainer.snapshot(6)
    other = Trainer(recipe, digits)
    other.load(middle)
    assert same(other.snapshot(3), middle)
    make_steps(other, 3, 6)
    assert same(other.snapshot(6), straight_on)


@pytest.mark.parametrize("model", ["resnet8", "tests.toys:scaled_mlp", "tests.toys:warming_mlp"])
def test_a_trainer_forgets_what_it_did_before_a_load(model: str, digits: Dataset) -> None:
    recipe = toy_recipe(digits, model=model)
    trainer, _ = trained(recipe, digits, steps=4)
    trainer.load(initial_checkpoint(recipe, digits))
    make_steps(trainer, 0, 4)
    assert same(trainer.snapshot(4), trained(recipe, digits, steps=4)[1])


def test_a_buffer_that_the_model_reassigns_is_recorded_and_restored(digits: Dataset) -> None:
    recipe = toy_recipe(digits, model="tests.toys:warming_mlp")
    trainer, checkpoint = trained(recipe, digits, steps=4)
    assert float(checkpoint.buffers["seen"]) == 4.0
    trainer.load(initial_checkpoint(recipe, digits))
    assert float(trainer.snapshot(0).buffers["seen"]) == 0.0


def test_a_snapshot_shares_no_memory_with_the_trainer(digits: Dataset) -> None:
    recipe = toy_recipe(digits, model="resnet8")
    trainer, checkpoint = trained(recipe, digits, steps=2)
    before = {name: tensor.clone() for name, tensor in checkpoint.tensors().items()}
    trainer.load(checkpoint)
    make_steps(trainer, 2, 4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in checkpoint.tensors().items())
    assert all(tensor.is_contiguous() for tensor in checkpoint.tensors().values())


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("float64", torch.float64)])
def test_precision_is_that_of_every_recorded_number(precision: str, dtype: torch.dtype, digits: Dataset) -> None:
    recipe = toy_recipe(digits, model="resnet8", precision=precision)
    for checkpoint in (initial_checkpoint(recipe, digits), trained(recipe, digits, steps=2)[1]):
        floating = [tensor for tensor in checkpoint.tensors().values() if tensor.is_floating_point()]
        assert {tensor.dtype for tensor in floating} == {dtype}


def test_rounding_is_all_that_precision_and_memory_format_change(digits: Dataset) -> None:
    recipe = toy_recipe(digits, model="resnet8")
    reference = trained(replace(recipe, precision="float64"), digits, steps=3)[1]
    for variant in (recipe, replace(recipe, channels_last=False)):
        other = trained(variant, digits, steps=3)[1]
        for name, value in reference.parameters.items():
            # Three steps of float32 rounding, amplified by batch norm: measured some 1e-6.
            torch.testing.assert_close(other.parameters[name].double(), value, rtol=0, atol=1e-4)


# --- batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transform_for_other_channels_is_an_error(channels: int, digits: Dataset) -> None:
    wrong = (0.5,) * (4 - channels)
    recipe = toy_recipe(digits, transform=Transform(mean=wrong, std=wrong))
    dataset = digits if channels == 1 else replace(
        digits, pixels=digits.pixels.expand(-1, 3, -1, -1), test_pixels=digits.test_pixels.expand(-1, 3, -1, -1)
    )  # fmt: skip
    with pytest.raises(InputError, match="channel"):
        Trainer(recipe, dataset)


def test_inputs_depend_on_seed_and_step_only_where_something_is_random(digits: Dataset) -> None:
    pixels = digits.pixels[:32]
    crops = Trainer(toy_recipe(digits, transform=Transform(crop_padding=2)), digits)
    first = crops.inputs(pixels, 4)
    assert torch.equal(first, crops.inputs(pixels, 4))
    assert not torch.equal(first, crops.inputs(pixels, 5))
    assert not torch.equal(first, crops.inputs(pixels, 4, augmentation_seed=1))
    assert torch.equal(first, crops.inputs(pixels, 4, augmentation_seed=crops.recipe.seed))
    still = Trainer(toy_recipe(digits), digits)
    assert torch.equal(still.inputs(pixels, 4), still.inputs(pixels, 5, augmentation_seed=1))


def test_the_loss_before_the_step_comes_back_and_training_learns(digits: Dataset) -> None:
    trainer = Trainer(toy_recipe(digits, steps=200, interval=50, batch_size=64), digits)
    trainer.load(initial_checkpoint(trainer.recipe, digits))
    indices = data_order(trainer.recipe, digits)(0)
    first = trainer.loss(trainer.inputs(digits.pixels[indices], 0), digits.labels[indices]).item()
    losses = make_steps(trainer, 0, 200)
    assert losses[0] == first
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])
    assert trainer.gradient_evals == 200


def test_accuracy_is_the_share_of_right_answers_in_evaluation_mode(digits: Dataset) -> None:
    transform = Transform(crop_padding=1, mean=(0.3,), std=(0.4,))
    recipe = toy_recipe(digits, model="resnet8", steps=30, transform=transform)
    trainer, checkpoint = trained(recipe, digits, steps=30)
    model = build_model("resnet8", in_channels=1, num_classes=10).eval()
    model.load_state_dict({**checkpoint.parameters, **checkpoint.buffers})
    with torch.no_grad():
        answers = model((digits.test_pixels.float() / 255 - 0.3) / 0.4).argmax(1)
    expected = float((answers == digits.test_labels).double().mean())
    # A near tie may fall the other way in another memory format: two of 359 images.
    assert trainer.accuracy(checkpoint) == pytest.approx(expected, abs=2.1 / 359)
    assert 0.15 < expected < 1.0
    assert trainer.model.training


# --- drift -----------------------------------------------------------------------------------------------------------


def without_gradient(recipe: Recipe, checkpoint: Checkpoint, num_steps: int, rate: float) -> dict[str, Tensor]:
    """SGD with momentum and weight decay by hand, with gradient zero."""
    momentum, decay = float(recipe.optimizer.options["momentum"]), float(recipe.optimizer.options["weight_decay"])
    out = {}
    for name, weight in checkpoint.parameters.items():
        w, v = weight.clone(), checkpoint.optimizer_state[f"{name}/momentum_buffer"].clone()
        for _ in range(num_steps):
            v = momentum * v + decay * w
            w = w - rate * v
        out[name] = w
    return out


@pytest.mark.parametrize("num_steps", [1, 4])
def test_two_states_drift_apart_as_far_as_momentum_carries_them_in_all_steps_to_come(
    num_steps: int, digits: Dataset
) -> None:
    recipe = toy_recipe(digits)
    trainer, checkpoint = trained(recipe, digits)
    empty = {name: torch.zeros_like(value) for name, value in checkpoint.optimizer_state.items()}
    states = (checkpoint, replace(checkpoint, optimizer_state=empty))
    still = {name: torch.zeros_like(w) for name, w in checkpoint.parameters.items()}
    ours, theirs = (trainer.drift(state, num_steps, still) for state in states)
    to_come = recipe.steps - checkpoint.step
    assert to_come > num_steps
    one, other = (without_gradient(recipe, state, to_come, recipe.optimizer.lr) for state in states)
    for name in still:  # the decay of the weights, which both have, is of second order in the difference
        torch.testing.assert_close(ours[name] - theirs[name], one[name] - other[name], rtol=1e-2, atol=1e-6)


def test_an_adaptive_state_reaches_at_least_as_far_as_its_own_steps() -> None:
    adam = torch.optim.Adam([nn.Parameter(torch.zeros(1))], betas=(0.9, 0.999))
    assert reach_of_state(adam, np.full(100, 0.1), 1, 0.1) == pytest.approx(10.0, rel=1e-3)
    assert reach_of_state(adam, np.full(100, 1e-3), 1, 0.1) == 1.0, "the second moments wait for the larger rate"
    plain_sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    assert reach_of_state(plain_sgd, np.full(100, 0.1), 1, 0.1) == 1.0


def test_mean_loss_is_not_finite_if_any_loss_is_not() -> None:
    for bad, position in itertools.product((math.nan, math.inf), range(3)):
        losses = [torch.tensor(1.0)] * 3
        losses[position] = torch.tensor(bad)
        assert not math.isfinite(mean_loss(losses))
    assert mean_loss([torch.tensor(1.0), torch.tensor(2.0)]) == 1.5
    assert math.isnan(mean_loss([]))


def test_schedules_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, options in SCHEDULES.items():
            learning_rates(plain(schedule=ScheduleConfig(name=name, options=options)))


# --- several steps at once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("at_once", [1, 4, 1000])
def test_steps_prepared_together_see_the_same_bits_as_alone(
    batch_size: int, channels: int, at_once: int, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raypol.core.training.trainer._PREPARED_BYTES", at_once * batch_size * channels * 64 * 4)
    dataset = replace(
        digits, pixels=digits.pixels.repeat(1, channels, 1, 1), test_pixels=digits.test_pixels.repeat(1, channels, 1, 1)
    )
    transform = Transform(crop_padding=2, horizontal_flip=True, mean=(0.3,) * channels, std=(0.4,) * channels)
    recipe = toy_recipe(dataset, model="resnet8", batch_size=batch_size, transform=transform)
    indices = np.stack([data_order(recipe, dataset)(step) for step in range(10)])
    together, alone = Trainer(recipe, dataset), Trainer(recipe, dataset)
    for step, inputs in enumerate(together.inputs_of_steps(dataset.pixels[indices], 0)):
        assert torch.equal(inputs, alone.inputs(dataset.pixels[indices[step]], step))
    for trainer in (together, alone):
        trainer.load(initial_checkpoint(recipe, dataset))
    losses = [float(loss) for loss in together.run(0, dataset.pixels[indices], dataset.labels[indices])]
    assert losses == make_steps(alone, 0, 10)
    assert same(together.snapshot(10), alone.snapshot(10))


def test_no_steps_are_no_inputs(digits: Dataset) -> None:
    trainer = Trainer(toy_recipe(digits), digits)
    assert list(trainer.inputs_of_steps(digits.pixels[:0].reshape(0, 16, 1, 8, 8), 0)) == []
    assert trainer.run(0, digits.pixels[:0].reshape(0, 16, 1, 8, 8), digits.labels[:0].reshape(0, 16)) == []
