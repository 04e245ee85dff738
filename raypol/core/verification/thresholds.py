"""Slack delta: how far replayed weights may be from the claimed ones."""

from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from raypol.core.distances import METRICS, UNDEFINED, Distances
from raypol.core.errors import InputError, reject_choice

SlackKind = Literal["static", "relative", "dynamic", "moves"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """Slack delta on the distance between claimed and replayed weights."""

    kind: SlackKind = "static"
    """static: delta in units of the weights; relative: delta times d_ref; dynamic: relative, shrinking as training proceeds;
    moves: delta times what the interval itself claims to move, so that a replay that goes nowhere is never within it."""
    l1: float = 1000.0
    """delta in l1."""
    l2: float = 10.0
    """delta in l2."""
    linf: float = 0.1
    """delta in linf."""
    cos: float = 0.01
    """delta in cosine distance."""
    late: float = 0.1
    """dynamic only: share of delta that is left at the end of training (Zhang et al. 2022, section V)."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(SlackKind):
            reject_choice("thresholds", self.kind, get_args(SlackKind))
        for name in (*METRICS, "late"):
            if not getattr(self, name) >= 0:
                raise InputError(f"expected {name} >= 0, got {getattr(self, name)}")

    def at(self, progress: float, d_ref: Distances | None, move: Distances = UNDEFINED) -> Distances:
        """Delta per metric of an interval.

        Args:
            progress: t/T in [0, 1].
            d_ref: distance between the final weights of two honest runs.
            move: d(W_{t-k}, W_t), what the interval claims to move.

        Raises:
            InputError: the kind needs a reference distance and there is none.
        """
        delta = Distances(self.l1, self.l2, self.linf, self.cos)
        if self.kind == "static":
            return delta
        if self.kind == "moves":
            return Distances(**{m: delta[m] * move[m] for m in METRICS})
        if d_ref is None:
            raise InputError(
                f"{self.kind} thresholds need d_ref, the distance between the final weights of two honest runs; "
                "give it (--reference PROOF_A PROOF_B) or use static thresholds"
            )
        left = 1.0 - (1.0 - self.late) * progress if self.kind == "dynamic" else 1.0
        return Distances(**{m: delta[m] * d_ref[m] * left for m in METRICS})


RELATIVE: Final = Thresholds(kind="relative", l1=0.1, l2=0.1, linf=0.15, cos=0.02)
"""Default slack in units of d_ref: about twice the honest error of the embedded example under fresh augmentation."""
MOVES: Final = Thresholds(kind="moves", l1=0.1, l2=0.1, linf=0.15, cos=0.05)
"""Slack where the prover's augmentation is repeated and rounding is the only honest error, for intervals of up to 10 steps."""
_MOVES_STEPS: Final = 10
_MOST_OF_A_MOVE: Final = 0.5


def slack_in_moves(interval: int) -> Thresholds:
    """Default slack for k = `interval`: `MOVES`, growing with k up to half of a move.

    Rounding grows with every step: another machine's takes an interval of 10 steps 0.02 of its move away, one of 100 steps at a
    high rate 0.35. A replay that goes nowhere, as those of forgeries without training do, ends a whole move away.
    """
    factor = max(interval / _MOVES_STEPS, 1.0)
    return replace(MOVES, **{m: min(factor * getattr(MOVES, m), _MOST_OF_A_MOVE) for m in METRICS})


def within(error: Distances, limit: Distances) -> bool:
    """True if every metric is finite and at most its limit; NaN is not."""
    return error.is_finite and all(error[m] <= limit[m] for m in METRICS)
