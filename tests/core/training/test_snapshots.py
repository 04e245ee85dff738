"""Packed copies of a state: every bit arrives, in any dtype, shape and memory format."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from raypol.core.training.snapshots import checkpoint_of, pack_tensors, packed_layout, ready, unpack_tensors

WEIGHT_DTYPES = [torch.float32, torch.float64, torch.int64, torch.bool, torch.bfloat16, torch.uint8]
SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(WEIGHT_DTYPES), SHAPES), min_size=1, max_size=6))
def test_packing_and_unpacking_keep_every_bit(kinds: list[tuple[torch.dtype, tuple[int, ...]]]) -> None:
    rng = torch.Generator().manual_seed(0)
    tensors = {
        f"parameter/{i}": (torch.randn(shape, generator=rng) * 100).to(dtype) for i, (dtype, shape) in enumerate(kinds)
    }
    slots, total = packed_layout(tensors)
    packed = torch.empty(total, dtype=torch.uint8)
    pack_tensors(tensors, slots, packed)
    for name, tensor in unpack_tensors(packed, slots).items():
        assert tensor.dtype == tensors[name].dtype
        assert torch.equal(tensor, tensors[name])


def test_memory_formats_become_row_major() -> None:
    weights = torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    slots, total = packed_layout({"parameter/w": weights})
    packed = torch.empty(total, dtype=torch.uint8)
    pack_tensors({"parameter/w": weights}, slots, packed)
    found = unpack_tensors(packed, slots)["parameter/w"]
    assert found.is_contiguous()
    assert torch.equal(found, weights)


def test_a_checkpoint_knows_parts_by_their_names() -> None:
    tensors: dict[str, Tensor] = {
        "parameter/a/b": torch.zeros(1),
        "buffer/c": torch.ones(1),
        "optimizer/a/b/momentum_buffer": torch.full((1,), 2.0),
    }
    found = checkpoint_of(7, tensors)
    assert (found.step, *found.tensors()) == (7, *tensors)
    assert ready(found)() is found


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_shuttle_brings_the_state_of_the_moment_while_the_device_goes_on() -> None:
    from raypol.core.training.snapshots import SnapshotCopier

    copier = SnapshotCopier(torch.device("cuda"))
    weights = torch.zeros(1 << 20, device="cuda")
    counter = torch.zeros(1)  # optimizers keep some of their state on the host
    pending = []
    for step in range(8):
        pending.append(copier.copy(step, {"parameter/w": weights, "optimizer/w/step": counter}))
        weights += 1.0
        counter += 1.0
        if step >= 4:  # some are asked for while others are on their way: their memory goes round
            found = pending.pop(0)()
            assert float(found.parameters["w"].min()) == float(found.parameters["w"].max()) == found.step
            assert float(found.optimizer_state["w/step"]) == found.step
    for receive in pending:
        found = receive()
        assert float(found.parameters["w"].min()) == float(found.parameters["w"].max()) == found.step
