"""Copying a trainer's state to the host, for the proof.

A model's tensors are packed into one piece of memory on the device and cross in one transfer. On CUDA that transfer goes to
pinned memory on a stream of its own, so that the next steps are computed meanwhile; asking for the checkpoint waits for it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final

import torch
from torch import Tensor

from raypol.core.proof import Checkpoint

_ALIGNMENT: Final = 16
"""Bytes: a slice of packed memory can be read as any dtype."""

Pending = Callable[[], Checkpoint]
"""Waits for a checkpoint that is being copied, and returns it."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a tensor lies in packed memory."""

    offset: int
    shape: torch.Size
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def of(self, packed: Tensor) -> Tensor:
        """The tensor, row-major, sharing the packed memory."""
        return packed[self.offset : self.offset + self.num_bytes].view(self.dtype).view(self.shape)


def packed_layout(tensors: Mapping[str, Tensor]) -> tuple[dict[str, _Slot], int]:
    """Lay out packed memory: a slot for each tensor, and the number of bytes in all."""
    slots, total = {}, 0
    for name, tensor in tensors.items():
        slots[name] = _Slot(total, tensor.shape, tensor.dtype)
        total += -(-slots[name].num_bytes // _ALIGNMENT) * _ALIGNMENT
    return slots, total


def pack_tensors(tensors: Mapping[str, Tensor], slots: Mapping[str, _Slot], packed: Tensor) -> None:
    """Copy tensors of one device, in any memory format, to their slots."""
    torch._foreach_copy_([slots[name].of(packed) for name in tensors], list(tensors.values()))


def unpack_tensors(packed: Tensor, slots: Mapping[str, _Slot]) -> dict[str, Tensor]:
    """The tensors by name, sharing the packed memory."""
    return {name: slot.of(packed) for name, slot in slots.items()}


def checkpoint_of(step: int, tensors: Mapping[str, Tensor]) -> Checkpoint:
    """A checkpoint from tensors by qualified name (parameter/..., buffer/..., optimizer/...)."""
    groups: dict[str, dict[str, Tensor]] = {"parameter": {}, "buffer": {}, "optimizer": {}}
    for qualified, tensor in tensors.items():
        kind, _, name = qualified.partition("/")
        groups[kind][name] = tensor
    return Checkpoint(
        step=step, parameters=groups["parameter"], buffers=groups["buffer"], optimizer_state=groups["optimizer"]
    )


def ready(checkpoint: Checkpoint) -> Pending:
    """A checkpoint without any waiting."""
    return lambda: checkpoint


class SnapshotCopier:
    """Copies states from a CUDA device to the host while the device computes on.

    Pinned memory is slow to allocate, so it is used again: a checkpoint that has been read leaves its memory to the next.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's stubs
        self._free: SimpleQueue[Tensor] = SimpleQueue()

    def copy(self, step: int, tensors: Mapping[str, Tensor]) -> Pending:
        """Copy the state as it is now; the returned function gives it on the CPU, and is called once."""
        on_device = {name: t for name, t in tensors.items() if t.device.type == "cuda"}
        here = {
            name: t.detach().clone() for name, t in tensors.items() if name not in on_device
        }  # such as step counters
        slots, total = packed_layout(on_device)
        packed = torch.empty(total, dtype=torch.uint8, device=self._device)
        pack_tensors(on_device, slots, packed)
        pinned = self._pinned(total)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            pinned[:total].copy_(packed, non_blocking=True)
            packed.record_stream(self._stream)
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's stubs
            arrived.record(self._stream)
        order = list(tensors)

        def receive() -> Checkpoint:
            arrived.synchronize()
            own = pinned[:total].clone()  # ordinary memory: the pinned one is needed again
            self._free.put(pinned)
            found = unpack_tensors(own, slots) | here
            return checkpoint_of(step, {name: found[name] for name in order})

        return receive

    def _pinned(self, num_bytes: int) -> Tensor:
        try:
            while True:
                found = self._free.get_nowait()
                if found.numel() >= num_bytes:
                    return found
        except Empty:
            return torch.empty(num_bytes, dtype=torch.uint8, pin_memory=True)
