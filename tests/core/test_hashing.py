"""Hashes bind pixel, label, order and step; the root binds everything."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raypol.core.augment import Transform
from raypol.core.hashing import (
    Digests,
    Seal,
    checkpoint_digest,
    point_digests,
    raw_bytes,
    step_digest,
    tensor_digest,
    tensor_digests,
)
from raypol.core.proof import BatchRecord, Checkpoint, MemoryProof, OptimizerConfig, Recipe, ScheduleConfig
from tests.toys import copy_of

N, C, H, W = 4, 2, 3, 5
PIXELS = torch.randint(0, 256, (N, C, H, W), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.tensor([3, 1, 4, 1])
DIGESTS = point_digests(PIXELS, LABELS)


def differing(a: Digests, b: Digests) -> list[int]:
    return np.flatnonzero((a != b).any(axis=1)).tolist()


# --- points ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, N - 1), st.integers(0, C - 1), st.integers(0, H - 1), st.integers(0, W - 1), st.integers(1, 255))
def test_any_change_of_any_pixel_changes_that_points_digest_alone(n: int, c: int, h: int, w: int, by: int) -> None:
    pixels = PIXELS.clone()
    pixels[n, c, h, w] += by
    assert differing(point_digests(pixels, LABELS), DIGESTS) == [n]


@given(st.integers(0, N - 1), st.integers(-(2**63), 2**63 - 1))
def test_any_other_label_changes_that_points_digest_alone(n: int, label: int) -> None:
    labels = LABELS.clone()
    labels[n] = label
    assert differing(point_digests(PIXELS, labels), DIGESTS) == ([n] if label != LABELS[n] else [])


@given(st.integers(0, 4 * C * H * W - 1), st.integers(0, 7))
def test_any_bit_of_a_float_point_counts(byte: int, bit: int) -> None:
    pixels = PIXELS[:1].float() / 255.0
    flipped = pixels.clone()
    flipped.view(torch.uint8).reshape(-1)[byte] ^= 1 << bit
    assert differing(point_digests(flipped, LABELS[:1]), point_digests(pixels, LABELS[:1])) == [0]


def test_a_large_image_is_hashed_not_its_printed_form() -> None:
    pixels = torch.zeros((2, 3, 64, 64), dtype=torch.uint8)
    pixels[1, 1, 30, 30] = 1  # numpy prints this image's corners only
    assert str(pixels[0].numpy()) == str(pixels[1].numpy())
    digests = point_digests(pixels, torch.tensor([0, 0]))
    assert differing(digests[:1], digests[1:]) == [0]


def test_same_bytes_in_another_shape_or_dtype_are_another_point() -> None:
    label = torch.tensor([0])
    zeros = torch.zeros((1, 1, 4, 4), dtype=torch.uint8)
    same_bytes = [zeros, zeros.reshape(1, 1, 2, 8), zeros.reshape(1, 4, 2, 2), torch.zeros((1, 1, 2, 2))]
    assert len({point_digests(pixels, label).tobytes() for pixels in same_bytes}) == len(same_bytes)


def test_a_points_digest_does_not_depend_on_its_neighbours_or_on_memory_layout() -> None:
    assert differing(point_digests(PIXELS[2:3], LABELS[2:3]), DIGESTS[2:3]) == []
    assert differing(point_digests(PIXELS.contiguous(memory_format=torch.channels_last), LABELS), DIGESTS) == []
    assert point_digests(PIXELS[:0], LABELS[:0]).shape == (0, 32)


# --- steps -----------------------------------------------------------------------------------------------------------


@given(st.permutations(range(N)))
def test_order_within_a_batch_is_bound(order: list[int]) -> None:
    same = order == sorted(order)
    assert (step_digest(7, DIGESTS[order]) == step_digest(7, DIGESTS)) == same


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_the_step_number_is_bound(step: int, other: int) -> None:
    assert (step_digest(step, DIGESTS) == step_digest(other, DIGESTS)) == (step == other)


@given(st.lists(st.integers(0, N - 1), max_size=5), st.lists(st.integers(0, N - 1), max_size=5))
def test_two_batches_share_a_digest_only_if_they_are_the_same_points(a: list[int], b: list[int]) -> None:
    # Points 0 to 3 differ pairwise, so equal digests mean equal lists.
    assert (step_digest(0, DIGESTS[a]) == step_digest(0, DIGESTS[b])) == (a == b)


def test_step_digest_is_the_documented_construction() -> None:
    def point(n: int) -> bytes:
        tag = b"raypol point v1 torch.uint8 (2, 3, 5)"
        return hashlib.sha256(tag + LABELS[n].numpy().tobytes() + PIXELS[n].numpy().tobytes()).digest()

    expected = hashlib.sha256(b"raypol step v1 12 2 " + point(3) + point(0)).digest()
    assert step_digest(12, DIGESTS[[3, 0]]) == expected


# --- tensors and checkpoints -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.bool, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
def test_raw_bytes_are_row_major_and_little_endian(dtype: torch.dtype) -> None:
    tensor = torch.arange(24).reshape(2, 3, 2, 2).to(dtype)
    assert bytes(raw_bytes(tensor.contiguous(memory_format=torch.channels_last))) == bytes(raw_bytes(tensor))
    assert bytes(raw_bytes(tensor.transpose(0, 1))) == bytes(raw_bytes(tensor.transpose(0, 1).contiguous()))
    assert len(raw_bytes(tensor)) == 24 * tensor.element_size()
    assert bytes(raw_bytes(torch.tensor(1))) == b"\x01" + 7 * b"\x00"
    assert bytes(raw_bytes(tensor[:0])) == b""


def test_tensor_digest_binds_dtype_shape_and_every_bit() -> None:
    variants = [
        torch.zeros(6),
        torch.zeros(2, 3),
        torch.zeros(3, 2),
        torch.zeros(3, dtype=torch.float64),
        torch.zeros(6, dtype=torch.int32),
        -torch.zeros(6),  # equal as numbers, not as bytes
        torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 1e-45]),
        torch.zeros(()),
        torch.zeros(0),
    ]
    assert len({tensor_digest(tensor) for tensor in variants}) == len(variants)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("rows", [10, 40_000], ids=["small", "large"])
def test_digests_of_many_tensors_are_those_of_each_whatever_the_threads(rows: int, threads: int) -> None:
    tensors = {f"t{i}": torch.full((rows, 16), float(i)) for i in range(5)}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = tensor_digests(tensors)
    finally:
        torch.set_num_threads(before)
    assert list(found.items()) == [(name, tensor_digest(tensor)) for name, tensor in tensors.items()]


def test_checkpoint_digest_binds_step_names_and_which_tensor_bears_which() -> None:
    one, two = bytes(32), bytes([1] * 32)
    variants: list[tuple[int, Mapping[str, bytes]]] = [
        (8, {"a": one, "b": two}),
        (8, {"a": two, "b": one}),
        (9, {"a": one, "b": two}),
        (8, {"a": one}),
        (8, {"a": one, "c": two}),
        (8, {"a": one, "b": two, "c": two}),
        (8, {}),
        (8, {"": one}),
        (8, {"é": one}),
    ]
    assert len({checkpoint_digest(step, digests) for step, digests in variants}) == len(variants)
    assert checkpoint_digest(8, {"b": two, "a": one}) == checkpoint_digest(8, {"a": one, "b": two})


def test_a_parameter_is_not_a_buffer_of_the_same_name() -> None:
    tensor = {"w": torch.ones(2)}
    kinds = ["parameters", "buffers", "optimizer_state"]
    empty: dict[str, Any] = {kind: {} for kind in kinds}
    made = [Checkpoint(step=0, **{**empty, kind: tensor}) for kind in kinds]
    assert len({checkpoint_digest(0, checkpoint.tensor_digests()) for checkpoint in made}) == 3


# --- the root --------------------------------------------------------------------------------------------------------

OTHER: dict[str, Any] = {
    "dataset": "fashion_mnist",
    "dataset_sha256": "0" * 64,
    "model": "resnet20",
    "steps": 23,
    "interval": 9,
    "batch_size": 17,
    "optimizer": OptimizerConfig(options={"lr": 0.05, "momentum": 0.9, "weight_decay": 1.0001e-4}),
    "schedule": ScheduleConfig(name="MultiStepLR", options={"milestones": [10, 19], "gamma": 0.2}),
    "transform": Transform(crop_padding=1, horizontal_flip=False, mean=(0.3,), std=(0.35,)),
    "seed": 1,
    "precision": "float64",
    "channels_last": False,
    "device": "cuda",
    "threads": 2,
    "given": {"conv1.weight": "0" * 64},
    "shares": ("0", "ab" * 16),
}


@pytest.mark.parametrize("field", [f.name for f in fields(Recipe) if f.name != "loss"])  # there is one loss
def test_every_field_of_the_recipe_changes_the_root(field: str, honest: MemoryProof) -> None:
    proof = copy_of(honest)
    proof.recipe = replace(proof.recipe, **{field: OTHER[field]})
    assert proof.seal() != honest.root


@given(st.data())
def test_every_bit_of_every_tensor_changes_the_root(honest: MemoryProof, data: st.DataObject) -> None:
    proof = copy_of(honest)
    at = data.draw(st.integers(0, len(proof.checkpoints) - 1))
    tensors = proof.checkpoints[at].tensors()
    tensor = tensors[data.draw(st.sampled_from(sorted(tensors)))]
    raw = tensor.reshape(-1).view(torch.uint8)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert proof.seal() != honest.root


def _swap_steps(proof: MemoryProof) -> None:
    proof.records[2:4] = proof.records[3], proof.records[2]


def _swap_checkpoints(proof: MemoryProof) -> None:
    proof.checkpoints[1:3] = proof.checkpoints[2], proof.checkpoints[1]


def _drop_step(proof: MemoryProof) -> None:
    del proof.records[-1]


def _add_step(proof: MemoryProof) -> None:
    proof.records.append(BatchRecord(22, proof.records[0].indices, proof.records[0].sha256))


def _drop_checkpoint(proof: MemoryProof) -> None:
    del proof.checkpoints[1]


@pytest.mark.parametrize("change", [_swap_steps, _swap_checkpoints, _drop_step, _add_step, _drop_checkpoint])
def test_order_and_number_of_steps_and_checkpoints_change_the_root(
    change: Callable[[MemoryProof], None], honest: MemoryProof
) -> None:
    proof = copy_of(honest)
    change(proof)
    assert proof.seal() != honest.root


def test_sealing_twice_gives_one_root_and_a_copy_has_it(honest: MemoryProof) -> None:
    proof = copy_of(honest)
    assert proof.seal() == proof.seal() == honest.root
    assert len(bytes.fromhex(honest.root)) == 32


def test_a_step_is_not_mistaken_for_a_checkpoint() -> None:
    as_step, as_checkpoint = Seal(), Seal()
    as_step.add_step(bytes(32))
    as_checkpoint.add_checkpoint(bytes(32))
    assert as_step.root(b"") != as_checkpoint.root(b"")
    assert as_step.root(b"a") != as_step.root(b"b")


def test_a_copied_seal_goes_on_by_itself() -> None:
    seal = Seal()
    seal.add_step(bytes(32))
    seal.add_checkpoint(bytes(32))
    before, copied = seal.root(b""), seal.copy()
    assert copied.root(b"") == before
    copied.add_step(bytes(32))
    copied.add_checkpoint(bytes(32))
    assert seal.root(b"") == before
    seal.add_step(bytes(32))
    seal.add_checkpoint(bytes(32))
    assert seal.root(b"") == copied.root(b"") != before
