"""What evidence means: a policy is a tuple of checks, by name.

`published` looks at what the published verifier looks at, `strict` at everything in docs/protocol.md, "Verifier". Checks are
added by name (`strict+performance_trend`). A policy of your own is any function from evidence to a verdict, named by import path.

Difference from the published code: a NaN or infinite weight, distance or loss rejects under every policy (there, comparisons
with NaN are false and pass).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from raypol.core.distances import Distances
from raypol.core.errors import reject_choice
from raypol.core.imports import is_import_path, load_object
from raypol.core.verification.checks import CHECKS
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check, CheckFunction, Verdict
from raypol.core.verification.verifier import Evidence

PolicyFunction = Callable[[Evidence, Thresholds, Distances | None], Verdict]


@dataclass(frozen=True, slots=True)
class Policy:
    """Checks in order, and their name as a whole."""

    name: str
    parts: tuple[CheckFunction | PolicyFunction, ...]
    """Checks, and policies all of whose checks are included."""

    def __call__(self, evidence: Evidence, thresholds: Thresholds, d_ref: Distances | None = None) -> Verdict:
        """Judge a proof by every check.

        Args:
            evidence: what `examine` found.
            thresholds: the slack.
            d_ref: distance between the final weights of two honest runs; relative and dynamic thresholds need it.
        """
        checks: list[Check] = []
        for part in self.parts:
            found = part(evidence, thresholds, d_ref)
            checks += found.checks if isinstance(found, Verdict) else [found]
        return Verdict(policy=self.name, checks=tuple(checks))


def _policy(name: str, *checks: str) -> Policy:
    return Policy(name, tuple(CHECKS[check] for check in checks))


_SOUND: Final = ("structure", "indices", "finite", "hashes")
published: Final = _policy("published", *_SOUND, "initial_laws", "replay")
"""Random initial laws, hashes, replayed weights; constants of W_0 and the optimizer's state are taken on trust."""
strict: Final = _policy("strict", "admissible", *_SOUND, "initial_state", "replay", "optimizer_state", "buffers")
"""The declared rule, constants of W_0, the optimizer's state and the buffers too."""
strict_trend: Final = Policy("strict_trend", (strict, CHECKS["performance_trend"]))
"""`strict`, and the recorded models' accuracy must rise with training progress."""
POLICIES: Final = {policy.name: policy for policy in (published, strict, strict_trend)}


def find_policy(name: str) -> PolicyFunction:
    """Policy by name, or a policy and further checks: POLICY+CHECK+..., each a name or an import path.

    Raises:
        InputError: no such policy or check.
    """
    first, *added = name.split("+")
    policy: Any = load_object(first) if is_import_path(first) else POLICIES.get(first)
    if policy is None:
        reject_choice("policy", first, POLICIES, path="my_pkg.checks:judge")
    return Policy(name, (policy, *map(_find_check, added))) if added else policy


def _find_check(name: str) -> CheckFunction | PolicyFunction:
    check: CheckFunction | PolicyFunction | None = load_object(name) if is_import_path(name) else CHECKS.get(name)
    if check is None:
        reject_choice("check", name, CHECKS, path="my_pkg.checks:steady")
    return check
