"""Evidence that only some checks look at and that costs more than the rest: the survey gathers it if a policy asks for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raypol.core.proof import ProofSource
from raypol.core.training.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Wish:
    """What to gather."""

    gather: Callable[..., tuple[Any, ...]]
    """From proof, trainer and a range of positions in it to findings, which are joined over the ranges. All checkpoints of the
    range, and the one before it, are the declared model's, and all indices of the steps that lead to each are legal."""
    parameters: tuple[tuple[str, float], ...] = ()
    """Its keyword arguments."""

    def __call__(self, source: ProofSource, trainer: Trainer, positions: range) -> tuple[Any, ...]:
        """Gather it from a part of a proof."""
        return self.gather(source, trainer, positions, **dict(self.parameters))

    @classmethod
    def of(cls, gather: Callable[..., tuple[Any, ...]], **parameters: float) -> "Wish":
        """The wish with these parameters, in one order."""
        return cls(gather, tuple(sorted(parameters.items())))


def evenly(count: int, of: int) -> frozenset[int]:
    """At most `count` of 0, ..., of - 1, in equal distances."""
    return frozenset(of * i // count for i in range(count))
