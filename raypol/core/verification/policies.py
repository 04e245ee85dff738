"""What evidence means: a policy is data, a tuple of checks with their parameters, and the family of trainings it is valid for.

`published` looks at what the published verifier looks at, `strict` at everything in docs/protocol.md, "Verifier"; `calibrated`
and `bound` are made by `calibrate` from honest runs of the verifier's own. Checks are added by name (`strict+direction`), own
ones by import path. A policy's content has a digest, which verdicts and rows cite.

Difference from the published code: a NaN or infinite weight, distance or loss rejects under every policy (there, comparisons
with NaN are false and pass).
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any, Final, Literal, get_args

from raypol.core.distances import Distances
from raypol.core.errors import InputError, reject_choice
from raypol.core.imports import is_import_path, load_object
from raypol.core.verification.checks import CALIBRATIONS, CHECKS, GATHER, NEED_ACCURACY, NEED_EXACT
from raypol.core.verification.family import Family
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import Thresholds, slack_in_moves
from raypol.core.verification.verdict import FAMILY, Check, Verdict, check_problems
from raypol.core.verification.verifier import Evidence, Selection
from raypol.core.verification.wishes import Wish

PolicyFunction = Callable[[Evidence, Thresholds, Distances | None], Verdict]


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """A check as a policy uses it."""

    check: str
    """Name of a built-in check, or an import path."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Its keyword arguments; those that are not given have the check's own defaults."""

    def function(self) -> Callable[..., Check | Verdict]:
        """The check's code.

        Raises:
            InputError: no such check.
        """
        found: Callable[..., Check | Verdict] | None
        found = load_object(self.check) if is_import_path(self.check) else CHECKS.get(self.check)
        if found is None:
            reject_choice("check", self.check, CHECKS, path="my_pkg.checks:steady")
        return found

    def complete(self) -> "Use":
        """With every parameter said, also those at the check's own defaults."""
        known = _parameters(self.function())
        if unknown := self.parameters.keys() - known.keys():
            raise InputError(
                f"check {self.check} has no parameter {min(unknown)!r}; possible: {', '.join(known) or 'none'}"
            )
        if missing := [n for n, v in known.items() if v is inspect.Parameter.empty and n not in self.parameters]:
            raise InputError(f"check {self.check} needs {', '.join(missing)}: `raypol calibrate` measures it")
        return replace(self, parameters={**known, **self.parameters})


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """How a policy's numbers were obtained."""

    roots: tuple[str, ...]
    """Roots of the honest proofs, in hex."""
    margin: float
    """Slack over the largest honest error of a stage."""
    left_out_rejected: int
    """Of these proofs, how many a policy made from the others rejects."""
    rejected_by: tuple[str, ...] = ()
    """Checks that rejected them."""
    versions: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """Checks in order, their parameters, and what they are valid for."""

    name: str
    checks: tuple[Use, ...]
    thresholds: Thresholds | None = None
    """Slack of `replay` and `optimizer_state`; None = the one that the verifier gives."""
    selection: Selection | None = None
    """Which intervals are replayed; None = as the verifier says."""
    query_budget: int = 1
    """Q of that selection."""
    family: Family | None = None
    """Trainings and conditions that the parameters were measured on; None = any."""
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if self.selection is not None and self.selection not in get_args(Selection):
            reject_choice("selection", self.selection, get_args(Selection))

    def __call__(
        self, evidence: Evidence, thresholds: Thresholds | None = None, d_ref: Distances | None = None
    ) -> Verdict:
        """Judge a proof by every check.

        Args:
            evidence: what `examine` found.
            thresholds: the slack, where the policy has none of its own; None = the published one.
            d_ref: distance between the final weights of two honest runs; relative and dynamic thresholds need it.
        """
        checks = tuple(self._judged(evidence, thresholds, d_ref))
        return Verdict(policy=self.name, checks=checks, policy_sha256=self.sha256)

    def accepts(self, evidence: Evidence, thresholds: Thresholds | None = None, d_ref: Distances | None = None) -> bool:
        """Whether the verdict is valid, without what else it says; ends at the first check that fails."""
        return all(check.passed for check in self._judged(evidence, thresholds, d_ref))

    def _judged(self, evidence: Evidence, thresholds: Thresholds | None, d_ref: Distances | None) -> Iterator[Check]:
        slack = self.thresholds or thresholds or Thresholds()
        if self.family is not None:
            good = f"the proof is of the family of {evidence.recipe.model} runs that the policy was calibrated on"
            yield check_problems(FAMILY, list(self.family.problems(evidence)), good)
        for use in self.checks:
            found = use.function()(evidence, slack, d_ref, **use.parameters)
            yield from found.checks if isinstance(found, Verdict) else (found,)

    def part_of(self, evidence: Evidence, nonce: int | None = None) -> Evidence:
        """What this policy's own selection looks at, of evidence about every interval; all of it where it has none.

        Args:
            evidence: what `examine` found.
            nonce: the verifier's random number; None = that of the evidence.
        """
        if evidence.selection != "all" or self.selection in (None, "all"):
            return evidence
        return evidence.restricted(
            self.selection, self.query_budget, evidence.conditions.seed if nonce is None else nonce
        )

    @property
    def draws_intervals(self) -> bool:
        """True if the nonce decides which intervals are looked at."""
        return self.selection in ("random", "both")

    @property
    def sha256(self) -> str:
        """Digest, hex, of all that decides its verdicts: checks with every parameter, slack, selection, family; not the name."""
        content = self.content()
        del content["name"], content["calibration"]
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def content(self) -> dict[str, Any]:
        """Everything as JSON's types, defaults included."""
        whole = replace(self, checks=tuple(use.complete() for use in self.checks))
        content: dict[str, Any] = json.loads(json.dumps(asdict(whole)))
        return content

    @property
    def needs_accuracy(self) -> bool:
        """True if a check looks at the recorded models' accuracy; an own one may."""
        return any(is_import_path(use.check) or use.check in NEED_ACCURACY for use in self.checks)

    @property
    def needs_exact(self) -> bool:
        """True if a check compares the bits of replays under recorded augmentation."""
        return any(use.check in NEED_EXACT for use in self.checks)

    @property
    def wanted(self) -> frozenset[Wish]:
        """Evidence that its checks need beyond what every survey has."""
        asking = [use.complete() for use in self.checks if use.check in GATHER]
        return frozenset(
            Wish.of(gather, **{name: use.parameters[name] for name in _parameters(gather)})
            for use in asking
            for gather in (GATHER[use.check],)
        )

    def slack(self, conditions: Conditions, interval: int) -> Thresholds:
        """The slack that a verifier takes if it gives none: the policy's own, else one that is known to mean something.

        Args:
            conditions: of the replays.
            interval: k of the proof.

        Raises:
            InputError: there is none: under fresh augmentation honest errors are as large as moves, and have to be measured.
        """
        if self.thresholds is not None:
            return self.thresholds
        if self.is_published:
            return Thresholds()
        if self.uses_slack and conditions.augmentation == "fresh":
            raise InputError(
                f"policy {self.name} is not calibrated for fresh augmentation, whose honest error is as large as a move: make "
                "one that is (raypol calibrate), replay with recorded augmentation, or give thresholds"
            )
        return slack_in_moves(interval)

    @property
    def uses_slack(self) -> bool:
        """True if a check compares with a slack that is given; an own one may."""
        return any(is_import_path(use.check) or use.check in ("replay", "optimizer_state") for use in self.checks)

    @property
    def is_published(self) -> bool:
        """True if it accepts what the published verifier accepts, however little that says."""
        return {use.check for use in self.checks} <= {use.check for use in published.checks}


@cache
def _parameters(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Keyword-only arguments and their defaults."""
    found = inspect.signature(function).parameters.items()
    return {name: one.default for name, one in found if one.kind is inspect.Parameter.KEYWORD_ONLY}


def _uses(*checks: str) -> tuple[Use, ...]:
    return tuple(Use(check=check) for check in checks)


_SOUND: Final = ("structure", "indices", "finite", "hashes")
published: Final = Policy(name="published", checks=_uses(*_SOUND, "initial_laws", "replay"))
"""Random initial laws, hashes, replayed weights; constants of W_0 and the optimizer's state are taken on trust."""
strict: Final = Policy(
    name="strict", checks=_uses("admissible", *_SOUND, "initial_state", "replay", "optimizer_state", "buffers")
)
"""The declared rule, constants of W_0, the optimizer's state and the buffers too."""
strict_trend: Final = Policy(name="strict_trend", checks=(*strict.checks, *_uses("performance_trend")))
"""`strict`, and the recorded models' accuracy must rise with training progress."""
exact: Final = Policy(
    name="exact",
    checks=(*strict.checks, *_uses("exact", "bound_seed", "commitment", "own_points")),
    selection="all",
)
"""`strict`, every bit of every interval, W_0 and data order from a seed that neither party chose alone, and no own points."""
POLICIES: Final = {policy.name: policy for policy in (published, strict, strict_trend, exact)}

sound: Final = Policy(name="sound", checks=_uses("admissible", *_SOUND, "initial_state"))
"""What a proof shows without a replay: of the proofs that d_ref is taken from, and those that a policy is calibrated on."""

_JUDGED_ALONE: Final = ("admissible", *_SOUND, "initial_state", "initial_independence", "buffers")
_MEASURED: Final = ("envelope", "state_envelope", "direction", "declared_rate", "norm_statistics", "accuracy_curve")
_BINDING: Final = ("own_points", "fresh_order", "bound_seed")
CALIBRATED: Final = (*_JUDGED_ALONE, *_MEASURED)
"""Checks of a calibrated policy."""
BOUND: Final = (*CALIBRATED, "initial_memory", *_BINDING)
"""Checks of a bound one."""
PolicyKind = Literal["calibrated", "bound"]


def policies_with(check: str) -> list[str]:
    """Names of the built-in policies, and of the kinds of calibrated ones, that have a check."""
    having = [policy.name for policy in POLICIES.values() if check in {use.check for use in policy.checks}]
    return having + [kind for kind, own in (("calibrated", CALIBRATED), ("bound", BOUND)) if check in own]


def calibrate(
    honest: Sequence[Evidence], *, kind: PolicyKind = "calibrated", margin: float = 2.0, versions: str = ""
) -> Policy:
    """A policy whose slack is what honest runs of one family show.

    Args:
        honest: evidence about honest proofs that differ only in seed, every interval replayed, all under the same conditions.
        kind: `calibrated`: errors, moves, statistics and accuracies by stage; `bound`: also a seed that the verifier had a share
            in, the memory of W_0, and no points but the public dataset's.
        margin: slack over the largest honest error of a stage.
        versions: of the software, for the record.

    Raises:
        InputError: fewer than three proofs, or proofs that are not of one family, or not honest.
    """
    if kind not in get_args(PolicyKind):
        reject_choice("kind of policy", kind, get_args(PolicyKind))
    if len(honest) < 3:
        raise InputError(f"expected at least 3 honest proofs to calibrate on, got {len(honest)}")
    if not margin >= 1.0:
        raise InputError(f"expected a margin >= 1, got {margin}")
    family, alone = Family.of(honest[0]), Policy(name="alone", checks=_uses(*_JUDGED_ALONE))
    for evidence in honest:
        problems = [check.detail for check in alone(evidence).checks if not check.passed]
        problems += list(family.problems(evidence))
        if len(evidence.replays) != evidence.recipe.num_intervals:
            problems.append("not every interval was replayed")
        if problems:
            raise InputError(f"proof {evidence.recorded_root[:12]}... cannot be calibrated on: {problems[0]}")
    if len({evidence.recorded_root for evidence in honest}) < len(honest):
        raise InputError("expected different honest proofs to calibrate on, got one of them twice")
    left_out = []
    for i, evidence in enumerate(honest):
        others = _measured([*honest[:i], *honest[i + 1 :]], kind, margin)
        rejected = Policy(name="others", checks=others)(evidence).rejected_by
        left_out += [rejected] if rejected else []
    return Policy(
        name=kind,
        checks=(*_uses(*_JUDGED_ALONE), *_measured(honest, kind, margin), *_uses(*_BINDING if kind == "bound" else ())),
        selection="all",
        family=family,
        calibration=Calibration(
            roots=tuple(evidence.recorded_root for evidence in honest),
            margin=margin,
            left_out_rejected=len(left_out),
            rejected_by=tuple(sorted({name for one in left_out for name in one.split(",")})),
            versions=versions,
        ),
    )


def _measured(honest: Sequence[Evidence], kind: PolicyKind, margin: float) -> tuple[Use, ...]:
    names = (*_MEASURED, "initial_memory") if kind == "bound" else _MEASURED
    return tuple(Use(check=name, parameters=CALIBRATIONS[name](honest, margin)) for name in names)


def find_policy(name: str) -> Policy:
    """Policy by name, or a policy and further checks: POLICY+CHECK+..., each a name or an import path.

    Raises:
        InputError: no such policy or check.
    """
    first, *added = name.split("+")
    found: Any = load_object(first) if is_import_path(first) else POLICIES.get(first)
    if found is None:
        reject_choice("policy", first, POLICIES, path="my_pkg.checks:judge")
    return with_checks(found if isinstance(found, Policy) else Policy(name=first, checks=_uses(first)), added)


def with_checks(policy: Policy, added: Sequence[str]) -> Policy:
    """The policy and further checks, by name or import path.

    Raises:
        InputError: no such check, or one that needs numbers.
    """
    if not added:
        return policy
    extended = replace(policy, name="+".join([policy.name, *added]), checks=(*policy.checks, *_uses(*added)))
    for use in extended.checks:
        use.complete()
    return extended
