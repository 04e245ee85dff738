"""A proof folder in the layout of the published PoL code (Jia et al. 2021, arXiv:2103.05633, cleverhans-lab/Proof-of-Learning).

    model_step_<t>  torch.save of {"net", "optimizer", "scheduler"}: their state dicts before step t, for t = 0, k, 2k, ..., T;
                    "scheduler" only where the learning rate is scheduled; names start with "module." if several GPUs trained
    indices.npy     (T, B) integers: the data points of every step
    hash.txt        SHA-256 of the dataset's images as Python prints them

It names neither model nor dataset, optimizer class, loss or transform: its verifier gets those as flags or has them built in.
Read as hostile: names, shapes and dtypes are compared with what is declared before a tensor is used.
"""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.progress import Progress, no_progress
from raypol.core.proof import MAX_BATCH, MAX_STEPS
from raypol.store.published.pickle_check import brief_repr, short_line
from raypol.store.published.state import Declared, State, parse_state
from raypol.store.published.torch_files import read_torch_file

_STEP_NAME: Final = re.compile(r"model_step_(0|[1-9]\d{0,8})", re.ASCII)
_INDICES_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PublishedFolder:
    """A folder whose file names and indices are valid."""

    folder: Path
    interval: int
    """k."""
    indices: npt.NDArray[Any]
    """(T, B), mapped from the file."""
    has_hash: bool

    @property
    def steps(self) -> int:
        """T."""
        return len(self.indices)

    @property
    def batch_size(self) -> int:
        """B."""
        return int(self.indices.shape[1])

    def rows(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """(stop - start, B) indices of these steps."""
        return np.ascontiguousarray(self.indices[start:stop], dtype=np.int64)

    def state(self, step: int, declared: Declared) -> State:
        """Content of model_step_<step>.

        Raises:
            InputError: see `State` and `read_torch_file`.
        """
        path = self.folder / f"model_step_{step}"
        return parse_state(str(path), step, read_torch_file(path, declared.budget), declared)


def open_published(folder: Path, num_points: int, *, interval: int | None = None) -> PublishedFolder:
    """Check the names and indices of a folder; no checkpoint is read yet.

    Args:
        folder: where the files lie.
        num_points: N, size of the declared dataset.
        interval: k, if known; None = from the names.

    Raises:
        InputError: a file is missing, or an index is outside the dataset.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder with model_step_<t> files and indices.npy")
    try:
        found = {entry.name for entry in folder.iterdir()}
    except OSError as err:
        raise InputError(f"cannot list {folder}: {err.strerror}") from err
    if "indices.npy" not in found:
        raise InputError(
            f"{folder}: indices.npy is missing; without the indices of every step no interval can be replayed (folders of "
            "the code of Zhang et al. 2022 have none)"
        )
    indices = _read_indices(folder / "indices.npy", num_points)
    names = sorted(name for name in found if name.startswith("model_step_"))
    strange = next((name for name in names if _STEP_NAME.fullmatch(name) is None), None)
    if strange is not None:
        raise InputError(f"{folder}: expected names model_step_<t>, got {brief_repr(strange)}")
    steps = sorted(int(name.removeprefix("model_step_")) for name in names)
    return PublishedFolder(
        folder=folder,
        interval=_interval_of(folder, steps, len(indices), interval),
        indices=indices,
        has_hash="hash.txt" in found,
    )


def _interval_of(folder: Path, steps: list[int], total: int, known: int | None) -> int:
    """k, from the smallest gap between checkpoints if it is not known; every other checkpoint must exist."""
    if 0 not in steps:
        raise InputError(f"{folder}: model_step_0 is missing")
    if total not in steps:
        raise InputError(f"{folder}: model_step_{total} is missing; indices.npy has {total} steps")
    if steps[-1] > total:
        raise InputError(f"{folder}: indices.npy has {total} steps, model_step_{steps[-1]} lies behind them")
    gaps = [later - earlier for earlier, later in pairwise(steps)]
    interval = known or min(gaps[:-1], default=gaps[-1])  # the last interval may be shorter
    there = set(steps)
    # One by one: indices.npy may claim any number of steps, but the first missing checkpoint is soon found.
    missing = next((step for step in range(0, total, interval) if step not in there), None)
    if missing is not None:
        raise InputError(
            f"{folder}: model_step_{missing} is missing; expected one every {interval} steps up to {total}"
        )
    extra = next((step for step in steps if step % interval and step != total), None)
    if extra is not None:
        raise InputError(f"{folder}: model_step_{extra} is not a multiple of the interval of {interval} steps")
    return interval


def _read_indices(path: Path, num_points: int) -> npt.NDArray[Any]:
    if not path.is_file():
        raise InputError(f"{path}: expected a file")
    try:
        indices: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except (OSError, SyntaxError, ValueError, OverflowError, MemoryError, TypeError, RecursionError, TokenError) as err:
        raise InputError(f"{path}: not a readable array of numbers ({short_line(err)})") from err
    if indices.dtype.kind not in "iu":
        raise InputError(f"{path}: expected integers, got {brief_repr(str(indices.dtype))}")
    if indices.ndim != 2 or not 1 <= indices.shape[0] <= MAX_STEPS or not 1 <= indices.shape[1] <= MAX_BATCH:
        raise InputError(f"{path}: expected shape (steps, batch), got {brief_repr(str(indices.shape))}")
    rows = max(_INDICES_AT_ONCE // indices.shape[1], 1)
    for start in range(0, len(indices), rows):
        part = indices[start : start + rows]
        wrong = (part < 0) | (part >= num_points)
        if wrong.any():
            row, column = map(int, np.argwhere(wrong)[0])
            raise InputError(
                f"{path}: step {start + row} has index {int(part[row, column])}, expected 0..{num_points - 1} (the "
                "declared dataset)"
            )
    return indices


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a folder that appears at `target` if the block ends without an error.

    Raises:
        InputError: `target` exists, or cannot be written.
    """
    if os.path.lexists(target):
        raise InputError(f"{target} exists already; expected the name of a new folder")
    staging = target.absolute().parent / f".{target.name}.{uuid.uuid4().hex[:8]}"
    try:
        staging.mkdir(parents=True)
    except OSError as err:
        raise InputError(f"cannot write to {target}: {err.strerror}") from err
    try:
        yield staging
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def printed_hash(dataset: Dataset, on_progress: Progress = no_progress) -> str:
    """Published hash of a dataset: SHA-256 in hex over each training image as Python prints it.

    torchvision holds colour images as numpy arrays (H, W, C), which print as their corners (3.5 % of 32x32x3, and no label),
    and gray ones as tensors (H, W). About 0.2 ms per colour image, 1.6 ms per gray one.
    """
    digest, what = hashlib.sha256(), "printing images for hash.txt"
    pixels = dataset.pixels.cpu()
    gray = pixels.shape[1] == 1
    images = pixels[:, 0] if gray else pixels.permute(0, 2, 3, 1).contiguous()
    defaults: dict[str, Any] = {"edgeitems": 3, "threshold": 1000, "precision": 8, "linewidth": 75, "suppress": False}
    with np.printoptions(**defaults):
        for done, image in enumerate(images if gray else images.numpy()):
            digest.update(str(image).encode())
            if done % 1000 == 0:
                on_progress(what, done, len(images))
    on_progress(what, len(images), len(images))
    return digest.hexdigest()
