"""Datasets, each held as one uint8 tensor on the device that uses it.

Built in: `digits` (bundled with scikit-learn, real, offline) and `fashion_mnist` (idx files in a folder). An own dataset is
named by import path, `my_pkg.data:load`, a function without arguments that returns a `Dataset`. `/D1` and `/D2` behind any name
are its two disjoint halves, `/D1@7` and `/D2@7` those of seed 7: `digits/D1`, `my_pkg.data:load/D2@7`.
"""

import gzip
import hashlib
import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core import hashing
from raypol.core.errors import InputError
from raypol.core.imports import is_import_path, load_object
from raypol.core.seeds import generator

FASHION_MNIST_DEBIAN: Final = Path("/usr/share/datasets/fashion-mnist")
_HALF: Final = re.compile(r"(?P<whole>.+)/D(?P<half>[12])(?:@(?P<seed>\d{1,9}))?", re.ASCII)
_FASHION_FILES: Final = {
    "train_pixels": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_pixels": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


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
        """The same dataset with its tensors on `device`."""
        if self.pixels.device == torch.device(device):
            return self
        moved = replace(
            self,
            pixels=self.pixels.to(device),
            labels=self.labels.to(device),
            test_pixels=self.test_pixels.to(device),
            test_labels=self.test_labels.to(device),
        )
        moved._digests.extend(self._digests)
        return moved


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

    def steps(self, start: int, stop: int) -> Iterator[npt.NDArray[np.int64]]:
        """Indices of steps start, ..., stop - 1."""
        return (self(step) for step in range(start, stop))


def load_dataset(name: str, folder: str | Path | None = None) -> Dataset:
    """Dataset by built-in name or import path.

    Args:
        name: one of `DATASETS`, or `module:function`; a half of it with /D1 or /D2 behind, and @seed.
        folder: where a dataset of files lies; None = its usual place.

    Raises:
        InputError: unknown name, missing or damaged files.
    """
    half = _HALF.fullmatch(name)
    if half is not None:
        return _half(load_dataset(half["whole"], folder), name, int(half["half"]), int(half["seed"] or 0))
    if is_import_path(name):
        dataset = load_object(name)()
        if not isinstance(dataset, Dataset):
            raise InputError(f"expected {name} to return a raypol Dataset, got {type(dataset).__name__}")
        return replace(dataset, name=name)
    if name not in DATASETS:
        raise InputError(
            f"unknown dataset {name!r}; possible: {', '.join(sorted(DATASETS))}, an import path such as my_pkg.data:load, "
            "or half of one of these such as digits/D1"
        )
    return _load_builtin(name, None if folder is None else Path(folder))


def _half(whole: Dataset, name: str, half: int, seed: int) -> Dataset:
    """D1 or D2 (AE4PoL, figures 8 and 9): a random half of the training points; the test set is that of the whole."""
    order = torch.randperm(len(whole), generator=generator(seed, "halves"))
    middle = len(whole) // 2
    chosen = order[:middle] if half == 1 else order[middle:]
    return replace(whole, name=name, pixels=whole.pixels[chosen], labels=whole.labels[chosen])


@lru_cache(maxsize=2)
def _load_builtin(name: str, folder: Path | None) -> Dataset:
    return DATASETS[name](folder)


def _digits(folder: Path | None) -> Dataset:
    """1,797 real handwritten digits, 8x8, grey levels 0..16 stored as 0..255; a fixed fifth is the test set."""
    del folder  # bundled with scikit-learn
    from sklearn.datasets import load_digits  # half a second of import, for this dataset only

    bunch = load_digits()
    pixels = torch.from_numpy((bunch.images * (255.0 / 16.0)).round().astype(np.uint8))[:, None]
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    order = torch.randperm(len(labels), generator=generator(0, "digits", "split"))
    test, train = order[: len(order) // 5], order[len(order) // 5 :]
    return Dataset(
        name="digits",
        pixels=pixels[train].contiguous(),
        labels=labels[train].contiguous(),
        test_pixels=pixels[test].contiguous(),
        test_labels=labels[test].contiguous(),
        num_classes=10,
    )


def _fashion_mnist(folder: Path | None) -> Dataset:
    """70,000 images of clothing, 28x28 (Xiao et al. 2017), from its four idx files, gzipped or not."""
    places = [folder] if folder is not None else [Path("data/fashion_mnist"), FASHION_MNIST_DEBIAN]
    for place in places:
        if _find(place, _FASHION_FILES["train_pixels"]) is not None:
            part = {key: torch.from_numpy(_read_idx(place, file)) for key, file in _FASHION_FILES.items()}
            return Dataset(
                name="fashion_mnist",
                pixels=part["train_pixels"][:, None],
                labels=part["train_labels"].long(),
                test_pixels=part["test_pixels"][:, None],
                test_labels=part["test_labels"].long(),
                num_classes=10,
            )
    raise InputError(
        f"fashion_mnist: expected {_FASHION_FILES['train_pixels']}[.gz] and its three companions in "
        f"{' or '.join(map(str, places))}; give the folder with --data-dir, or install Debian's dataset-fashion-mnist"
    )


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _read_idx(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    """One idx file of unsigned bytes; the header's sizes must match the content."""
    path = _find(folder, name)
    if path is None:
        raise InputError(f"expected {name}[.gz] in {folder}, found no such file")
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zero, kind, ndim = struct.unpack(">HBB", raw[:4])
        shape = struct.unpack(f">{ndim}I", raw[4 : 4 + 4 * ndim])
    except (OSError, EOFError, zlib.error, struct.error) as err:
        raise InputError(f"{path}: not a readable idx file ({err})") from err
    if (zero, kind) != (0, 8) or len(raw) != 4 + 4 * ndim + math.prod(shape):
        raise InputError(f"{path}: expected an idx file of unsigned bytes with as much content as its header says")
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * ndim).reshape(shape).copy()


DATASETS: Final[dict[str, Callable[[Path | None], Dataset]]] = {"digits": _digits, "fashion_mnist": _fashion_mnist}
