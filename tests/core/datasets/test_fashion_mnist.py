"""Fashion-MNIST from idx files, whole and damaged, and in CIFAR's shape."""

import gzip
import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from raypol.core.datasets.fashion_mnist import DEBIAN
from raypol.core.datasets.load import load_dataset
from raypol.core.errors import InputError

Files = dict[str, bytes]
TRAIN, TEST = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"
TRAIN_LABELS, TEST_LABELS = "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"
STAND_IN = "fashion_mnist_32x32x3"


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def fashion_files() -> Files:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 5, 4), dtype=np.uint8)
    labels = np.arange(12, dtype=np.uint8) % 10
    return {TRAIN: idx(images[:8]), TRAIN_LABELS: idx(labels[:8]), TEST: idx(images[8:]), TEST_LABELS: idx(labels[8:])}


def files_of_28(n: int = 6) -> Files:
    """Files with images of the real size."""
    images = np.random.default_rng(1).integers(1, 256, (n, 28, 28), dtype=np.uint8)
    labels = np.arange(n, dtype=np.uint8) % 10
    return {TRAIN: idx(images), TRAIN_LABELS: idx(labels), TEST: idx(images[:2]), TEST_LABELS: idx(labels[:2])}


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("zipped", [(), (TRAIN, TEST_LABELS), (TRAIN, TRAIN_LABELS, TEST, TEST_LABELS)])
def test_fashion_mnist_from_idx_files_zipped_or_not(zipped: tuple[str, ...], tmp_path: Path) -> None:
    files = fashion_files()
    stored = {f"{n}.gz" if n in zipped else n: gzip.compress(b) if n in zipped else b for n, b in files.items()}
    dataset = load_dataset("fashion_mnist", write(tmp_path, stored))
    assert dataset.pixels.shape == (8, 1, 5, 4)
    assert dataset.test_pixels.shape == (4, 1, 5, 4)
    assert dataset.pixels.numpy().tobytes() == files[TRAIN][16:]
    assert dataset.labels.tolist() == list(files[TRAIN_LABELS][8:])
    assert dataset.test_labels.tolist() == list(files[TEST_LABELS][8:])


def test_in_cifars_shape_it_is_the_same_images_framed_by_zeros_in_three_equal_channels(tmp_path: Path) -> None:
    plain, shaped = (load_dataset(name, write(tmp_path, files_of_28())) for name in ("fashion_mnist", STAND_IN))
    assert (shaped.name, shaped.image_shape) == ("fashion_mnist_32x32x3", (3, 32, 32))
    for pixels, expected in ((shaped.pixels, plain.pixels), (shaped.test_pixels, plain.test_pixels)):
        for channel in range(3):
            assert torch.equal(pixels[:, channel : channel + 1, 2:30, 2:30], expected)
        framed = pixels.clone()
        framed[:, :, 2:30, 2:30] = 0
        assert not framed.any()
    assert torch.equal(shaped.labels, plain.labels)
    assert shaped.sha256 != plain.sha256


def test_images_of_another_size_have_no_stand_in(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected images of 28x28, got \\(5, 4\\)"):
        load_dataset(STAND_IN, write(tmp_path, fashion_files()))


def _cut(content: bytes) -> bytes:
    return content[:-1]


def _extend(content: bytes) -> bytes:
    return content + b"\0"


def _empty(_: bytes) -> bytes:
    return b""


def _header_only(content: bytes) -> bytes:
    return content[:6]


def _other_kind(content: bytes) -> bytes:
    return content[:2] + b"\x0d" + content[3:]  # float32 by the idx convention


def _other_magic(content: bytes) -> bytes:
    return b"PK" + content[2:]


def _huge_header(content: bytes) -> bytes:
    return content[:4] + b"\xff" * 12 + content[16:]


def _many_dimensions(content: bytes) -> bytes:
    return content[:3] + b"\xff" + content[4:]


def _no_images(content: bytes) -> bytes:
    return content[:4] + bytes(4) + content[8:16]


@pytest.mark.parametrize(
    "damage",
    [_cut, _extend, _empty, _header_only, _other_kind, _other_magic, _huge_header, _many_dimensions, _no_images],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_damaged_image_file_is_an_error(damage: Callable[[bytes], bytes], zipped: bool, tmp_path: Path) -> None:
    files = fashion_files()
    damaged = damage(files.pop(TRAIN))
    files[f"{TRAIN}.gz" if zipped else TRAIN] = gzip.compress(damaged) if zipped else damaged
    with pytest.raises(InputError, match=r"idx|expected"):
        load_dataset("fashion_mnist", write(tmp_path, files))


# Bytes 4 to 9 of the gzip header are time, flags and operating system: they do not touch the content.
@pytest.mark.parametrize("at", [0, 2, 3, *range(10, 150, 7)])
def test_a_damaged_gzip_file_is_an_error_wherever_the_damage_lies(at: int, tmp_path: Path) -> None:
    files = fashion_files()
    packed = bytearray(gzip.compress(files.pop(TRAIN), mtime=0))
    packed[at] ^= 0xFF
    with pytest.raises(InputError, match=r"idx|expected"):
        load_dataset("fashion_mnist", write(tmp_path, {**files, f"{TRAIN}.gz": bytes(packed)}))


def test_a_cut_gzip_file_is_an_error(tmp_path: Path) -> None:
    files = fashion_files()
    packed = gzip.compress(files.pop(TRAIN))
    with pytest.raises(InputError, match="idx"):
        load_dataset("fashion_mnist", write(tmp_path, {**files, f"{TRAIN}.gz": packed[: len(packed) // 2]}))


@pytest.mark.parametrize("missing", [TRAIN, TRAIN_LABELS, TEST, TEST_LABELS])
def test_a_missing_file_is_named(missing: str, tmp_path: Path) -> None:
    files = fashion_files()
    del files[missing]
    with pytest.raises(InputError, match=missing):
        load_dataset("fashion_mnist", write(tmp_path, files))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (TRAIN_LABELS, idx(np.zeros(7, dtype=np.uint8))),
        (TRAIN_LABELS, idx(np.full(8, 10, dtype=np.uint8))),
        (TRAIN_LABELS, idx(np.zeros((8, 1), dtype=np.uint8))),
        (TRAIN, idx(np.zeros((8, 5), dtype=np.uint8))),
        (TRAIN, idx(np.zeros((8, 1, 5, 4), dtype=np.uint8))),
        (TEST, idx(np.zeros((4, 6, 4), dtype=np.uint8))),
    ],
    ids=["too few labels", "label 10", "labels 2-d", "images 2-d", "images 4-d", "test images of another size"],
)
def test_well_formed_files_that_do_not_fit_together_are_an_error(file: str, content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dataset 'fashion_mnist'"):
        load_dataset("fashion_mnist", write(tmp_path, {**fashion_files(), file: content}))


def test_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train-images-idx3-ubyte"):
        load_dataset("fashion_mnist", tmp_path)


@pytest.mark.skipif(
    not (DEBIAN / f"{TRAIN}.gz").is_file(),
    reason=f"no {TRAIN}.gz in {DEBIAN} (Debian's dataset-fashion-mnist)",
)
def test_the_real_fashion_mnist() -> None:
    dataset = load_dataset("fashion_mnist", DEBIAN)
    assert (len(dataset), len(dataset.test_labels)) == (60_000, 10_000)
    assert dataset.image_shape == (1, 28, 28)
    assert dataset.labels.bincount().tolist() == [6000] * 10
    assert dataset.test_labels.bincount().tolist() == [1000] * 10
    # Xiao et al. give mean 0.2860 and standard deviation 0.3530 of the training pixels.
    assert float(dataset.pixels.double().mean()) / 255 == pytest.approx(0.2860, abs=5e-5)
    assert float(dataset.pixels.double().std()) / 255 == pytest.approx(0.3530, abs=5e-5)
    assert math.prod(dataset.point_digests.shape) == 60_000 * 32
