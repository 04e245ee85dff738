"""CIFAR from batch files: official ones by their checksums, others in the same format, damaged and hostile ones, a download."""

import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torchvision import datasets

from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import _load, load_dataset
from raypol.core.errors import InputError

Batch = dict[str | bytes, Any]
FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
CLASSES = {"cifar10": 10, "cifar100": 100}


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing is downloaded to, or known from, the user's own place."""
    home = tmp_path / "home"
    monkeypatch.setenv("RAYPOL_DATA", str(home))
    _load.cache_clear()
    yield home
    _load.cache_clear()


def listed(kind: str) -> dict[str, list[list[str]]]:
    source = getattr(datasets, kind.upper())
    return {"train": source.train_list, "test": source.test_list}


def images_of(kind: str, name: str, n: int = 6) -> tuple[npt.NDArray[np.uint8], list[int]]:
    rng = np.random.default_rng(list(name.encode()))
    pixels = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    return pixels, [int(label) for label in rng.integers(0, CLASSES[kind], n)]


def batch_of(kind: str, name: str) -> Batch:
    pixels, labels = images_of(kind, name)
    if kind == "cifar10":
        batch: Batch = {"batch_label": name, "labels": labels}
    else:
        batch = {"fine_labels": labels, "coarse_labels": [label // 5 for label in labels]}
    return batch | {"data": pixels.reshape(-1, 3072), "filenames": [f"{name}_{i}.png" for i in range(len(labels))]}


def python2(batch: Batch) -> bytes:
    """The pickle of a batch as Python 2 and its numpy wrote the official files: byte strings, numpy.core, protocol 2."""

    def string(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text if len(text) < 256 else b"T" + len(text).to_bytes(4, "little") + text

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    def value_of(value: object) -> bytes:
        if isinstance(value, str):
            return string(value.encode())
        if isinstance(value, list):
            return b"](" + b"".join(number(v) if isinstance(v, int) else string(v.encode()) for v in value) + b"e"
        assert isinstance(value, np.ndarray)
        shape = b"".join(number(n) for n in value.shape) + b"\x86"
        made = (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + string(b"b") + b"\x87R"
        )
        kind = b"cnumpy\ndtype\n" + string(b"u1") + number(0) + number(1) + b"\x87R"
        kind += b"(" + number(3) + string(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
        return made + b"(" + number(1) + shape + kind + b"\x89" + string(value.tobytes()) + b"tb"

    entries = b"".join(string(str(key).encode()) + value_of(value) for key, value in batch.items())
    return b"\x80\x02}(" + entries + b"u."


WRITERS: dict[str, Callable[[Batch], bytes]] = {
    "python2": python2,
    "protocol 2": lambda batch: pickle.dumps(batch, protocol=2),
    "protocol 4": lambda batch: pickle.dumps(batch, protocol=4),
    "bytes as keys": lambda batch: pickle.dumps({str(k).encode(): v for k, v in batch.items()}, protocol=3),
}


def write(kind: str, root: Path, writer: Callable[[Batch], bytes] = python2) -> Path:
    """A folder in the format of the official one; returns the folder of the batches."""
    folder = root / FOLDERS[kind]
    folder.mkdir(parents=True)
    for files in listed(kind).values():
        for name, _ in files:
            (folder / name).write_bytes(writer(batch_of(kind, name)))
    return folder


def official(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision's checksums be those of this folder."""
    source = getattr(datasets, kind.upper())
    for part in ("train_list", "test_list"):
        sums = [
            [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]  # noqa: S324
            for name, _ in getattr(source, part)
        ]
        monkeypatch.setattr(source, part, sums)


def check(dataset: Dataset, kind: str) -> None:
    """Every image and label is there, in the order of the files."""
    for part, pixels, labels in (
        ("train", dataset.pixels, dataset.labels),
        ("test", dataset.test_pixels, dataset.test_labels),
    ):
        expected = [images_of(kind, name) for name, _ in listed(kind)[part]]
        assert torch.equal(pixels, torch.from_numpy(np.concatenate([image for image, _ in expected])))
        assert labels.tolist() == [label for _, some in expected for label in some]
    assert dataset.num_classes == CLASSES[kind]


# --- folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_in_the_format_is_read_whole(kind: str, writer: str, tmp_path: Path) -> None:
    folder = write(kind, tmp_path, WRITERS[writer])
    for place in (tmp_path, folder):
        dataset = load_dataset(f"{kind}_format", place)
        check(dataset, kind)
        assert dataset.name == f"{kind}_format"


@pytest.mark.parametrize("kind", FOLDERS)
def test_torchvision_reads_the_same_from_it(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(kind, tmp_path)
    source = getattr(datasets, kind.upper())
    (folder / source.meta["filename"]).write_bytes(pickle.dumps({source.meta["key"]: []}))
    monkeypatch.setitem(source.meta, "md5", None)
    official(kind, folder, monkeypatch)
    theirs, ours = source(tmp_path, train=True), load_dataset(kind, tmp_path)
    assert np.array_equal(theirs.data, ours.pixels.permute(0, 2, 3, 1).numpy())
    assert theirs.targets == ours.labels.tolist()


@pytest.mark.parametrize("kind", FOLDERS)
def test_other_files_do_not_count_as_the_official_ones(kind: str, tmp_path: Path) -> None:
    write(kind, tmp_path)
    with pytest.raises(InputError, match=rf"official {kind} batch with MD5 .*loaded as {kind}_format"):
        load_dataset(kind, tmp_path)


def test_a_changed_official_batch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write("cifar10", tmp_path)
    official("cifar10", folder, monkeypatch)
    check(load_dataset("cifar10", tmp_path), "cifar10")
    _load.cache_clear()
    raw = bytearray((folder / "data_batch_3").read_bytes())
    raw[-5000] ^= 1  # one bit of one pixel
    (folder / "data_batch_3").write_bytes(raw)
    with pytest.raises(InputError, match=r"data_batch_3: .* damaged"):
        load_dataset("cifar10", tmp_path)


def test_halves_are_those_of_the_whole(tmp_path: Path) -> None:
    write("cifar10", tmp_path)
    whole, *halves = (load_dataset(f"cifar10_format{half}", tmp_path) for half in ("", "/D1@3", "/D2@3"))
    found = sorted(digest.tobytes() for half in halves for digest in half.point_digests)
    assert found == sorted(digest.tobytes() for digest in whole.point_digests)


@pytest.mark.parametrize("missing", ["data_batch_1", "data_batch_4", "test_batch"])
def test_a_missing_batch_is_named(missing: str, tmp_path: Path) -> None:
    (write("cifar10", tmp_path) / missing).unlink()
    with pytest.raises(InputError, match=missing):
        load_dataset("cifar10_format", tmp_path)


# --- damaged and hostile batches -------------------------------------------------------------------------------------


class _RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("run-by-a-pickle",)


class _ObjectArray:
    """An array of objects, or a huge one, made by what every batch may name."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return np.ndarray, self.arguments


def _with(**changes: object) -> Callable[[Batch], bytes]:
    return lambda batch: pickle.dumps({**batch, **changes}, protocol=4)


def _without(key: str) -> Callable[[Batch], bytes]:
    return lambda batch: pickle.dumps({k: v for k, v in batch.items() if k != key}, protocol=4)


def _shape(*shape: int) -> Callable[[Batch], bytes]:
    """The claim of another shape, over the bytes that are there."""

    def damage(batch: Batch) -> bytes:
        raw = python2(batch)
        claimed = b"".join(b"J" + n.to_bytes(4, "little", signed=True) for n in shape)
        return raw.replace(b"".join(b"J" + n.to_bytes(4, "little") for n in (6, 3072)), claimed)

    return damage


DAMAGES: dict[str, Callable[[Batch], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda batch: python2(batch)[:-400],
    "zeros": lambda batch: bytes(len(python2(batch))),
    "no pickle": lambda _: b"PK\x03\x04 not a pickle at all",
    "carries code": _with(batch_label=_RunsCode()),
    "carries code as its data": _with(data=_RunsCode()),
    "names builtins.eval": lambda _: b"\x80\x02cbuiltins\neval\n(S'1'\ntR.",
    "an array made by a call": _with(data=_ObjectArray((1 << 40,), "u1")),
    "object array": _with(data=np.array([[None] * 3072] * 6, dtype=object)),
    "float pixels": _with(data=np.zeros((6, 3072))),
    "fortran order": _with(data=np.asfortranarray(np.zeros((6, 3072), dtype=np.uint8))),
    "flat": _with(data=np.zeros(6 * 3072, dtype=np.uint8)),
    "smaller images": _with(data=np.zeros((6, 3071), dtype=np.uint8)),
    "no images": _with(data=np.zeros((0, 3072), dtype=np.uint8), labels=[]),
    "too few images": _with(data=np.zeros((5, 3072), dtype=np.uint8)),
    "claims more images": _shape(7, 3072),
    "claims far more images": _shape(2**31 - 1, 3072),
    "claims negative images": _shape(-6, -3072),
    "pixels as a list": _with(data=[[0] * 3072] * 6),
    "no pixels": _without("data"),
    "no labels": _without("labels"),
    "label 10": _with(labels=[0, 1, 2, 3, 4, 10]),
    "label -1": _with(labels=[0, 1, 2, 3, 4, -1]),
    "label too large for a number": _with(labels=[0, 1, 2, 3, 4, 1 << 80]),
    "label true": _with(labels=[True] * 6),
    "labels as text": _with(labels="012345"),
    "a list": lambda _: pickle.dumps([1, 2, 3]),
    # Lengths that are only claimed: 8-byte ones of text, bytes and an array of bytes, and a place far out in the memo.
    "huge text": lambda _: b"\x80\x04\x8d" + (1 << 40).to_bytes(8, "little") + b"x.",
    "huge bytes": lambda _: b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"x.",
    "huge bytearray": lambda _: b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"x.",
    "huge frame": lambda _: b"\x80\x04\x95" + (1 << 60).to_bytes(8, "little") + b"N.",
    "far memo": lambda _: b"\x80\x04Nr\xff\xff\xff\x7f.",
    # BUILD on what may be named: it would change the reader itself for the next file.
    "changes the reader": lambda _: b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n}U\x08__call__K\x01sb.",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_batch_is_an_error_that_names_the_file(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write("cifar10", tmp_path)
    (folder / "data_batch_2").write_bytes(DAMAGES[damage](batch_of("cifar10", "data_batch_2")))
    with pytest.raises(InputError, match="data_batch_2") as caught:
        load_dataset("cifar10_format", tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run-by-a-pickle").exists()
    # The next file is read as ever.
    (folder / "data_batch_2").write_bytes(python2(batch_of("cifar10", "data_batch_2")))
    check(load_dataset("cifar10_format", tmp_path), "cifar10")


# --- the cache and the network ---------------------------------------------------------------------------------------


def test_without_files_and_network_one_line_says_what_to_put_where(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")  # nobody listens there
    with pytest.raises(
        InputError, match=r"cannot download .*cifar-10-python\.tar\.gz or the unpacked folder"
    ) as caught:
        load_dataset("cifar10")
    assert str(empty_cache) in str(caught.value)
    assert "--data-dir" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in empty_cache.iterdir()] == [".cifar-10-batches-py.lock"]


def test_a_folder_that_was_given_is_never_written_to(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for name in ("cifar10", "cifar100", "cifar10_format"):
        with pytest.raises(InputError, match=r"unpack cifar-.*-python\.tar\.gz there"):
            load_dataset(name, given)
    assert not list(given.iterdir())


def test_a_format_has_no_place_of_its_own() -> None:
    with pytest.raises(InputError, match=r"cifar10_format: give the folder .*--data-dir"):
        load_dataset("cifar10_format")


def archive_of(folder: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(folder, folder.name)
    return packed.getvalue()


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """An archive that passes for the official one in this process."""
    folder = write("cifar10", tmp_path / "packed")
    official("cifar10", folder, monkeypatch)
    packed = archive_of(folder)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(packed).hexdigest())  # noqa: S324
    return packed


class _Server(ThreadingHTTPServer):
    """Serves one body for every address, and counts."""

    def __init__(self, body: bytes) -> None:
        self.body, self.asked = body, 0
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/cifar-10-python.tar.gz"


class _Answer(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    with _Server(archive) as serving:
        threading.Thread(target=serving.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setattr(datasets.CIFAR10, "url", serving.url)
        yield serving
        serving.shutdown()


def test_it_is_downloaded_once_with_progress_and_nothing_but_the_batches_stays(
    server: _Server, empty_cache: Path
) -> None:
    seen: list[tuple[str, int, int]] = []
    check(load_dataset("cifar10", on_progress=lambda *said: seen.append(said)), "cifar10")
    assert seen
    assert seen[-1][1] == seen[-1][2]
    assert "cifar-10-python.tar.gz" in seen[-1][0]
    _load.cache_clear()
    check(load_dataset("cifar10"), "cifar10")
    assert server.asked == 1
    assert [path.name for path in empty_cache.iterdir() if not path.name.endswith(".lock")] == [FOLDERS["cifar10"]]


@pytest.mark.parametrize("body", [b"", b"<html>Sign in to this network</html>"])
def test_what_has_another_checksum_is_not_taken(server: _Server, empty_cache: Path, body: bytes) -> None:
    server.body = body
    with pytest.raises(InputError, match="does not have the official MD5"):
        load_dataset("cifar10")
    assert not (empty_cache / FOLDERS["cifar10"]).exists()


def test_an_archive_that_lies_in_the_cache_is_unpacked_without_a_network(
    archive: bytes, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/")
    empty_cache.mkdir()
    (empty_cache / "cifar-10-python.tar.gz").write_bytes(archive)
    check(load_dataset("cifar10"), "cifar10")


def test_what_a_killed_download_left_is_replaced(server: _Server, empty_cache: Path) -> None:
    partial = empty_cache / f".{FOLDERS['cifar10']}.partial"
    (partial / FOLDERS["cifar10"]).mkdir(parents=True)
    (partial / "cifar-10-python.tar.gz").write_bytes(b"half")
    check(load_dataset("cifar10"), "cifar10")
    assert not partial.exists()
    assert server.asked == 1


LOAD_AS_OFFICIAL = """
import sys
from torchvision import datasets
datasets.CIFAR10.url, datasets.CIFAR10.tgz_md5 = sys.argv[1:3]
sums = dict(pair.split("=") for pair in sys.argv[3:])
for part in (datasets.CIFAR10.train_list, datasets.CIFAR10.test_list):
    for entry in part:
        entry[1] = sums[entry[0]]
from raypol.core.datasets.load import load_dataset
print(load_dataset("cifar10").sha256)
"""


def test_two_processes_that_start_at_once_download_once(server: _Server, tmp_path: Path) -> None:
    source = datasets.CIFAR10
    sums = [f"{name}={md5}" for name, md5 in source.train_list + source.test_list]
    words = [sys.executable, "-c", LOAD_AS_OFFICIAL, server.url, source.tgz_md5, *sums]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {one.communicate(timeout=100)[0] for one in both}
    assert said == {load_dataset("cifar10_format", tmp_path / "packed").sha256 + "\n"}
    assert server.asked == 1
