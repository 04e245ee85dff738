"""A few of a spoof's crafted points, each beside the dataset's point that it was made from."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raypol.core.augment import to_unit
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.store.location import Location
from raypol.store.proofs.reader import ParquetProof
from raypol.store.results.rows import TrialRow


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImagePairs:
    """n points of one spoof, as they were and as they were crafted; R = crafted - originals."""

    arm: str
    steps: int
    """T'."""
    originals: Tensor
    """(n, C, H, W) float32 in [0, 1]."""
    crafted: Tensor
    """(n, C, H, W) float32 in [0, 1]."""
    labels: Tensor
    """(n,) int64."""


def pick_pairs(row: TrialRow, folder: Location, dataset: Dataset, count: int = 6) -> ImagePairs | None:
    """A spoof's first crafted point and others at even distances through its file.

    Args:
        row: the spoof's row.
        folder: the spoof's folder, RESULTS/proofs/<proof_id>.
        dataset: the public dataset that it starts from.
        count: how many points; fewer if the spoof has fewer.

    Returns:
        The pairs; None if the trial did not end well or the spoof has no crafted points (the controls).

    Raises:
        InputError: the folder is not a readable proof, or its points do not come from this dataset.
    """
    if count < 1:
        raise InputError(f"expected count >= 1 image pairs, got {count}")
    if not row.is_ok:
        return None
    proof = ParquetProof(folder)
    if proof.num_points == 0:
        return None
    positions = np.unique(np.linspace(0, proof.num_points - 1, min(count, proof.num_points)).round().astype(np.int64))
    points = proof.points(positions)
    if tuple(points.pixels.shape[1:]) != dataset.image_shape:
        raise InputError(
            f"{folder}: its points have shape {tuple(points.pixels.shape[1:])}, "
            f"those of dataset {dataset.name!r} {dataset.image_shape}"
        )
    if int(points.sources.min()) < 0 or int(points.sources.max()) >= len(dataset):
        raise InputError(
            f"{folder}: expected sources in 0..{len(dataset) - 1} (dataset {dataset.name!r}), "
            f"got {int(points.sources.min())}..{int(points.sources.max())}"
        )
    originals = dataset.pixels[points.sources.to(dataset.pixels.device)].cpu()
    return ImagePairs(
        arm=row.arm,
        steps=row.steps,
        originals=to_unit(originals, torch.float32),
        crafted=to_unit(points.pixels, torch.float32),
        labels=points.labels,
    )
