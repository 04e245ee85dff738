"""Scores from a trial's measurements: removed share, and whether a spoof succeeded (docs/protocol.md, "Success")."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from raypol.core.distances import METRICS, UNDEFINED, Distances

NULL: Final = "null"
"""Name of the control that crafts nothing: ordinary batches."""
CONTROLS: Final = (NULL, "infinitesimal")
"""Names of the attacks that craft nothing: an attack has earned its cost if it does better."""


def largest(distances: Iterable[Distances]) -> Distances:
    """Per metric the largest value; NaN if any is NaN, for a NaN must not hide behind a comparison."""
    return _reduce(distances, lambda values: math.nan if any(map(math.isnan, values)) else max(values))


def mean(distances: Iterable[Distances]) -> Distances:
    """Per metric the mean."""
    return _reduce(distances, lambda values: math.fsum(values) / len(values) if _finite(values) else math.nan)


def removed_share(control: Distances, attack: Distances, jump: Distances) -> Distances:
    """(null - attack) / (null - jump) of one interval: the share of the avoidable error that crafting removed.

    NaN where ordinary batches do no more harm than no update at all: there is nothing to remove.
    """
    return Distances(
        **{m: (control[m] - attack[m]) / (control[m] - jump[m]) if control[m] > jump[m] else math.nan for m in METRICS}
    )


def overall_removed_share(intervals: Sequence[tuple[Distances, Distances, Distances]]) -> Distances:
    """Removed share of a whole spoof from (control, attack, jump) per interval: sums before the ratio.

    A mean of the intervals' own shares is ruled by the few where null and jump nearly agree, whose ratio means nothing.
    """
    if not intervals:
        return UNDEFINED
    controls, attacks, jumps = (mean(column) for column in zip(*intervals, strict=True))
    return removed_share(controls, attacks, jumps)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurements:
    """What success is judged from, of a proof or a spoof."""

    error: Distances
    """Normalised reproduction error, max over intervals."""
    device_s: float
    """Generation time in device seconds."""
    size_bytes: int
    """Storage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Success:
    """Outcome of each condition, as the ratio of the spoof's value to the proof's."""

    accepted: bool
    rejected_by: str
    ratios: Mapping[str, float]
    """error_l1, ..., error_cos, time, size: spoof / proof; below 1 is better than the proof."""

    @property
    def failed(self) -> tuple[str, ...]:
        """The conditions that do not hold."""
        verdict = () if self.accepted else tuple(f"rejected:{name}" for name in self.rejected_by.split(","))
        return verdict + tuple(name for name, ratio in self.ratios.items() if not ratio < 1.0)

    @property
    def is_success(self) -> bool:
        """True if every condition holds."""
        return not self.failed

    @property
    def bound_by(self) -> str:
        """The conditions that failed; for a success the one that comes closest to failing."""
        return ",".join(self.failed) or max(self.ratios, key=lambda name: self.ratios[name])


def judge_success(spoof: Measurements, proof: Measurements, *, accepted: bool, rejected_by: str) -> Success:
    """A spoof succeeds when it is accepted, errs less than the proof in all metrics, and cost less time and storage."""
    ratios = {f"error_{m}": _ratio(spoof.error[m], proof.error[m]) for m in METRICS}
    ratios["time"] = _ratio(spoof.device_s, proof.device_s)
    ratios["size"] = _ratio(float(spoof.size_bytes), float(proof.size_bytes))
    return Success(accepted=accepted, rejected_by=rejected_by, ratios=ratios)


def _ratio(value: float, reference: float) -> float:
    return value / reference if reference > 0.0 else math.inf


def _finite(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values))


def _reduce(distances: Iterable[Distances], reduce: Callable[[Sequence[float]], float]) -> Distances:
    rows = list(distances)
    if not rows:
        return UNDEFINED
    return Distances(**{m: reduce([row[m] for row in rows]) for m in METRICS})
