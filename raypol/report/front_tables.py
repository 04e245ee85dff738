"""Who is on the front of each policy, and how far behind it the published attacks are."""

import math
from collections.abc import Sequence

from raypol.core.attacks import sources
from raypol.figures.frontier import PolicyFront, policy_fronts
from raypol.figures.series import Setting, settings_of
from raypol.figures.style.axes import short_number
from raypol.figures.style.notes import joined, list_briefly
from raypol.report.tables import Table, TableColumn, words
from raypol.store.results.rows import TrialRow
from raypol.store.results.verdict_rows import VerdictRow


def front_sentences(rows: Sequence[TrialRow], verdicts: Sequence[VerdictRow]) -> list[str]:
    """Per setting and front: the policies that have it, the attacks on it, its cheapest and its most exact spoof."""
    settings = [setting for setting in settings_of(rows) if setting.spoofs]
    found = []
    for setting in settings:
        where = f" on {setting.name}" if len(settings) > 1 else ""
        alike: dict[tuple[str, ...], list[PolicyFront]] = {}
        for one in policy_fronts(setting, verdicts):
            alike.setdefault(tuple(row.trial_id for _, _, row in one.front), []).append(one)
        for same in alike.values():
            names, front = joined(one.policy for one in same), same[0].front
            if not front:
                found.append(f"No spoof of W_T is accepted by {names}{where}.")
                continue
            arms = list(dict.fromkeys(arm for arm, _, _ in front))
            ends = f"from {_named(front[0])}" + (f" to {_named(front[-1])}" if len(front) > 1 else "")
            found.append(f"On the front under {names}{where}: {list_briefly(arms, most=8)} ({ends}).")
    return found


def fronts_tables(rows: Sequence[TrialRow], verdicts: Sequence[VerdictRow]) -> list[Table]:
    """A table per setting in which a published attack was judged."""
    tables = [_fronts_table(setting, verdicts) for setting in settings_of(rows) if setting.spoofs]
    return [table for table in tables if table.lines]


def _fronts_table(setting: Setting, verdicts: Sequence[VerdictRow]) -> Table:
    """A line per policy and published attack: its least error among the accepted, and how far the front is below and cheaper."""
    published = sources()
    lines = []
    for one in policy_fronts(setting, verdicts):
        for arm in dict.fromkeys(row.arm for row in setting.spoofs if row.attack in published):
            own = one.accepted.get(arm, ())
            paper = published[next(row.attack for row in setting.spoofs if row.arm == arm)]
            if not own:
                tried = sum(row.arm == arm and row.trial_id in one.judged for row in setting.spoofs)
                if not tried:
                    continue
                lines.append([one.policy, arm, paper, f"none of {tried} accepted", "", "", "", ""])
                continue
            (cost, error), row = min(own, key=lambda one: (one[0][1], one[0][0]))
            least = one.error_at(cost)
            cheapest = _cost_at(one, error)
            on_it = any(other is row for _, _, other in one.front)
            lines.append(
                [
                    one.policy,
                    arm,
                    paper,
                    f"T' = {row.steps:,}",
                    short_number(cost, 3),
                    short_number(error, 3),
                    "on the front" if on_it else f"{short_number(error / least, 2)}x" if least > 0.0 else "any number",
                    "" if on_it else f"{short_number(cost / cheapest, 2)}x" if cheapest > 0.0 else "any number",
                ]
            )
    columns = [
        *words("policy", "arm", "published by", "least error"),
        TableColumn("time\n/ proof's"),
        TableColumn("error\n/ proof's"),
        *words("errs more than the front\nat its cost", "costs more than the front\nat its error"),
    ]
    return Table(
        title=setting.name,
        columns=columns,
        lines=lines,
        note="Of each published attack's accepted spoofs of W_T the one of least error: the largest of the four errors over the "
        "honest proof's. Time: device seconds without waiting for writes.",
    )


def _cost_at(front: PolicyFront, error: float) -> float:
    return min((cost for _, (cost, own), _ in front.front if own <= error), default=math.nan)


def _named(member: tuple[str, tuple[float, float], TrialRow]) -> str:
    arm, (cost, error), row = member
    declares = f", declares {row.declares}" if row.declares and row.declares != "honest_schedule" else ""
    return (
        f"{arm} (T' = {row.steps:,}{declares}) at {short_number(cost, 2)} of the proof's time and "
        f"{short_number(error, 2)} of its error"
    )
