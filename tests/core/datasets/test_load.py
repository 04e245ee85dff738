"""Datasets by name, their halves, and the order in which their points are used."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raypol.core import hashing
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.datasets.order import DataOrder
from raypol.core.errors import InputError

# --- the data sets ---------------------------------------------------------------------------------------------------


def test_digits_are_real_and_split_once_for_all(digits: Dataset) -> None:
    from sklearn.datasets import load_digits

    assert (len(digits), len(digits.test_labels)) == (1438, 359)
    assert digits.image_shape == (1, 8, 8)
    assert (int(digits.pixels.min()), int(digits.pixels.max())) == (0, 255)
    bunch = load_digits()
    original = sorted(
        (label, *(image.flatten() * 255 / 16).round()) for image, label in zip(bunch.images, bunch.target, strict=True)
    )
    pixels, labels = torch.cat([digits.pixels, digits.test_pixels]), torch.cat([digits.labels, digits.test_labels])
    ours = sorted((int(label), *image.flatten().tolist()) for image, label in zip(pixels, labels, strict=True))
    assert ours == original, "every digit is in exactly one half, with its own label"
    assert digits.labels.bincount().min() > 120, "the split keeps every class"


def test_digits_are_the_same_in_every_process(digits: Dataset) -> None:
    # A proof names its dataset by this digest: were the split to change, every old proof would be of another dataset.
    assert digits.sha256 == load_dataset("digits").sha256
    assert digits.sha256.startswith("606dbad9c89c8e8a")


def test_own_dataset_by_import_path() -> None:
    dataset = load_dataset("tests.toys:two_stripes")
    assert dataset.name == "tests.toys:two_stripes"
    assert (len(dataset), len(dataset.test_labels), dataset.image_shape) == (40, 20, (3, 6, 5))


@pytest.mark.parametrize(
    "name",
    [
        "no_such_set",
        "tests.toys:no_such_function",
        "no_such_module:load",
        "tests.toys:not_a_dataset",
        "tests.toys:",
        ":load",
        ":",
    ],
)
def test_a_name_that_means_no_dataset_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match=r"expected|possible|cannot import"):
        load_dataset(name)


def _float_pixels(d: Dataset) -> dict[str, Any]:
    return {"pixels": d.pixels.float()}


def _flat_pixels(d: Dataset) -> dict[str, Any]:
    return {"pixels": d.pixels.flatten(1)}


def _short_labels(d: Dataset) -> dict[str, Any]:
    return {"labels": d.labels[:-1]}


def _int_labels(d: Dataset) -> dict[str, Any]:
    return {"labels": d.labels.int()}


def _label_too_large(d: Dataset) -> dict[str, Any]:
    return {"num_classes": int(d.labels.max())}


def _negative_label(d: Dataset) -> dict[str, Any]:
    return {"labels": d.labels - 1}


def _nothing(d: Dataset) -> dict[str, Any]:
    return {"pixels": d.pixels[:0], "labels": d.labels[:0]}


def _no_tests(d: Dataset) -> dict[str, Any]:
    return {"test_pixels": d.test_pixels[:0], "test_labels": d.test_labels[:0]}


def _other_test_size(d: Dataset) -> dict[str, Any]:
    return {"test_pixels": d.test_pixels[..., :-1]}


def _other_test_channels(d: Dataset) -> dict[str, Any]:
    return {"test_pixels": d.test_pixels.expand(-1, 3, -1, -1)}


@pytest.mark.parametrize(
    "change",
    [
        _float_pixels,
        _flat_pixels,
        _short_labels,
        _int_labels,
        _label_too_large,
        _negative_label,
        _nothing,
        _no_tests,
        _other_test_size,
        _other_test_channels,
    ],
)
def test_a_dataset_that_does_not_fit_together_is_an_error(
    change: Callable[[Dataset], dict[str, Any]], digits: Dataset
) -> None:
    with pytest.raises(InputError, match="dataset 'digits'"):
        replace(digits, **change(digits))


def test_point_digests_are_those_of_the_points_even_after_a_change(digits: Dataset) -> None:
    original = digits.point_digests
    assert np.array_equal(original, hashing.point_digests(digits.pixels, digits.labels))
    assert digits.point_digests is original, "hashed once"
    labels = digits.labels.clone()
    labels[7] = (labels[7] + 1) % 10
    other = replace(digits, labels=labels)
    assert np.flatnonzero((other.point_digests != original).any(axis=1)).tolist() == [7]
    assert other.sha256 != digits.sha256


def test_moving_to_where_it_is_copies_nothing(digits: Dataset) -> None:
    assert digits.to("cpu") is digits


# --- halves ----------------------------------------------------------------------------------------------------------


def points_of(dataset: Dataset) -> list[bytes]:
    return sorted(digest.tobytes() for digest in dataset.point_digests)


@pytest.mark.parametrize(
    ("whole", "first", "second"),
    [
        ("digits", "digits/D1", "digits/D2"),
        ("digits", "digits/D1@7", "digits/D2@7"),
        ("digits/D2", "digits/D2/D1@3", "digits/D2/D2@3"),
        ("tests.toys:two_stripes", "tests.toys:two_stripes/D1", "tests.toys:two_stripes/D2"),
    ],
)
def test_halves_are_disjoint_and_together_everything(whole: str, first: str, second: str) -> None:
    parts = [load_dataset(name) for name in (first, second)]
    assert [part.name for part in parts] == [first, second]
    assert abs(len(parts[0]) - len(parts[1])) <= 1
    assert points_of(load_dataset(whole)) == sorted(points_of(parts[0]) + points_of(parts[1]))
    for part in parts:
        assert torch.equal(part.test_pixels, load_dataset(whole).test_pixels)
        assert torch.equal(part.test_labels, load_dataset(whole).test_labels)


def test_halves_are_class_mixed_and_each_has_its_own_digest(digits: Dataset) -> None:
    halves = {name: load_dataset(f"digits/{name}") for name in ("D1", "D2", "D1@7", "D2@7")}
    for half in halves.values():
        share = half.labels.bincount() / digits.labels.bincount()
        assert share.min() > 0.35
        assert share.max() < 0.65
    assert len({digits.sha256, *(half.sha256 for half in halves.values())}) == 5
    assert load_dataset("digits/D1@0").sha256 == halves["D1"].sha256, "seed 0 is the one without a name"
    # As for the whole: a proof names its dataset by this digest.
    assert halves["D1"].sha256.startswith("2f17523633c390a7")


@pytest.mark.parametrize(
    "name", ["digits/D3", "digits/D", "digits/d1", "digits/D1@", "digits/D1@-1", "digits/D1@x", "/D1", "nothing/D1"]
)
def test_what_is_no_half_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match=r"unknown dataset .* digits/D1"):
        load_dataset(name)


# --- the order of the data -------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.data())
def test_any_step_can_be_asked_for_alone(num_points: int, data: st.DataObject) -> None:
    batch_size = data.draw(st.integers(1, num_points))
    steps = data.draw(st.lists(st.integers(0, 200), min_size=1, max_size=8))
    kept = DataOrder(num_points, batch_size, 5)
    for step in steps:
        assert np.array_equal(kept(step), DataOrder(num_points, batch_size, 5)(step))
        assert kept(step).shape == (batch_size,)
    assert [a.tolist() for a in kept.steps(3, 6)] == [kept(step).tolist() for step in (3, 4, 5)]


@given(st.integers(1, 40), st.data())
def test_epochs_are_permutations_without_the_incomplete_batch(num_points: int, data: st.DataObject) -> None:
    batch_size = data.draw(st.integers(1, num_points))
    order = DataOrder(num_points, batch_size, 0)
    per_epoch = num_points // batch_size
    assert order.steps_per_epoch == per_epoch
    for epoch in range(3):
        seen = np.concatenate(list(order.steps(epoch * per_epoch, (epoch + 1) * per_epoch)))
        assert len(np.unique(seen)) == per_epoch * batch_size
        assert seen.min() >= 0
        assert seen.max() < num_points


def test_epochs_and_seeds_shuffle_differently() -> None:
    order = DataOrder(100, 100, 0)
    epochs = [order(step).tolist() for step in range(4)] + [DataOrder(100, 100, 1)(0).tolist(), list(range(100))]
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_every_point_takes_part_in_the_long_run() -> None:
    order = DataOrder(10, 4, 0)  # two points are left out of each epoch, never the same ones for ever
    assert set(np.concatenate(list(order.steps(0, 40))).tolist()) == set(range(10))


def test_a_numpy_step_is_a_step() -> None:
    assert np.array_equal(DataOrder(50, 7, 3)(int(np.int64(9))), DataOrder(50, 7, 3)(np.int64(9)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("num_points", "batch_size"), [(10, 0), (10, 11), (10, -1), (0, 1)])
def test_a_batch_must_fit_the_dataset(num_points: int, batch_size: int) -> None:
    with pytest.raises(InputError, match="expected batch_size"):
        DataOrder(num_points, batch_size, 0)
