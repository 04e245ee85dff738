"""Check `near_copy`: no own point of the proof is a near copy of a point of the public dataset.

The published second verifier (Zhang et al. 2022, arXiv:2108.09454, section IV): an attack that perturbs points of the dataset
leaves them within a small linf distance of it. The nearest point is found exactly, by comparing every pair. Own points within
8/255, of one spoof of digits each (resnet8, T' = 30, k = 10, B = 32): III-invisible 960 of 960, III 899 of 958, II 683 of 960, I
82 of 960, III-loss none of 960 (3,053 of 5,474 with T' = 100, B = 64). Test images: none of 359, the closest is 48/255 away.

What it does not establish: that own points are honest ones. Perturbed points of a disjoint set, such as the other half of the
dataset, are no near copies (the closest of 960 was 40/255 away), and an attack that knows the radius only has to leave it;
`own_points` allows none at all. Cost: 0.46 of replaying all intervals for 5,474 own points of digits (T' = 100, CPU), nothing
without own points; it grows with own points times points times pixels.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import Distances
from raypol.core.proof import ProofSource
from raypol.core.training.trainer import Trainer
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence
from raypol.core.verification.wishes import Wish

RADIUS: Final = 8 / 255
"""A perturbation of this size is called invisible."""
_LEVELS: Final = 255.0
_ROUNDING: Final = 1e-6
"""Of pixels in float32: a perturbation within the radius may end this far outside."""
_CHUNK_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class NearCopies:
    """Own points of a part of the proof."""

    points: int
    near: int
    """Of these, how many are within the radius of a point of the dataset."""
    smallest: float
    """Distance; infinite without points."""


def find_near_copies(
    source: ProofSource, trainer: Trainer, positions: range, *, radius: float
) -> tuple[NearCopies, ...]:
    """Look at the share of the own points that the positions are of all positions."""
    of, dataset, found = len(source.checkpoint_steps), trainer.dataset, []
    first, last = (source.num_points * edge // of for edge in (positions.start, positions.stop))
    size = _rows(dataset)
    for start in range(first, last, size):
        points = source.points(np.arange(start, min(start + size, last)))
        if tuple(points.pixels.shape[1:]) == dataset.image_shape:  # `indices` rejects others
            distances = nearest(points.pixels, dataset)
            near = distances <= radius + _ROUNDING
            found.append(NearCopies(len(distances), int(near.sum()), float(distances.min())))
    return tuple(found)


def nearest(pixels: Tensor, dataset: Dataset) -> Tensor:
    """(n,) linf distance of each image, uint8 or float in [0, 1], to the closest training image; 0 if a pixel is not finite."""
    own = _levels(pixels.to(dataset.pixels.device))
    found = torch.full((len(own),), torch.inf, device=own.device)
    for some in torch.split(dataset.pixels, _rows(dataset)):
        found = torch.minimum(found, torch.cdist(own, _levels(some), p=torch.inf).amin(1))
    return found.masked_fill(~own.isfinite().all(1), 0.0).double() / _LEVELS  # torch.cdist passes over NaN


def _levels(pixels: Tensor) -> Tensor:
    """Pixels as rows of numbers in 0..255, so that distances of stored images are exact."""
    return (pixels.float() * (_LEVELS if pixels.is_floating_point() else 1.0)).flatten(1)


def _rows(dataset: Dataset) -> int:
    """Images that are compared at once: they and the distances of one chunk from another take a few times 64 MiB."""
    return max(min(_CHUNK_BYTES // (4 * dataset.pixels[0].numel()), 4096), 1)


def check_near_copy(evidence: Evidence, _: Thresholds, __: Distances | None, *, radius: float = RADIUS) -> Check:
    """Check that no own point is within the radius of a point of the dataset in linf, pixels in [0, 1]."""
    found: tuple[Any, ...] | None = evidence.survey.findings(Wish.of(find_near_copies, radius=radius))
    if found is None:
        return Check(name="near_copy", passed=False, detail="the own points were not compared with the dataset")
    points, near = sum(part.points for part in found), sum(part.near for part in found)
    smallest = min((part.smallest for part in found), default=torch.inf)
    detail = (
        f"{near} of {points} own points are within {radius:.4g} of a point of the dataset in linf; the closest "
        f"is {smallest:.4g} away"
        if points
        else "the proof brings no points of its own"
    )
    numbers = {"near": float(near), "points": float(points), "smallest": smallest}
    return Check(name="near_copy", passed=near == 0, detail=detail, numbers=numbers)


CHECKS: Final = {"near_copy": check_near_copy}
GATHER: Final = {"near_copy": find_near_copies}
