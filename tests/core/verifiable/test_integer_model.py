"""The step in integers against a slow oracle of unbounded numbers, and its bounds."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.verifiable.claim import IntegerData, ProvedRun, linear_shape, train_integers
from raypol.core.verifiable.field import SCALAR_MODULUS
from raypol.core.verifiable.integer_model import (
    LARGEST_BATCH,
    MAX_LR_SHIFT,
    MAX_WIDTH,
    WEIGHT_BITS,
    Integers,
    ModelShape,
    initial_integers,
    integer_accuracy,
    integer_inputs,
    integer_step,
    one_hot,
)


def slow_step(weights: Integers, inputs: Integers, targets: Integers, shape: ModelShape) -> list[list[int]]:
    """W - floor(gradient / 2^R), in fractions, one weight after the other."""
    W, X, Y = weights.tolist(), inputs.tolist(), targets.tolist()
    new = []
    for f in range(shape.features):
        row = []
        for c in range(shape.classes):
            gradient = 0
            for x, y in zip(X, Y, strict=True):
                gradient += x[f] * (sum(x[i] * W[i][c] for i in range(shape.features)) - 16 * 2**16 * y[c])
            row.append(W[f][c] - floor(Fraction(gradient, 2**shape.remainder_bits)))
        new.append(row)
    return new


@given(st.integers(2, 5), st.integers(1, 4), st.sampled_from([1, 2, 8]), st.integers(0, 6), st.integers(0, 2**32 - 1))
def test_a_step_is_the_slow_one(features: int, classes: int, batch: int, shift: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = ModelShape(features=features, classes=classes, batch_size=batch, lr_shift=shift)
    weights = rng.integers(-(1 << 16), 1 << 16, (features, classes))
    inputs = rng.integers(0, 17, (batch, features))
    targets = np.eye(classes, dtype=np.int64)[rng.integers(0, classes, batch)]
    slow = slow_step(weights, inputs, targets, shape)
    half = 1 << (WEIGHT_BITS - 1)
    if all(-half <= value < half for row in slow for value in row):
        assert integer_step(weights, inputs, targets, shape).tolist() == slow
    else:
        with pytest.raises(InputError, match="left"):
            integer_step(weights, inputs, targets, shape)


def test_it_is_sgd_on_the_squared_loss_but_for_one_unit(digits: Dataset) -> None:
    shape = linear_shape(digits, batch_size=16, lr_shift=4)
    weights = initial_integers(shape, 3)
    inputs, targets = integer_inputs(digits.pixels[:16]), one_hot(digits.labels[:16], 10)
    real = torch.tensor(weights / 2**16, requires_grad=True)
    errors = torch.tensor(inputs / 16.0) @ real - torch.tensor(targets)
    (gradient,) = torch.autograd.grad((errors**2).sum() / (2 * 16), real)
    stepped = (real - gradient / 16).detach().numpy()
    # The floor loses less than a unit, double precision a millionth of one.
    assert np.abs(integer_step(weights, inputs, targets, shape) / 2**16 - stepped).max() < 1.001 / 2**16


def test_every_integer_of_the_widest_allowed_shape_stays_in_int64() -> None:
    """And far below half the field, so that no sum of the circuit wraps around."""
    widest = ModelShape(features=MAX_WIDTH, classes=1, batch_size=LARGEST_BATCH, lr_shift=MAX_LR_SHIFT)
    assert widest.largest_sum < 2**62 < SCALAR_MODULUS >> 128


def test_the_bound_is_reached_by_no_more_than_a_factor_of_two() -> None:
    """The largest inputs, weights and labels that the circuit's bits allow give nearly the stated bound."""
    shape = ModelShape(features=64, classes=1, batch_size=32)
    weights = np.full((64, 1), -(1 << (WEIGHT_BITS - 1)), dtype=np.int64)
    inputs = np.full((32, 64), 31, dtype=np.int64)
    gradient = inputs.T @ (inputs @ weights - (16 << 16))
    assert shape.largest_sum / 2 < np.abs(gradient).max() < shape.largest_sum


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"batch_size": 12}, "power of two"),
        ({"batch_size": 0}, "batch_size in 1"),
        ({"features": 1}, "features in 2"),
        ({"classes": True}, "classes in 1"),
        ({"lr_shift": 99}, "lr_shift in 0"),
    ],
)
def test_other_shapes_are_refused(changed: dict[str, int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        ModelShape(**{"features": 4, "classes": 2, "batch_size": 1, "lr_shift": 4, **changed})


def test_the_digits_have_their_own_grey_levels(digits: Dataset) -> None:
    levels = np.sort(load_digits().data.astype(np.int64).sum(axis=1))
    again = np.concatenate([integer_inputs(digits.pixels), integer_inputs(digits.test_pixels)])
    assert again.min() == 0
    assert again.max() == 16
    assert np.array_equal(np.sort(again.sum(axis=1)), levels)


def test_it_learns_the_digits(digits: Dataset) -> None:
    run = ProvedRun(
        dataset="digits",
        dataset_sha256=digits.sha256,
        shape=linear_shape(digits, batch_size=16, lr_shift=4),
        steps=200,
        seed=1,
    )
    states = train_integers(run, IntegerData(run, digits))
    inputs = integer_inputs(digits.test_pixels)
    assert integer_accuracy(states[0], inputs, digits.test_labels) < 0.4
    assert integer_accuracy(states[-1], inputs, digits.test_labels) > 0.85


def test_another_seed_draws_other_weights() -> None:
    shape = ModelShape(features=8, classes=3, batch_size=1)
    assert np.array_equal(initial_integers(shape, 1), initial_integers(shape, 1))
    assert not np.array_equal(initial_integers(shape, 1), initial_integers(shape, 2))
