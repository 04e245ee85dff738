"""Matrix products and convolutions as exact sums of products in float64, rounded once to float32.

Every contraction is a float64 matrix product of fixed-point factors (`fixed_point`). Convolutions are written out as windows
times weights: neither Winograd's nor Fourier's transforms, whose intermediate values are not exact, can slip in by a library's
choice.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from raypol.core.arithmetic.reproducible.fixed_point import exact_sum, factor_bits, magic, to_fixed
from raypol.core.arithmetic.reproducible.rounded import to_float32

_WINDOW_BYTES: Final = 3 << 19
"""Of windows that are written out at once on a CPU: they stay in a core's cache. Exact sums allow any split."""
_WINDOW_BYTES_CUDA: Final = 256 << 20


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """(..., M, K) times (..., K, N): float32, each row of a and column of b with its own unit."""
    bits = factor_bits(a.shape[-1])
    if not a.shape[-1]:
        return a @ b
    return to_float32(to_fixed(a, bits, (-1,)).double() @ to_fixed(b, bits, (-2,)).double())


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """How windows lie over an input: one entry per spatial dimension."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    """Zeros in front of the input; negative: so many of its places are left out."""
    num: tuple[int, ...]
    """Windows, which is the output's size."""
    insert: tuple[int, ...]
    """Step at which the input's places lie, zeros between them: the stride of the convolution whose gradient this is."""

    @property
    def span(self) -> tuple[int, ...]:
        """Places from the first window's first to the last window's last."""
        return tuple(
            (n - 1) * s + d * (k - 1) + 1
            for n, s, d, k in zip(self.num, self.stride, self.dilation, self.kernel, strict=True)
        )


def _columns(x: Tensor, shift: Tensor, windows: Windows) -> Iterator[tuple[slice, Tensor]]:
    """Fixed-point windows of some samples at a time: (C, *kernel, n, *num) float64, the same memory each time."""
    N, C = x.shape[:2]
    per_sample = 8 * C * math.prod(windows.kernel) * math.prod(windows.num)
    room = _WINDOW_BYTES_CUDA if x.device.type == "cuda" else _WINDOW_BYTES
    n = min(max(room // max(per_sample, 1), 1), N)
    before = [max(b, 0) for b in windows.before]
    skip = [max(-b, 0) for b in windows.before]
    reach = [b + (size - 1) * i + 1 for b, size, i in zip(before, x.shape[2:], windows.insert, strict=True)]
    size = [max(r, k + s) for r, k, s in zip(reach, skip, windows.span, strict=True)]
    padded = torch.zeros(n, C, *size, dtype=torch.float64, device=x.device)
    places = [slice(b, r, i) for b, r, i in zip(before, reach, windows.insert, strict=True)]
    inside = padded[(slice(None), slice(None), *places)]
    step = padded.stride()
    steps = (
        step[1],
        *(s * d for s, d in zip(step[2:], windows.dilation, strict=True)),
        step[0],
        *(s * t for s, t in zip(step[2:], windows.stride, strict=True)),
    )
    shape = (C, *windows.kernel, n, *windows.num)
    offset = sum(s * k for s, k in zip(step[2:], skip, strict=True))
    view = padded.as_strided(shape, steps, offset)
    columns = torch.empty(shape, dtype=torch.float64, device=x.device)
    axis = 1 + len(windows.kernel)
    for first in range(0, N, n):
        count = min(n, N - first)
        own = slice(first, first + count)
        c = shift[own] if len(shift) > 1 else shift
        inside[:count].copy_(x[own].add(c).sub_(c))
        if count < n:
            columns = torch.empty((*shape[:axis], count, *windows.num), dtype=torch.float64, device=x.device)
        yield own, columns.copy_(view.narrow(axis, 0, count))


def correlate(x: Tensor, weight: Tensor, windows: Windows, groups: int) -> Tensor:
    """(N, C, *) with weights (Co, C / groups, *kernel): (N, Co, *num) float32.

    Each sample of x and each output channel of the weights has its own unit.
    """
    N, Co = len(x), len(weight)
    K = math.prod(weight.shape[1:])
    out = x.new_empty((N, Co, *windows.num))
    if not out.numel():
        return out
    bits = factor_bits(K)
    w_GCK = to_fixed(weight, bits, range(1, weight.dim())).double().reshape(groups, Co // groups, K)
    for own, columns in _columns(x, magic(x, bits, range(1, x.dim())), windows):
        product = torch.bmm(w_GCK, columns.view(groups, K, -1)) if groups > 1 else w_GCK[0] @ columns.view(K, -1)
        found = product.view(Co, -1, *windows.num).transpose(0, 1)
        out[own].copy_(found).add_(0.0)
    return out


def weight_gradient(x: Tensor, grad: Tensor, windows: Windows, groups: int) -> Tensor:
    """Gradient by the weights of `correlate`, (Co, C / groups, *kernel): each channel of x and of grad has its own unit."""
    Co, C = grad.shape[1], x.shape[1]
    K = C // groups * math.prod(windows.kernel)
    bits = factor_bits(grad.numel() // Co)
    others = [dim for dim in range(x.dim()) if dim != 1]
    found = torch.zeros(groups, Co // groups, K, dtype=torch.float64, device=x.device)
    shift = magic(grad, bits, others)
    for own, columns in _columns(x, magic(x, bits, others), windows):
        fixed = grad[own].add(shift).sub_(shift).transpose(0, 1).double()
        found.baddbmm_(fixed.reshape(groups, Co // groups, -1), columns.view(groups, K, -1).transpose(1, 2))
    return to_float32(found).view(Co, C // groups, *windows.kernel)


@dataclass(frozen=True, slots=True)
class Convolution:
    """Declaration of a convolution as torch gives it, one entry per spatial dimension."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int

    def straight(self, size: Sequence[int], kernel: Sequence[int]) -> Windows:
        """Windows of the ordinary convolution over an input of this size."""
        num = tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(size, self.padding, self.dilation, kernel, self.stride, strict=True)
        )
        return Windows(
            kernel=tuple(kernel),
            stride=self.stride,
            dilation=self.dilation,
            before=self.padding,
            num=num,
            insert=(1,) * len(num),
        )

    def back(self, size: Sequence[int], kernel: Sequence[int]) -> Windows:
        """Windows over the output's gradient that give the gradient by an input of this size."""
        return Windows(
            kernel=tuple(kernel),
            stride=(1,) * len(self.stride),
            dilation=self.dilation,
            before=tuple(d * (k - 1) - p for d, k, p in zip(self.dilation, kernel, self.padding, strict=True)),
            num=tuple(size),
            insert=self.stride,
        )


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, how: Convolution) -> Tensor:
    """aten.convolution: any number of spatial dimensions, groups, dilation, transposed."""
    kernel = weight.shape[2:]
    if how.transposed:
        size = [
            (n - 1) * s - 2 * p + d * (k - 1) + o + 1
            for n, s, p, d, k, o in zip(
                x.shape[2:], how.stride, how.padding, how.dilation, kernel, how.output_padding, strict=True
            )
        ]
        out = correlate(x, _turned(weight, how.groups), how.back(size, kernel), how.groups)
    else:
        out = correlate(x, weight, how.straight(x.shape[2:], kernel), how.groups)
    return out if bias is None else out.add_(bias.view(-1, *(1 for _ in kernel)))


def convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, how: Convolution, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """aten.convolution_backward: gradients by input, weight and bias, those that are wanted."""
    kernel, groups = weight.shape[2:], how.groups
    by_input = by_weight = by_bias = None
    if how.transposed:
        windows = how.straight(grad.shape[2:], kernel)
        by_input = correlate(grad, weight, windows, groups) if wanted[0] else None
        by_weight = weight_gradient(grad, x, windows, groups) if wanted[1] else None
    else:
        back, straight = how.back(x.shape[2:], kernel), how.straight(x.shape[2:], kernel)
        by_input = correlate(grad, _turned(weight, groups), back, groups) if wanted[0] else None
        by_weight = weight_gradient(x, grad, straight, groups) if wanted[1] else None
    if wanted[2]:
        by_bias = to_float32(exact_sum(grad, [dim for dim in range(grad.dim()) if dim != 1]))
    return by_input, by_weight, by_bias


def _turned(weight: Tensor, groups: int) -> Tensor:
    """Weights that carry a gradient back: (Co, Ci, *kernel) to (Ci * groups, Co / groups, *kernel), mirrored."""
    Co, Ci = weight.shape[:2]
    kernel = weight.shape[2:]
    swapped = weight.reshape(groups, Co // groups, Ci, *kernel).transpose(1, 2)
    return swapped.reshape(groups * Ci, Co // groups, *kernel).flip(tuple(range(2, weight.dim())))
