"""Interval rows for figures over training progress: whose are shown, and their values by progress."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import zip_longest
from typing import Any, Final

from raypol.figures.series import Setting, by_variant, settings_of
from raypol.figures.style.arms import HONEST
from raypol.store.results.rows import IntervalRow, TrialRow

Cell = IntervalRow | Mapping[str, Any]
"""An interval row, or a mapping of the columns that a figure needs."""

_COLUMNS: Final = tuple(field.name for field in fields(IntervalRow))
MOST_SEEDS: Final = 20
"""Trials of one curve beyond this are not looked at: their median and band are known by then."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The trials of one setting that a figure over training shows."""

    setting: Setting
    steps: int
    """T' of the spoofs; 0 if there are none."""
    rows: list[TrialRow]
    """Honest ones and spoofs, arms named by what varies."""
    absent: list[str]
    """Arms without a row at this T'."""
    merged: list[str]
    """What varies and has no curves of its own."""

    @property
    def intervals(self) -> list[int]:
        """Every k of the spoofs."""
        return sorted({row.interval for row in self.rows if not row.is_honest})


def choose(setting: Setting, steps: int | None = None) -> Chosen:
    """The honest proofs, and the spoofs of one T': the one that most arms have, of several the largest.

    Args:
        setting: whose.
        steps: T'; None = as said.
    """
    spoofs = setting.spoofs
    arms_at = Counter(s for _, s in {(row.arm, row.steps) for row in spoofs})
    most = max(arms_at.values(), default=0)
    shown = steps if steps is not None else max((s for s, count in arms_at.items() if count == most), default=0)
    at = [row for row in spoofs if row.steps == shown]
    curves = by_variant([*setting.honest, *at])
    absent = {row.arm for row in setting.rows} - {row.arm for row in at} - {HONEST}
    return Chosen(setting, shown, _few(curves.rows), sorted(absent), curves.merged)


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
            found.setdefault(trial, []).append(cell if isinstance(cell, Mapping) else _mapping(cell))
    return found


def _mapping(cell: IntervalRow) -> dict[str, Any]:
    return {name: getattr(cell, name) for name in _COLUMNS}


def _few(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """At most so many of each curve, and of each of its seeds in turn."""
    found: dict[str, dict[int, list[TrialRow]]] = {}
    for row in rows:
        found.setdefault(row.arm, {}).setdefault(row.seed, []).append(row)
    chosen = []
    for seeds in found.values():
        in_turn = [row for some in zip_longest(*seeds.values()) for row in some if row is not None]
        chosen += in_turn[:MOST_SEEDS]
    return chosen
