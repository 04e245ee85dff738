"""Verdict files: what a verifier found, under which policy and conditions, so that anyone can repeat it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from pydantic import ValidationError

from raypol.core.distances import Distances
from raypol.core.errors import InputError
from raypol.core.proof import Recipe
from raypol.core.verification.checks import CALIBRATIONS
from raypol.core.verification.policies import Policy
from raypol.core.verification.replay import Augmentation, Conditions, ReplayPrecision
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import FAMILY, Check, Verdict
from raypol.core.verification.verifier import Evidence, Selection
from raypol.store.json_files import problem_of, read_json, strict_form
from raypol.store.location import Location, atomic_output
from raypol.store.policies import parse_policy

_FORMAT: Final = "raypol-verdict"
_VERSION: Final = 1
_MAX_DETAIL: Final = 1_000
Outcome = Literal["accepted", "rejected", "not calibrated", "inexact"]


@dataclass(frozen=True, kw_only=True, slots=True)
class VerdictFile:
    """A verdict with all that it takes to repeat it."""

    root: str
    """Computed from the proof, hex: what the verdict is about."""
    claim: Mapping[str, Any]
    """Dataset, its SHA-256, model, T, k, batch size."""
    policy: Mapping[str, Any]
    """The whole policy, see `Policy.content`."""
    policy_sha256: str
    outcome: Outcome
    rejected_by: str
    """Checks that said no, comma-separated."""
    checks: tuple[Mapping[str, Any], ...]
    """Name, outcome, detail, numbers of each; a number that is not finite is written as its name."""
    nonce: int
    augmentation: Augmentation
    precision: ReplayPrecision
    selection: Selection
    query_budget: int
    thresholds: Mapping[str, Any]
    d_ref: Mapping[str, float] | None
    replayed: int
    """Intervals replayed."""
    intervals: int
    """Intervals claimed."""
    unjudged: int
    """Intervals whose slack is at least the claimed move."""
    expected_root: str | None = None
    share: str | None = None
    commitment: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """Software and hardware of the verifier."""

    @property
    def sha256(self) -> str:
        """Digest of the verdict, hex; an older file has the digest that it always had."""
        content = _json(asdict(self))
        if self.commitment is None:
            del content["commitment"]
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def own_policy(self) -> Policy:
        """The policy that it was made by; built-in checks alone."""
        return parse_policy(self.policy, "the verdict's policy")

    def conditions(self) -> Conditions:
        """The conditions of its replays."""
        return Conditions(augmentation=self.augmentation, precision=self.precision, seed=self.nonce)

    def slack(self) -> Thresholds:
        """The thresholds that it was made with."""
        return Thresholds(**self.thresholds)

    def reference(self) -> Distances | None:
        """d_ref, if it was made with one."""
        return Distances(**{name: float(value) for name, value in self.d_ref.items()}) if self.d_ref else None


VERDICT: Final = strict_form(VerdictFile)


def verdict_outcome(verdict: Verdict, policy: Policy) -> Outcome:
    """What a verdict comes to: a pass that cannot have failed accepts nothing, unless that is what the policy is."""
    failed = {check.name for check in verdict.checks if not check.passed}
    if verdict.foreign and failed <= {FAMILY, *CALIBRATIONS}:  # numbers of another family say neither yes nor no
        return "not calibrated"
    if failed:
        return "inexact" if verdict.inexact else "rejected"
    return "not calibrated" if verdict.unjudged and not policy.is_published else "accepted"


def verdict_file(
    verdict: Verdict,
    policy: Policy,
    evidence: Evidence,
    thresholds: Thresholds,
    d_ref: Distances | None,
    environment: Mapping[str, str],
) -> VerdictFile:
    """A verdict as it is written."""
    recipe, conditions = evidence.recipe, evidence.conditions
    return VerdictFile(
        root=evidence.computed_root,
        claim=_claim(recipe),
        policy=policy.content(),
        policy_sha256=policy.sha256,
        outcome=verdict_outcome(verdict, policy),
        rejected_by=verdict.rejected_by,
        checks=tuple(map(_written, verdict.checks)),
        nonce=conditions.seed,
        augmentation=conditions.augmentation,
        precision=conditions.precision,
        selection=evidence.selection,
        query_budget=evidence.query_budget,
        thresholds=asdict(policy.thresholds or thresholds),
        d_ref=d_ref.as_dict() if d_ref else None,  # type: ignore[arg-type]
        replayed=len(evidence.replays),
        intervals=recipe.num_intervals,
        unjudged=verdict.unjudged,
        expected_root=evidence.expected_root,
        share=evidence.expected_share,
        commitment=evidence.expected_commitment,
        environment=dict(environment),
    )


def write_verdict(file: Location, verdict: VerdictFile) -> None:
    """Write a verdict file."""
    with atomic_output(file) as stream:
        stream.write(as_json(verdict).encode())


def as_json(verdict: VerdictFile) -> str:
    """The text of a verdict file."""
    content = {"format": _FORMAT, "version": _VERSION, "sha256": verdict.sha256, **_json(asdict(verdict))}
    return json.dumps(content, indent=1) + "\n"


def read_verdict(file: Location) -> VerdictFile:
    """Read a verdict file.

    Raises:
        InputError: missing, too large, not a verdict of this version, or changed since it was written.
    """
    content = read_json(file, _FORMAT, _VERSION)
    recorded = content.pop("sha256", None)
    try:
        found = VERDICT.validate_python(content)
        found.conditions(), found.slack(), found.reference()
    except ValidationError as err:
        raise InputError(f"{file}: not a verdict: {problem_of(err)}") from err
    except (TypeError, ValueError) as err:
        raise InputError(f"{file}: not a verdict: {err}") from err
    if found.sha256 != recorded:
        raise InputError(f"{file}: its SHA-256 is not the recorded one: the file was changed")
    return found


def differences(before: VerdictFile, after: VerdictFile) -> Iterator[str]:
    """What two verdicts on one proof say differently, in words: outcomes first, then numbers."""
    if before.root != after.root:
        yield f"root: {before.root[:16]}... then, {after.root[:16]}... now: another proof"
    if before.outcome != after.outcome:
        yield f"outcome: {before.outcome} then, {after.outcome} now"
    for name in ("policy_sha256", "replayed", "intervals", "unjudged"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield f"{name}: {old} then, {new} now"
    then, now = ({str(check["name"]): check for check in one.checks} for one in (before, after))
    for name in [*then, *(now.keys() - then.keys())]:
        old_check, new_check = then.get(name), now.get(name)
        if old_check is None or new_check is None:
            yield f"check {name[:80]!r}: {'made now' if old_check is None else 'made then'} only"
            continue
        if old_check.get("passed") != new_check.get("passed"):
            yield f"{name}: {_word(old_check)} then, {_word(new_check)} now: {new_check.get('detail')}"
        old_numbers, new_numbers = old_check.get("numbers") or {}, new_check.get("numbers") or {}
        for key in new_numbers:
            if old_numbers.get(key) != new_numbers[key]:
                yield f"{name}, {key}: {old_numbers.get(key)} then, {new_numbers[key]} now"


def _word(check: Mapping[str, Any]) -> str:
    return "passed" if check.get("passed") else "failed"


def _claim(recipe: Recipe) -> dict[str, Any]:
    names = ("dataset", "dataset_sha256", "model", "steps", "interval", "batch_size")
    return {name: getattr(recipe, name) for name in names}


def _written(check: Check) -> dict[str, Any]:
    written: dict[str, Any] = _json(asdict(check))
    return {**written, "detail": check.detail[:_MAX_DETAIL]}


def _json(value: Any) -> Any:  # noqa: ANN401 - any field
    """JSON's types, with numbers that are not finite as their names."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if isinstance(value, Mapping):
        return {str(name): _json(one) for name, one in value.items()}
    return [_json(one) for one in value] if isinstance(value, list | tuple) else value
