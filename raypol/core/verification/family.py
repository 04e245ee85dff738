"""The family of trainings that a calibrated policy is valid for: its numbers mean nothing about any other."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from raypol.core.proof import Recipe
from raypol.core.training.optimizers import learning_rates
from raypol.core.verification.replay import Augmentation, Conditions, ReplayPrecision
from raypol.core.verification.verifier import Evidence

_OWN: Final = ("seed", "shares", "given", "device", "threads", "steps", "schedule")
"""Fields of a recipe in which two runs of one family may differ."""
_NUM_RATES: Final = 40
_RATE_TOLERANCE: Final = 0.02
"""Of the largest rate."""
_MOST_OFF: Final = 1
"""Of the points at which rates are compared: a drop may fall on the other side of one where T' is not T."""
_LENGTHS: Final = 2.0
"""How many times longer or shorter than the calibrated run a training may be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """What must be as in the runs that a policy was calibrated on, for their errors grow and fall with all of it."""

    recipe: Mapping[str, Any]
    """Fields of the recipe that must be equal: data, model, k, batch size, optimizer, transform, loss, arithmetic."""
    steps: int
    """T of the calibrated runs; between half and twice of it is of the family."""
    rates: tuple[float, ...]
    """Learning rates at equal shares of training: the schedule whatever its name and length."""
    augmentation: Augmentation
    """Of the replay."""
    precision: ReplayPrecision
    """Of the replay."""

    @classmethod
    def of(cls, evidence: Evidence) -> "Family":
        """The family of a proof, examined under the conditions that its evidence names."""
        return cls(
            recipe=_common(evidence.recipe),
            steps=evidence.recipe.steps,
            rates=_rates(evidence.recipe),
            augmentation=evidence.conditions.augmentation,
            precision=evidence.conditions.precision,
        )

    def conditions(self) -> Conditions:
        """The conditions of the calibration, under the verifier's usual nonce."""
        return Conditions(augmentation=self.augmentation, precision=self.precision)

    def problems(self, evidence: Evidence) -> Iterator[str]:
        """How a proof, or the way it was examined, is of another family."""
        own = Family.of(evidence)
        for name, expected in self.recipe.items():
            if (got := own.recipe.get(name)) != expected:
                yield f"{name}: calibrated on {_short(expected)}, the proof has {_short(got)}"
        if not self.steps <= own.steps * _LENGTHS or not own.steps <= self.steps * _LENGTHS:
            yield f"steps: calibrated on T = {self.steps}, the proof has {own.steps}, expected half to twice of it"
        allowed = _RATE_TOLERANCE * max(self.rates, default=0.0)
        off = [i for i, (a, b) in enumerate(zip(self.rates, own.rates, strict=True)) if not abs(a - b) <= allowed]
        if len(off) > _MOST_OFF:
            at, rates = f"at {off[0] / _NUM_RATES:.0%} of training", (self.rates[off[0]], own.rates[off[0]])
            yield f"learning rate {at}: calibrated on {rates[0]:g}, the proof has {rates[1]:g}"
        for name in ("augmentation", "precision"):
            if getattr(self, name) != getattr(own, name):
                yield f"replay: calibrated under {name} {getattr(self, name)}, examined under {getattr(own, name)}"


def _common(recipe: Recipe) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))  # lists for tuples, as in a policy file
    return {name: value for name, value in content.items() if name not in _OWN}


def _rates(recipe: Recipe) -> tuple[float, ...]:
    rates = learning_rates(recipe)
    return tuple(float(rates[i * recipe.steps // _NUM_RATES]) for i in range(_NUM_RATES))


def _short(value: object, most: int = 60) -> str:
    text = json.dumps(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."
