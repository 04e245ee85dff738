"""Distances between two sets of weights: l1, l2, linf and cosine in one pass (Jia et al. 2021, arXiv:2103.05633, V-B)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from torch import Tensor

Metric = Literal["l1", "l2", "linf", "cos"]
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)

# 2^20 entries are 8 MiB as float64: large enough to be fast, small enough not to double a big model's memory.
_CHUNK: Final = 1 << 20


def cosine_of(weights: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> float:
    """Cosine of two sets of tensors, each as one vector, over the names of the first; NaN if one is all zero."""
    product, squared, own = (
        math.fsum(float((a[name].double() * b[name].double()).sum()) for name in weights)
        for a, b in ((weights, others), (weights, weights), (others, others))
    )
    size = math.sqrt(squared) * math.sqrt(own)
    return product / size if size > 0.0 else math.nan


def nan_as_largest(value: float) -> float:
    """Key for sorting: NaN would hide behind a comparison, here it exceeds every number."""
    return math.inf if math.isnan(value) else value


@dataclass(frozen=True, slots=True)
class Distances:
    """One distance in each metric. `cos` is 1 - <a,b>/(|a||b|), in [0, 2]; the others are in units of the weights."""

    l1: float
    l2: float
    linf: float
    cos: float

    def __getitem__(self, metric: Metric) -> float:
        return float(getattr(self, metric))

    @property
    def is_finite(self) -> bool:
        """False if any of the four is NaN or infinite."""
        return all(map(math.isfinite, (self.l1, self.l2, self.linf, self.cos)))

    def as_dict(self) -> dict[Metric, float]:
        """The four values by metric name."""
        return {"l1": self.l1, "l2": self.l2, "linf": self.linf, "cos": self.cos}

    def normalised(self, d_ref: "Distances") -> "Distances":
        """Each metric divided by the reference distance's (docs/protocol.md, "Measures")."""
        return Distances(**{m: _ratio(self[m], d_ref[m]) for m in METRICS})


UNDEFINED: Final = Distances(math.nan, math.nan, math.nan, math.nan)
"""Of weights that cannot be compared."""


def parameter_distances(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Distances:
    """Distances between two named sets of tensors, taken as one flat vector each.

    Args:
        a: tensors by name, any shapes.
        b: the same names and shapes; order does not matter.

    Returns:
        Distances, accumulated in float64 in one pass. NaN or infinity anywhere gives non-finite values, never an error.
        Two zero vectors have cos 0; one zero vector has cos 1.

    Raises:
        ValueError: names or shapes differ.
    """
    if a.keys() != b.keys():
        raise ValueError(f"expected the same tensor names, got {sorted(a.keys() ^ b.keys())} on one side only")
    for name in a:
        if a[name].shape != b[name].shape:
            raise ValueError(f"tensor {name!r}: expected equal shapes, got {a[name].shape} and {b[name].shape}")
    if not a:
        return Distances(0.0, 0.0, 0.0, 0.0)
    a_P = torch.cat([tensor.detach().reshape(-1) for tensor in a.values()])
    b_P = torch.cat([b[name].detach().reshape(-1).to(a_P.device) for name in a])
    return vector_distances(a_P, b_P)


def vector_distances(a_P: Tensor, b_P: Tensor) -> Distances:
    """Distances between two flat vectors (P,), on one device; see `parameter_distances`."""
    if a_P.shape != b_P.shape or a_P.dim() != 1:
        raise ValueError(f"expected two vectors of equal length, got shapes {tuple(a_P.shape)}, {tuple(b_P.shape)}")
    sums = torch.zeros(5, dtype=torch.float64, device=a_P.device)  # |d|_1, |d|^2, |a|^2, |b|^2, <a,b>
    linf = torch.zeros((), dtype=torch.float64, device=a_P.device)
    for start in range(0, a_P.numel(), _CHUNK):
        a = a_P[start : start + _CHUNK].double()
        b = b_P[start : start + _CHUNK].double()
        magnitude = (a - b).abs_()
        sums += torch.stack([magnitude.sum(), magnitude.dot(magnitude), a.dot(a), b.dot(b), a.dot(b)])
        linf = torch.maximum(linf, magnitude.amax())
    l1, squared, a_squared, b_squared, product, linf_value = torch.cat([sums, linf.reshape(1)]).tolist()
    return Distances(l1, _sqrt(squared), linf_value, _cosine_distance(squared, a_squared, b_squared, product))


def _cosine_distance(d_squared: float, a_squared: float, b_squared: float, product: float) -> float:
    """1 - cos from |a-b|^2, |a|^2, |b|^2, <a,b>.

    1 - <a,b>/(|a||b|) loses all digits when a is close to b. |a-b|^2 = (|a|-|b|)^2 + 2|a||b|(1 - cos) does not:
    both terms of the difference are small there. Far apart, or of very different length, it is the other way round.
    """
    if not all(map(math.isfinite, (d_squared, a_squared, b_squared, product))):
        return math.nan
    if a_squared == 0.0 or b_squared == 0.0:
        return 0.0 if a_squared == b_squared else 1.0
    a, b = math.sqrt(a_squared), math.sqrt(b_squared)
    if d_squared > a * b:
        value = 1.0 - product / (a * b)
    else:
        difference = (a_squared - b_squared) / (a + b)
        value = 0.5 * (d_squared - difference * difference) / (a * b)
    return min(max(value, 0.0), 2.0)


def _sqrt(value: float) -> float:
    return math.sqrt(value) if value >= 0.0 else math.nan


def _ratio(value: float, reference: float) -> float:
    if reference == 0.0:
        return 0.0 if value == 0.0 else math.inf
    return value / reference
