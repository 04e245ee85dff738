"""Random numbers that are the same on any machine: whole numbers from a CPU's generator, then single rounded operations.

torch's own normal numbers depend on the instruction set (its vectors have their own logarithm), and its masks on the device.
"""

import math
from typing import Final

import torch
from torch import Tensor

from raypol.core.arithmetic.reproducible.exponentials import log
from raypol.core.arithmetic.reproducible.rounded import square_root

_WHOLE: Final = 1 << 30
"""Values of a draw; squares and their sums are exact in float64."""


def normal(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Draws in float32 of the standard normal law on the CPU, by the polar method (Marsaglia and Bray 1964)."""
    wanted = math.prod(shape)
    found = torch.empty(0, dtype=torch.float64)
    while len(found) < wanted:
        u, v = torch.randint(1 - _WHOLE, _WHOLE, (2, wanted), generator=generator).double() / _WHOLE
        s = u * u + v * v
        inside = (s > 0.0) & (s < 1.0)
        u, s = u[inside], s[inside]
        found = torch.cat([found, u * square_root(torch.div(log(s) * -2.0, s))])
    return found[:wanted].to(torch.float32).view(shape)


def fill_with_kept(x: Tensor, share: float) -> Tensor:
    """Fill x, on any device, with 1 with this probability, else 0, from the CPU's default generator."""
    return x.copy_(torch.randint(_WHOLE, x.shape) < round(share * _WHOLE))
