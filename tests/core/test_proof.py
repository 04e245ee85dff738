"""The records of a proof: steps and intervals, canonical form, own points."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.hashing import point_digests
from raypol.core.proof import Checkpoint, Cost, MemoryProof, OptimizerConfig, Points, Recipe, ScheduleConfig
from tests.toys import toy_recipe

PLAIN = Recipe(dataset="d", dataset_sha256="0", model="resnet8", steps=10, interval=4, batch_size=2)


@given(st.integers(1, 500), st.integers(1, 500))
def test_intervals_cover_every_step_once(steps: int, interval: int) -> None:
    if interval > steps:
        with pytest.raises(InputError, match="between the interval"):
            replace(PLAIN, steps=steps, interval=interval)
        return
    recipe = replace(PLAIN, steps=steps, interval=interval)
    intervals = recipe.intervals()
    assert [step for i in intervals for step in range(i.start, i.stop)] == list(range(steps))
    assert [i.index for i in intervals] == list(range(recipe.num_intervals))
    assert all(i.num_steps == interval for i in intervals[:-1])
    assert 1 <= intervals[-1].num_steps <= interval
    assert recipe.checkpoint_steps() == [*(i.start for i in intervals), steps]
    assert [recipe.interval_at(i) for i in range(len(intervals))] == intervals


@pytest.mark.parametrize(
    "changes",
    [
        {"interval": 0},
        {"interval": -1},
        {"steps": 0},
        {"steps": 3, "interval": 4},
        {"steps": 100_000_001},
        {"batch_size": 0},
        {"batch_size": 1_000_001},
        {"loss": "mse"},
        {"precision": "float16"},
    ],
)
def test_an_impossible_recipe_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"expected|possible"):
        replace(PLAIN, **changes)


def test_canonical_form_is_json_that_does_not_depend_on_the_order_of_options() -> None:
    one = replace(PLAIN, optimizer=OptimizerConfig(options={"lr": 0.1, "momentum": 0.9}))
    two = replace(PLAIN, optimizer=OptimizerConfig(options={"momentum": 0.9, "lr": 0.1}))
    assert one.canonical() == two.canonical()
    assert json.loads(one.canonical())["optimizer"] == {"name": "SGD", "options": {"lr": 0.1, "momentum": 0.9}}


def test_canonical_form_keeps_every_digit() -> None:
    a, b = (replace(PLAIN, optimizer=OptimizerConfig(options={"lr": lr})) for lr in (0.1, np.nextafter(0.1, 1.0)))
    assert a.canonical() != b.canonical()


def test_a_field_that_came_later_leaves_the_bytes_of_an_older_recipe_alone() -> None:
    assert "given" not in json.loads(PLAIN.canonical())  # else no older proof would have its root any more
    tuned = replace(PLAIN, given={"w": "00"})
    assert json.loads(tuned.canonical())["given"] == {"w": "00"}
    assert replace(tuned, given={}).canonical() == PLAIN.canonical()


def test_costs_add() -> None:
    total = Cost(device_s=1.0, wall_s=2.0, gradient_evals=3) + Cost(device_s=0.5, wall_s=0.25, gradient_evals=1)
    assert total == Cost(device_s=1.5, wall_s=2.25, gradient_evals=4)


def test_tensors_of_a_checkpoint_have_qualified_names() -> None:
    one, two, three = torch.ones(1), torch.ones(2), torch.ones(3)
    checkpoint = Checkpoint(step=0, parameters={"w": one}, buffers={"w": two}, optimizer_state={"w/m": three})
    assert checkpoint.tensors() == {"parameter/w": one, "buffer/w": two, "optimizer/w/m": three}
    assert checkpoint.tensor_digests().keys() == checkpoint.tensors().keys()


def points(values: list[int], sources: list[int] | None = None) -> Points:
    pixels = torch.tensor(values, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8).clone()
    return Points(
        pixels=pixels,
        labels=torch.zeros(len(values), dtype=torch.int64),
        sources=torch.tensor(sources or [0] * len(values)),
    )


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=5))
def test_each_own_point_is_stored_once_and_found_by_its_index(batches: list[list[int]]) -> None:
    proof = MemoryProof(PLAIN, 100)
    given_indices = [proof.add_points(points(batch)) for batch in batches]
    distinct = {value for batch in batches for value in batch}
    assert proof.num_points == len(distinct)
    for batch, indices in zip(batches, given_indices, strict=True):
        assert all(100 <= i < 100 + len(distinct) for i in indices)
        if batch:
            found = proof.points(indices - 100)
            assert found.pixels[:, 0, 0, 0].tolist() == batch
            assert (
                point_digests(found.pixels, found.labels) == point_digests(points(batch).pixels, found.labels)
            ).all()


def test_points_that_differ_in_label_or_dtype_are_two_points() -> None:
    proof = MemoryProof(PLAIN, 100)
    a = points([0])
    first = proof.add_points(a)
    relabelled = proof.add_points(replace(a, labels=a.labels + 1))
    as_floats = MemoryProof(PLAIN, 100).own_points.add(point_digests(a.pixels.float(), a.labels))
    assert (first.tolist(), relabelled.tolist()) == ([100], [101])
    assert as_floats[0].tolist() == [100]


@pytest.mark.parametrize("other", [torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 1, 8, 8)])
def test_own_points_of_one_proof_have_one_shape_and_dtype(other: torch.Tensor) -> None:
    proof = MemoryProof(PLAIN, 100)
    proof.add_points(points([1, 2]))
    with pytest.raises(InputError, match="expected own points like the first ones"):
        proof.add_points(replace(points([3]), pixels=other))
    assert proof.num_points == 2


def test_no_points_are_points_too() -> None:
    none = Points.empty((3, 4, 5))
    assert len(none) == 0
    assert none.pixels.shape == (0, 3, 4, 5)
    assert MemoryProof(PLAIN, 10).add_points(none).tolist() == []


def test_a_memory_proof_reads_back_what_was_written(honest: MemoryProof, digits: Dataset) -> None:
    assert honest.checkpoint_steps == honest.recipe.checkpoint_steps() == [0, 8, 16, 22]
    assert [honest.checkpoint(i).step for i in range(4)] == [0, 8, 16, 22]
    assert [record.step for record in honest.batches(8, 16)] == list(range(8, 16))
    assert len(honest.batches(0, 22)) == 22
    assert honest.num_points == 0
    assert all(r.indices.min() >= 0 and r.indices.max() < len(digits) for r in honest.records)
    assert toy_recipe(digits).dataset_sha256 == honest.recipe.dataset_sha256


@pytest.mark.parametrize("base_steps", [-1, 10**9])
def test_a_stretched_schedule_is_bounded(base_steps: int) -> None:
    with pytest.raises(InputError, match="base_steps"):
        ScheduleConfig(name="StepLR", base_steps=base_steps)
