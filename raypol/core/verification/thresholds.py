"""Slack delta: how far replayed weights may be from the claimed ones."""

from dataclasses import dataclass
from typing import Final, Literal

from raypol.core.distances import METRICS, Distances
from raypol.core.errors import InputError, reject_choice


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """Slack delta on the distance between claimed and replayed weights."""

    kind: Literal["static", "relative", "dynamic"] = "static"
    """static: delta in units of the weights; relative: delta times d_ref; dynamic: relative, shrinking as training proceeds."""
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
        if self.kind not in ("static", "relative", "dynamic"):
            reject_choice("thresholds", self.kind, ("static", "relative", "dynamic"))
        for name in (*METRICS, "late"):
            if not getattr(self, name) >= 0:
                raise InputError(f"expected {name} >= 0, got {getattr(self, name)}")

    def at(self, progress: float, d_ref: Distances | None) -> Distances:
        """Delta per metric at training progress t/T in [0, 1].

        Raises:
            InputError: the kind needs a reference distance and there is none.
        """
        delta = Distances(self.l1, self.l2, self.linf, self.cos)
        if self.kind == "static":
            return delta
        if d_ref is None:
            raise InputError(
                f"{self.kind} thresholds need d_ref, the distance between the final weights of two honest runs; "
                "give it (--reference PROOF_A PROOF_B) or use static thresholds"
            )
        left = 1.0 - (1.0 - self.late) * progress if self.kind == "dynamic" else 1.0
        return Distances(**{m: delta[m] * d_ref[m] * left for m in METRICS})


RELATIVE: Final = Thresholds(kind="relative", l1=0.1, l2=0.1, linf=0.15, cos=0.02)
"""Default slack in units of d_ref: about twice the honest error of the embedded example under fresh augmentation."""


def within(error: Distances, limit: Distances) -> bool:
    """True if every metric is finite and at most its limit; NaN is not."""
    return error.is_finite and all(error[m] <= limit[m] for m in METRICS)
