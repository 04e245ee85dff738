"""Operations on each element alone that libraries compute in more than one way, as sequences of single rounded operations.

A kernel may fuse a multiplication and an addition into one rounding, or multiply by a reciprocal, and the sign of a zero may
depend on the instruction: each is written out, and zeros get the sign + where a maximum or minimum chose among them.
"""

import torch
from torch import Tensor

from raypol.core.arithmetic.reproducible.draws import fill_with_kept
from raypol.core.arithmetic.reproducible.exponentials import exp, log
from raypol.core.arithmetic.reproducible.rounded import divide, square_root, to_float32
from raypol.core.errors import InputError

_Operand = Tensor | float
"""Numbers stand for 0-dimensional tensors."""


def plus(x: Tensor, other: _Operand, *, alpha: float = 1) -> Tensor:
    """Sum x + alpha * other, the product rounded first."""
    return torch.add(x, other if alpha == 1 else other * alpha)


def plus_(x: Tensor, other: _Operand, *, alpha: float = 1) -> Tensor:
    """As `plus`, in place."""
    return x.add_(other if alpha == 1 else other * alpha)


def sub(x: Tensor, other: _Operand, *, alpha: float = 1) -> Tensor:
    """Difference x - alpha * other, the product rounded first."""
    return torch.sub(x, other if alpha == 1 else other * alpha)


def sub_(x: Tensor, other: _Operand, *, alpha: float = 1) -> Tensor:
    """As `sub`, in place."""
    return x.sub_(other if alpha == 1 else other * alpha)


def rsub(x: Tensor, other: _Operand, alpha: float = 1) -> Tensor:
    """Difference other - alpha * x."""
    minuend = other if isinstance(other, Tensor) else torch.full((), other, dtype=x.dtype, device=x.device)
    return torch.sub(minuend, x if alpha == 1 else x * alpha)


def div(x: Tensor, other: _Operand) -> Tensor:
    """Quotient x / other: a divisor that is a number, or lies on the CPU alone, goes to the device first."""
    if not isinstance(other, Tensor):
        return divide(x if x.is_floating_point() else x.to(torch.get_default_dtype()), float(other))
    return torch.div(x, other.to(x.device) if other.dim() == 0 else other)


def div_(x: Tensor, other: _Operand) -> Tensor:
    """As `div`, in place."""
    return x.copy_(div(x, other))


def addcmul(x: Tensor, one: Tensor, other: Tensor, *, value: float = 1) -> Tensor:
    """Sum x + value * (one * other), each product rounded."""
    product = one * other
    return torch.add(x, product if value == 1 else product * value)


def addcmul_(x: Tensor, one: Tensor, other: Tensor, *, value: float = 1) -> Tensor:
    """As `addcmul`, in place."""
    return x.copy_(addcmul(x, one, other, value=value))


def addcdiv(x: Tensor, one: Tensor, other: Tensor, *, value: float = 1) -> Tensor:
    """Sum x + value * (one / other)."""
    quotient = div(one, other)
    return torch.add(x, quotient if value == 1 else quotient * value)


def addcdiv_(x: Tensor, one: Tensor, other: Tensor, *, value: float = 1) -> Tensor:
    """As `addcdiv`, in place."""
    return x.copy_(addcdiv(x, one, other, value=value))


def lerp(x: Tensor, end: Tensor, weight: _Operand) -> Tensor:
    """Point x + weight * (end - x), whatever the weight."""
    return torch.add(x, (end - x) * weight)


def lerp_(x: Tensor, end: Tensor, weight: _Operand) -> Tensor:
    """As `lerp`, in place."""
    return x.add_((end - x) * weight)


def relu(x: Tensor) -> Tensor:
    """The larger of x and 0, never -0."""
    return torch.relu(x).add_(0.0)


def relu_(x: Tensor) -> Tensor:
    """As `relu`, in place."""
    return torch.relu_(x).add_(0.0)


def sqrt_(x: Tensor) -> Tensor:
    """As `sqrt`, in place."""
    return x.copy_(square_root(x))


def rsqrt(x: Tensor) -> Tensor:
    """1 / sqrt(x), two roundings."""
    return reciprocal(square_root(x))


def reciprocal(x: Tensor) -> Tensor:
    """1 / x."""
    return torch.div(torch.ones_like(x), x)


def power(x: Tensor | float, exponent: Tensor | float) -> Tensor:
    """Power of x that multiplications and roots give.

    Raises:
        InputError: another one.
    """
    if not isinstance(x, Tensor) or isinstance(exponent, Tensor):
        raise InputError("reproducible arithmetic has no power whose exponent is computed")
    if exponent == 0.5:
        return square_root(x)
    if exponent not in (1, 2, 3, 4, -1, -0.5):
        raise InputError(f"reproducible arithmetic has no power {exponent}; possible: -1, -0.5, 0.5, 1, 2, 3, 4")
    if exponent < 0:
        return reciprocal(x) if exponent == -1 else rsqrt(x)
    found = x.clone()
    for _ in range(int(exponent) - 1):
        found = found * x
    return found


def exp32(x: Tensor) -> Tensor:
    """Exponential, rounded from float64."""
    return to_float32(exp(x.double()))


def log32(x: Tensor) -> Tensor:
    """Logarithm, rounded from float64."""
    return to_float32(log(x.double()))


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), rounded from float64."""
    return to_float32(_sigmoid(x.double()))


def sigmoid_backward(grad: Tensor, output: Tensor) -> Tensor:
    """Product grad * ((1 - output) * output)."""
    return grad * (torch.sub(torch.ones_like(output), output) * output)


def tanh(x: Tensor) -> Tensor:
    """2 sigmoid(2 x) - 1, rounded from float64."""
    return to_float32(_sigmoid(x.double() * 2.0) * 2.0 - 1.0)


def tanh_backward(grad: Tensor, output: Tensor) -> Tensor:
    """Product grad * (1 - output^2)."""
    return grad * torch.sub(torch.ones_like(output), output * output)


def _sigmoid(wide: Tensor) -> Tensor:
    return reciprocal(exp(wide.neg()) + 1.0)


def dropout(x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """aten.native_dropout, in the steps in which a CPU's dropout is made."""
    if train is False:
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    kept = fill_with_kept(torch.empty_like(x), 1.0 - p)
    return x * (divide(kept, 1.0 - p) if p < 1.0 else kept), kept.bool()


def dropout_backward(grad: Tensor, kept: Tensor, scale: float) -> Tensor:
    """aten.native_dropout_backward."""
    return grad * (divide(kept.to(grad.dtype), 1.0 / scale) if scale else kept.to(grad.dtype))
