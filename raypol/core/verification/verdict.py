"""The verifier's answer: one outcome per check."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verifier import Evidence

FAMILY: Final = "family"
"""Name of the check that a calibrated policy makes first."""
OTHER_MACHINE: Final = "other_machine"
"""Number of check `exact`: 1 where bits were compared on another class of machine than the proof was made on."""
UNJUDGED: Final = "unjudged_intervals"
"""Number of a check: intervals in which its slack is at least the claimed move, in every metric."""


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
    policy_sha256: str = ""
    """Of the policy's content, hex: what a row or a paper cites. Empty for a policy that is a function."""

    @property
    def is_valid(self) -> bool:
        """True if every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def rejected_by(self) -> str:
        """Names of the checks that said no, comma-separated; empty if valid."""
        return ",".join(check.name for check in self.checks if not check.passed)

    @property
    def unjudged(self) -> int:
        """Intervals whose slack is at least the claimed move: a replay that goes nowhere passes, so a pass says nothing."""
        return int(max((check.numbers.get(UNJUDGED, 0.0) for check in self.checks), default=0.0))

    @property
    def foreign(self) -> str:
        """Why the policy's numbers mean nothing for this proof, which is of another family; empty if they do."""
        return next((check.detail for check in self.checks if check.name == FAMILY and not check.passed), "")

    @property
    def inexact(self) -> str:
        """Why other bits than the recorded ones mean no fraud: nothing else is wrong, and the class of machine is another; empty
        where they do, or where there are none.
        """
        failed = [check for check in self.checks if not check.passed]
        return failed[0].detail if [check.numbers.get(OTHER_MACHINE) for check in failed] == [1.0] else ""


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
