"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from the batch files that torchvision reads.

`cifar10` and `cifar100` are the official files, by the checksums that torchvision carries: in a folder of the user's, or
downloaded once. `cifar10_format` and `cifar100_format` are other images in files of the same names and layout; a proof says so.

The batches are pickles. Nothing in them is called: they are read with stand-ins for the few objects that such a file has.
"""

import hashlib
import io
import pickle
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from raypol.core.datasets.parts import Parts
from raypol.core.datasets.places import data_home, make_once
from raypol.core.errors import InputError
from raypol.core.progress import Progress

_IMAGE: Final = (3, 32, 32)
_IMAGE_BYTES: Final = 3 * 32 * 32
_MAX_FILE_BYTES: Final = 1 << 30
"""The largest official file has 0.16 GB."""
_TIMEOUT_S: Final = 30.0
"""Seconds without a byte after which a download has failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cifar:
    """One of the two datasets, as a set of files."""

    name: str
    """As raypol calls it."""
    source: str
    """Class in torchvision.datasets that knows files, checksums and address."""
    num_classes: int
    labels: bytes
    """Key of the labels in a batch."""
    official: bool = True
    """False: the same file names and layout, whatever the images are."""


CIFAR10_FILES: Final = Cifar(name="cifar10", source="CIFAR10", num_classes=10, labels=b"labels")
CIFAR100_FILES: Final = Cifar(name="cifar100", source="CIFAR100", num_classes=100, labels=b"fine_labels")


def load(cifar: Cifar, folder: Path | None, on_progress: Progress) -> Parts:
    """50,000 training and 10,000 test images of 32x32x3 (in the official files).

    Args:
        cifar: which one.
        folder: the folder of the batches, or one that holds it under its own name; None = the cache, filled by a download.
        on_progress: called while it is downloaded.

    Raises:
        InputError: no files, no network, a damaged file, or other files than the official ones.
    """
    from torchvision import datasets  # 1.7 s of import

    source = getattr(datasets, cifar.source)
    batches = _downloaded(cifar, source, on_progress) if folder is None else _given(cifar, source, folder)
    train, test = (
        [_read_batch(cifar, batches / name, md5 if cifar.official else None) for name, md5 in listed]
        for listed in (source.train_list, source.test_list)
    )
    return Parts(
        pixels=torch.from_numpy(np.concatenate([pixels for pixels, _ in train])),
        labels=torch.from_numpy(np.concatenate([labels for _, labels in train])),
        test_pixels=torch.from_numpy(np.concatenate([pixels for pixels, _ in test])),
        test_labels=torch.from_numpy(np.concatenate([labels for _, labels in test])),
        num_classes=cifar.num_classes,
    )


def _given(cifar: Cifar, source: Any, folder: Path) -> Path:  # noqa: ANN401 - torchvision has no types
    """The folder of the batches in or at a folder of the user's."""
    first = source.train_list[0][0]
    for place in (folder / source.base_folder, folder):
        if (place / first).is_file():
            return place
    raise InputError(
        f"{cifar.name}: expected {source.base_folder}/{first} and the other batches in {folder}, found none; "
        f"unpack {source.filename} there, or leave out --data-dir to download it from {source.url}"
    )


def _downloaded(cifar: Cifar, source: Any, on_progress: Progress) -> Path:  # noqa: ANN401
    """The folder of the batches in the cache, unpacked from the archive that lies there or is downloaded now."""
    if not cifar.official:
        raise InputError(f"{cifar.name}: give the folder that contains {source.base_folder} with --data-dir")
    home = data_home()
    target: Path = home / source.base_folder
    make_once(target, lambda place: _fetch(cifar, source, home, place, on_progress))
    return target


def _fetch(cifar: Cifar, source: Any, home: Path, place: Path, on_progress: Progress) -> Path:  # noqa: ANN401
    """Unpack the official archive in `place`: the one in the cache, else a download. Returns the folder of the batches."""
    from torchvision.datasets.utils import check_integrity, extract_archive

    archive = home / source.filename
    if not check_integrity(archive, source.tgz_md5):
        archive = place / source.filename
        try:
            _download(source.url, archive, on_progress)
            if not check_integrity(archive, source.tgz_md5):
                raise OSError(f"the download does not have the official MD5 {source.tgz_md5}")
        except (OSError, HTTPException) as err:
            raise InputError(
                f"{cifar.name}: cannot download {source.url} ({err}); put {source.filename} or the unpacked folder "
                f"{source.base_folder} into {home}, or give the folder that contains it with --data-dir"
            ) from err
    extract_archive(archive, place)
    return place / str(source.base_folder)


def _download(url: str, path: Path, on_progress: Progress) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "raypol"})  # noqa: S310 - torchvision's address
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response, path.open("wb") as file:  # noqa: S310
        total, done = int(response.headers.get("Content-Length") or 0), 0
        while piece := response.read(1 << 20):
            done += file.write(piece)
            on_progress(f"downloading {path.name}, MB", done // 1_000_000, max(total, done) // 1_000_000)


def _read_batch(cifar: Cifar, path: Path, md5: str | None) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """(n, 3, 32, 32) pixels and (n,) labels of one batch file; `md5` is None where any content will do."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
    except OSError as err:
        raise InputError(f"{cifar.name}: expected a batch file {path}, cannot read it ({err.strerror})") from err
    if len(raw) > _MAX_FILE_BYTES:
        raise InputError(f"{path}: expected a batch file of at most {_MAX_FILE_BYTES} bytes, got a larger one")
    if md5 is not None and (found := hashlib.md5(raw, usedforsecurity=False).hexdigest()) != md5:
        raise InputError(
            f"{path}: expected the official {cifar.name} batch with MD5 {md5}, got {found}: the file is damaged, or of another "
            f"dataset (one in the same format is loaded as {cifar.name}_format)"
        )
    try:
        batch = _Reader(io.BytesIO(raw), encoding="bytes").load()
        entries = {key.encode() if isinstance(key, str) else key: value for key, value in batch.items()}
        pixels, labels = entries[b"data"].pixels, entries[cifar.labels]
    except Exception as err:  # a damaged pickle fails in as many ways as Python has
        raise InputError(f"{path}: not a readable CIFAR batch ({type(err).__name__}: {err})") from err
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise InputError(f"{path}: expected a list of {len(pixels)} labels, one per image")
    if not all(type(label) is int and 0 <= label < cifar.num_classes for label in labels):
        raise InputError(f"{path}: expected labels in 0..{cifar.num_classes - 1}")
    return pixels.reshape(-1, *_IMAGE), np.array(labels, dtype=np.int64)


class _Images:
    """Stands in for the array of a batch: takes the pickled state of one, checks it, calls nothing."""

    __slots__ = ("pixels",)
    pixels: npt.NDArray[np.uint8]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran_order, raw = state
        if not isinstance(dtype, _ByteType) or fortran_order or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("expected an array of bytes in C order")
        if len(shape) != 2 or shape[1] != _IMAGE_BYTES or shape[0] < 1 or shape[0] * shape[1] != len(raw):
            raise pickle.UnpicklingError(f"expected (n, {_IMAGE_BYTES}) bytes, got {shape} with {len(raw)} bytes")
        self.pixels = np.frombuffer(raw, dtype=np.uint8).reshape(shape)


class _ByteType:
    """Stands in for numpy's uint8."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Byte order and flags mean nothing to a byte."""


class _Call:
    """What a batch's pickle may name. An instance without attributes: a pickle cannot change it, as it could a function."""

    __slots__ = ()


class _NewArray(_Call):
    __slots__ = ()

    def __call__(self, *_: object) -> _Images:
        return _Images()


class _NewType(_Call):
    __slots__ = ()

    def __call__(self, code: object, *_: object) -> _ByteType:
        if code not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"expected an array of u1, got {code!r}")
        return _ByteType()


class _Encode(_Call):
    """Python 3 writes bytes for Python 2 as a call that encodes text."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object = b"latin1") -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
            raise pickle.UnpicklingError("expected bytes written as latin1 text")
        return text.encode("latin1")


_KNOWN: Final[dict[tuple[str, str], _Call]] = {
    ("numpy.core.multiarray", "_reconstruct"): _NewArray(),
    ("numpy._core.multiarray", "_reconstruct"): _NewArray(),
    ("numpy", "ndarray"): _Call(),
    ("numpy", "dtype"): _NewType(),
    ("_codecs", "encode"): _Encode(),
}


class _Reader(pickle._Unpickler):
    """Python's own reader in Python: unlike the one in C, it allocates nothing for a length that is only claimed."""

    # ... but for one opcode, which no batch has.
    dispatch = {code: read for code, read in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]}  # noqa: RUF012

    def find_class(self, module: str, name: str) -> _Call:
        known = _KNOWN.get((module, name))
        if known is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no CIFAR batch does")
        return known
