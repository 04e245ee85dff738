"""Batch normalisation: exact sums per channel, then a fixed sequence of single operations.

Difference from torch's kernels: mean and variance are those of numbers rounded to 22 and about 18 bits below the channel's
largest, the variance being taken of deviations from the rounded mean.
"""

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from raypol.core.arithmetic.reproducible.fixed_point import exact_sum, factor_bits, to_fixed
from raypol.core.arithmetic.reproducible.rounded import divide, square_root, to_float32

_AT_ONCE: Final = 1 << 17
"""Elements of some channels that are worked on together on a CPU: a dozen passes over them stay in a core's cache."""


def _channels(x: Tensor) -> Iterator[slice]:
    C = x.shape[1]
    if x.device.type == "cuda":
        return iter([slice(0, C)])
    per_channel = x.numel() // max(C, 1)
    step = min(max(_AT_ONCE // max(per_channel, 1), 1), max(C, 1))
    return (slice(first, min(first + step, C)) for first in range(0, C, step))


def _along(x: Tensor, per_channel: Tensor) -> Tensor:
    return per_channel.view(1, -1, *(1 for _ in x.shape[2:]))


def _others(x: Tensor) -> list[int]:
    return [dim for dim in range(x.dim()) if dim != 1]


def batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """aten.native_batch_norm: the output, and mean and 1 / standard deviation of the batch (empty in evaluation)."""
    if not training:
        assert running_mean is not None
        assert running_var is not None
        mean, inverse = running_mean, _inverse_deviation(running_var.double(), eps)
        out = x - _along(x, mean)
        return _scaled(out, inverse, weight, bias), x.new_empty(0), x.new_empty(0)
    n = x.numel() // max(x.shape[1], 1)
    out = torch.empty_like(x)
    mean, var = (torch.empty(x.shape[1], dtype=torch.float64, device=x.device) for _ in range(2))
    inverse = torch.empty(x.shape[1], dtype=torch.float32, device=x.device)
    for own in _channels(x):
        part = x[:, own]
        mean[own] = divide(exact_sum(part, _others(x)), n)
        centre = to_float32(mean[own])
        deviation = part - _along(x, centre)
        fixed = to_fixed(deviation, factor_bits(n), _others(x)).double()
        left = mean[own] - centre
        var[own] = (divide(fixed.mul_(fixed).sum(_others(x)), n) - left * left).clamp_min_(0.0).add_(0.0)
        inverse[own] = _inverse_deviation(var[own], eps)
        out[:, own] = _scaled(
            deviation, inverse[own], None if weight is None else weight[own], None if bias is None else bias[own]
        )
    _follow(running_mean, to_float32(mean), momentum)
    _follow(running_var, to_float32(divide(var * n, n - 1)), momentum)
    return out, to_float32(mean), inverse


def _follow(running: Tensor | None, of_batch: Tensor, momentum: float) -> None:
    if running is not None:
        running.mul_(1.0 - momentum).add_(of_batch * momentum)


def _inverse_deviation(var: Tensor, eps: float) -> Tensor:
    return torch.div(torch.ones_like(var), square_root(var + eps)).to(torch.float32)


def _scaled(deviation: Tensor, inverse: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """In place."""
    deviation.mul_(_along(deviation, inverse if weight is None else inverse * weight))
    return deviation if bias is None else deviation.add_(_along(deviation, bias))


def batch_norm_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    mean: Tensor | None,
    inverse: Tensor | None,
    training: bool,
    eps: float,
    wanted: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """aten.native_batch_norm_backward: gradients by input, weight and bias, those that are wanted."""
    if not training:
        assert running_mean is not None
        assert running_var is not None
        mean, inverse = running_mean, _inverse_deviation(running_var.double(), eps)
    assert mean is not None
    assert inverse is not None
    n = x.numel() // max(x.shape[1], 1)
    others, bits = _others(x), factor_bits(n)
    by_input = torch.empty_like(x) if wanted[0] else None
    by_weight, by_bias = (torch.empty_like(inverse) for _ in range(2))
    for own in _channels(x):
        g, deviation = grad[:, own], x[:, own] - _along(x, mean[own])
        scale = inverse[own] if weight is None else inverse[own] * weight[own]
        fixed = to_fixed(g, bits, others).double()
        total = fixed.sum(others).add_(0.0)
        common = fixed.mul_(to_fixed(deviation, bits, others)).sum(others).add_(0.0)
        slope = common * inverse[own].double()
        by_weight[own], by_bias[own] = to_float32(slope), to_float32(total)
        if by_input is None:
            continue
        if training:
            pull = to_float32(divide(slope * inverse[own].double(), n))
            flow = (g - _along(x, to_float32(divide(total, n)))).sub_(deviation.mul_(_along(x, pull)))
        else:
            flow = g
        by_input[:, own] = flow * _along(x, scale)
    return by_input, by_weight if wanted[1] else None, by_bias if wanted[2] else None
