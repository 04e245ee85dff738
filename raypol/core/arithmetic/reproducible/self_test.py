"""Known answers that a device must give before its arithmetic counts as reproducible."""

from functools import lru_cache
from typing import Final

import torch

from raypol.core.arithmetic.reproducible.rounded import square_root
from raypol.core.errors import InputError

_SIZE: Final = 64


@lru_cache(maxsize=16)
def check_arithmetic(device: torch.device) -> None:
    """Raise unless single operations are rounded as IEEE 754 says, denormals are kept, and float64 products are exact.

    A library may emulate float64, flush denormals or fuse operations; what is tested here is what the arithmetic rests on.

    Raises:
        InputError: it does not, and in what.
    """
    single = torch.tensor([2.0**-149, 2.0**-126, 1.0 + 2.0**-23, 3.0, 10.0, 16777217.0], device=device)
    cases = {
        "denormals": (single[:2] * 0.5).view(torch.int32).tolist() == [0, 0x400000],
        "products": float(single[2] * single[2]) == 1.0 + 2.0**-22,
        "quotients": (single[3] / single[4]).view(torch.int32).item() == 0x3E99999A,
        "roots": square_root(single[3]).view(torch.int32).item() == 0x3FDDB3D7,
        "float64 sums": float(torch.tensor(2.0**53, dtype=torch.float64, device=device) - 1.0) == 2.0**53 - 1.0,
        "float64 matrix products": _exact_products(device),
    }
    wrong = [name for name, right in cases.items() if not right]
    if wrong:
        raise InputError(
            f"device {device} cannot compute reproducibly: {', '.join(wrong)} are not those of IEEE 754; possible: float32"
        )


def _exact_products(device: torch.device) -> bool:
    """True if products of integers of 23 bits, summed up to 53 bits, equal those in whole numbers."""
    drawn = torch.Generator().manual_seed(0)
    a, b = (torch.randint(-(1 << 23), 1 << 23, (_SIZE, _SIZE), generator=drawn) for _ in range(2))
    whole = (a[:, :, None] * b[None]).sum(1)
    return torch.equal((a.double().to(device) @ b.double().to(device)).cpu(), whole.double())
