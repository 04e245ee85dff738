"""Datasets, each held as one uint8 tensor on the device that uses it.

Built in, by name:

- `digits`: bundled with scikit-learn, real, offline.
- `fashion_mnist`: 28x28, idx files; `fashion_mnist_32x32x3` is the same in CIFAR's shape, a stand-in that is named as such.
- `cifar10`, `cifar100`: the official files, or a download; `cifar10_format`, `cifar100_format`: others in the same layout.
- `imagenet_subset`: the first 10 classes of an ImageFolder at 128x128; `imagenet_subset@classes=20` the first 20.

Your own dataset is named by import path, `my_pkg.data:load`, a function without arguments that returns a `Dataset`. `/D1` and
`/D2` behind any name are its two disjoint halves, `/D1@7` and `/D2@7` those of seed 7: `digits/D1`, `my_pkg.data:load/D2@7`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import torch

from raypol.core.datasets import cifar, digits, fashion_mnist, imagenet
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.parts import Parts
from raypol.core.datasets.places import logged_progress
from raypol.core.datasets.shapes import SHAPES, Shape
from raypol.core.errors import InputError, local_path
from raypol.core.imports import call_object, is_import_path
from raypol.core.progress import Progress
from raypol.core.seeds import check_seed, generator

_HALF: Final = re.compile(r"(?P<whole>.+)/D(?P<half>[12])(?:@(?P<seed>\d{1,20}))?", re.ASCII)
_CLASSES: Final = re.compile(r"imagenet_subset@classes=(?P<classes>\d{1,6})", re.ASCII)
_Loader = Callable[[Path | None, Progress], Parts]

DATASETS: Final[dict[str, _Loader]] = {
    "digits": digits.load,
    "fashion_mnist": fashion_mnist.load,
    "fashion_mnist_32x32x3": fashion_mnist.load_in_cifars_shape,
    "cifar10": partial(cifar.load, cifar.CIFAR10_FILES),
    "cifar100": partial(cifar.load, cifar.CIFAR100_FILES),
    "cifar10_format": partial(cifar.load, replace(cifar.CIFAR10_FILES, name="cifar10_format", official=False)),
    "cifar100_format": partial(cifar.load, replace(cifar.CIFAR100_FILES, name="cifar100_format", official=False)),
    "imagenet_subset": imagenet.load,
}
"""Name of a built-in dataset -> function that reads its files."""


@dataclass(frozen=True, slots=True)
class _Request:
    name: str
    folder: Path | None
    on_progress: Progress = field(compare=False)


def load_dataset(name: str, folder: str | Path | None = None, *, on_progress: Progress | None = None) -> Dataset:
    """Load a dataset by built-in name or import path; the latest four are kept.

    Args:
        name: one of `DATASETS`, or `module:function`; a half of it with /D1 or /D2 behind, and @seed.
        folder: where a dataset of files lies; None = its usual place.
        on_progress: called while files are prepared for the first time; None = a line in the log now and then.

    Raises:
        InputError: unknown name, missing or damaged files.
    """
    where = None if folder is None else local_path(folder)
    return _load(_Request(name, where, on_progress or logged_progress()))


@lru_cache(maxsize=4)
def _load(request: _Request) -> Dataset:
    name = request.name
    if half := _HALF.fullmatch(name):
        seed = int(half["seed"] or 0)
        check_seed(seed, f"the seed of {name}")
        return _half(_load(replace(request, name=half["whole"])), name, int(half["half"]), seed)
    if is_import_path(name):
        dataset = call_object(name)
        if not isinstance(dataset, Dataset):
            raise InputError(f"expected {name} to return a raypol Dataset, got {type(dataset).__name__}")
        return replace(dataset, name=name)
    classes = _CLASSES.fullmatch(name)
    if name not in DATASETS and classes is None:
        raise InputError(
            f"unknown dataset {name!r}; possible: {', '.join(DATASETS)}, imagenet_subset@classes=20, an import path "
            "such as my_pkg.data:load, or half of one of these such as digits/D1"
        )
    read = partial(imagenet.load, num_classes=int(classes["classes"])) if classes else DATASETS[name]
    return Dataset(name=name, **read(request.folder, request.on_progress)._asdict())


def half_of(name: str) -> tuple[str, str]:
    """Split a name into the whole and which half of it: ("digits", "/D1"), or ("digits", "")."""
    half = _HALF.fullmatch(name)
    return (half["whole"], name[len(half["whole"]) :]) if half is not None else (name, "")


def shape_of(name: str, folder: str | Path | None = None) -> Shape:
    """Size and image shape of a dataset: known for built-in ones, others are loaded.

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
    """Random points of a shape: computing with them costs as much as with real ones."""
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
    """D1 or D2: a random half of the training points; the test set stays whole (Zhang et al. 2022, figures 8 and 9)."""
    order = torch.randperm(len(whole), generator=generator(seed, "halves"))
    middle = len(whole) // 2
    chosen = order[:middle] if half == 1 else order[middle:]
    return replace(whole, name=name, pixels=whole.pixels[chosen], labels=whole.labels[chosen])
