"""Whether the entries of W_0 are independent draws from their laws: what a test of their distribution alone cannot see.

A forger who sorts legal values into the order of W_T's entries (`rank_matched`) keeps every histogram and passes every test of
it. But trained filters are smooth, and rows of trained matrices have a direction, so the sorted values follow both. Each entry
becomes a standard normal score, Phi^-1(F(w)), F its law's distribution function; under the null hypothesis scores are independent
and every statistic below has a known distribution, exactly (sums) or by the central limit theorem (products of neighbours).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from raypol.core.models.initial_laws import Law, Normal, RandomLaw, Uniform

Scores = npt.NDArray[np.float64]
_LEAST_PRODUCTS: Final = 1_000
"""Products of neighbours, over all tensors of one rank, from which on their sum is normal enough in its far tail."""
_LEAST_ENTRIES: Final = 100
"""Entries of a tensor from which on its moments are tested."""
_MOMENTS: Final = 4


@dataclass(frozen=True, slots=True)
class Dependence:
    """One statistic over all tensors of one rank."""

    name: str
    p_value: float
    """Two-sided."""


def normal_scores(values: Tensor, law: RandomLaw) -> Scores:
    """Phi^-1(F(w)) of every entry, float64, in the tensor's shape; bounded, for an entry may lie outside its law's support."""
    from scipy import special

    entries: Scores = values.detach().double().cpu().numpy()
    match law:
        case Normal(std):
            return np.clip(entries / std, -12.0, 12.0)
        case Uniform(bound):
            share = np.clip((entries / bound + 1.0) / 2.0, 1e-16, 1.0 - 1e-16)
            return np.asarray(special.ndtri(share), dtype=np.float64)


def dependences(weights: Mapping[str, Tensor], laws: Mapping[str, Law]) -> list[Dependence]:
    """Statistics of W_0 that independent draws leave near their expectation; empty without a random matrix or kernel.

    Per rank (matrices, kernels): the correlation of neighbours along each axis; the squared sums of slices across each axis; for
    kernels also the squared sums of single filters. Entries that are not finite give p = 0.
    """
    from scipy import stats

    products: dict[str, tuple[float, int]] = {}
    squares: dict[str, tuple[float, int]] = {}

    def add(sums: dict[str, tuple[float, int]], name: str, amount: float, count: int) -> None:
        before, so_far = sums.get(name, (0.0, 0))
        sums[name] = before + amount, so_far + count

    for name, law in laws.items():
        if not isinstance(law, RandomLaw) or weights[name].ndim < 2 or not weights[name].numel():
            continue
        scores = normal_scores(weights[name], law)
        what = f"{scores.ndim}-dimensional tensors"
        for axis in range(scores.ndim):
            along = np.moveaxis(scores, axis, 0).reshape(scores.shape[axis], -1)
            add(
                products,
                f"neighbours along axis {axis} of {what}",
                float((along[1:] * along[:-1]).sum()),
                along[1:].size,
            )
            slices = along.sum(1) / math.sqrt(along.shape[1])
            add(squares, f"sums across axis {axis} of {what}", float((slices**2).sum()), len(slices))
        if scores.ndim > 2:
            filters = scores.reshape(*scores.shape[:2], -1)
            sums = filters.sum(2) / math.sqrt(filters.shape[2])
            add(squares, f"sums of filters of {what}", float((sums**2).sum()), sums.size)
    found = [
        Dependence(name, float(2.0 * stats.norm.sf(abs(total) / math.sqrt(count))))
        for name, (total, count) in products.items()
        if count >= _LEAST_PRODUCTS
    ]
    found += [
        Dependence(name, float(2.0 * min(stats.chi2.sf(total, count), stats.chi2.cdf(total, count))))
        for name, (total, count) in squares.items()
        if count
    ]
    return [one if one.p_value >= 0.0 else Dependence(one.name, 0.0) for one in found]  # of NaN


def moments_statistic(values: Tensor, law: RandomLaw) -> float | None:
    """Neyman's smooth test of the entries against their law (Neyman 1937): chi-squared with 4 degrees if they follow it.

    Its four components are Legendre polynomials of F(w): shifts, widths, skews and tails that lie within the band of the
    Kolmogorov-Smirnov test. None for a tensor of fewer than 100 entries.
    """
    from scipy import special

    scores = normal_scores(values, law).reshape(-1)
    if len(scores) < _LEAST_ENTRIES:
        return None
    x = 2.0 * special.ndtr(scores) - 1.0
    components = [
        math.sqrt((2 * j + 1) / len(x)) * float(np.polynomial.Legendre.basis(j)(x).sum())
        for j in range(1, _MOMENTS + 1)
    ]
    return math.fsum(c * c for c in components)
