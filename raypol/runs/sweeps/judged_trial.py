"""What came of a trial of an adaptive search, and its score, which the search lowers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from raypol.runs.trials.relative_costs import largest_error_ratio
from raypol.runs.trials.rows import number_of
from raypol.store.results.rows import TrialRow
from raypol.store.results.verdict_rows import VerdictRow

_REJECTED: Final = 1e3
_FAILED: Final = 1e6
_FARTHEST: Final = 99.0
"""Scores: that of an accepted spoof is never larger, whatever it costs, and no rejected one fails so many checks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedTrial:
    """What came of a trial."""

    row: TrialRow | None
    """None for one that was lost before it had a row."""
    verdicts: Mapping[str, VerdictRow] = field(default_factory=dict)
    """By policy; empty if it failed, or was estimated."""

    @property
    def cost(self) -> float:
        """Generation time over the honest proof's, without waiting for writes; NaN if it has none."""
        return number_of(self.row.ratio_working) if self.row else math.nan

    @property
    def seconds(self) -> float:
        """Time of the forgery's devices, parts of interrupted tries too, and of its verification; NaN if it was not measured."""
        return number_of(self.row.device_s) + number_of(self.row.verify_s) if self.row else math.nan

    def rate(self, policy: str) -> float:
        """The share of nonces under which a policy accepts it; 0 if it was not judged."""
        verdict = self.verdicts.get(policy)
        return verdict.acceptance_rate if verdict else 0.0

    def score(self, policy: str) -> float:
        """What a search lowers: the expected cost until it is accepted, on a scale that ends, or by how many checks it is not."""
        verdict = self.verdicts.get(policy)
        if verdict is None or self.row is None or math.isnan(self.cost):
            return _FAILED
        if rate := self.rate(policy):
            expected = self.cost / rate
            return _REJECTED / (1.0 + _REJECTED / expected) if expected else 0.0
        worst = largest_error_ratio(self.row)
        nearness = min(math.log10(1.0 + worst), _FARTHEST) if worst < math.inf else _FARTHEST
        return _REJECTED * (1 + len(verdict.rejected_by.split(","))) + nearness
