"""Which declared optimizers, schedules and transforms train: nothing may grow or vanish by declaration alone.

A replay follows whatever the proof declares. With momentum above 1 a state forged far below any slack grows as declared until it
has carried W_0 to W_T; with a negative rate the largest rate still to come is not the one that counts; with rate times weight
decay above 1 a model shrinks, is turned while it is tiny, and grows back. None of them is training.
"""

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from raypol.core.proof import Recipe
from raypol.core.training.optimizers import build_optimizer

MAX_DECAY: Final = 0.9999
"""Of a momentum, beta, rho or alpha: a state forgets within 10^4 steps."""
_STD_RANGE: Final = (1e-4, 10.0)
"""Of a normalised pixel in [0, 1]: beyond it the input is wiped out, or all that the model sees."""


def _within(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: _is_number(value) and low <= value <= high


def _is_number(value: object) -> bool:
    # Compared, for a whole number may be larger than any float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_pair(value: Any) -> bool:  # noqa: ANN401 - an option of the proof
    return isinstance(value, tuple | list) and len(value) == 2 and all(map(_is_number, value))


def _is_decay_pair(value: Any) -> bool:  # noqa: ANN401 - an option of the proof
    return _is_pair(value) and all(map(_within(0.0, MAX_DECAY), value))


def _is_epsilon(value: Any) -> bool:  # noqa: ANN401 - an option of the proof; Adafactor has two, the first may be None
    parts = value if isinstance(value, tuple | list) else (value,)
    return all(part is None or (_is_number(part) and 0.0 < part <= 1.0) for part in parts)


def _are_step_sizes(value: Any) -> bool:  # noqa: ANN401 - an option of the proof
    return _is_pair(value) and 0.0 < value[0] <= value[1] <= 50.0


def _are_etas(value: Any) -> bool:  # noqa: ANN401 - an option of the proof
    return _is_pair(value) and 0.0 < value[0] < 1.0 < value[1] <= 2.0


def _are_coefficients(value: Any) -> bool:  # noqa: ANN401 - an option of the proof
    return isinstance(value, tuple | list) and list(value) == [3.4445, -4.775, 2.0315]


_DECAY: Final = (_within(0.0, MAX_DECAY), f"in 0..{MAX_DECAY}")
_NOT_NEGATIVE: Final = (_within(0.0, math.inf), "finite and >= 0")
_ANYTHING: Final = (lambda _: True, "")
OPTIONS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "lr": _NOT_NEGATIVE,
    "momentum": _DECAY,
    "dampening": (_within(0.0, 0.9), "in 0..0.9"),
    "betas": (_is_decay_pair, f"two numbers in 0..{MAX_DECAY}"),
    "rho": _DECAY,
    "alpha": _DECAY,
    "eps": (_is_epsilon, "in 0..1 and above 0"),
    "weight_decay": _NOT_NEGATIVE,
    "lambd": _NOT_NEGATIVE,
    "lr_decay": _NOT_NEGATIVE,
    "t0": _NOT_NEGATIVE,
    "initial_accumulator_value": _NOT_NEGATIVE,
    "momentum_decay": _NOT_NEGATIVE,
    "beta2_decay": (_within(-1.0, 0.0), "in -1..0"),
    "d": (_within(1e-3, 1e3), "in 0.001..1000"),
    "etas": (_are_etas, "a pair around 1, at most 2"),
    "step_sizes": (_are_step_sizes, "a rising pair above 0, at most 50"),
    "ns_coefficients": (_are_coefficients, "those of the class"),
    "ns_steps": (_within(1, 20), "in 1..20"),
    "maximize": (lambda value: not value, "False: training goes down"),
    # How it is computed, or which of two published variants; neither lets a state grow.
    **dict.fromkeys(
        (
            "nesterov",
            "amsgrad",
            "centered",
            "decoupled_weight_decay",
            "adjust_lr_fn",
            "foreach",
            "fused",
            "capturable",
            "differentiable",
        ),
        _ANYTHING,
    ),
}
"""What each option of torch.optim's classes may be, and in words."""


def rule_problems(recipe: Recipe, rates: npt.NDArray[np.float64], image_shape: tuple[int, ...]) -> Iterator[str]:
    """What of the declared optimizer, schedule and transform is not a rule that trains.

    Args:
        recipe: A of the proof.
        rates: (T,) learning rate of every step.
        image_shape: (C, H, W) of the dataset.
    """
    optimizer = build_optimizer(recipe.optimizer, [nn.Parameter(torch.zeros(1, 1))])
    for name, value in optimizer.defaults.items():
        good, words = OPTIONS.get(name, (lambda _: False, "known"))
        if not good(value):
            yield f"optimizer {recipe.optimizer.name}: expected {name} {words}, got {value!r}"
    if not np.isfinite(rates).all() or rates.min() < 0.0:
        worst = rates[~np.isfinite(rates)][0] if not np.isfinite(rates).all() else rates.min()
        yield f"schedule {recipe.schedule.name}: expected every rate finite and >= 0, got {worst:g}"
    for name in ("weight_decay", "lambd"):
        decay = optimizer.defaults.get(name, 0.0)
        if _is_number(decay) and not (shrink := float(rates.max()) * decay) < 1.0:
            yield f"rate times {name} is {shrink:.3g}: expected < 1, or weights change sign or grow by decay alone"
    transform = recipe.transform
    if any(not _within(-_STD_RANGE[1], _STD_RANGE[1])(mean) for mean in transform.mean):
        yield f"transform: expected means in -{_STD_RANGE[1]:g}..{_STD_RANGE[1]:g}, got {transform.mean}"
    if any(not _within(*_STD_RANGE)(std) for std in transform.std):
        yield f"transform: expected deviations in {_STD_RANGE[0]:g}..{_STD_RANGE[1]:g}, got {transform.std}"
    if transform.crop_padding > min(image_shape[1:]) // 2:
        size = "x".join(map(str, image_shape[1:]))
        yield f"transform: a crop padding of {transform.crop_padding} pixels is more than half of {size}"
