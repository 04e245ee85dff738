"""What evidence means: thresholds, the verifier's policies, and the verdict.

A policy is a function from evidence to a verdict. `published` looks at what the published verifier looks at; `strict` at all
that SPEC section 3 names. Own policies are registered with `register_policy` or named by import path.

Difference from the published code: a NaN or infinite weight, distance or loss rejects under every policy (there, comparisons
with NaN are false and pass).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from raypol.core.distances import METRICS, Distances
from raypol.core.errors import InputError
from raypol.core.imports import is_import_path, load_object
from raypol.core.models.initial_laws import SIGNIFICANCE
from raypol.core.scoring import largest
from raypol.core.verification.replay import IntervalReplay
from raypol.core.verification.verifier import Evidence


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
            raise InputError(f"unknown thresholds {self.kind!r}; possible: dynamic, relative, static")
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


Policy = Callable[[Evidence, Thresholds, Distances | None], Verdict]


def published(evidence: Evidence, thresholds: Thresholds, d_ref: Distances | None) -> Verdict:
    """What the published verifier looks at: random initial laws, hashes, replayed weights. The rest is taken on trust."""
    checks = [*_soundness(evidence), _initial_state(evidence, strict_constants=False)]
    return Verdict(policy="published", checks=(*checks, _replay(evidence, thresholds, d_ref)))


def strict(evidence: Evidence, thresholds: Thresholds, d_ref: Distances | None) -> Verdict:
    """Every check of SPEC section 3: constants of W_0 and the optimizer's state too."""
    checks = [*_soundness(evidence), _initial_state(evidence, strict_constants=True)]
    checks += [_replay(evidence, thresholds, d_ref), _optimizer_state(evidence, thresholds, d_ref)]
    return Verdict(policy="strict", checks=tuple(checks))


def strict_trend(evidence: Evidence, thresholds: Thresholds, d_ref: Distances | None) -> Verdict:
    """`strict`, and the recorded models' accuracy must rise with training progress."""
    verdict = strict(evidence, thresholds, d_ref)
    return Verdict(policy="strict_trend", checks=(*verdict.checks, _performance_trend(evidence)))


POLICIES: Final[dict[str, Policy]] = {"published": published, "strict": strict, "strict_trend": strict_trend}


def register_policy(name: str, policy: Policy) -> None:
    """Make an own policy available by name in this process."""
    POLICIES[name] = policy


def find_policy(name: str) -> Policy:
    """Policy by name or import path."""
    if is_import_path(name):
        found: Policy = load_object(name)
        return found
    if name not in POLICIES:
        raise InputError(
            f"unknown policy {name!r}; possible: {', '.join(sorted(POLICIES))}, or an import path such as my_pkg.checks:mine"
        )
    return POLICIES[name]


def _soundness(evidence: Evidence) -> list[Check]:
    """Checks of every policy: without them nothing else means anything."""
    found = evidence.survey
    hashes = list(found.hashes)
    if not found.structure and not found.indices and evidence.computed_root != evidence.recorded_root:
        hashes.append("the root does not match the recorded one")
    if evidence.expected_root is not None and evidence.computed_root != evidence.expected_root:
        hashes.append("the root is not the published one")
    num_steps = evidence.recipe.steps
    return [
        _list_check("structure", found.structure, "names, shapes, dtypes and step order are the declared ones"),
        _list_check("indices", found.indices, "every index and own point is legal"),
        _list_check("finite", found.finite, "every recorded tensor is finite"),
        _list_check("hashes", hashes, f"{num_steps} steps and the root {evidence.recorded_root[:12]}... match"),
    ]


def _list_check(name: str, problems: Iterable[str], good: str) -> Check:
    problems = list(problems)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Check(
        name=name,
        passed=not problems,
        detail=problems[0] + more if problems else good,
        numbers={"problems": float(len(problems))},
    )


def _initial_state(evidence: Evidence, *, strict_constants: bool) -> Check:
    tests = evidence.survey.initial
    if not tests:
        return Check(name="initial_state", passed=False, detail="W_0 could not be tested: its structure is wrong")
    p_values = {test.tensor: test.p_value for test in tests if test.p_value is not None}
    deviations = {test.tensor: test.deviation for test in tests if test.deviation is not None}
    lowest = min(p_values, key=lambda name: p_values[name], default=None)
    problems = [f"{name}: KS p = {p:.2g} < {SIGNIFICANCE}" for name, p in p_values.items() if not p >= SIGNIFICANCE]
    if strict_constants:
        problems += [f"{name} is off its initial constant by {d:.3g}" for name, d in deviations.items() if not d <= 0.0]
    detail = f"{len(p_values)} tensors follow their laws"
    if lowest is not None:
        detail += f", smallest KS p = {p_values[lowest]:.3f}"
    detail += f"; {len(deviations)} constants " + ("hold" if strict_constants else "not looked at")
    check = _list_check("initial_state", problems, detail)
    check.numbers["min_p"] = p_values[lowest] if lowest is not None else 1.0
    check.numbers["max_constant_deviation"] = max(deviations.values(), default=0.0)
    return check


def _replay(evidence: Evidence, thresholds: Thresholds, d_ref: Distances | None) -> Check:
    return _against_thresholds(
        "replay", evidence, [(replay, replay.error) for replay in evidence.replays], thresholds, d_ref, ""
    )


def _optimizer_state(evidence: Evidence, thresholds: Thresholds, d_ref: Distances | None) -> Check:
    problems = []
    if evidence.survey.state_at_start:
        problems.append(f"not empty at step 0 ({len(evidence.survey.state_at_start)} entries)")
    problems += [replay.state_problem for replay in evidence.replays if replay.state_problem]
    compared = [(replay, replay.state_error) for replay in evidence.replays]
    check = _against_thresholds("optimizer_state", evidence, compared, thresholds, d_ref, "drift by the state: ")
    if problems:
        return Check(
            name=check.name,
            passed=False,
            detail=f"{problems[0]}; {len(problems)} problems in {len(compared)} intervals",
            numbers=check.numbers,
        )
    return check


def _against_thresholds(
    name: str,
    evidence: Evidence,
    compared: list[tuple[IntervalReplay, Distances]],
    thresholds: Thresholds,
    d_ref: Distances | None,
    prefix: str,
) -> Check:
    """All distances finite and within delta; the detail names the worst metric and interval."""
    if not compared:
        return Check(name=name, passed=False, detail="no interval was replayed")
    worst_ratio, worst = -1.0, ""
    num_failed = 0
    highest = largest(error for _, error in compared)
    numbers: dict[str, float] = {metric: highest[metric] for metric in METRICS}
    for replay, error in compared:
        limit = thresholds.at(replay.interval.stop / evidence.recipe.steps, d_ref)
        passed = within(error, limit) and replay.loss == replay.loss and abs(replay.loss) != float("inf")
        num_failed += not passed
        if not error.is_finite:
            ratio, metric = float("inf"), next(m for m in METRICS if not abs(error[m]) < float("inf"))
        else:
            ratio, metric = max(
                ((error[m] / limit[m] if limit[m] else float("inf")) if error[m] else 0.0, m) for m in METRICS
            )
        if ratio > worst_ratio:
            worst_ratio = ratio
            worst = (
                f"{metric} {error[metric]:.3g} against {limit[metric]:.3g} "
                f"in steps {replay.interval.start}..{replay.interval.stop}"
            )
    numbers["worst_ratio"] = worst_ratio
    numbers["intervals"] = float(len(compared))
    numbers["failed_intervals"] = float(num_failed)
    detail = f"{prefix}{len(compared) - num_failed} of {len(compared)} intervals within delta; worst {worst}"
    return Check(name=name, passed=num_failed == 0, detail=detail, numbers=numbers)


def within(error: Distances, limit: Distances) -> bool:
    """True if every metric is finite and at most its limit; NaN is not."""
    return error.is_finite and all(error[m] <= limit[m] for m in METRICS)


def _performance_trend(evidence: Evidence) -> Check:
    from scipy import stats

    accuracies = evidence.survey.accuracies
    if len(accuracies) < 3:
        return Check(name="performance_trend", passed=False, detail="fewer than three recorded models")
    outcome = stats.spearmanr(range(len(accuracies)), accuracies)
    rho = float(outcome.statistic)
    passed = rho > 0.0 and float(outcome.pvalue) < 0.05
    detail = f"rank correlation of accuracy with progress {rho:.2f} (p = {float(outcome.pvalue):.2g})"
    return Check(name="performance_trend", passed=passed, detail=detail, numbers={"spearman": rho})
