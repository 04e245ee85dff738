"""Tables of the verifier: a verdict's checks, a policy's, all there are, and what policies say of a sweep."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from raypol.core.verification.checks import CHECKS
from raypol.core.verification.policies import Policy, policies_with
from raypol.core.verification.verdict import Verdict
from raypol.figures.style.arms import in_order
from raypol.report.tables import Bad, Good, Table, TableColumn, words
from raypol.store.results.rows import HONEST
from raypol.store.results.verdict_rows import VerdictRow


def verdict_table(verdict: Verdict) -> Table:
    """Each check of a policy with its numbers."""
    lines = [[c.name, Good("passed") if c.passed else Bad("FAILED"), c.detail] for c in verdict.checks]
    columns = words("check", "outcome", "what was seen", wraps=True)
    digest = f", SHA-256 {verdict.policy_sha256[:12]}..." if verdict.policy_sha256 else ""
    return Table(title=f"policy {verdict.policy}{digest}", columns=columns, lines=lines)


def policy_table(policy: Policy) -> Table:
    """Each check of a policy with its parameters."""
    lines = [[use.check, _parameters(use.complete().parameters)] for use in policy.checks]
    return Table(title=f"policy {policy.name}", columns=words("check", "parameters", wraps=True), lines=lines)


def checks_table() -> Table:
    """Every built-in check, what it looks at, and which policies have it."""
    lines = []
    for name, check in CHECKS.items():
        function = getattr(check, "func", check)  # of a partial
        about = (function.__doc__ or "").partition("\n")[0].removeprefix("Check that ").removeprefix("Check ")
        lines.append([name, about[:1].upper() + about[1:], ", ".join(policies_with(name)) or "by name"])
    return Table(title="checks", columns=words("check", "what it looks at", "policies", wraps=True), lines=lines)


def verdicts_table(verdicts: Sequence[VerdictRow]) -> Table:
    """A line per policy and arm: how many proofs it accepts, what rejects the others, intervals that it says nothing about."""
    groups: dict[tuple[str, str, str], list[VerdictRow]] = {}
    order = {arm: number for number, arm in enumerate(in_order(row.arm for row in verdicts))}
    for row in verdicts:
        groups.setdefault((row.policy, row.policy_sha256, row.arm), []).append(row)
    lines = []
    for policy, digest, arm in sorted(groups, key=lambda key: (key[0], key[1], order[key[2]])):
        group = groups[policy, digest, arm]
        reasons = Counter(name for row in group for name in row.rejected_by.split(",") if name)
        outcomes = Counter(row.outcome for row in group)
        successes = sum(bool(row.success) for row in group)
        lines.append(
            [
                policy,
                digest[:12],
                arm,
                f"{sum(row.accepted for row in group)}/{len(group)}",
                "" if arm == HONEST else f"{successes}/{len(group)}",
                str(outcomes["not calibrated"] or ""),
                ", ".join(f"{name} {count}" for name, count in reasons.most_common()),
            ]
        )
    columns = [
        *words("policy", "SHA-256", "arm"),
        TableColumn("accepted"),
        TableColumn("succeeds"),
        TableColumn("not calibrated"),
        *words("rejected by (how often)", wraps=True),
    ]
    return Table(columns=columns, lines=lines)


def _parameters(parameters: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {_value(value)}" for name, value in parameters.items())


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_value(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_value, value))
    return f"{value:.3g}" if isinstance(value, float) else "none" if value is None else str(value)
