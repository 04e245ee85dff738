"""From the rows of an arena to its cells: what each attack achieves against each policy, as declared and adapted."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from raypol.core.attacks import method_of, sources
from raypol.core.scoring import CONTROLS
from raypol.core.spoofing.grants import GRANTS
from raypol.core.spoofing.spoof_config import used_by_choices
from raypol.core.verification.policies import Policy
from raypol.runs.arena.verifiers import ALWAYS, needs_of
from raypol.runs.designs.design import Design
from raypol.runs.designs.dimensions import ends_of
from raypol.runs.sweeps.adaptive import AdaptiveSearches, ArmSearch, axes_text
from raypol.runs.sweeps.judged_trial import JudgedTrial
from raypol.runs.trials.relative_costs import largest_error_ratio
from raypol.runs.trials.rows import ratio_of
from raypol.store.results.cell_rows import CELLS_VERSION, CellRow, Mode
from raypol.store.results.rows import HONEST, TrialRow
from raypol.store.results.verdict_rows import VerdictRow, verdicts_by_trial

UNTRAINED: Final = "untrained"
_CONFIDENCE: Final = 0.95
_LIARS: Final = ("misdeclared", "forge_batch")
"""Attacks that lie about the data of a training of A's own."""
_OTHER: Final = ("retrain", "continued", "blend")
"""Attacks whose claimed model is another than the stolen one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shared:
    """What all cells of an arena share."""

    sweep_id: str
    design: Design
    command: str
    digests: Mapping[str, str]
    """Policy -> SHA-256."""
    honest_s: Mapping[str, float]
    """Generation time of each honest proof."""
    policies: Mapping[str, Policy]


def cells_of(
    searches: AdaptiveSearches,
    design: Design,
    rows: Sequence[TrialRow],
    verdicts: Sequence[VerdictRow],
    *,
    sweep_id: str,
    command: str = "",
) -> list[CellRow]:
    """Every attack against every policy: honest proofs first, then arms in their order, as declared and adapted.

    Args:
        searches: with all rows taken, failed ones too.
        design: of the sweep.
        rows: of the sweep.
        verdicts: of the sweep.
        sweep_id: its name.
        command: what makes the rows again.
    """
    searches.proposals()  # a space of which every point was tried is known by asking for another one
    by_trial = verdicts_by_trial(verdicts)
    digests = {verdict.policy: verdict.policy_sha256 for verdict in verdicts}
    policies = {policy.name: policy for policy in (*ALWAYS, *design.policies)}
    shared = _Shared(
        sweep_id=sweep_id,
        design=design,
        command=command,
        digests=digests,
        honest_s={row.proof_id: row.device_s for row in rows if row.is_honest and row.device_s},
        policies=policies,
    )
    honest = [
        JudgedTrial(row=row, verdicts=by_trial.get(row.trial_id, {})) for row in rows if row.is_honest and row.is_ok
    ]
    names = [name for name in design.every_policy_name if name in digests]
    cells = [_declared(shared, None, policy, honest) for policy in names] if honest else []
    for search in searches.arms.values():
        as_declared = [search.judged[one] for one in search.as_declared() if one in search.judged]
        if not as_declared:
            continue
        for policy in names:
            cells.append(_declared(shared, search, policy, as_declared))
            if search.dimensions:
                cells.append(_adaptive(shared, search, policy))
    return cells


def _declared(shared: _Shared, search: ArmSearch | None, policy: str, trials: Sequence[JudgedTrial]) -> CellRow:
    judged = [one for one in trials if policy in one.verdicts]
    accepted = [one for one in judged if one.rate(policy) > 0.0]
    shown = _middle(accepted or judged or trials)
    several = sum(one.verdicts[policy].nonces for one in judged)
    share = sum(one.rate(policy) for one in accepted) / len(judged) if judged else math.nan
    return _cell(
        shared,
        search,
        policy,
        "declared",
        shown,
        tried=len(judged),
        failed=len(trials) - len(judged),
        accepted=len(accepted),
        rate=share,
        rate_of=several,
        seeds=len(judged),
        seeds_accepted=len(accepted),
        costs=[one.cost for one in judged],
        rejected_by=_rejected_by(policy, judged if search is None else [shown]),
        verification=_examination(shared, judged),
    )


def _adaptive(shared: _Shared, search: ArmSearch, policy: str) -> CellRow:
    tried = search.tried()
    judged = _judged(tried, policy)
    best = search.best(policy)
    assert best is not None or not tried
    shown = tried[best] if best is not None else JudgedTrial(row=next(iter(search.judged.values())).row)
    point: Mapping[str, Any] = search.points.get(best or "", {})
    repeated = {best: shown} if best is not None and policy in shown.verdicts else {}
    if shown.rate(policy) > 0.0:
        repeated = _judged(search.at_every_seed(point), policy)
    elif passing := _elsewhere(search, policy):
        point, shown = passing
        repeated = _judged(search.at_every_seed(point), policy)
        judged |= repeated
    verdict = shown.verdicts.get(policy)
    return _cell(
        shared,
        search,
        policy,
        "adaptive",
        shown,
        tried=len(judged),
        failed=sum(policy not in one.verdicts for one in tried.values()),
        accepted=sum(one.rate(policy) > 0.0 for one in judged.values()),
        rate=shown.rate(policy) if verdict else math.nan,
        rate_of=verdict.nonces if verdict else 1,
        seeds=len(repeated),
        seeds_accepted=sum(one.rate(policy) > 0.0 for one in repeated.values()),
        costs=[one.cost for one in repeated.values()],
        rejected_by=_rejected_by(policy, [shown]),
        verification=_examination(shared, [shown]),
        setting=json.dumps(dict(point), sort_keys=True),
        budget=search.budget,
        searched=axes_text(search.dimensions),
        ends=", ".join(ends_of(search.dimensions, point)),
        exhausted=search.exhausted,
    )


def _judged(trials: Mapping[str, JudgedTrial], policy: str) -> dict[str, JudgedTrial]:
    return {name: one for name, one in trials.items() if policy in one.verdicts}


def _elsewhere(search: ArmSearch, policy: str) -> tuple[Mapping[str, Any], JudgedTrial] | None:
    """The cheapest accepted of the points that other policies had made again at further seeds."""
    found = [
        (point, one)
        for point in search.points.values()
        for one in search.at_every_seed(point).values()
        if one.rate(policy) > 0.0
    ]
    return min(found, key=lambda pair: pair[1].score(policy), default=None)


def _cell(
    shared: _Shared,
    search: ArmSearch | None,
    policy: str,
    mode: Mode,
    shown: JudgedTrial,
    *,
    rate: float,
    rate_of: int,
    costs: Sequence[float],
    **columns: Any,  # noqa: ANN401 - of CellRow
) -> CellRow:
    row, train = shown.row, shared.design.train
    assert row is not None
    verdict = shown.verdicts.get(policy)
    low, high = interval_of(rate, rate_of) if rate_of > 1 else (None, None)
    known = [cost for cost in costs if not math.isnan(cost)]
    return CellRow(
        version=CELLS_VERSION,
        sweep_id=shared.sweep_id,
        arm=HONEST if search is None else search.arm,
        attack=row.attack,
        source=sources().get(row.attack, ""),
        claims=claims_of(row),
        is_control=search is None or row.attack in (*CONTROLS, UNTRAINED),
        policy=policy,
        policy_sha256=shared.digests[policy],
        mode=mode,
        dataset=train.dataset,
        model=train.model,
        train_steps=train.steps,
        interval=train.interval,
        batch_size=train.batch_size,
        checks=",".join(use.check for use in shared.policies[policy].checks),
        prover_needs="; ".join(needs_of(shared.policies[policy])),
        grants=row.grants or "",
        uses=",".join(_uses(shared, search, row)),
        trial_id=row.trial_id,
        steps=row.steps,
        declares=row.declares,
        start=row.start,
        rate=_known(rate),
        rate_low=low,
        rate_high=high,
        rate_of=rate_of,
        cost=1.0 if search is None else _known(shown.cost),
        cost_low=min(known, default=None),
        cost_high=max(known, default=None),
        gradients=None if row.gradient_evals is None else row.gradient_evals / train.steps,
        size=row.ratio_size,
        error=_known(largest_error_ratio(row)),
        error_l2=row.error_l2,
        success=verdict.success if verdict else None,
        replayed=verdict.replayed / verdict.num_intervals if verdict and verdict.num_intervals else None,
        estimated=row.estimated,
        simulated=row.simulated,
        device_name=row.device_name,
        command=shared.command,
        versions=row.versions,
        commit=row.commit,
        **columns,
    )


def _rejected_by(policy: str, trials: Sequence[JudgedTrial]) -> str:
    """Checks that reject any of those trials that are rejected."""
    rejected = [
        one.verdicts[policy].rejected_by for one in trials if policy in one.verdicts and one.rate(policy) == 0.0
    ]
    return ",".join(dict.fromkeys(check for checks in rejected for check in checks.split(",") if check))


def _examination(shared: _Shared, trials: Sequence[JudgedTrial]) -> float | None:
    """Median time of examining trials over their proofs' generation time; None if it is not known of any."""
    rows = [one.row for one in trials if one.row is not None]
    found = [ratio_of(row.verify_s, shared.honest_s.get(row.proof_reference or row.proof_id)) for row in rows]
    known = [one for one in found if not math.isnan(one)]
    return median(known) if known else None


def _uses(shared: _Shared, search: ArmSearch | None, row: TrialRow) -> list[str]:
    """What a trial uses of what it was granted."""
    trial = search.known_trial(row.trial_id) if search else None
    if trial is None:
        return []
    method, train = method_of(trial.attack), shared.design.train
    chosen = used_by_choices(
        trial.spoof, interval=train.interval, batch_size=train.batch_size, is_augmented=train.is_augmented
    )
    used = {grant for grant, _ in chosen}
    used |= {*method.uses, *method.uses_also(trial.attack)}
    return [grant for grant in GRANTS if grant in used]


def _known(number: float) -> float | None:
    """The number, as it is written: nothing where there is none."""
    return None if math.isnan(number) else number


def claims_of(row: TrialRow) -> str:
    """What a trial claims: W_T, another model, other data or nothing."""
    if row.attack == UNTRAINED:
        return "nothing"
    if row.attack in _LIARS:
        return "other data"
    return "another model" if row.attack in _OTHER or row.claims_other_model else "W_T"


def interval_of(rate: float, of: int) -> tuple[float | None, float | None]:
    """The 95 % interval of a rate by Clopper and Pearson; nothing for a rate of nothing."""
    from scipy.stats import binomtest

    if math.isnan(rate) or of < 1:
        return None, None
    found = binomtest(round(rate * of), of).proportion_ci(_CONFIDENCE, method="exact")
    return float(found.low), float(found.high)


def _middle(trials: Sequence[JudgedTrial]) -> JudgedTrial:
    """The trial of median cost; of those without a cost the first."""
    known = sorted((one for one in trials if not math.isnan(one.cost)), key=lambda one: one.cost)
    return known[len(known) // 2] if known else trials[0]
