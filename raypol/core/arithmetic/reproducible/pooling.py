"""Pooling and its gradients: exact means, and additions in one fixed order where windows overlap."""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from types import EllipsisType

import torch
from torch import Tensor

from raypol.core.arithmetic.reproducible.contractions import Convolution, convolution, convolution_backward
from raypol.core.arithmetic.reproducible.fixed_point import exact_sum
from raypol.core.arithmetic.reproducible.rounded import divide, to_float32

_Place = tuple[EllipsisType | slice | int, ...]


def exact_mean(x: Tensor, dims: Sequence[int], *, keepdim: bool = False) -> Tensor:
    """Mean in float32 along `dims` of an exact sum."""
    count = math.prod(x.shape[dim] for dim in dims)
    return to_float32(divide(exact_sum(x, dims, keepdim=keepdim), count))


def adaptive_avg_pool(x: Tensor, size: Sequence[int]) -> Tensor:
    """aten._adaptive_avg_pool2d and its like: each output is the mean of its window, rounded once."""
    out = x.new_empty((*x.shape[: -len(size)], *size))
    dims = tuple(range(-len(size), 0))
    for window, place in _cells(x.shape[-len(size) :], size):
        out[place] = exact_mean(x[window], dims)
    return out


def adaptive_avg_pool_backward(grad: Tensor, x: Tensor) -> Tensor:
    """Its gradient: window after window in row-major order."""
    found = torch.zeros_like(x, memory_format=torch.contiguous_format)
    num = grad.dim() - 2 if grad.dim() > 3 else grad.dim() - 1
    for window, place in _cells(x.shape[-num:], grad.shape[-num:]):
        part = found[window]
        share = divide(grad[place], math.prod(part.shape[-num:]))
        part.add_(share.view(*share.shape, *(1 for _ in range(num))))
    return found


def _cells(input_size: Sequence[int], output_size: Sequence[int]) -> Iterator[tuple[_Place, _Place]]:
    """Window of the input and place in the output, in row-major order of the output."""
    for place in product(*(range(n) for n in output_size)):
        bounds = zip(place, input_size, output_size, strict=True)
        yield (..., *(slice(i * n // out, -(-(i + 1) * n // out)) for i, n, out in bounds)), (..., *place)


def max_pool2d_backward(
    grad: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    indices: Tensor,
) -> Tensor:
    """Gradient of max_pool2d: where windows overlap, gradients are added in the order of the window's places."""
    (kh, kw), (ph, pw), (dh, dw) = (_pair(pair) for pair in (kernel, padding, dilation))
    sh, sw = _pair(stride) if stride else (kh, kw)
    H, W = x.shape[-2:]
    oh, ow = grad.shape[-2:]
    rows = torch.arange(oh, device=x.device).mul_(sh).sub_(ph)[:, None]
    cols = torch.arange(ow, device=x.device).mul_(sw).sub_(pw)
    # Room for windows that reach past the end, as ceil_mode lets them.
    high, wide = max(H + ph, (oh - 1) * sh + dh * (kh - 1) + 1), max(W + pw, (ow - 1) * sw + dw * (kw - 1) + 1)
    found = x.new_zeros((*x.shape[:-2], high, wide))
    for i, j in product(range(kh), range(kw)):
        y, z = rows + i * dh, cols + j * dw
        inside = (y >= 0) & (y < H) & (z >= 0) & (z < W)
        here = (indices == y * W + z) & inside
        part = found[..., i * dh : i * dh + (oh - 1) * sh + 1 : sh, j * dw : j * dw + (ow - 1) * sw + 1 : sw]
        part.add_(grad.masked_fill(~here, 0.0))
    return found[..., ph : ph + H, pw : pw + W].contiguous()


def avg_pool2d(x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    """aten.avg_pool2d with padding counted and without ceil_mode: each output is a mean, rounded once or twice."""
    how, ones = _as_convolution(x, kernel, stride, padding)
    return divide(convolution(x, ones, None, how), math.prod(_pair(kernel)))


def avg_pool2d_backward(
    grad: Tensor, x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """Its gradient."""
    how, ones = _as_convolution(x, kernel, stride, padding)
    found, _, _ = convolution_backward(grad, x, ones, how, (True, False, False))
    assert found is not None
    return divide(found, math.prod(_pair(kernel)))


def _as_convolution(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> tuple[Convolution, Tensor]:
    C = x.shape[1]
    how = Convolution(_pair(stride or kernel), _pair(padding), (1, 1), False, (0, 0), C)
    return how, x.new_ones(C, 1, *_pair(kernel))


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    return (int(numbers[0]), int(numbers[-1]))
