"""Reproducible arithmetic as a context: inside, every operation of torch goes through `operations`, of either pass."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from raypol.core.arithmetic.reproducible.operations import CHOOSING, COMPUTED, PASSING
from raypol.core.arithmetic.reproducible.self_test import check_arithmetic
from raypol.core.errors import InputError

_POSSIBLE: Final = (
    "convolutions, linear layers, batch norm, relu, pooling, softmax, cross-entropy and elementary arithmetic"
)
_FORMATS: Final = (torch.float32, torch.float64)
_active = threading.local()


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Inside, and in backward passes that are made inside, every bit is the same on any machine.

    Within itself it changes nothing. cuDNN is off, which would take layers as a whole.

    Raises:
        InputError: the device does not follow IEEE 754; inside, an operation that has no reproducible form.
    """
    if getattr(_active, "yes", False):
        yield
        return
    check_arithmetic(device)
    with ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        stack.enter_context(_ReproducibleMode())  # type: ignore[no-untyped-call]  # torch's
        _active.yes = True
        try:
            yield
        finally:
            _active.yes = False


class _ReproducibleMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
    """Below autograd: what it sees of a layer or its derivative are the operations that a device would compute."""

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - torch's OpOverload
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - what the operation returns
        return _computed(func)(*args, **(kwargs or {}))


@lru_cache(maxsize=4096)
def _computed(func: Any) -> Callable[..., Any]:  # noqa: ANN401 - torch's OpOverload
    """How an operation is computed."""
    namespace, _, name = func._schema.name.partition("::")
    plain = "out" not in func._overloadname and namespace == "aten"
    if plain and name in COMPUTED:
        return COMPUTED[name]
    if plain and name in PASSING:
        return _in_formats(func, name)
    if namespace == "aten" and name in CHOOSING:
        return lambda *args, **kwargs: _without_minus_zero(func(*args, **kwargs))
    if namespace == "profiler":
        return func  # type: ignore[no-any-return]
    return _without_floats(func, f"{namespace}.{name}")


def _in_formats(func: Any, name: str) -> Callable[..., Any]:  # noqa: ANN401 - torch's OpOverload
    """The operation itself, where it makes no other format than float32 and float64."""

    def checked(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        dtype = kwargs.get("dtype")
        if dtype is not None and (dtype.is_floating_point or dtype.is_complex) and dtype not in _FORMATS:
            raise InputError(
                f"reproducible arithmetic has float32 and float64, got {str(dtype).removeprefix('torch.')} in {name}"
            )
        return func(*args, **kwargs)

    return checked


def _without_minus_zero(found: Any) -> Any:  # noqa: ANN401 - what the operation returns
    return found.add_(0.0) if isinstance(found, Tensor) and found.is_floating_point() else found


def _without_floats(func: Any, name: str) -> Callable[..., Any]:  # noqa: ANN401 - torch's OpOverload
    """The operation itself on whole numbers, which have no rounding; refused on others."""

    def checked(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        found = None if _has_floats((args, kwargs)) else func(*args, **kwargs)
        if found is None or _has_floats(found):
            raise InputError(f"reproducible arithmetic has no {name}; it has {_POSSIBLE}")
        return found

    return checked


def _has_floats(values: Any) -> bool:  # noqa: ANN401 - arguments or results of any operation
    if isinstance(values, Tensor):
        return values.is_floating_point() or values.is_complex()
    if isinstance(values, Mapping):
        return any(map(_has_floats, values.values()))
    return isinstance(values, list | tuple) and any(map(_has_floats, values))
