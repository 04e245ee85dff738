"""Content of a dataset's files."""

from typing import NamedTuple

from torch import Tensor


class Parts(NamedTuple):
    """Images and labels as read; `Dataset` checks that they fit together."""

    pixels: Tensor
    """(N, C, H, W) uint8."""
    labels: Tensor
    """(N,) int64."""
    test_pixels: Tensor
    """(M, C, H, W) uint8."""
    test_labels: Tensor
    """(M,) int64."""
    num_classes: int
