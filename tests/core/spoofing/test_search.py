"""Objectives and searches of crafting: slopes against differences and an oracle, limits, and what must not change."""

import gc
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from raypol.core.augment import Transform
from raypol.core.errors import InputError
from raypol.core.spoofing.objectives import ValueAndGradient, gradient_objective, loss_objective, measure
from raypol.core.spoofing.search import CraftingConfig, project, search, store
from raypol.core.training.trainer import Trainer
from tests.scenes import all_bits, small_recipe, tiny

DATA = tiny()
NORMALISED = Transform(mean=(0.4,), std=(0.3,))
LIMIT_8 = 8 / 255


def workbench(**changes: Any) -> Trainer:  # noqa: ANN401 - any field of Recipe
    """A float64 trainer on the smooth net: rounding is far below what the tests ask for."""
    fields = {"precision": "float64", "batch_size": 4, "transform": NORMALISED, **changes}
    with torch.random.fork_rng():
        torch.manual_seed(3)  # the model's own draws are what it starts from here
        trainer = Trainer(small_recipe(DATA, **fields), DATA)
        with torch.no_grad():
            for parameter in trainer.parameters.values():
                parameter.copy_(0.7 * torch.randn(parameter.shape))
    return trainer


def batches(n: int, B: int = 4, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """X in [0.2, 0.8], y, and an R that keeps X + R inside [0, 1], where clamping has no kink."""
    rng = torch.Generator().manual_seed(seed)
    X = 0.2 + 0.6 * torch.rand((n, B, 1, 5, 5), generator=rng, dtype=torch.float64)
    R = 0.1 * (2.0 * torch.rand(X.shape, generator=rng, dtype=torch.float64) - 1.0)
    return X, torch.randint(0, 3, (n, B), generator=rng), R


def some_goal(trainer: Trainer) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(9)
    return {n: torch.randn(p.shape, generator=rng, dtype=torch.float64) for n, p in trainer.parameters.items()}


def oracle(
    trainer: Trainer, X: Tensor, y: Tensor, R: Tensor, *, alpha: float, goal: Mapping[str, Tensor] | None
) -> tuple[float, Tensor]:
    """|mean gradient - g*|^2 + alpha |R|^2 and its slope, all batches in one graph, from the formula."""
    leaf = R.clone().requires_grad_()
    logits = [trainer.model(((x + r) - 0.4) / 0.3) for x, r in zip(X, leaf, strict=True)]
    loss = torch.stack([torch.nn.functional.cross_entropy(o, t) for o, t in zip(logits, y, strict=True)]).mean()
    grads = torch.autograd.grad(loss, list(trainer.parameters.values()), create_graph=True)
    goals = [0.0 * g if goal is None else goal[n] for n, g in zip(trainer.parameters, grads, strict=True)]
    flat = torch.cat([(g - t).flatten() for g, t in zip(grads, goals, strict=True)])
    value = flat.dot(flat) + alpha * leaf.flatten().dot(leaf.flatten())
    (slope,) = torch.autograd.grad(value, leaf)
    return float(value.detach()), slope


def directions(R: Tensor, num: int = 4) -> list[Tensor]:
    """Random unit directions, and one single pixel."""
    rng = torch.Generator().manual_seed(1)
    drawn = [torch.randn(R.shape, generator=rng, dtype=R.dtype) for _ in range(num)]
    one_pixel = torch.zeros_like(R)
    one_pixel.view(-1)[7] = 1.0
    return [v / v.norm() for v in (*drawn, one_pixel)]


def assert_slope_is_that_of_differences(objective: ValueAndGradient, R: Tensor) -> None:
    h = 1e-5  # central differences: truncation h^2 = 1e-10, rounding 1e-16 / h = 1e-11, relative to values of order 1
    _, slope = objective(R)
    for v in directions(R):
        difference = (objective(R + h * v)[0] - objective(R - h * v)[0]) / (2.0 * h)
        assert float((slope * v).sum()) == pytest.approx(difference, rel=1e-6, abs=1e-8)


# --- the gradient objective ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_goal", [False, True])
@pytest.mark.parametrize(("n", "batches_per_graph"), [(1, 1), (3, 1), (3, 2), (3, 3)])
def test_gradient_objectives_slope_is_that_of_finite_differences(
    n: int, batches_per_graph: int, with_goal: bool
) -> None:
    trainer = workbench()
    X, y, R = batches(n)
    goal = some_goal(trainer) if with_goal else None
    objective = gradient_objective(trainer, X, y, alpha=0.3, goal=goal, batches_per_graph=batches_per_graph)
    assert_slope_is_that_of_differences(objective, R)


@pytest.mark.parametrize("with_goal", [False, True])
@pytest.mark.parametrize("batches_per_graph", [1, 2, 3, 100])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_gradient_objective_equals_the_one_graph_oracle(alpha: float, batches_per_graph: int, with_goal: bool) -> None:
    trainer = workbench()
    X, y, R = batches(3)
    goal = some_goal(trainer) if with_goal else None
    value, slope = gradient_objective(trainer, X, y, alpha=alpha, goal=goal, batches_per_graph=batches_per_graph)(R)
    expected_value, expected_slope = oracle(trainer, X, y, R, alpha=alpha, goal=goal)
    assert value == pytest.approx(expected_value, rel=1e-12)
    torch.testing.assert_close(slope, expected_slope, rtol=1e-9, atol=1e-13)


@settings(max_examples=15)
@given(n=st.integers(1, 5), B=st.integers(2, 5), batches_per_graph=st.integers(1, 6), seed=st.integers(0, 99))
def test_bounding_the_memory_changes_nothing_but_rounding(n: int, B: int, batches_per_graph: int, seed: int) -> None:
    trainer = workbench()
    X, y, R = batches(n, B, seed=seed)
    value, slope = gradient_objective(trainer, X, y, alpha=0.1, batches_per_graph=batches_per_graph)(R)
    whole_value, whole_slope = gradient_objective(trainer, X, y, alpha=0.1, batches_per_graph=n)(R)
    assert value == pytest.approx(whole_value, rel=1e-12)
    torch.testing.assert_close(slope, whole_slope, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("kind", ["gradient", "loss"])
def test_where_a_point_leaves_the_unit_interval_the_slope_is_that_of_clamping(kind: str) -> None:
    """Outside, the model sees no change; on the border, where black and white pixels start, it does."""
    trainer = workbench()
    X, y, R = batches(2)
    X[0, 0], R[0, 0] = 0.0, 0.0
    X[0, 1], R[0, 1] = 1.0, 0.0
    X[1, 0], R[1, 0] = 0.1, -0.2
    X[1, 1], R[1, 1] = 0.9, 0.2
    leaf = R.clone().requires_grad_()
    moved = X + leaf
    unit = torch.where((moved < 0.0) | (moved > 1.0), moved.detach().clamp(0.0, 1.0), moved)
    logits = [trainer.model((z - 0.4) / 0.3) for z in unit]
    loss = torch.stack([torch.nn.functional.cross_entropy(o, t) for o, t in zip(logits, y, strict=True)]).mean()
    if kind == "gradient":
        grads = torch.autograd.grad(loss, list(trainer.parameters.values()), create_graph=True)
        flat = torch.cat([g.flatten() for g in grads])
        (expected,) = torch.autograd.grad(flat.dot(flat), leaf)
        value, slope = gradient_objective(trainer, X, y, alpha=0.0)(R)
        assert value == pytest.approx(float(flat.dot(flat).detach()), rel=1e-12)
    else:
        (expected,) = torch.autograd.grad(loss, leaf)
        value, slope = loss_objective(trainer, X, y, alpha=0.0)(R)
        assert value == pytest.approx(float(loss.detach()), rel=1e-12)
    torch.testing.assert_close(slope, expected, rtol=1e-9, atol=1e-13)
    assert slope[0, :2].all()
    assert not slope[1, :2].any()


class Kept:
    """A saved tensor that counts itself while it lives."""

    alive = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        Kept.alive += tensor.numel()

    def __del__(self) -> None:
        Kept.alive -= self.tensor.numel()


def peak_of_saved_numbers(evaluate: Callable[[], object]) -> int:
    """The most numbers that autograd held for backward passes at any one time."""
    gc.collect()
    Kept.alive, peak = 0, 0

    def pack(tensor: Tensor) -> Kept:
        nonlocal peak
        kept = Kept(tensor)
        peak = max(peak, Kept.alive)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        evaluate()
    gc.collect()
    return peak


@pytest.mark.parametrize("kind", ["gradient", "loss"])
def test_memory_does_not_grow_with_the_number_of_batches(kind: str) -> None:
    def peak(n: int, batches_per_graph: int = 1) -> int:
        trainer = workbench()
        X, y, R = batches(n)
        objective = (
            loss_objective(trainer, X, y, alpha=0.1)
            if kind == "loss"
            else gradient_objective(trainer, X, y, alpha=0.1, batches_per_graph=batches_per_graph)
        )
        return peak_of_saved_numbers(lambda: objective(R))

    # The residual 2 r, one number per weight, is kept beside a batch's graph; no graph of another batch is.
    assert peak(12) == peak(2)
    if kind == "gradient":
        assert peak(12, batches_per_graph=12) > 4 * peak(12)  # the hooks do see what they are meant to see


def test_a_batchs_statistics_are_its_own() -> None:
    """Two batches searched together give the gradient of the mean of two losses, not that of their union."""
    trainer = workbench()
    X, y, R = batches(2)
    together, _ = gradient_objective(trainer, X, y, alpha=0.0)(R)
    union, _ = gradient_objective(trainer, X.flatten(0, 1)[None], y.flatten()[None], alpha=0.0)(R.flatten(0, 1)[None])
    assert together != pytest.approx(union, rel=1e-3)


@pytest.mark.parametrize(("n", "batches_per_graph", "evals"), [(1, 1, 2), (3, 3, 6), (3, 1, 9), (3, 2, 9)])
def test_gradient_objective_counts_every_differentiation(n: int, batches_per_graph: int, evals: int) -> None:
    """Per batch one gradient and one derivative of it; a bounded memory costs one gradient more."""
    trainer = workbench()
    X, y, R = batches(n)
    gradient_objective(trainer, X, y, alpha=0.0, batches_per_graph=batches_per_graph)(R)
    assert trainer.gradient_evals == evals


# --- the loss objective --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3])
def test_loss_objectives_slope_is_that_of_finite_differences(n: int) -> None:
    trainer = workbench()
    X, y, R = batches(n)
    assert_slope_is_that_of_differences(loss_objective(trainer, X, y, alpha=0.3), R)


def test_loss_objective_at_zero_has_the_losss_slope_and_a_cone() -> None:
    """|R| has no slope at 0: moving by h v costs h <slope, v> + alpha h, in every direction."""
    trainer = workbench()
    X, y, R = batches(2)
    alpha, h = 0.3, 1e-6
    at_zero, slope = loss_objective(trainer, X, y, alpha=alpha)(torch.zeros_like(R))
    _, smooth = loss_objective(trainer, X, y, alpha=0.0)(torch.zeros_like(R))
    assert torch.isfinite(slope).all()
    torch.testing.assert_close(slope, smooth, rtol=0.0, atol=0.0)
    for v in directions(R):
        moved, _ = loss_objective(trainer, X, y, alpha=alpha)(h * v)
        # One-sided: the truncation is of order h.
        assert (moved - at_zero) / h == pytest.approx(float((slope * v).sum()) + alpha, abs=1e-4)


def test_loss_objective_equals_the_mean_of_the_losses() -> None:
    trainer = workbench()
    X, y, R = batches(3)
    leaf = R.clone().requires_grad_()
    logits = [trainer.model(((x + r) - 0.4) / 0.3) for x, r in zip(X, leaf, strict=True)]
    loss = torch.stack([torch.nn.functional.cross_entropy(o, t) for o, t in zip(logits, y, strict=True)]).mean()
    expected = loss + 0.3 * leaf.norm()
    (expected_slope,) = torch.autograd.grad(expected, leaf)
    value, slope = loss_objective(trainer, X, y, alpha=0.3)(R)
    assert value == pytest.approx(float(expected.detach()), rel=1e-12)
    torch.testing.assert_close(slope, expected_slope, rtol=1e-9, atol=1e-13)
    assert trainer.gradient_evals == 3


# --- models that are not plain functions ---------------------------------------------------------------------------


def test_with_dropout_the_objective_is_still_a_function_of_the_perturbation() -> None:
    trainer = workbench(model="tests.scenes:smooth_dropout_net")
    X, y, R = batches(3)
    for objective in (gradient_objective(trainer, X, y, alpha=0.1), loss_objective(trainer, X, y, alpha=0.1)):
        torch.manual_seed(1)
        first, _ = objective(R)
        torch.manual_seed(2)
        second, _ = objective(R)
        assert first == second
        assert_slope_is_that_of_differences(objective, R)


def test_with_dropout_bounding_the_memory_changes_nothing_but_rounding() -> None:
    trainer = workbench(model="tests.scenes:smooth_dropout_net")
    X, y, R = batches(4)
    value, slope = gradient_objective(trainer, X, y, alpha=0.1, batches_per_graph=1)(R)
    whole_value, whole_slope = gradient_objective(trainer, X, y, alpha=0.1, batches_per_graph=4)(R)
    assert value == pytest.approx(whole_value, rel=1e-12)
    torch.testing.assert_close(slope, whole_slope, rtol=1e-9, atol=1e-13)


def test_a_frozen_layer_has_no_gradient_and_stays_frozen() -> None:
    trainer = workbench(model="tests.scenes:half_frozen_net")
    X, y, R = batches(2)
    flags = {name: p.requires_grad for name, p in trainer.parameters.items()}
    assert sorted(flags.values()) == [False, True, True]
    for objective in (gradient_objective(trainer, X, y, alpha=0.1), loss_objective(trainer, X, y, alpha=0.1)):
        assert_slope_is_that_of_differences(objective, R)
    measure(trainer, X, y)
    assert {name: p.requires_grad for name, p in trainer.parameters.items()} == flags


# --- measuring -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_goal", [False, True])
def test_measure_is_the_objective_without_a_perturbation(with_goal: bool) -> None:
    trainer = workbench()
    X, y, R = batches(3)
    goal = some_goal(trainer) if with_goal else None
    kept = {name: tensor.clone() for name, tensor in goal.items()} if goal else {}
    loss, norm2 = measure(trainer, X, y, goal)
    expected, _ = oracle(trainer, X, y, torch.zeros_like(R), alpha=0.0, goal=goal)
    assert norm2 == pytest.approx(expected, rel=1e-12)
    assert loss == pytest.approx(loss_objective(trainer, X, y, alpha=0.0)(torch.zeros_like(R))[0], rel=1e-12)
    assert goal is None or all(torch.equal(goal[name], kept[name]) for name in kept)


# --- searches ------------------------------------------------------------------------------------------------------

SEARCHES = {
    "lbfgs": CraftingConfig(crafting="lbfgs", iterations=8),
    "lbfgs, line search": CraftingConfig(crafting="lbfgs", iterations=8, line_search="strong_wolfe"),
    "lbfgs, limited": CraftingConfig(crafting="lbfgs", iterations=8, linf_limit=LIMIT_8),
    "signed": CraftingConfig(crafting="signed", iterations=8, linf_limit=LIMIT_8),
    "signed, free": CraftingConfig(crafting="signed", iterations=8, step_size=0.01),
    "adam": CraftingConfig(crafting="adam", iterations=8),
    "adam, limited": CraftingConfig(crafting="adam", iterations=8, linf_limit=LIMIT_8),
}


@pytest.mark.parametrize("config", SEARCHES.values(), ids=SEARCHES.keys())
@pytest.mark.parametrize("kind", ["gradient", "loss"])
def test_search_lowers_its_objective_within_its_limits(kind: str, config: CraftingConfig) -> None:
    trainer = workbench()
    X, y, _ = batches(2)
    objective = (
        loss_objective(trainer, X, y, alpha=1e-3)
        if kind == "loss"
        else gradient_objective(trainer, X, y, alpha=1e-3, batches_per_graph=2)
    )
    before, _ = objective(torch.zeros_like(X))
    R = search(objective, X, config)
    after, _ = objective(R)
    assert after < 0.99 * before
    assert R.shape == X.shape
    assert float((X + R).min()) >= 0.0
    assert float((X + R).max()) <= 1.0
    if config.linf_limit is not None:
        assert float(R.abs().max()) <= config.linf_limit * (1.0 + 1e-12)


@pytest.mark.parametrize("config", SEARCHES.values(), ids=SEARCHES.keys())
def test_search_starts_from_no_perturbation(config: CraftingConfig) -> None:
    seen = []

    def objective(R: Tensor) -> tuple[float, Tensor]:
        seen.append(R.clone())
        return float((R - 0.01).square().sum()), 2.0 * (R - 0.01)

    search(objective, torch.full((1, 2, 1, 2, 2), 0.5), config)
    assert not seen[0].any()
    assert len(seen) <= 2 * config.iterations + 1  # as paid for; a line search may look once more


def test_search_at_a_minimum_stays_there() -> None:
    for config in SEARCHES.values():
        R = search(lambda R: (float(R.square().sum()), 2.0 * R), torch.full((1, 2, 1, 2, 2), 0.5), config)
        assert not R.any()


@pytest.mark.parametrize("config", SEARCHES.values(), ids=SEARCHES.keys())
@pytest.mark.parametrize("bad_value", [False, True])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_slopes_that_are_not_numbers_never_reach_the_stored_pixels(
    bad: float, bad_value: bool, config: CraftingConfig
) -> None:
    X = torch.randint(0, 256, (1, 3, 1, 4, 4), generator=torch.Generator().manual_seed(0)).double() / 255.0
    spoiled = torch.zeros_like(X, dtype=torch.bool)
    spoiled[0, 0] = True

    def objective(R: Tensor) -> tuple[float, Tensor]:
        slope = 2.0 * (R - 0.02)
        slope[spoiled] = bad
        return bad if bad_value else float((R - 0.02).square().sum()), slope

    R = search(objective, X, config)
    assert torch.isfinite(R).all()
    for dtype in ("uint8", "float32"):
        pixels = store(X, R, CraftingConfig(pixel_dtype=dtype))
        unit = pixels.double() / 255.0 if dtype == "uint8" else pixels.double()
        assert torch.isfinite(unit).all()
        assert float(unit.min()) >= 0.0
        assert float(unit.max()) <= 1.0
        if math.isnan(bad):
            torch.testing.assert_close(unit[spoiled], X[spoiled], rtol=0.0, atol=1e-7)  # float32 of X


@pytest.mark.parametrize("kind", ["gradient", "loss"])
@pytest.mark.parametrize("config", SEARCHES.values(), ids=SEARCHES.keys())
def test_crafting_changes_neither_weights_nor_the_optimizers_state(config: CraftingConfig, kind: str) -> None:
    trainer = workbench()
    trainer.step(0, DATA.pixels[:4], DATA.labels[:4])  # so that there is a momentum to change
    trainer.optimizer.zero_grad(set_to_none=True)
    before = all_bits(trainer.snapshot(1))
    X, y, _ = batches(2)
    kept = X.clone()
    objective = (
        loss_objective(trainer, X, y, alpha=0.1) if kind == "loss" else gradient_objective(trainer, X, y, alpha=0.1)
    )
    store(X, search(objective, X, config), config)
    measure(trainer, X, y)
    after = all_bits(trainer.snapshot(1))
    assert {n: b for n, b in after.items() if not n.startswith("buffer/")} == {
        n: b for n, b in before.items() if not n.startswith("buffer/")
    }
    assert torch.equal(X, kept)
    assert all(p.requires_grad and p.grad is None for p in trainer.parameters.values())


def test_a_failing_objective_leaves_the_weights_trainable() -> None:
    trainer = workbench()
    X, y, R = batches(1)
    with pytest.raises(IndexError):
        loss_objective(trainer, X, y + 1000, alpha=0.1)(R)
    assert all(p.requires_grad for p in trainer.parameters.values())


# --- limits --------------------------------------------------------------------------------------------------------

Pixels = npt.NDArray[np.uint8]
SHAPE = (1, 2, 1, 3, 3)
PIXELS = hnp.arrays(np.uint8, SHAPE)
ANYTHING = hnp.arrays(np.float32, SHAPE, elements=st.floats(width=32))  # NaN and infinities included
LIMITS = st.one_of(st.none(), st.floats(1 / 512, 1.0), st.sampled_from([1 / 255, LIMIT_8, 0.1, 1.0]))


@given(PIXELS, ANYTHING, LIMITS)
def test_project_keeps_points_legal_and_near(x: Pixels, r: npt.NDArray[np.float32], limit: float | None) -> None:
    X, R = torch.from_numpy(x) / 255.0, torch.from_numpy(r)
    projected = project(R, X, limit)
    assert torch.isfinite(projected).all()
    assert float((X + projected).min()) >= 0.0
    assert float((X + projected).max()) <= 1.0
    if limit is not None:
        assert float(projected.abs().max()) <= limit + 2**-23  # the limit and X + R are each rounded to float32
    torch.testing.assert_close(project(projected, X, limit), projected, rtol=0.0, atol=2**-23)
    inside = torch.isfinite(R) & (X + R >= 0.0) & (X + R <= 1.0) & (R.abs() <= (1.0 if limit is None else limit))
    torch.testing.assert_close(projected[inside], R[inside], rtol=0.0, atol=2**-24)


@given(PIXELS, ANYTHING, LIMITS, st.sampled_from([torch.float32, torch.float64]))
def test_what_is_stored_is_within_the_limit_after_rounding(
    x: Pixels, r: npt.NDArray[np.float32], limit: float | None, dtype: torch.dtype
) -> None:
    X = torch.from_numpy(x).to(dtype) / 255.0
    R = project(torch.from_numpy(r).to(dtype), X, limit)
    config = CraftingConfig(linf_limit=limit)
    stored = store(X, R, config)
    assert stored.dtype == torch.uint8
    moved = (stored.int() - torch.from_numpy(x).int()).abs()
    if limit is not None:
        assert int(moved.max()) <= limit * 255.0 + 1e-6  # whole grey levels
    # Rounding is to the nearest grey level, or one towards X where the nearest would pass the limit.
    wanted = (X + R) * 255.0
    assert float((stored - wanted).abs().max()) <= (0.5 if limit is None else 1.0) + 1e-3
    as_floats = store(X, R, CraftingConfig(linf_limit=limit, pixel_dtype="float32"))
    assert as_floats.dtype == torch.float32
    torch.testing.assert_close(as_floats, (X + R).float(), rtol=0.0, atol=2**-24)


@given(PIXELS)
def test_no_perturbation_stores_the_point_itself(x: Pixels) -> None:
    X = torch.from_numpy(x) / 255.0
    for limit in (None, LIMIT_8):
        assert torch.equal(store(X, torch.zeros_like(X), CraftingConfig(linf_limit=limit)), torch.from_numpy(x))


# --- settings that make no sense -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crafting": "sgd"}, "possible: adam, lbfgs, signed"),
        ({"line_search": "armijo"}, "possible: none, strong_wolfe"),
        ({"iterations": 0}, "iterations >= 1"),
        ({"retries": -1}, "retries >= 0"),
        ({"alpha": -0.1}, "alpha >= 0"),
        ({"alpha": math.nan}, "alpha >= 0"),
        ({"linf_limit": 0.0}, "linf_limit in"),
        ({"linf_limit": 1.5}, "linf_limit in"),
        ({"linf_limit": math.nan}, "linf_limit in"),
        ({"crafting": "signed"}, "expected linf_limit"),
        ({"pixel_dtype": "int8"}, "possible: float32, uint8"),
        ({"max_grad_norm2": math.nan}, "max_grad_norm2"),
        ({"max_perturbation_norm2": -1.0}, "max_perturbation_norm2"),
        ({"step_size": 0.0}, "step_size"),
        ({"step_size": -0.1}, "step_size"),
        ({"step_size": math.nan}, "step_size"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        CraftingConfig(**fields)
    assert "\n" not in str(caught.value)
