"""The rehearsal of a model before anything is started: one step on two random points, with a model that is then thrown away.

What is wrong with a user's model shows in its first step, which a worker would otherwise make after everything was prepared.
The rehearsal decides the memory format, too. It is made once per process, on the CPU, and leaves torch's random stream alone.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from raypol.core.arithmetic.precision import WEIGHT_DTYPES, Precision, arithmetic, cast
from raypol.core.augment import Transform, normalise
from raypol.core.errors import InputError, first_names
from raypol.core.imports import is_import_path, load_object, own_code
from raypol.core.models import build_model

MEMORY_FORMATS: Final = {False: torch.contiguous_format, True: torch.channels_last}
"""Of images and convolutions, by `Recipe.channels_last`."""
_CPU: Final = torch.device("cpu")
_POINTS: Final = 2
"""The fewest that every norm layer takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """What will be asked of a model."""

    model: str
    """Built-in name or import path."""
    image_shape: tuple[int, int, int]
    """(C, H, W)."""
    num_classes: int
    batch_size: int = _POINTS
    """Points per update: with one, one is rehearsed."""
    transform: Transform = field(default_factory=Transform)
    """Its normalisation counts."""
    precision: Precision = "float32"
    """The format of the weights counts, and whether it is reproducible."""
    channels_last: bool = False


def rehearse(asked: Rehearsal) -> tuple[str, ...]:
    """Make the step; returns the trainable parameters that got no gradient.

    Raises:
        InputError: the model cannot be built, or it cannot make the step, and the ways out.
    """
    asked = _as_rehearsed(asked)
    try:
        return _step(asked, _version(asked))
    except InputError as err:
        way_out = ""
        if asked.channels_last and _passes(other := replace(asked, channels_last=False), _version(other)):
            way_out = "; in the memory format contiguous it can: give --memory-format auto"
        elif asked.batch_size == 1 and _passes(other := replace(asked, batch_size=_POINTS), _version(other)):
            way_out = f"; on {_POINTS} it can: give --batch-size {_POINTS} or more"
        raise InputError(f"{err}{way_out}") from err


def takes_channels_last(asked: Rehearsal) -> bool:
    """True if the model can make the step in the memory format channels_last."""
    asked = replace(_as_rehearsed(asked), channels_last=True)
    return _passes(asked, _version(asked))


def _as_rehearsed(asked: Rehearsal) -> Rehearsal:
    transform = asked.transform.without_augmentation()
    return replace(asked, batch_size=min(asked.batch_size, _POINTS), transform=transform)


def _version(asked: Rehearsal) -> int:
    """Another number for another function of the same name: a notebook's user mends a module and reloads it."""
    return id(load_object(asked.model)) if is_import_path(asked.model) else 0


@lru_cache(maxsize=64)
def _passes(asked: Rehearsal, version: int) -> bool:
    try:
        _step(asked, version)
    except InputError:
        return False
    return True


@lru_cache(maxsize=64)
def _step(asked: Rehearsal, _: int) -> tuple[str, ...]:
    n, shape, dtype = asked.batch_size, asked.image_shape, WEIGHT_DTYPES[asked.precision]
    name, memory_format = asked.model, MEMORY_FORMATS[asked.channels_last]
    model = cast(build_model(name, in_channels=shape[0], num_classes=asked.num_classes), asked.precision)
    what = _images(asked)
    how = f", {asked.precision}" * (dtype != torch.float32) + ", memory format channels_last" * asked.channels_last
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        inputs = normalise(torch.rand(n, *shape, dtype=dtype), asked.transform).contiguous(memory_format=memory_format)
        with own_code(f"model {name} cannot make a step on {what}{how}"), arithmetic(asked.precision, _CPU):
            model.to(memory_format=memory_format)
            logits = _checked_logits(model(inputs), asked).to(dtype)
            if not logits.requires_grad:
                raise InputError(
                    f"the output of model {name} has no gradient: is it detached, or made under no_grad()?"
                )
            F.cross_entropy(logits, torch.arange(n) % asked.num_classes).backward()  # type: ignore[no-untyped-call]
        predicting = own_code(f"model {name} cannot predict {what} in evaluation mode{how}")
        with predicting, torch.no_grad(), arithmetic(asked.precision, _CPU):
            _checked_logits(model.eval()(inputs), asked)
    gradients = {key: p.grad for key, p in model.named_parameters() if p.requires_grad}
    sparse = [key for key, gradient in gradients.items() if gradient is not None and gradient.is_sparse]
    if sparse:
        raise InputError(f"model {name}: expected dense gradients, got sparse ones of {first_names(sparse)}")
    return tuple(key for key, gradient in gradients.items() if gradient is None)


def _images(asked: Rehearsal) -> str:
    return f"{asked.batch_size} image{'s' if asked.batch_size > 1 else ''} of {'x'.join(map(str, asked.image_shape))}"


def _checked_logits(output: object, asked: Rehearsal) -> Tensor:
    expected = f"expected logits of shape (B, {asked.num_classes})"
    if not isinstance(output, Tensor):
        raise InputError(f"model {asked.model} returns a {type(output).__name__}, {expected}")
    if output.shape != (asked.batch_size, asked.num_classes):
        raise InputError(
            f"model {asked.model} returns a tensor of shape {tuple(output.shape)} for {_images(asked)}, {expected}"
        )
    return output
