"""Exponential and logarithm by range reduction and a polynomial, and the softmax losses made of them.

Libraries' exp and log are not correctly rounded and differ between processors and devices. Here each step is one correctly
rounded operation in float64; the result is accurate to about 1e-15, and on every machine the same one.
"""

import math
from typing import Final

import torch
from torch import Tensor

from raypol.core.arithmetic.reproducible.fixed_point import exact_sum_of_doubles
from raypol.core.arithmetic.reproducible.rounded import to_float32

_LOG2_E: Final = 1.4426950408889634
_LN2_HIGH: Final = float.fromhex("0x1.62e42feep-1")
"""Leading 32 bits of ln 2: its product with an exponent is exact."""
_LN2_LOW: Final = float.fromhex("0x1.a39ef35793c76p-33")
_EXP_TERMS: Final = 14
_LOG_TERMS: Final = 12
_LARGEST_EXPONENT: Final = 1023
_MIDDLE: Final = math.sqrt(0.5)


def exp(x: Tensor) -> Tensor:
    """Exponential of float64; 0 below -700 and infinite above 709, and NaN for NaN."""
    k = (x.clamp(-700.0, 709.0) * _LOG2_E).round()
    r = (x.clamp(-700.0, 709.0) - k * _LN2_HIGH) - k * _LN2_LOW
    total = torch.full_like(r, 1.0 / math.factorial(_EXP_TERMS))
    for n in range(_EXP_TERMS - 1, -1, -1):
        total = total * r + 1.0 / math.factorial(n)
    exponent = k.nan_to_num(0.0).to(torch.int64)
    half = exponent >> 1  # 2^k in two factors: k = 1024 has none
    found = total * _power_of_two(half) * _power_of_two(exponent - half)
    found = found.masked_fill(x < -700.0, 0.0)
    return found.masked_fill(x > 709.0, math.inf)


def log(x: Tensor) -> Tensor:
    """Logarithm of float64 numbers that are normal; -infinity for zero and denormals, NaN below zero."""
    bits = x.view(torch.int64)
    exponent = ((bits >> 52) & 2047) - 1023
    m = ((bits & ((1 << 52) - 1)) | (1023 << 52)).view(torch.float64)  # in [1, 2)
    upper = m > 1.0 / _MIDDLE
    m = torch.where(upper, m * 0.5, m)
    k = (exponent + upper).double()
    z = torch.div(m - 1.0, m + 1.0)
    z2 = z * z
    total = torch.zeros_like(z)
    for n in range(_LOG_TERMS, -1, -1):
        total = total * z2 + 1.0 / (2 * n + 1)
    found = k * _LN2_HIGH + (k * _LN2_LOW + z * 2.0 * total)
    found = torch.where(x.isinf() | x.isnan(), x, found)
    found = found.masked_fill(exponent == -1023, -math.inf)
    return found.masked_fill((x < 0.0) & (exponent != -1023), math.nan)


def _power_of_two(exponent: Tensor) -> Tensor:
    return ((exponent + _LARGEST_EXPONENT) << 52).view(torch.float64)


def log_softmax(x: Tensor, dim: int) -> Tensor:
    """aten._log_softmax of float32."""
    wide = x.double()
    away = wide - wide.amax(dim, keepdim=True)
    return to_float32(away - log(exact_sum_of_doubles(exp(away), dim)))


def softmax(x: Tensor, dim: int) -> Tensor:
    """aten._softmax of float32."""
    wide = x.double()
    powers = exp(wide - wide.amax(dim, keepdim=True))
    return to_float32(torch.div(powers, exact_sum_of_doubles(powers, dim)))


def log_softmax_backward(grad: Tensor, output: Tensor, dim: int) -> Tensor:
    """aten._log_softmax_backward_data: grad - softmax times the sum of grad."""
    wide = grad.double()
    return to_float32(wide - exp(output.double()) * exact_sum_of_doubles(wide, dim))


def softmax_backward(grad: Tensor, output: Tensor, dim: int) -> Tensor:
    """aten._softmax_backward_data: softmax times (grad - sum of grad times softmax)."""
    wide, own = grad.double(), output.double()
    return to_float32(own * (wide - exact_sum_of_doubles(wide * own, dim)))


def nll_loss(
    log_probabilities: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignored: int
) -> tuple[Tensor, Tensor]:
    """aten.nll_loss_forward of a batch: the loss, and the sum of the targets' weights."""
    one_per, counted = _picked(target, weight, ignored)
    terms = log_probabilities.gather(-1, target.where(counted, 0).unsqueeze(-1)).squeeze(-1).neg().double()
    terms = (terms * one_per).masked_fill(~counted, 0.0)
    if reduction == 0:
        return to_float32(terms), log_probabilities.new_zeros(())
    total, count = (exact_sum_of_doubles(numbers.reshape(-1), 0).squeeze(0) for numbers in (terms, one_per))
    return to_float32(torch.div(total, count) if reduction == 1 else total), to_float32(count)


def nll_loss_backward(
    grad: Tensor, like: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignored: int, total: Tensor
) -> Tensor:
    """aten.nll_loss_backward of a batch."""
    one_per, counted = _picked(target, weight, ignored)
    each = one_per * grad.double()
    if reduction == 1:
        each = torch.div(each, total.double())
    each = to_float32(each.neg()).masked_fill(~counted, 0.0).unsqueeze(-1)
    return torch.zeros_like(like).scatter_(-1, target.where(counted, 0).unsqueeze(-1), each)


def _picked(target: Tensor, weight: Tensor | None, ignored: int) -> tuple[Tensor, Tensor]:
    """Weight of each point in float64, 0 where its target is ignored, and which are not."""
    counted = target != ignored
    own = torch.ones_like(target, dtype=torch.float64)
    if weight is not None:
        own = weight.double()[target.where(counted, 0)]
    return own.masked_fill(~counted, 0.0), counted
