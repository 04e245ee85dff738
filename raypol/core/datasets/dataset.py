"""A dataset in memory: training and test points, bound by a digest."""

import hashlib
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from raypol.core import hashing
from raypol.core.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Dataset:
    """Images and labels, split for training and testing."""

    name: str
    """Name in results and proofs."""
    pixels: Tensor
    """(N, C, H, W) uint8: the points that a proof's indices 0..N-1 mean."""
    labels: Tensor
    """(N,) int64 in [0, num_classes)."""
    test_pixels: Tensor
    """(M, C, H, W) uint8."""
    test_labels: Tensor
    """(M,) int64."""
    num_classes: int
    _digests: list[hashing.Digests] = field(default_factory=list, init=False, repr=False)
    _elsewhere: dict[torch.device, "Dataset"] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for part, pixels, labels in (
            ("training", self.pixels, self.labels),
            ("test", self.test_pixels, self.test_labels),
        ):
            if pixels.dtype != torch.uint8 or pixels.dim() != 4 or len(pixels) == 0:
                raise InputError(
                    f"dataset {self.name!r}: expected {part} pixels as uint8 (N>0, C, H, W), "
                    f"got {pixels.dtype} {tuple(pixels.shape)}"
                )
            if labels.dtype != torch.int64 or labels.shape != pixels.shape[:1]:
                raise InputError(
                    f"dataset {self.name!r}: expected one int64 label per {part} image, "
                    f"got {labels.dtype} {tuple(labels.shape)} for {len(pixels)} images"
                )
            if int(labels.min()) < 0 or int(labels.max()) >= self.num_classes:
                raise InputError(f"dataset {self.name!r}: {part} labels are not all in 0..{self.num_classes - 1}")
        if self.test_pixels.shape[1:] != self.pixels.shape[1:]:
            raise InputError(
                f"dataset {self.name!r}: expected test images of shape {self.image_shape}, "
                f"got {tuple(self.test_pixels.shape[1:])}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, C, H, W = self.pixels.shape
        return C, H, W

    @property
    def point_digests(self) -> hashing.Digests:
        """(N, 32) SHA-256 of each training point; computed on first use, kept."""
        if not self._digests:
            self._digests.append(hashing.point_digests(self.pixels, self.labels))
        return self._digests[0]

    @property
    def sha256(self) -> str:
        """Digest of all training points in order, as hex."""
        return hashlib.sha256(self.point_digests.tobytes()).hexdigest()

    def to(self, device: torch.device | str) -> "Dataset":
        """The same dataset with its tensors on `device`; one copy per device, kept as long as this one."""
        place = torch.empty(0, device=device).device  # "cuda" means the current one of several
        if self.pixels.device == place:
            return self
        if place not in self._elsewhere:
            moved = replace(
                self,
                pixels=self.pixels.to(place),
                labels=self.labels.to(place),
                test_pixels=self.test_pixels.to(place),
                test_labels=self.test_labels.to(place),
            )
            moved._digests.extend(self._digests)
            self._elsewhere[place] = moved
        return self._elsewhere[place]
