"""Fashion-MNIST (Xiao et al. 2017): 70,000 images of clothing from four idx files, as they are or in CIFAR's shape."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core.datasets.parts import Parts
from raypol.core.datasets.places import data_home
from raypol.core.errors import InputError
from raypol.core.progress import Progress

DEBIAN: Final = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the files."""
_FILES: Final = {
    "pixels": "train-images-idx3-ubyte",
    "labels": "train-labels-idx1-ubyte",
    "test_pixels": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
_MAX_FILE_BYTES: Final = 1 << 30


def load(folder: Path | None, on_progress: Progress) -> Parts:
    """One grey channel, 28x28, from its four idx files, gzipped or not."""
    del on_progress  # read in half a second
    usual = [Path("data/fashion_mnist"), data_home() / "fashion_mnist", DEBIAN]
    places = usual if folder is None else [folder, folder / "fashion_mnist"]
    for place in places:
        if _find(place, _FILES["pixels"]) is not None:
            part = {key: torch.from_numpy(_read_idx(place, file)) for key, file in _FILES.items()}
            return Parts(
                pixels=part["pixels"][:, None],
                labels=part["labels"].long(),
                test_pixels=part["test_pixels"][:, None],
                test_labels=part["test_labels"].long(),
                num_classes=10,
            )
    raise InputError(
        f"fashion_mnist: expected {_FILES['pixels']}[.gz] and its three companions in {' or '.join(map(str, places))}; "
        "give the folder with --data-dir, or install Debian's dataset-fashion-mnist"
    )


def load_in_cifars_shape(folder: Path | None, on_progress: Progress) -> Parts:
    """The same images padded with zeros to 32x32, three equal channels: full-size models run on it as on CIFAR-10."""
    grey = load(folder, on_progress)
    return grey._replace(pixels=_in_cifars_shape(grey.pixels), test_pixels=_in_cifars_shape(grey.test_pixels))


def _in_cifars_shape(grey: Tensor) -> Tensor:
    if grey.shape[1:] != (1, 28, 28):
        raise InputError(f"fashion_mnist_32x32x3: expected images of 28x28, got {tuple(grey.shape[2:])}")
    return torch.nn.functional.pad(grey, (2, 2, 2, 2)).expand(-1, 3, -1, -1).contiguous()


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _read_idx(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    """One idx file of unsigned bytes; the header's sizes must match the content."""
    path = _find(folder, name)
    if path is None:
        raise InputError(f"expected {name}[.gz] in {folder}, found no such file")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
        zero, kind, ndim = struct.unpack(">HBB", raw[:4])
        shape = struct.unpack(f">{ndim}I", raw[4 : 4 + 4 * ndim])
    except (OSError, EOFError, zlib.error, struct.error) as err:
        raise InputError(f"{path}: not a readable idx file ({err})") from err
    if len(raw) > _MAX_FILE_BYTES:
        raise InputError(f"{path}: expected an idx file of at most {_MAX_FILE_BYTES} bytes, got a larger one")
    if (zero, kind) != (0, 8) or len(raw) != 4 + 4 * ndim + math.prod(shape):
        raise InputError(f"{path}: expected an idx file of unsigned bytes with as much content as its header says")
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * ndim).reshape(shape).copy()
