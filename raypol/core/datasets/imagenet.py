"""The first classes of ImageNet at 128x128 from an ImageFolder (Zhang et al. 2022, arXiv:2108.09454, figures 4 and 7).

Any ImageFolder will do. Every image is decoded once, shortest side to 128 and centre crop 128, into one file of raw bytes that is
mapped afterwards. Beside it lie names, sizes and times of its source files; another source is another file.
"""

import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch

from raypol.core.datasets.parts import Parts
from raypol.core.datasets.places import data_home, make_once
from raypol.core.errors import InputError
from raypol.core.progress import Progress
from raypol.core.seeds import generator

if TYPE_CHECKING:
    from PIL import Image

_log = logging.getLogger(__name__)

SIZE: Final = 128
"""Pixels, height and width."""
_SHAPE: Final = (3, SIZE, SIZE)
_IMAGE_BYTES: Final = 3 * SIZE * SIZE
_HELD_OUT: Final = 5
"""Of a folder without val/, every fifth image is for testing, drawn by a fixed seed."""
_FORMATS: Final = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""Those of torchvision's ImageFolder. Pillow tells by content, and would start Ghostscript for a PostScript file."""
_MAX_PIXELS: Final = 1 << 26
"""In one image, 8192 x 8192: the largest of ImageNet has a third. A small file may claim more than memory holds."""
_MAX_ASPECT: Final = 64
"""Longer to shorter side; it bounds what resizing makes."""
_CONTENT, _SOURCE = "pixels.u8", "made_from.json"
_MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
"""Pillow's modes of at most 8 bits a channel, which it converts to RGB as they are meant."""
_BITS_TAG, _PHOTOMETRIC_TAG, _WHITE_IS_ZERO = 258, 262, 0  # of a TIFF
_FOREIGN: Final = "__MACOSX"
"""Folder that a Mac adds to an archive; it has the names of the classes in it, and no image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """The images of the wanted classes: training ones first, each class in the order of its names."""

    root: Path
    classes: tuple[str, ...]
    files: tuple[str, ...]
    """Relative to root."""
    labels: tuple[int, ...]
    num_train: int

    def made_from(self) -> dict[str, Any]:
        """What the decoded pixels depend on, for JSON."""
        stats = [(self.root / file).stat() for file in self.files]
        return {
            "transform": f"RGB, 16 bits by their high byte, shortest side to {SIZE}, bilinear, centre crop {SIZE}",
            "root": str(self.root),
            "classes": list(self.classes),
            "num_train": self.num_train,
            "files": [
                [file, label, stat.st_size, stat.st_mtime_ns]
                for file, label, stat in zip(self.files, self.labels, stats, strict=True)
            ],
        }


def load(folder: Path | None, on_progress: Progress, *, num_classes: int = 10) -> Parts:
    """The first classes, in the order of their folders' names.

    Args:
        folder: an ImageFolder with train/ and val/ (or one level of classes, a fifth of which is held out), or one that
            holds it under the name imagenet; None = imagenet in the cache.
        on_progress: called while images are decoded.
        num_classes: how many.

    Raises:
        InputError: no such folder, too few classes, a class without images, an image that cannot be read.
    """
    try:
        source = _find_source(_root(folder), num_classes)
        made_from = json.dumps(source.made_from(), indent=0).encode()
    except OSError as err:
        raise InputError(f"imagenet_subset: cannot read {err.filename} ({err.strerror})") from err
    pixels = torch.from_numpy(_decoded(source, made_from, on_progress))
    labels = torch.tensor(source.labels, dtype=torch.int64)
    n = source.num_train
    return Parts(
        pixels=pixels[:n],
        labels=labels[:n],
        test_pixels=pixels[n:],
        test_labels=labels[n:],
        num_classes=num_classes,
    )


def _root(folder: Path | None) -> Path:
    if folder is None:
        root = data_home() / "imagenet"
    elif not (folder / "train").is_dir() and (folder / "imagenet").is_dir():
        root = folder / "imagenet"
    else:
        root = folder
    if not root.is_dir():
        raise InputError(
            f"imagenet_subset: expected ImageNet's folders train/<class>/ and val/<class>/ in {root}, found no such folder; "
            "put or link them there, or give their folder with --data-dir (ImageNet needs an account at image-net.org)"
        )
    return root.absolute()


def _find_source(root: Path, num_classes: int) -> _Source:
    if num_classes < 1:
        raise InputError(f"imagenet_subset: expected classes >= 1, got {num_classes}")
    if (root / "train").is_dir():
        classes = _first_classes(root / "train", num_classes)
        train, test = (_images_of(root, split, classes) for split in ("train", "val"))
    else:
        classes = _first_classes(root, num_classes)
        images = _images_of(root, "", classes)
        order = torch.randperm(len(images), generator=generator(0, "imagenet_subset", "split")).tolist()
        middle = len(order) // _HELD_OUT
        if middle == 0:
            raise InputError(f"imagenet_subset: expected at least {_HELD_OUT} images in {root}, got {len(images)}")
        test, train = ([images[i] for i in sorted(part)] for part in (order[:middle], order[middle:]))
    files, labels = zip(*train, *test, strict=True)
    return _Source(root=root, classes=classes, files=files, labels=labels, num_train=len(train))


def _first_classes(folder: Path, num_classes: int) -> tuple[str, ...]:
    folders = (entry.name for entry in os.scandir(folder) if entry.is_dir())
    found = sorted(name for name in folders if not name.startswith(".") and name != _FOREIGN)
    if len(found) < num_classes:
        raise InputError(
            f"imagenet_subset: expected at least {num_classes} folders of classes in {folder}, got {len(found)}; "
            f"imagenet_subset@classes={max(len(found), 1)} takes fewer"
        )
    return tuple(found[:num_classes])


def _images_of(root: Path, split: str, classes: Sequence[str]) -> list[tuple[str, int]]:
    """(file relative to root, label) of each image; other files are left out, as torchvision's ImageFolder does."""
    from torchvision.datasets.folder import IMG_EXTENSIONS  # 1.7 s of import

    images: list[tuple[str, int]] = []
    ignored: list[str] = []
    for label, name in enumerate(classes):
        folder = root / split / name
        found = sorted(_visible_files(folder))
        chosen = [path for path in found if path.suffix.lower() in IMG_EXTENSIONS]
        if not chosen:
            raise InputError(
                f"imagenet_subset: expected images ({', '.join(IMG_EXTENSIONS)}) in {folder}, found none; "
                "hidden files do not count"
            )
        images += [(str(path.relative_to(root)), label) for path in chosen]
        ignored += [str(path) for path in found if path.suffix.lower() not in IMG_EXTENSIONS]
    if ignored:
        _log.warning(
            "imagenet_subset: %d files are no images by name and are left out: %s ...", len(ignored), ignored[0]
        )
    return images


def _visible_files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, through links too, but for names that begin with a dot and what lies under them.

    A link to nothing is among them: it is a missing image, and no reason to train without it. Pipes and devices are not.
    """

    def fail(err: OSError) -> None:
        if not isinstance(err, FileNotFoundError):
            raise err

    seen = set[str]()  # a link may lead upwards
    for place, folders, files in os.walk(folder, followlinks=True, onerror=fail):
        fresh = os.path.realpath(place) not in seen
        seen.add(os.path.realpath(place))
        folders[:] = [name for name in folders if fresh and not name.startswith(".")]
        paths = [Path(place, name) for name in files if fresh and not name.startswith(".")]
        yield from (path for path in paths if path.is_file() or not path.exists())


def _decoded(source: _Source, made_from: bytes, on_progress: Progress) -> npt.NDArray[np.uint8]:
    """(N, 3, 128, 128), mapped from the cache; written there first if this source was not decoded before."""
    place = hashlib.sha256(f"{source.root} {len(source.classes)}".encode()).hexdigest()[:12]
    target = data_home() / "decoded" / f"imagenet_subset-{place}-{hashlib.sha256(made_from).hexdigest()[:12]}"
    content, size = target / _CONTENT, len(source.files) * _IMAGE_BYTES

    def build(folder: Path) -> Path:
        with (folder / _CONTENT).open("wb") as file:
            for pixels in _pixels(source, on_progress):
                file.write(pixels.data)
        (folder / _SOURCE).write_bytes(made_from)
        for older in target.parent.glob(f"imagenet_subset-{place}-*"):  # a process that has one mapped keeps it
            shutil.rmtree(older, ignore_errors=True)
        return folder

    make_once(target, build)
    if not content.is_file() or content.stat().st_size != size:
        raise InputError(f"{content}: expected {size} bytes of decoded images; remove {target} to have it made again")
    # "c": a writable array, as torch wants it, that never writes to the file.
    return np.memmap(content, dtype=np.uint8, mode="c", shape=(len(source.files), *_SHAPE))


def _pixels(source: _Source, on_progress: Progress) -> Iterator[npt.NDArray[np.uint8]]:
    """Every image in order, decoded by as many threads as there are cores: Pillow works outside Python's lock."""
    total = len(source.files)
    what = f"decoding {total} images of {source.root}"
    files = iter(source.files)
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # of Pillow, about metadata; what matters here is an error
        done = 0
        while chunk := list(islice(files, 64)):  # bounded: a pool would decode ahead of a slow disk
            for pixels in pool.map(_decoder(source.root), chunk):
                yield pixels
                done += 1
                on_progress(what, done, total)


def _decoder(root: Path) -> Callable[[str], npt.NDArray[np.uint8]]:
    """File -> (3, 128, 128), by torchvision's own transforms for Pillow images."""
    from PIL import Image
    from torchvision.transforms import functional

    def decode(file: str) -> npt.NDArray[np.uint8]:
        path = root / file
        try:
            with Image.open(path, formats=_FORMATS) as image:
                short, long = sorted(image.size)
                if short * long > _MAX_PIXELS or long > _MAX_ASPECT * short:
                    raise InputError(
                        f"expected an image of at most {_MAX_PIXELS} pixels and sides at most {_MAX_ASPECT}:1, "
                        f"got {image.width}x{image.height}"
                    )
                resized = functional.resize(_as_rgb(image), SIZE)
            return np.ascontiguousarray(np.asarray(functional.center_crop(resized, SIZE)).transpose(2, 0, 1))
        except InputError as err:
            raise InputError(f"{path}: {err}") from err
        except Exception as err:  # Pillow's readers fail in as many ways as there are formats
            raise InputError(f"{path}: not a readable image ({err})") from err

    return decode


def _as_rgb(image: "Image.Image") -> "Image.Image":
    """The image in RGB, 8 bits a channel; 16 bits (12 in some TIFFs) by their high byte, as Pillow reads 16-bit colours.

    Raises:
        InputError: its numbers have no known range.
    """
    from PIL import Image

    is_16_bit = image.mode == "I" and image.format in ("PNG", "PPM")  # of 32, for want of a better mode
    if image.mode.startswith("I;16") or is_16_bit:
        tags = getattr(image, "tag_v2", {})
        (bits, *_), is_inverted = tags.get(_BITS_TAG, (16,)), tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO
        levels = (np.asarray(image).astype(np.int64) >> (bits - 8)).astype(np.uint8)
        return Image.fromarray(255 - levels if is_inverted else levels).convert("RGB")
    if image.mode not in _MODES:
        raise InputError(
            f"expected at most 16 bits a channel, unsigned, got Pillow's mode {image.mode} in a {image.format} file, numbers "
            "without a known range; convert it to 8 bits"
        )
    return image.convert("RGB")
