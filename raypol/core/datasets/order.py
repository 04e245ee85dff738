"""The order in which training visits a dataset's points."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from raypol.core.errors import InputError
from raypol.core.seeds import generator


class DataOrder:
    """Batch indices of every step: shuffled epochs without the incomplete last batch, each from its own seed.

    Any step can be asked for alone; epochs are drawn on demand and the latest one is kept.
    """

    def __init__(self, num_points: int, batch_size: int, seed: int) -> None:
        if not 1 <= batch_size <= num_points:
            raise InputError(f"expected batch_size in 1..{num_points} (the size of the dataset), got {batch_size}")
        self.num_points = num_points
        self.batch_size = batch_size
        self.seed = seed
        self.steps_per_epoch = num_points // batch_size
        self._epoch: tuple[int, npt.NDArray[np.int64]] | None = None

    def __call__(self, step: int) -> npt.NDArray[np.int64]:
        """(B,) indices into the dataset for `step` >= 0."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            order = torch.randperm(self.num_points, generator=generator(self.seed, "data order", epoch))
            self._epoch = (epoch, order.numpy())
        start = position * self.batch_size
        return self._epoch[1][start : start + self.batch_size]

    def block(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """(n, B): indices of steps start, ..., stop - 1."""
        return np.stack(list(self.steps(start, stop)))

    def steps(self, start: int, stop: int) -> Iterator[npt.NDArray[np.int64]]:
        """Indices of steps start, ..., stop - 1."""
        return (self(step) for step in range(start, stop))
