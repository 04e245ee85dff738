"""Datasets, each held as one uint8 tensor on the device that uses it.

Built in, by name:

- `digits`: bundled with scikit-learn, real, offline.
- `fashion_mnist`: 28x28, idx files; `fashion_mnist_32x32x3` is the same in CIFAR's shape, a stand-in named as what it is.
- `cifar10`, `cifar100`: the official files, or a download; `cifar10_format`, `cifar100_format`: others in the same layout.
- `imagenet_subset`: the first 10 classes of an ImageFolder at 128x128; `imagenet_subset@classes=20` the first 20.

An own dataset is named by import path, `my_pkg.data:load`, a function without arguments that returns a `Dataset`. `/D1` and
`/D2` behind any name are its two disjoint halves, `/D1@7` and `/D2@7` those of seed 7: `digits/D1`, `my_pkg.data:load/D2@7`.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core import hashing
from raypol.core.datasets import cifar, digits, fashion_mnist, imagenet
from raypol.core.datasets.parts import Parts, Progress
from raypol.core.datasets.places import logged_progress
from raypol.core.datasets.shapes import SHAPES, Shape
from raypol.core.errors import InputError
from raypol.core.imports import is_import_path, load_object
from raypol.core.seeds import generator

_HALF: Final = re.compile(r"(?P<whole>.+)/D(?P<half>[12])(?:@(?P<seed>\d{1,9}))?", re.ASCII)
_CLASSES: Final = re.compile(r"imagenet_subset@classes=(?P<classes>\d{1,6})", re.ASCII)
_Loader = Callable[[Path | None, Progress], Parts]

DATASETS: Final[dict[str, _Loader]] = {
    "digits": digits.load,
    "fashion_mnist": fashion_mnist.load,
    "fashion_mnist_32x32x3": fashion_mnist.load_in_cifars_shape,
    "cifar10": partial(cifar.load, cifar.CIFAR10),
    "cifar100": partial(cifar.load, cifar.CIFAR100),
    "cifar10_format": partial(cifar.load, replace(cifar.CIFAR10, name="cifar10_format", official=False)),
    "cifar100_format": partial(cifar.load, replace(cifar.CIFAR100, name="cifar100_format", official=False)),
    "imagenet_subset": imagenet.load,
}
"""From name to what reads its files."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Dataset:
    """Images and labels, split for training and testing."""

    name: str
    """As in results rows and proofs: what it is, not where it lies."""
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
        place = torch.empty(0, device=device).device  # "cuda" is the current one of several
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


@dataclass(frozen=True, slots=True)
class _Request:
    name: str
    folder: Path | None
    on_progress: Progress = field(compare=False)
    """Who watches makes no other dataset."""


def load_dataset(name: str, folder: str | Path | None = None, *, on_progress: Progress | None = None) -> Dataset:
    """Dataset by built-in name or import path.

    Args:
        name: one of `DATASETS`, or `module:function`; a half of it with /D1 or /D2 behind, and @seed.
        folder: where a dataset of files lies; None = its usual place.
        on_progress: called while files are prepared for the first time; None = a line in the log now and then.

    Raises:
        InputError: unknown name, missing or damaged files.
    """
    half = _HALF.fullmatch(name)
    if half is not None:
        whole = load_dataset(half["whole"], folder, on_progress=on_progress)
        return _half(whole, name, int(half["half"]), int(half["seed"] or 0))
    if is_import_path(name):
        dataset = load_object(name)()
        if not isinstance(dataset, Dataset):
            raise InputError(f"expected {name} to return a raypol Dataset, got {type(dataset).__name__}")
        return replace(dataset, name=name)
    if name not in DATASETS and _CLASSES.fullmatch(name) is None:
        raise InputError(
            f"unknown dataset {name!r}; possible: {', '.join(DATASETS)}, imagenet_subset@classes=20, an import path "
            "such as my_pkg.data:load, or half of one of these such as digits/D1"
        )
    where = None if folder is None else Path(folder)
    return _load_builtin(_Request(name, where, on_progress or logged_progress()))


def half_of(name: str) -> tuple[str, str]:
    """The whole that a name means, and which half of it: ("digits", "/D1"), or ("digits", "")."""
    half = _HALF.fullmatch(name)
    return (half["whole"], name[len(half["whole"]) :]) if half is not None else (name, "")


def shape_of(name: str, folder: str | Path | None = None) -> Shape:
    """What of a dataset decides costs: known for built-in ones, the others are loaded.

    Raises:
        InputError: as `load_dataset`.
    """
    half = _HALF.fullmatch(name)
    if half is not None:
        return shape_of(half["whole"], folder).half(int(half["half"]))
    classes = _CLASSES.fullmatch(name)
    if classes is not None:
        known, number = SHAPES["imagenet_subset"], int(classes["classes"])
        return replace(known, num_points=known.num_points // known.num_classes * number, num_classes=number)
    if name in SHAPES:
        return SHAPES[name]
    dataset = load_dataset(name, folder)
    return Shape(num_points=len(dataset), image_shape=dataset.image_shape, num_classes=dataset.num_classes)


def random_points(shape: Shape, count: int) -> Dataset:
    """Points of a shape that mean nothing: what is computed with them costs the same."""
    rng = generator(0, "random points")
    pixels = torch.randint(0, 256, (count, *shape.image_shape), generator=rng).to(torch.uint8)
    labels = torch.randint(0, shape.num_classes, (count,), generator=rng)
    return Dataset(
        name="random points",
        pixels=pixels,
        labels=labels,
        test_pixels=pixels[:1],
        test_labels=labels[:1],
        num_classes=shape.num_classes,
    )


def _half(whole: Dataset, name: str, half: int, seed: int) -> Dataset:
    """D1 or D2 (AE4PoL, figures 8 and 9): a random half of the training points; the test set is that of the whole."""
    order = torch.randperm(len(whole), generator=generator(seed, "halves"))
    middle = len(whole) // 2
    chosen = order[:middle] if half == 1 else order[middle:]
    return replace(whole, name=name, pixels=whole.pixels[chosen], labels=whole.labels[chosen])


@lru_cache(maxsize=2)
def _load_builtin(request: _Request) -> Dataset:
    wanted = _CLASSES.fullmatch(request.name)
    read = partial(imagenet.load, num_classes=int(wanted["classes"])) if wanted else DATASETS[request.name]
    parts = read(request.folder, request.on_progress)
    return Dataset(name=request.name, **parts._asdict())
