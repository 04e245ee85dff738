"""Words of the arena's page: what a place, a policy and a training say, for browser and Markdown alike."""

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from raypol.core.verification.policies import Policy, published, strict
from raypol.report.arena.board import FORGERIES, LineGroup, PolicyColumn, Square, Status, is_unfinished, status_of
from raypol.report.arena.rankings import VerifierRank
from raypol.runs.arena.verifiers import ALWAYS, STATIC
from raypol.store.results.cell_rows import CellRow, Mode

SIGNS: Final[Mapping[Status, str]] = {
    "broken": "✕",
    "held": "○",
    "control": "✓",
    "accepted": "◇",
    "rejected": "□",
    "unfinished": "…",
    "honest": "✓",
    "false_rejection": "!",
    "estimated": "≈",
    "unjudged": "?",
    "absent": "–",
}
"""Beside every colour, so that none is needed."""
LEGEND: Final[Mapping[Status, str]] = {
    "broken": "broken: accepts a forgery: a claim of the stolen W_T, or of weights that nobody trained",
    "held": "not broken within the budget of {budget} for the arm: none accepted of those judged",
    "control": "a control is rejected, as it should be",
    "accepted": "accepts a claim of another model or of other data, which is no forgery",
    "rejected": "rejects such a claim, within the budget of {budget}",
    "unfinished": "none accepted so far, of those judged; the search has some of its budget of {budget} left",
    "honest": "every honest proof is accepted",
    "false_rejection": "some honest proof is rejected",
    "estimated": "estimated from a sample of intervals: no verdict",
    "unjudged": "no trial has a verdict",
    "absent": "not run",
}
LEGEND_DECLARED: Final[Mapping[Status, str]] = {
    "held": "not broken by the arm as declared: none accepted of those judged",
    "rejected": "rejects such a claim as declared",
}
"""In the view without adaptation."""
GROUP_TITLES: Final[Mapping[LineGroup, str]] = {
    "honest": "Honest proofs",
    "controls": "Controls",
    "W_T": "Forgeries of the stolen model W_T",
    "another model": "Claims of another model",
    "other data": "Claims of other data",
}
NOT_RUN: Final = "not run: no sweep has a trial of this arm that this policy judged"
NO_DECLARED: Final = "the arm as declared was not run against this policy"
_MADE: Final = "made from honest runs of the verifier's own"


def verdict_words(cell: CellRow) -> str:
    """What an answer says, in a sentence; never that a policy is secure."""
    status = status_of(cell)
    if status in ("estimated", "unjudged"):
        return f"{why_unjudged(Square(declared=cell), 'declared')}."
    if status in ("honest", "false_rejection"):
        return f"Accepts {cell.accepted} of {tally(cell.tried, 'honest proof')}."
    how = "as declared" if cell.mode == "declared" else "adaptive"
    if not cell.is_broken:
        text = _budget_words(cell)
        return f"Rejects this control, as it should: {text}." if status == "control" else f"{text.capitalize()}."
    number = f"{cell.accepted} of {tally(cell.tried, 'forgery')} accepted, {how}"
    number += "; the search has some of its budget left" if is_unfinished(cell) else ""
    if status == "accepted":
        return f"Accepts a claim of {cell.claims} ({number}). That is no forgery of the stolen model."
    kind = "control" if cell.is_control else "forgery of W_T" if cell.claims == "W_T" else "claim without training"
    return f"Broken by a {kind} ({number})."


def why_unjudged(place: Square, mode: Mode) -> str:
    """Why a place has no verdict; empty if it has one."""
    cell = place.shown(mode)
    if cell is None:
        return NO_DECLARED if place.adaptive is not None else NOT_RUN
    if cell.tried:
        return ""
    if cell.estimated:
        return "estimated: a sample of the intervals was crafted and replayed, so there is no verdict"
    return f"no verdict: {tally(cell.failed, 'trial')} failed" if cell.failed else "no verdict: no trial ended"


def _budget_words(cell: CellRow) -> str:
    kept = "not broken" if cell.claims in FORGERIES else "rejected"
    if cell.mode == "declared":
        return f"{kept} as declared: {tally(cell.tried, 'forgery')} judged, nothing searched"
    if is_unfinished(cell):
        return f"{kept} so far: {cell.tried} judged, of a budget of {tally(cell.budget, 'forgery')} that is not used up"
    every = ", which is every point that its axes allow" if cell.exhausted else ""
    return f"{kept} within the budget of {tally(cell.budget, 'forgery')} ({cell.tried} judged, as declared among them{every})"


def tally(number: int, noun: str) -> str:
    """A number with its noun."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}{'es' if noun.endswith('ch') else 's'}"
    return f"{number:,} {noun if number == 1 else many}"


_ENDS: Final = (0.00995, 0.0995, 9.995, 99.95)
"""Ratios from which one decimal less is shown, of four."""


def ratio_text(value: float | None) -> str:
    """A ratio in two or three digits that count, from 1,000 to 100,000 as a whole number; a dash for one that is not known."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0.0:
        return "0"
    size = abs(value)
    if size >= 1e5 or size < 9.95e-4:
        return re.sub(r"e([+-])0+", r"e\1", f"{value:.1e}")
    return f"{value:.{len(_ENDS) - bisect_right(_ENDS, size)}f}"


def share_text(value: float | None) -> str:
    """A share in percent; a dash for one that is not known."""
    if value is None or math.isnan(value):
        return "–"
    return f"{100 * value:.{1 if 0 < value < 0.1 or 0.99 < value < 1 else 0}f} %"


def rejected_text(honest: CellRow | None) -> str:
    """Honest proofs that a policy rejects, of those it judged; a dash if it judged none."""
    return f"{honest.tried - honest.accepted} of {honest.tried}" if honest and honest.tried else "–"


def shortfall(cell: CellRow) -> list[str]:
    """How far short of always a policy accepts: under which share of nonces, where it draws them, and at which seeds."""
    parts = []
    if cell.rate is not None and cell.rate < 1.0 and cell.rate_of > cell.seeds:
        parts.append(f"{share_text(cell.rate)} of nonces")
    if cell.seeds_accepted < cell.seeds:
        parts.append(f"{cell.seeds_accepted} of {cell.seeds} seeds")
    return parts


def budgets_words(cells: Iterable[CellRow], status: Status) -> str:
    """Budgets of the adaptive searches that came to an answer."""
    found = {cell.budget for cell in cells if cell.mode == "adaptive" and status_of(cell) == status} or {0}
    least, most = min(found), max(found)
    return tally(most, "forgery") if least == most else f"{least} to {tally(most, 'forgery')}"


def unbroken_words(one: VerifierRank) -> str:
    """How far it goes that a policy is not broken by adaptive attacks."""
    if one.policy.uncarried:
        return "not run"
    if one.unfinished:
        return f"not broken so far, {tally(one.unfinished, 'search')} not finished"
    return f"not broken within the budget of {tally(one.budget, 'forgery')} per arm"


def verification_words(verifiers: Sequence[VerifierRank]) -> str:
    """What the examination of an honest proof takes; empty if that is not known."""
    found = [one.honest for one in verifiers if one.honest and one.honest.verification is not None]
    if not found:
        return ""
    return (
        "Examining an honest proof for all policies together takes "
        f"{ratio_text(found[0].verification)} times as long as making it (median of {found[0].tried})."
    )


def summary_words(verifiers: Sequence[VerifierRank], mode: Mode = "adaptive") -> str:
    """The result on a training in two sentences."""
    ranked = [one for one in verifiers if one.place is not None]
    broken = [one for one in ranked if one.cheapest]
    whole = [one for one in ranked if not one.cheapest]
    text = f"{len(broken)} of {len(ranked)} policies that accept honest proofs accept a forgery"
    if broken:
        last = next(one for one in broken if one.place == broken[-1].place)
        assert last.cheapest is not None
        against = f"{last.by[0]} against {last.policy.label}"
        text += f", the cheapest at {ratio_text(last.cheapest.cost)} of the honest proof's cost ({against})"
    budget = max((one.budget for one in whole), default=0)
    within = f" within {tally(budget, 'forgery')} per arm" if mode == "adaptive" else " by the arms as declared"
    if mode == "adaptive" and any(one.unfinished for one in whole):
        within = " so far, of searches that are not finished"
    names = ", ".join(one.policy.label for one in whole)
    return f"{text}. " + (f"Not broken{within}: {names}." if whole else "None is unbroken.")


@lru_cache(maxsize=1)
def _known() -> Mapping[str, Policy]:
    return {policy.sha256: policy for policy in (*ALWAYS, *STATIC)}


def policy_words(column: PolicyColumn) -> str:
    """A policy by what it adds to `published` or `strict`; empty for one that is not of this version's arena."""
    if column.uncarried:
        return f"not run: {column.uncarried}"
    policy, name = _known().get(column.sha256), column.name
    if policy is None:
        return _MADE if name in ("calibrated", "bound") else ""
    names = ", ".join(use.check for use in policy.checks)
    if policy.name in (published.name, strict.name):
        return f"{tally(len(policy.checks), 'check')}: {names}"
    base = next((one for one in (strict, published) if all(use in policy.checks for use in one.checks)), None)
    if base is None:
        return f"{names} alone"
    added = ", ".join(use.check for use in policy.checks if use not in base.checks)
    words = [f"{base.name} + {added}" if added else base.name]
    if policy.selection not in (None, "all"):
        words.append(f"{tally(policy.query_budget, 'interval')} per epoch ({policy.selection})")
    if policy.thresholds is not None:
        words.append(f"{policy.thresholds.kind} slack")
    return ", ".join(words)
