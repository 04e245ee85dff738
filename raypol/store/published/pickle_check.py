"""Checking a pickle of torch.save without executing it: what it would build is followed on a stack of descriptions.

Only the needs of a model's, an optimizer's and a scheduler's state are let through. Everything that a hostile pickle would build
is bounded by its length: keys are names and numbers, since a nest of tuples as a key is hashed without end or past the end of the
C stack; a container is complete before it lies in another one, so that no nest is deeper than it looks; nothing is copied twice.
"""

import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from raypol.core.errors import InputError, first_line

_STORAGES: Final = {
    "FloatStorage": 4,
    "DoubleStorage": 8,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
}
"""Bytes per element."""
_ORDERED_DICT, _COUNTER, _REBUILD = "collections OrderedDict", "collections Counter", "torch._utils _rebuild_tensor_v2"
_GLOBALS: Final = {_ORDERED_DICT, _COUNTER, _REBUILD, *(f"torch {name}" for name in _STORAGES)}
"""All constructors in the states of a model, an optimizer and a scheduler."""
_LITERALS: Final = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"}
_PLAIN: Final = {"NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT"}
_MOST_ARGUMENTS: Final = 7
"""Of torch's function that builds a tensor."""
_TUPLES: Final = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PROTOCOL: Final = 2
_MAX_DEPTH: Final = 32
_MAX_SHOWN: Final = 80


class _Plain:
    """A number or truth whose value does not matter, or None."""


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    num_elements: int


class _Tensor:
    """A rebuilt tensor."""


@dataclass(frozen=True, slots=True)
class _Tuple:
    parts: tuple[Any, ...]
    depth: int


@dataclass(slots=True)
class _Container:
    """A list, dict, OrderedDict or Counter."""

    kind: str
    depth: int = 0
    placed: bool = False
    """It lies in another one, and must not change any more."""


class _UnusualError(ValueError):
    """An instruction in a way that torch.save does not write."""


def check_pickle(path: Path, pickled: bytes, sizes: Mapping[str, int], *, most_tensors: int) -> None:
    """Check what a pickle's instructions would build: no code, no storage that is not its member, nothing beyond its length.

    Args:
        path: the file, for messages.
        pickled: the pickle.
        sizes: bytes of each member of the archive.
        most_tensors: tensors that it may rebuild.

    Raises:
        InputError: it would build anything else than torch.save's dicts, lists, tuples, names, numbers and tensors.
    """
    machine = _Machine(path, sizes, most_tensors)
    try:
        for op, argument, _ in pickletools.genops(pickled):
            try:
                machine.step(op.name, argument)
            except _UnusualError as err:
                said = op.name if argument is None else f"{op.name} {brief_repr(argument)}"
                because = f" ({err})" if str(err) else ""
                raise InputError(
                    f"{path}: its pickle says {said}{because}, which torch.save does not write; none of it was run"
                ) from err
    except (ValueError, IndexError, KeyError) as err:
        if isinstance(err, InputError):
            raise
        raise InputError(f"{path}: its data.pkl is not a pickle ({short_line(err)})") from err


def brief_repr(value: object) -> str:
    """Value from a hostile file, fit for one line of a message; containers by their type only, for they may nest without end."""
    text = repr(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def short_line(said: object) -> str:
    """First line of another library's message about a hostile file, cut to a bounded length."""
    return first_line(said)[: 2 * _MAX_SHOWN]


class _Machine:
    """Torch's unpickler on descriptions of values. Raises what popping from an empty stack raises."""

    def __init__(self, path: Path, sizes: Mapping[str, int], most_tensors: int) -> None:
        self._path, self._sizes, self._tensors_left = path, sizes, most_tensors
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._fetched: dict[str, str] = {}

    def step(self, name: str, argument: Any) -> None:  # noqa: ANN401 - any literal
        """Follow one instruction."""
        stack = self._stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _PLAIN:
            stack.append(_Plain())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append(_Container("dict" if name == "EMPTY_DICT" else "list"))
        elif name in _TUPLES:
            count = _TUPLES[name]
            parts = [stack.pop() for _ in range(count)]
            stack.append(_tuple(parts[::-1]))
        elif name == "MARK":
            self._below.append(stack)
            self._stack = []
        elif name == "TUPLE":
            parts = self._popped()
            self._stack.append(_tuple(parts))
        elif name == "GLOBAL":
            self._global(str(argument))
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(self._call(stack.pop(), arguments))
        elif name == "BUILD":
            state, target = stack.pop(), stack[-1]
            _put(target, [_consume(state)], "OrderedDict")
        elif name in ("APPEND", "APPENDS"):
            parts = [stack.pop()] if name == "APPEND" else self._popped()
            _put(self._stack[-1], parts, "list")
        elif name in ("SETITEM", "SETITEMS"):
            parts = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else self._popped()
            if len(parts) % 2:
                raise _UnusualError("a key without a value")
            if not all(isinstance(key, str | int) for key in parts[::2]):
                raise _UnusualError("a key that is neither name nor number")
            _put(self._stack[-1], parts[1::2], "dict", "OrderedDict", "Counter")
        elif name == "STOP":
            stack.pop()
        elif name != "PROTO" or argument != _PROTOCOL:
            raise _UnusualError

    def _popped(self) -> list[Any]:
        """Values since the last mark."""
        parts, self._stack = self._stack, self._below.pop()
        return parts

    def _global(self, name: str) -> None:
        if name not in _GLOBALS:
            raise InputError(
                f"{self._path}: carries code: its pickle calls {brief_repr(name.replace(' ', '.'))}; none of it was run. "
                "Expected tensors, numbers and dicts only"
            )
        self._stack.append(_Global(name))

    def _call(self, what: object, arguments: object) -> _Container | _Tensor:
        if not isinstance(what, _Global) or not isinstance(arguments, _Tuple):
            raise _UnusualError
        parts = arguments.parts
        if what.name == _ORDERED_DICT and not parts:
            return _Container("OrderedDict")
        if what.name == _COUNTER and len(parts) == 1:
            return _Container("Counter", depth=_consume(parts[0], placed=True).depth)
        if what.name == _REBUILD:
            self._tensors_left -= 1
            if self._tensors_left < 0:
                raise InputError(f"{self._path}: its pickle rebuilds more tensors than the declared model needs")
            _check_tensor(parts)
            return _Tensor()
        raise _UnusualError("a call with other arguments")

    def _storage(self, found: object) -> _Storage:
        """Compare the size in ("storage", type, key, device, number of elements) with that of the member."""
        match found:
            case _Tuple(parts=("storage", _Global(name=kind), str(key), str(), int(count))):
                itemsize = _STORAGES.get(kind.removeprefix("torch "))
                if itemsize is not None and self._fetched.setdefault(key, kind) == kind:
                    have = self._sizes.get(f"data/{key}")
                    if have != count * itemsize:
                        raise InputError(
                            f"{self._path}: storage {brief_repr(key)} claims {count * itemsize} bytes, its member has "
                            f"{have or 'none'}"
                        )
                    return _Storage(count)
        raise InputError(f"{self._path}: its pickle fetches a storage in a way that torch.save does not write")


def _tuple(parts: list[Any]) -> _Tuple:
    return _Tuple(tuple(parts), _depth_of(parts))


def _depth_of(parts: list[Any]) -> int:
    """Depth of a container of these parts, which are complete from now on."""
    depth = 1
    for part in parts:
        if isinstance(part, _Container):
            part.placed = True
        if isinstance(part, _Container | _Tuple):
            depth = max(depth, part.depth + 1)
    if depth > _MAX_DEPTH:
        raise _UnusualError(f"containers nested deeper than {_MAX_DEPTH}")
    return depth


def _put(target: object, parts: list[Any], *kinds: str) -> None:
    if not isinstance(target, _Container) or target.kind not in kinds or target.placed:
        raise _UnusualError("a container that changes after it was put into another one, or is none")
    target.depth = max(target.depth, _depth_of(parts))
    if target.placed:
        raise _UnusualError("a container that is put into itself")


def _consume(part: object, *, placed: bool = False) -> _Container:
    """Let a dict be copied once: a large one that is copied again for a few bytes each time would grow to any size."""
    if not isinstance(part, _Container) or part.kind != "dict" or (part.placed and not placed):
        raise _UnusualError("other than with a new dict")
    part.placed, part.kind = True, "copied dict"
    return part


def _check_tensor(parts: tuple[Any, ...]) -> None:
    """Arguments of _rebuild_tensor_v2: storage, offset, size, stride, whether it requires a gradient, hooks, flags as a dict."""
    match parts[:6]:
        case (_Storage(num_elements=have), int(offset), _Tuple(parts=size), _Tuple(parts=stride), _Plain(), hooks):
            numbers = [*size, *stride]
            if (
                all(isinstance(part, _Container) for part in (hooks, *parts[6:]))
                and len(parts) <= _MOST_ARGUMENTS
                and len(size) == len(stride)
                and offset >= 0
                and all(isinstance(number, int) and number >= 0 for number in numbers)
            ):
                reach = sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1 if all(size) else 0
                if offset + reach <= have or not reach:
                    return
    raise _UnusualError("a tensor that does not lie in its storage")
