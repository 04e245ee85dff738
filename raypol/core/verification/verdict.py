"""The verifier's answer: one outcome per check."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verifier import Evidence


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check's outcome, with what it looked at."""

    name: str
    passed: bool
    detail: str
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The verifier's answer; a value, never an exception."""

    policy: str
    checks: tuple[Check, ...]

    @property
    def is_valid(self) -> bool:
        """True if every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def rejected_by(self) -> str:
        """Names of the checks that said no, comma-separated; empty if valid."""
        return ",".join(check.name for check in self.checks if not check.passed)


CheckFunction = Callable[[Evidence, Thresholds, Distances | None], Check]
"""From evidence, slack and d_ref (if there is one) to one check's outcome."""


def check_problems(name: str, problems: Sequence[str], good: str) -> Check:
    """A check that passes if there are no problems; the detail is the first problem, or `good`."""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Check(
        name=name,
        passed=not problems,
        detail=problems[0] + more if problems else good,
        numbers={"problems": float(len(problems))},
    )
