"""Single operations that libraries do not round correctly everywhere, or not alike, so that they are."""

import torch
from torch import Tensor


def to_float32(exact: Tensor) -> Tensor:
    """Round to float32; zero has the sign +, which sums of zeros of either sign do not agree on."""
    return exact.to(torch.float32).add_(0.0)


def divide(x: Tensor, by: float) -> Tensor:
    """Quotient x / by, rounded once: a GPU multiplies by the reciprocal of a number that is given as one."""
    return torch.div(x, torch.full((), by, dtype=x.dtype, device=x.device))


def square_root(x: Tensor) -> Tensor:
    """Root of float32, correctly rounded, or of float64 in float32's range, within a last place or two.

    MKL's vector roots on CPUs are not correctly rounded and differ between instruction sets. A root in float64, right within
    three last places, rounds to float32 as the true root does: that lies four of them at least from where the rounding turns.
    In float64 two steps of Newton's method from there are the same on every machine.
    """
    near = to_float32(x.double().sqrt())
    if x.dtype == torch.float32:
        return near
    root = near.double()
    for _ in range(2):
        root = (root + torch.div(x, root)) * 0.5
    return torch.where((near == 0.0) | near.isinf(), near.double(), root)
