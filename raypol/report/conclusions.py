"""What a run says, in plain words, every number taken from its rows."""

import math
from collections.abc import Mapping, Sequence

from raypol.core.distances import METRICS, Metric
from raypol.core.scoring import NULL
from raypol.report.sweep_summary import unchanged, with_null
from raypol.runs.trials.rows import ratio_of
from raypol.store.results.rows import TrialRow


def tell(rows: Sequence[TrialRow]) -> str:
    """A paragraph: what the honest proof was, what passed, what succeeded. Then a line per arm: did it beat its control?"""
    honest = next((row for row in rows if row.is_honest), None)
    spoofs = [row for row in rows if not row.is_honest and row.is_ok]
    failed = [row for row in rows if not row.is_ok]
    sentences = []
    if honest is not None:
        sentences.append(
            f"The honest proof trained {honest.model} on {honest.dataset} for {honest.steps} steps to "
            f"{_percent(honest.accuracy_final)} test accuracy in {_seconds(honest.device_s)} device seconds; replayed under "
            f"{honest.replay_augmentation or 'unknown'} augmentation "
            f"its largest normalised l2 error is {_plain(honest.error_l2)}, and it is "
            f"{'accepted' if honest.accepted_published else 'REJECTED'} by published and "
            f"{'accepted' if honest.accepted_strict else 'REJECTED'} by strict."
            + (f" ({honest.message[0].upper()}{honest.message[1:]}.)" if honest.message else "")
        )
    if spoofs:
        for policy in ("published", "strict"):
            passed = [row for row in spoofs if getattr(row, f"accepted_{policy}")]
            sentences.append(f"{policy.capitalize()} accepts {len(passed)} of {len(spoofs)} spoofs.")
        wins = [row for row in spoofs if row.success_strict]
        sentences.append(
            f"{len(wins)} succeed even under strict, that is, are accepted, err less than the proof in all four metrics and "
            f"cost less time and storage: {_names(wins)}."
            if wins
            else "No spoof succeeds under strict."
        )
        only_published = [row for row in spoofs if row.success and not row.success_strict]
        if only_published:
            sentences.append(f"Under published alone also: {_names(only_published)}.")
        sentences.append(_control(spoofs))
    if failed:
        sentences.append(f"{len(failed)} trials failed and are rows with status error: {_names(failed)}.")
    sentences += unchanged(spoofs)
    return "\n".join([" ".join(filter(None, sentences)), *(f"- {line}" for line in _against_control(spoofs))])


def _control(spoofs: Sequence[TrialRow]) -> str:
    """What the control alone achieves."""
    nulls = [row for row in spoofs if row.attack == NULL]
    if not nulls:
        return "There is no null control in this run, so no attack can be credited with anything."
    ordinary = sorted((row for row in nulls if row.success_strict), key=lambda row: row.steps)
    if not ordinary:
        return "The control null, ordinary batches with no perturbation, never succeeds under strict."
    return (
        f"The control null, ordinary batches with no perturbation, itself succeeds under strict at T' = {_steps(ordinary)}: "
        "there the trajectory passes, not the attack."
    )


def _against_control(spoofs: Sequence[TrialRow]) -> list[str]:
    """Per attack: did it lower the error of the same trajectory with ordinary batches, and did that change anything?"""
    if all(row.attack != NULL for row in spoofs):
        return []
    sentences = []
    for arm in dict.fromkeys(row.arm for row in spoofs if row.attack != NULL):
        pairs = with_null([row for row in spoofs if row.arm == arm], spoofs)
        sentences.append(_one_attack(arm, pairs) if pairs else f"{arm}: null was not measured at an equal point.")
    return sentences


def _one_attack(arm: str, pairs: Sequence[tuple[TrialRow, TrialRow]]) -> str:
    """In which metrics, at how many points, the attack's error is below null's, at what price, and whether it mattered."""
    lower = {
        m: sum(ratio_of(getattr(r, f"error_{m}"), getattr(n, f"error_{m}")) < 1.0 for r, n in pairs) for m in METRICS
    }
    errors = _span([ratio_of(row.error_l2, null.error_l2) for row, null in pairs])
    costs = _span([ratio_of(row.device_s, null.device_s) for row, null in pairs])
    gained = [row for row, null in pairs if row.success_strict and not null.success_strict]
    lost = [row for row, null in pairs if null.success_strict and not row.success_strict]
    where = _where(lower, [row.steps for row, _ in pairs])
    text = f"{arm} errs less than null {where} (l2 error {errors} of null's) for {costs} of its time"
    if gained:
        return f"{text}: it succeeds under strict where null does not, at T' = {_steps(gained)}."
    if lost:
        reasons = sorted({part.split(":")[-1] for row in lost for part in _why(row)})
        return f"{text}: it fails under strict where null succeeds, at T' = {_steps(lost)}, because of {', '.join(reasons)}."
    return f"{text}: it changes no outcome under strict."


def _where(lower: Mapping[Metric, int], steps: Sequence[int]) -> str:
    """The metrics in which an error is lower, with at how many points, the most frequent first."""
    by_count: dict[int, list[str]] = {}
    for metric, count in sorted(lower.items(), key=lambda item: -item[1]):
        by_count.setdefault(count, []).append(metric)
    by_count.pop(0, None)
    if not by_count:
        return "in no metric"
    parts = [
        ("in all four metrics" if len(metrics) == len(lower) else f"in {_listed(metrics)}")
        + (f" at {count}" if len(steps) > 1 else "")
        for count, metrics in by_count.items()
    ]
    unit = "T'" if len(set(steps)) == len(steps) else "points"
    return ", ".join(parts) + (f" of {len(steps)} {unit}" if len(steps) > 1 else "")


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _why(row: TrialRow) -> list[str]:
    """What stops a spoof under strict: the checks that reject it, else the conditions that do not hold."""
    if row.rejected_by:
        return row.rejected_by.split(",")
    return (row.bound_by or "unknown reasons").split(",")


def _steps(rows: Sequence[TrialRow]) -> str:
    return ", ".join(str(row.steps) for row in rows)


def _span(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "unknown"
    low, high = _plain(min(known)), _plain(max(known))
    return f"{low}x" if low == high else f"{low}x to {high}x"


def _plain(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "unknown"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _seconds(value: float | None) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{value:.1f}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{100 * value:.1f} %"


def _names(rows: Sequence[TrialRow]) -> str:
    by_arm: dict[str, list[str]] = {}
    for row in rows:
        by_arm.setdefault(row.arm, []).append(str(row.steps))
    return "; ".join(f"{arm} (T' = {', '.join(steps)})" for arm, steps in by_arm.items())
