"""A proof folder in the layout of the published PoL code (Jia et al. 2021, arXiv:2103.05633, cleverhans-lab/Proof-of-Learning).

    model_step_<t>  torch.save of {"net", "optimizer", "scheduler"}: their state dicts before step t, for t = 0, k, 2k, ..., T;
                    "scheduler" only where the learning rate is scheduled; names start with "module." if several GPUs trained
    indices.npy     (T, B) integers: the data points of every step
    hash.txt        SHA-256 of the dataset's images as Python prints them

It names neither model nor dataset, optimizer class, loss or transform: its verifier gets those as flags or has them built in.
Read as hostile: names, shapes and dtypes are compared with what is declared before a tensor is used.
"""

import hashlib
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core.data import Dataset
from raypol.core.errors import InputError
from raypol.core.proof import MAX_BATCH, MAX_STEPS, Checkpoint
from raypol.store.torch_files import Budget, first_line, read_torch_file, shown

Kinds = Mapping[str, tuple[torch.Size, torch.dtype]]
"""Shape and dtype of each tensor by name."""

_STEP_NAME: Final = re.compile(r"model_step_(0|[1-9]\d{0,8})", re.ASCII)
_STATES_PER_PARAMETER: Final = 3  # Adam with amsgrad keeps the most of torch's optimizers
_MAX_MILESTONES: Final = 10_000
_MAX_COUNTER: Final = 1e15
_ROWS_AT_ONCE: Final = 4096
_SEVERAL_GPUS: Final = "module."


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """What a folder's tensors are held against: the declared model."""

    model: str
    net: Kinds
    """Of its state dict."""
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    """Those of the state dict; the rest of it are other names of the same tensors."""

    @property
    def budget(self) -> Budget:
        """What a checkpoint of it may need."""
        sizes = {name: math.prod(shape) * dtype.itemsize for name, (shape, dtype) in self.net.items()}
        learned = sum(sizes.get(name, 0) for name in self.parameters)
        numbers = 16 * len(self.parameters)  # step counters
        return Budget(
            tensor_bytes=sum(sizes.values()) + _STATES_PER_PARAMETER * learned + numbers,
            tensors=len(sizes) + (_STATES_PER_PARAMETER + 1) * len(self.parameters),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiStep:
    """The recorded state of a MultiStepLR."""

    milestones: tuple[int, ...]
    """In steps; a step may come twice."""
    gamma: float
    base_lr: float
    last_step: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class State:
    """What one model_step file says, checked against the declared model but for the optimizer's own tensors."""

    file: str
    step: int
    net: Mapping[str, Tensor]
    options: Mapping[str, object] | None
    """Of the optimizer's one group of parameters: numbers, strings, None and tuples of numbers. None: it records no optimizer."""
    optimizer_state: Mapping[str, Tensor | int | float]
    """By "parameter name/state key"."""
    schedule: MultiStep | None
    """None: it records no scheduler."""
    several_gpus: bool

    def checkpoint(self, declared: Declared, kinds: Kinds, fixed_buffers: Mapping[str, Tensor]) -> Checkpoint:
        """As raypol records it.

        Args:
            declared: the model.
            kinds: what the declared optimizer's state has after a step.
            fixed_buffers: buffers that a state dict leaves out.

        Raises:
            InputError: a state entry that the declared optimizer does not keep.
        """
        state = {}
        for name, value in self.optimizer_state.items():
            if name not in kinds:
                raise InputError(f"{self.file}: the declared optimizer keeps no {shown(name)}")
            shape, dtype = kinds[name]
            if not isinstance(value, Tensor) and not abs(value) <= _MAX_COUNTER:
                raise InputError(f"{self.file}: optimizer state {name!r} is {shown(value)}, expected a count of steps")
            tensor = value if isinstance(value, Tensor) else torch.tensor(value, dtype=dtype)
            _check_tensor(self.file, f"optimizer state {name!r}", tensor, shape, dtype)
            state[name] = tensor.contiguous()
        return Checkpoint(
            step=self.step,
            parameters={name: self.net[name].contiguous() for name in declared.parameters},
            buffers={**{name: self.net[name].contiguous() for name in declared.buffers}, **fixed_buffers},
            optimizer_state=state,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PublishedFolder:
    """A folder whose file names and indices are in order."""

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
        """What model_step_<step> says.

        Raises:
            InputError: see `State` and `read_torch_file`.
        """
        path = self.folder / f"model_step_{step}"
        return _state(str(path), step, read_torch_file(path, declared.budget), declared)


def open_published(folder: Path, num_points: int, *, interval: int | None = None) -> PublishedFolder:
    """Look at the names and the indices of a folder; no checkpoint is read yet.

    Args:
        folder: where the files lie.
        num_points: N, size of the declared dataset.
        interval: k, if it is known; None = from the names.

    Raises:
        InputError: a file is missing, or an index cannot be one of the dataset.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder with model_step_<t> files and indices.npy")
    found = {entry.name for entry in folder.iterdir()}
    if "indices.npy" not in found:
        raise InputError(
            f"{folder}: indices.npy is missing; without the indices of every step no interval can be replayed (the "
            "folders that the AE4PoL code writes have none)"
        )
    indices = _read_indices(folder / "indices.npy", num_points)
    names = sorted(name for name in found if name.startswith("model_step_"))
    strange = next((name for name in names if _STEP_NAME.fullmatch(name) is None), None)
    if strange is not None:
        raise InputError(f"{folder}: expected names model_step_<t>, got {shown(strange)}")
    steps = sorted(int(name.removeprefix("model_step_")) for name in names)
    return PublishedFolder(
        folder=folder,
        interval=_interval_of(folder, steps, len(indices), interval),
        indices=indices,
        has_hash="hash.txt" in found,
    )


def _interval_of(folder: Path, steps: list[int], total: int, known: int | None) -> int:
    """k, from the smallest gap between checkpoints if it is not known; every other must then be there."""
    if 0 not in steps:
        raise InputError(f"{folder}: model_step_0 is missing")
    if total not in steps:
        raise InputError(f"{folder}: model_step_{total} is missing; indices.npy has {total} steps")
    if steps[-1] > total:
        raise InputError(f"{folder}: indices.npy has {total} steps, model_step_{steps[-1]} lies behind them")
    gaps = [later - earlier for earlier, later in pairwise(steps)]
    interval = known or min(gaps[:-1], default=gaps[-1])  # the last may be shorter
    there = set(steps)
    # One by one: indices.npy may claim any number of steps, the first that is missing is soon found.
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
        raise InputError(f"{path}: not a readable array of numbers ({first_line(err)})") from err
    if indices.dtype.kind not in "iu":
        raise InputError(f"{path}: expected integers, got {shown(str(indices.dtype))}")
    if indices.ndim != 2 or not 1 <= indices.shape[0] <= MAX_STEPS or not 1 <= indices.shape[1] <= MAX_BATCH:
        raise InputError(f"{path}: expected shape (steps, batch), got {shown(str(indices.shape))}")
    for start in range(0, len(indices), _ROWS_AT_ONCE):
        part = indices[start : start + _ROWS_AT_ONCE]
        wrong = (part < 0) | (part >= num_points)
        if wrong.any():
            row, column = map(int, np.argwhere(wrong)[0])
            raise InputError(
                f"{path}: step {start + row} has index {int(part[row, column])}, expected 0..{num_points - 1} (the "
                "declared dataset)"
            )
    return indices


# --- one checkpoint ------------------------------------------------------------------------------------------------


def _state(file: str, step: int, raw: object, declared: Declared) -> State:
    parts = _items(file, "the file", raw)
    unknown = next((key for key in parts if key not in ("net", "optimizer", "scheduler")), None)
    if unknown is not None or "net" not in parts:
        raise InputError(
            f"{file}: expected entries net, optimizer and scheduler, got {', '.join(map(shown, parts))[:200]}"
        )
    net, several_gpus = _net(file, parts["net"], declared)
    options: dict[str, object] | None = None
    state: dict[str, Tensor | int | float] = {}
    if "optimizer" in parts:
        # Numbered as the published model has its parameters, which is the order of its state dict.
        order = [name for name in net if name in set(declared.parameters)]
        options, state = _optimizer(file, parts["optimizer"], order)
    return State(
        file=file,
        step=step,
        net=net,
        options=options,
        optimizer_state=state,
        schedule=_schedule(file, parts["scheduler"]) if "scheduler" in parts else None,
        several_gpus=several_gpus,
    )


def _net(file: str, raw: object, declared: Declared) -> tuple[dict[str, Tensor], bool]:
    net = _items(file, "net", raw)
    several_gpus = bool(net) and all(name.startswith(_SEVERAL_GPUS) for name in net)
    if several_gpus:
        net = {name.removeprefix(_SEVERAL_GPUS): value for name, value in net.items()}
    for what, names in (
        ("has no tensor", [name for name in declared.net if name not in net]),
        ("has a tensor that the declared model has not:", [name for name in net if name not in declared.net]),
    ):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise InputError(f"{file}: {what} {shown(names[0])}{more}; is {declared.model} its model?")
    checked = {}
    for name, value in net.items():
        shape, dtype = declared.net[name]
        checked[name] = _check_tensor(
            file, f"tensor {name!r}", value, shape, dtype, f"; is {declared.model} its model?"
        )
    return checked, several_gpus


def _optimizer(file: str, raw: object, order: list[str]) -> tuple[dict[str, object], dict[str, Tensor | int | float]]:
    parts = _items(file, "optimizer", raw)
    groups = parts.get("param_groups")
    if not isinstance(groups, list) or len(groups) != 1:
        raise InputError(f"{file}: expected an optimizer with one group of parameters")
    options: dict[str, object] = dict(_items(file, "the optimizer's group", groups[0]))
    numbers = options.pop("params", None)
    if not isinstance(numbers, list) or [*map(type, numbers)] != [int] * len(order) or numbers != [*range(len(order))]:
        raise InputError(f"{file}: expected an optimizer over the model's {len(order)} parameters in order")
    for name, value in options.items():
        if not _is_plain(value):
            raise InputError(f"{file}: optimizer option {shown(name)} is {shown(value)}, expected a number")
    state: dict[str, Tensor | int | float] = {}
    recorded = parts.get("state")
    if not isinstance(recorded, dict):
        raise InputError(f"{file}: the optimizer has no state dict")
    for number, raw_entries in dict.items(recorded):
        if type(number) is not int or not 0 <= number < len(order):
            raise InputError(f"{file}: optimizer state of parameter {shown(number)}, expected 0..{len(order) - 1}")
        entries = _items(file, f"the optimizer's state of {order[number]}", raw_entries)
        for key, value in entries.items():
            if value is None:  # SGD without momentum
                continue
            if isinstance(value, bool) or not isinstance(value, Tensor | int | float):
                raise InputError(f"{file}: optimizer state {shown(key)} of {order[number]}: expected a tensor")
            state[f"{order[number]}/{key}"] = value
    return options, state


def _schedule(file: str, raw: object) -> MultiStep:
    parts = _items(file, "scheduler", raw)
    milestones, rates = parts.get("milestones"), parts.get("base_lrs")
    gamma, last = parts.get("gamma"), parts.get("last_epoch")
    if not isinstance(milestones, dict) or not isinstance(rates, list) or len(rates) != 1:
        raise InputError(f"{file}: its scheduler is not a MultiStepLR, the only one of the published code")
    if not _is_rate(gamma) or not _is_rate(rates[0]) or type(last) is not int:
        raise InputError(
            f"{file}: its scheduler has gamma {shown(gamma)}, base lr {shown(rates[0])}, step {shown(last)}"
        )
    counts = list(dict.items(milestones))
    if any(type(n) is not int or type(at) is not int or not 0 <= at <= MAX_STEPS or n < 1 for at, n in counts):
        raise InputError(f"{file}: its scheduler's milestones are not steps")
    if sum(n for _, n in counts) > _MAX_MILESTONES:
        raise InputError(f"{file}: its scheduler has more than {_MAX_MILESTONES} milestones")
    return MultiStep(
        milestones=tuple(sorted(at for at, n in counts for _ in range(n))),
        gamma=float(gamma),  # type: ignore[arg-type]
        base_lr=float(rates[0]),
        last_step=last,
    )


def _items(file: str, what: str, raw: object) -> dict[str, Any]:
    """A dict with string keys. `dict.items`: a forged OrderedDict may carry attributes that hide its methods."""
    if not isinstance(raw, dict):
        raise InputError(f"{file}: expected {what} to be a dict, got {shown(raw)}")
    found = dict(dict.items(raw))
    odd = next((key for key in found if type(key) is not str), None)
    if odd is not None:
        raise InputError(f"{file}: {what} has a key {shown(odd)}, expected names")
    return found


def _check_tensor(file: str, what: str, value: object, shape: torch.Size, dtype: torch.dtype, hint: str = "") -> Tensor:
    if type(value) is not Tensor or value.layout != torch.strided or value.device.type != "cpu":
        raise InputError(f"{file}: {what} is {shown(value)}, expected an ordinary tensor")
    if value.shape != shape or value.dtype != dtype:
        raise InputError(f"{file}: {what} is {value.dtype} {tuple(value.shape)}, expected {dtype} {tuple(shape)}{hint}")
    return value.detach()


def _is_plain(value: object) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return all(part is None or isinstance(part, str | int) or _is_finite(part) for part in parts)


def _is_finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _is_rate(value: object) -> bool:
    return type(value) in (int, float) and 0.0 <= float(value) < math.inf  # type: ignore[arg-type]


# --- writing -------------------------------------------------------------------------------------------------------


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder that appears at `target` when the block ends well, and leaves nothing when not.

    Raises:
        InputError: something is at `target` already, or it cannot be written.
    """
    if os.path.lexists(target):
        raise InputError(f"{target} is there already; expected the name of a new folder")
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


def new_indices(folder: Path, steps: int, batch_size: int) -> npt.NDArray[np.int64]:
    """indices.npy, (T, B), to be filled in."""
    array: npt.NDArray[np.int64] = np.lib.format.open_memmap(
        folder / "indices.npy", mode="w+", dtype=np.int64, shape=(steps, batch_size)
    )
    return array


def printed_hash(dataset: Dataset, on_progress: Callable[[int, int], None] = lambda _done, _of: None) -> str:
    """The published hash of a dataset: SHA-256 over each training image as Python prints it, hex.

    torchvision holds colour images as numpy arrays (H, W, C), which print as their corners (3.5 % of 32x32x3, and no label),
    and gray ones as tensors (H, W). About 0.2 ms per colour image, 1.6 ms per gray one.
    """
    digest = hashlib.sha256()
    pixels = dataset.pixels.cpu()
    gray = pixels.shape[1] == 1
    images = pixels[:, 0] if gray else pixels.permute(0, 2, 3, 1).contiguous()
    defaults: dict[str, Any] = {"edgeitems": 3, "threshold": 1000, "precision": 8, "linewidth": 75, "suppress": False}
    with np.printoptions(**defaults):
        for done, image in enumerate(images if gray else images.numpy()):
            digest.update(str(image).encode())
            if done % 1000 == 0:
                on_progress(done, len(images))
    on_progress(len(images), len(images))
    return digest.hexdigest()


def write_state(
    folder: Path,
    step: int,
    *,
    net: Mapping[str, Any],
    optimizer: Mapping[str, Any],
    scheduler: Mapping[str, Any] | None,
) -> None:
    """One model_step file, as torch itself writes it."""
    state = {"net": net, "optimizer": optimizer}
    torch.save(state if scheduler is None else {**state, "scheduler": scheduler}, folder / f"model_step_{step}")
