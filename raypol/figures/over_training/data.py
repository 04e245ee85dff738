"""Interval rows for figures over training: the trials that are shown, and their values by progress."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import zip_longest
from typing import Any, Final

from raypol.core.distances import Metric
from raypol.figures.series import Series, Setting, by_variant, settings_of
from raypol.figures.style.arms import in_order
from raypol.figures.style.axes import real
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow

Cell = IntervalRow | Mapping[str, Any]
"""An interval row, or a mapping of the columns that a figure needs."""
Cells = Mapping[str, Sequence[Mapping[str, Any]]]
"""Interval rows by trial."""
Curve = Mapping[float, float]
"""Value by progress, which is in (0, 1]."""

_COLUMNS: Final = tuple(field.name for field in fields(IntervalRow))
_MOST_SEEDS: Final = 20
"""Trials of one curve beyond this are not looked at: their median and band are known by then."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The trials of one setting that a figure over training shows."""

    setting: Setting
    steps: int
    """T' of the spoofs; 0 if there are none."""
    series: dict[Series, list[TrialRow]]
    """The honest proofs and the spoofs, by curve."""
    absent: list[str]
    """Arms without a row at this T'."""
    merged: list[str]
    """Names of columns that vary and have no curves of their own."""

    @property
    def rows(self) -> list[TrialRow]:
        """All that are shown."""
        return [row for rows in self.series.values() for row in rows]

    def describe(self) -> str:
        """T and k of proof and spoofs."""
        proofs = dict.fromkeys(f"T = {row.steps:,}, k = {row.interval}" for row in self.setting.honest)
        intervals = sorted({row.interval for row in self.rows if not row.is_honest})
        spoofs = [f"T' = {self.steps:,}, k = {k}" for k in intervals]
        return f"Proof: {' / '.join(proofs) or 'missing'}.  Spoofs: {' / '.join(spoofs) or 'missing'}."


def choose(setting: Setting, steps: int | None = None) -> Chosen:
    """The honest proofs, and the spoofs of one T': `steps`, or the one that most arms have, of several the largest."""
    spoofs = setting.spoofs
    arms_at = Counter(s for _, s in {(row.arm, row.steps) for row in spoofs})
    most = max(arms_at.values(), default=0)
    shown = steps if steps is not None else max((s for s, count in arms_at.items() if count == most), default=0)
    at = [row for row in spoofs if row.steps == shown]
    curves = by_variant([*setting.honest, *at])
    absent = {row.arm for row in setting.rows if not row.is_honest} - {row.arm for row in at}
    few = {series: _few(rows) for series, rows in curves.series.items()}
    return Chosen(setting, shown, few, sorted(absent), curves.merged)


def needed(rows: Sequence[TrialRow]) -> list[str]:
    """Ids of the trials whose intervals the figures over training show."""
    return [row.trial_id for setting in settings_of(rows) for row in choose(setting).rows]


def by_trial(cells: Iterable[Cell], trials: Iterable[str]) -> dict[str, list[Mapping[str, Any]]]:
    """The interval rows of some trials."""
    wanted = set(trials)
    found: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells:
        trial = cell["trial_id"] if isinstance(cell, Mapping) else cell.trial_id
        if trial in wanted:
            named = cell if isinstance(cell, Mapping) else {name: getattr(cell, name) for name in _COLUMNS}
            found.setdefault(trial, []).append(named)
    return found


def curves_of(block: Chosen, cells: Cells, column: str, metric: Metric | None = None) -> dict[Series, list[Curve]]:
    """The values of a column by progress, for each arm's trials; missing ones are passed over, infinite ones stay.

    Without a metric they are of any, which is right for a column that all have alike.
    """
    found: dict[Series, list[Curve]] = {}
    for series, row in ((series, row) for series, rows in block.series.items() for row in rows):
        own = (cell for cell in cells.get(row.trial_id, ()) if metric is None or cell["metric"] == metric)
        values = {cell["step_to"] / row.steps: real(cell.get(column)) for cell in own}
        curve = {at: value for at, value in sorted(values.items()) if not math.isnan(value)}
        if curve:
            found.setdefault(series, []).append(curve)
    return {series: found[series] for series in in_order(found)}


def _few(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """At most 20 of a curve, one of each seed in turn."""
    seeds: dict[int, list[TrialRow]] = {}
    for row in rows:
        seeds.setdefault(row.seed, []).append(row)
    return [row for some in zip_longest(*seeds.values()) for row in some if row is not None][:_MOST_SEEDS]
