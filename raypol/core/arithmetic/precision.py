"""Precision: the format of weights, and the arithmetic of a step.

`float32` means IEEE float32 everywhere: cuDNN's own default is TF32, which keeps 10 of 23 bits of each factor. `tf32` asks for
those tensor cores; `bf16` keeps float32 weights and lets torch's autocast choose which operations run in bfloat16; `float64` has
almost no rounding noise and is the verifier's finest replay. `reproducible` keeps float32 weights and gives the same bits on any
number of threads, instruction set and device (`raypol.core.arithmetic.reproducible`).
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from raypol.core.arithmetic.reproducible.mode import reproducible
from raypol.core.errors import InputError, first_line

Precision = Literal["float32", "tf32", "bf16", "float64", "reproducible"]
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)
WEIGHT_DTYPES: Final[dict[Precision, torch.dtype]] = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.float32,
    "float64": torch.float64,
    "reproducible": torch.float32,
}
"""Of weights, gradients and optimizer state."""

SAME_EVERYWHERE: Final[frozenset[Precision]] = frozenset({"reproducible"})
"""Precisions whose bits depend on neither device nor threads: another class of machine explains nothing."""

_TENSOR_CORES: Final = (8, 0)
"""The first compute capability that has TF32 and bfloat16 (Ampere)."""


def base_precision(precision: Precision) -> Precision:
    """The precision that computes in the weights' own format, which every device can."""
    return "float64" if WEIGHT_DTYPES[precision] == torch.float64 else "float32"


def rehearsed_precision(precision: Precision) -> Precision:
    """The precision in which a CPU rehearses a training: itself where the CPU has it and it asks more of a model."""
    return precision if precision == "reproducible" else base_precision(precision)


def usable_device(device: torch.device | str) -> torch.device:
    """The device of this name.

    Raises:
        InputError: torch knows no such device, or this machine has none.
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as err:  # the latter: torch was built without CUDA
        raise InputError(f"cannot compute on device {str(device)!r}: {first_line(err)}") from err
    return found


def is_inexact(tensor: Tensor) -> bool:
    """True for floating-point and complex numbers, which training may move; others are counters, indices and masks."""
    return tensor.is_floating_point() or tensor.is_complex()


def cast(model: nn.Module, precision: Precision) -> nn.Module:
    """The model itself, its floating-point parameters and buffers in the weights' format; other dtypes stay as they are."""
    return model.double() if WEIGHT_DTYPES[precision] == torch.float64 else model.float()


def check_device(precision: Precision, device: torch.device) -> None:
    """Raise if this device does not compute in this precision.

    Raises:
        InputError: tf32 without a CUDA device of compute capability 8.0, or bf16 on an older one.
    """
    if precision not in ("tf32", "bf16") or (precision == "bf16" and device.type == "cpu"):
        return
    if device.type != "cuda":
        raise InputError(
            f"precision {precision} needs a CUDA device, got {device.type}; possible here: float32, float64"
        )
    have = torch.cuda.get_device_capability(device)
    if have < _TENSOR_CORES:
        raise InputError(
            f"precision {precision} needs compute capability 8.0 or newer, "
            f"{torch.cuda.get_device_name(device)} has {have[0]}.{have[1]}; possible there: float32, float64"
        )


def arithmetic(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Inside, forward passes compute in this precision; their backward passes follow it, but for `reproducible`, whose backward
    passes must be made inside as well.

    The TF32 switch is the process's, read when a kernel starts. It is set at each forward pass, and the backward pass comes
    before the next forward.
    """
    if precision == "reproducible":
        return reproducible(device)
    if device.type == "cuda":
        wanted = "tf32" if precision == "tf32" else "ieee"
        torch.backends.cuda.matmul.fp32_precision = wanted
        torch.backends.cudnn.conv.fp32_precision = wanted  # type: ignore[attr-defined]  # not in torch's stubs
        torch.backends.cudnn.rnn.fp32_precision = wanted  # type: ignore[attr-defined]  # not in torch's stubs
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
