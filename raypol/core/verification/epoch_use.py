"""How often an epoch uses points of the dataset."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class EpochUse:
    """Points of the dataset that some steps of one epoch used."""

    epoch: int
    uses: int
    """Indices into the dataset, repeated ones too."""
    points: bytes
    """One bit per point of the dataset: used at all."""

    @property
    def distinct(self) -> int:
        """Points used at least once."""
        return int.from_bytes(self.points, "little").bit_count()

    def __add__(self, other: "EpochUse") -> "EpochUse":
        either = int.from_bytes(self.points, "little") | int.from_bytes(other.points, "little")
        return EpochUse(self.epoch, self.uses + other.uses, either.to_bytes(len(self.points), "little"))


def epoch_use(epoch: int, indices: npt.NDArray[np.int64], num_points: int) -> EpochUse:
    """What these indices, all below the number of points, use."""
    points = np.zeros(num_points, dtype=np.bool_)
    points[indices] = True
    return EpochUse(epoch, len(indices), np.packbits(points, bitorder="little").tobytes())
