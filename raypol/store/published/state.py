"""Content of a model_step file of the published layout, compared with the declared model name by name.

The adversary may have written all of it. Containers are read with `dict`'s own methods and shown by their type only.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from raypol.core.errors import InputError
from raypol.core.proof import MAX_STEPS, Checkpoint
from raypol.store.published.pickle_check import brief_repr
from raypol.store.published.torch_files import Budget

Kinds = Mapping[str, tuple[torch.Size, torch.dtype]]
"""Shape and dtype of each tensor by name."""

_STATES_PER_PARAMETER: Final = 3  # Adam with amsgrad keeps the most of torch's optimizers
_MAX_MILESTONES: Final = 10_000
_MAX_COUNTER: Final = 1e15
_SEVERAL_GPUS: Final = "module."


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """The declared model, with which a folder's tensors are compared."""

    model: str
    net: Kinds
    """Tensors of its state dict."""
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    """Buffers of the state dict; its remaining names mean the same tensors again."""

    @property
    def budget(self) -> Budget:
        """Bounds on a checkpoint of the model."""
        sizes = {name: math.prod(shape) * dtype.itemsize for name, (shape, dtype) in self.net.items()}
        learned = sum(sizes.get(name, 0) for name in self.parameters)
        numbers = 16 * len(self.parameters)  # step counters
        return Budget(
            tensor_bytes=sum(sizes.values()) + _STATES_PER_PARAMETER * learned + numbers,
            tensors=len(sizes) + (_STATES_PER_PARAMETER + 1) * len(self.parameters),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiStep:
    """Recorded state of a MultiStepLR."""

    milestones: tuple[int, ...]
    """In steps; a step may occur twice."""
    gamma: float
    base_lr: float
    last_step: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class State:
    """Content of a model_step file, checked against the declared model except for the optimizer's tensors."""

    file: str
    step: int
    net: Mapping[str, Tensor]
    options: Mapping[str, object] | None
    """Options of the optimizer's only group: numbers, strings, None, tuples of numbers. None: no optimizer recorded."""
    optimizer_state: Mapping[str, Tensor | int | float]
    """By "parameter name/state key"."""
    schedule: MultiStep | None
    """None: no scheduler recorded."""
    several_gpus: bool

    def checkpoint(self, declared: Declared, kinds: Kinds, fixed_buffers: Mapping[str, Tensor]) -> Checkpoint:
        """Convert to raypol's checkpoint.

        Args:
            declared: the model.
            kinds: tensors of the declared optimizer's state after a step.
            fixed_buffers: buffers that a state dict leaves out.

        Raises:
            InputError: a state entry that the declared optimizer does not keep.
        """
        state = {}
        for name, value in self.optimizer_state.items():
            if name not in kinds:
                raise InputError(f"{self.file}: the declared optimizer keeps no {brief_repr(name)}")
            shape, dtype = kinds[name]
            if not isinstance(value, Tensor) and not abs(value) <= _MAX_COUNTER:
                raise InputError(
                    f"{self.file}: optimizer state {name!r} is {brief_repr(value)}, expected a count of steps"
                )
            tensor = value if isinstance(value, Tensor) else torch.tensor(value, dtype=dtype)
            _check_tensor(self.file, f"optimizer state {name!r}", tensor, shape, dtype)
            state[name] = tensor.contiguous()
        return Checkpoint(
            step=self.step,
            parameters={name: self.net[name].contiguous() for name in declared.parameters},
            buffers={**{name: self.net[name].contiguous() for name in declared.buffers}, **fixed_buffers},
            optimizer_state=state,
        )


def parse_state(file: str, step: int, raw: object, declared: Declared) -> State:
    """Check the content of model_step_<step> that `read_torch_file` returned.

    Raises:
        InputError: an entry, name, shape or dtype that the declared model does not have.
    """
    parts = _items(file, "the file", raw)
    unknown = next((key for key in parts if key not in ("net", "optimizer", "scheduler")), None)
    if unknown is not None or "net" not in parts:
        raise InputError(
            f"{file}: expected entries net, optimizer and scheduler, got {', '.join(map(brief_repr, parts))[:200]}"
        )
    net, several_gpus = _net(file, parts["net"], declared)
    options: dict[str, object] | None = None
    state: dict[str, Tensor | int | float] = {}
    if "optimizer" in parts:
        # Numbered in the order of the published model's parameters, which is that of its state dict.
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
            raise InputError(f"{file}: {what} {brief_repr(names[0])}{more}; is {declared.model} its model?")
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
            raise InputError(f"{file}: optimizer option {brief_repr(name)} is {brief_repr(value)}, expected a number")
    state: dict[str, Tensor | int | float] = {}
    recorded = parts.get("state")
    if not isinstance(recorded, dict):
        raise InputError(f"{file}: the optimizer has no state dict")
    for number, raw_entries in dict.items(recorded):
        if type(number) is not int or not 0 <= number < len(order):
            raise InputError(f"{file}: optimizer state of parameter {brief_repr(number)}, expected 0..{len(order) - 1}")
        entries = _items(file, f"the optimizer's state of {order[number]}", raw_entries)
        for key, value in entries.items():
            if value is None:  # SGD without momentum
                continue
            if isinstance(value, bool) or not isinstance(value, Tensor | int | float):
                raise InputError(f"{file}: optimizer state {brief_repr(key)} of {order[number]}: expected a tensor")
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
            f"{file}: its scheduler has gamma {brief_repr(gamma)}, base lr {brief_repr(rates[0])}, step {brief_repr(last)}"
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
    """Check for a dict with string keys. `dict.items`: a forged OrderedDict may have attributes that hide its methods."""
    if not isinstance(raw, dict):
        raise InputError(f"{file}: expected {what} to be a dict, got {brief_repr(raw)}")
    found = dict(dict.items(raw))
    odd = next((key for key in found if type(key) is not str), None)
    if odd is not None:
        raise InputError(f"{file}: {what} has a key {brief_repr(odd)}, expected names")
    return found


def _check_tensor(file: str, what: str, value: object, shape: torch.Size, dtype: torch.dtype, hint: str = "") -> Tensor:
    if type(value) is not Tensor or value.layout != torch.strided or value.device.type != "cpu":
        raise InputError(f"{file}: {what} is {brief_repr(value)}, expected an ordinary tensor")
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
