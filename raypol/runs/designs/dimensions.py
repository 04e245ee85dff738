"""The axes that an adaptive search varies, as Optuna's parameters and back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raypol.core.errors import InputError
from raypol.runs.designs.axes import is_domain, is_drawn, is_grid, listed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True, slots=True)
class Dimension:
    """An axis: values to list, or a range of numbers."""

    axis: str
    values: tuple[Any, ...] = ()
    """The values; empty for a range."""
    low: float = 0.0
    high: float = 0.0
    """Both ends of a range are in it."""
    step: int = 0
    """Numbers are multiples of it, both ends too, and whole; 0 = any number."""
    log: bool = False

    @property
    def distribution(self) -> "BaseDistribution":
        """As Optuna draws from it: values by their place, as some are mappings, which it cannot store."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        if self.values:
            return CategoricalDistribution(range(len(self.values)))
        return FloatDistribution(self.low, self.high, log=self.log)

    def value(self, drawn: Any) -> Any:  # noqa: ANN401 - any axis
        """The axis's value for a parameter of Optuna's."""
        if self.values:
            return self.values[drawn]
        if not self.step:
            return float(drawn)
        return int(min(max(round(drawn / self.step) * self.step, self.low), self.high))

    def parameter(self, value: Any) -> Any:  # noqa: ANN401 - any axis
        """Optuna's parameter for a value.

        Raises:
            InputError: the axis has no such value.
        """
        if (
            not self.values
            and _is_number(value)
            and self.low <= value <= self.high
            and (not self.step or value % self.step == 0)
        ):
            return float(value)
        texts = [_text(one) for one in self.values]
        if _text(value) in texts:
            return texts.index(_text(value))
        raise InputError(f"axis {self.axis} is searched over {self}, which {value!r} is none of")

    def end_of(self, value: Any) -> str:  # noqa: ANN401 - any axis
        """`low` or `high` for a number at the end of its range: a better one may lie beyond. Empty for others."""
        if self.values and not all(map(_is_number, self.values)):
            return ""
        ends = (min(self.values), max(self.values)) if self.values else (self.low, self.high)
        return "low" if value <= ends[0] else "high" if value >= ends[1] else ""

    def __str__(self) -> str:
        if self.values:
            return ", ".join(map(_text, self.values))
        steps = f" by {self.step}" if self.step > 1 else ""
        return f"{self.low:g}..{self.high:g}{steps}{', log' if self.log else ''}"


def dimension_of(axis: str, values: Any) -> Dimension:  # noqa: ANN401 - Tune's
    """The dimension of an axis in Ray Tune's vocabulary.

    Raises:
        InputError: an empty axis, a distribution without ends, or one of steps that are not whole.
    """
    if is_grid(values) or (is_domain(values) and not is_drawn(values)):
        found = tuple(listed(axis, values))
        if not found:
            raise InputError(f"axis {axis} is empty; expected at least one value")
        return Dimension(axis, values=found)
    from ray.tune.search.sample import Float, Integer, LogUniform, Quantized, Uniform

    sampler = values.get_sampler() if is_domain(values) else None
    quantum, inner = (sampler.q, sampler.sampler) if isinstance(sampler, Quantized) else (None, sampler)
    if not isinstance(values, Float | Integer) or not isinstance(inner, LogUniform | Uniform):
        raise InputError(
            f"axis {axis} is no choice and no range with two ends; expected tune.choice, tune.qlograndint, ..."
        )
    whole, low, high = isinstance(values, Integer), values.lower, values.upper
    if quantum is not None and not whole:
        raise InputError(f"axis {axis} is in steps of {quantum:g}: expected whole numbers, or a range without steps")
    step = int(quantum or 1) if whole else 0
    if step:
        high -= quantum in (None, 1)  # Tune leaves the end out, but for quantised ones
        low, high = -(-low // step) * step, high // step * step
    if low > high:
        raise InputError(f"axis {axis} has no value between {values.lower:g} and {values.upper:g}")
    return Dimension(axis, low=low, high=high, step=step, log=isinstance(inner, LogUniform))


def dimensions_of(space: Mapping[str, Any]) -> dict[str, Dimension]:
    """The dimensions of several axes."""
    return {axis: dimension_of(axis, values) for axis, values in space.items()}


def ends_of(dimensions: Mapping[str, Dimension], point: Mapping[str, Any]) -> list[str]:
    """The axes on which a point lies at the end of the range, each with which end."""
    ends = {axis: dimensions[axis].end_of(value) for axis, value in point.items() if axis in dimensions}
    return [f"{axis} {end}" for axis, end in ends.items() if end]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:  # noqa: ANN401 - any value of an axis
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
