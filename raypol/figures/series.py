"""Which rows belong on one curve: rows are split by dataset and model, and arms by whatever else varies at one T' and seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from raypol.core.datasets.load import half_of
from raypol.store.results.columns import Column, columns_of
from raypol.store.results.rows import TrialRow

MOST_CURVES: Final = 12
"""More cannot be told apart; axes that would make more are put together in bands."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The rows that one honest proof, or its seeds, stands for."""

    dataset: str
    """The whole, where prover and adversary have halves."""
    model: str
    rows: tuple[TrialRow, ...]

    @property
    def name(self) -> str:
        """For titles."""
        return f"{self.dataset}, {self.model}"

    @property
    def honest(self) -> list[TrialRow]:
        """The honest rows that ended well."""
        return [row for row in self.rows if row.is_honest and row.is_ok]

    @property
    def spoofs(self) -> list[TrialRow]:
        """The others that ended well."""
        return [row for row in self.rows if not row.is_honest and row.is_ok]


def settings_of(rows: Sequence[TrialRow]) -> list[Setting]:
    """The rows by dataset and model, in the order in which they come."""
    found: dict[tuple[str, str], list[TrialRow]] = {}
    for row in rows:
        found.setdefault((half_of(row.dataset)[0], row.model), []).append(row)
    return [Setting(dataset, model, tuple(some)) for (dataset, model), some in found.items()]


_AXES: Final = tuple(column for column in columns_of(TrialRow) if column.variant)
"""In the order in which they are tried: what a figure is about comes first."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Rows whose arms bear what else varies: "III, alpha 0.1"."""

    rows: list[TrialRow]
    merged: list[str]
    """Names of what varies too and has no curves of its own: there would be too many."""


def by_variant(rows: Sequence[TrialRow], *, most: int = MOST_CURVES) -> Curves:
    """Give rows of one arm, T' and seed that differ in something else an arm each.

    Args:
        rows: of one setting; honest ones stay as they are.
        most: how many arms there may be.
    """
    spoofs = [row for row in rows if not row.is_honest]
    labels = {id(row): row.arm for row in spoofs}
    merged = []
    for axis in _AXES:
        arms = _torn(spoofs, labels, axis)
        if not arms:
            continue
        tried = {
            id(row): f"{labels[id(row)]}, {axis.name_curve(value)}"
            if row.arm in arms or value is not None
            else labels[id(row)]
            for row, value in ((row, getattr(row, axis.name)) for row in spoofs)
        }
        if len(set(tried.values())) <= max(most, len({row.arm for row in spoofs})):
            labels = tried
        else:
            merged.append(axis.title)
    named = [row if labels.get(id(row), row.arm) == row.arm else replace(row, arm=labels[id(row)]) for row in rows]
    return Curves(named, merged)


def _torn(rows: Sequence[TrialRow], labels: Mapping[int, str], axis: Column) -> set[str]:
    """The arms with two values of an axis at one T' and seed. Where there are some, all that have the axis are named by it."""
    seen: dict[tuple[str, int, int], Any] = {}
    arms: set[str] = set()
    for row in rows:
        value = getattr(row, axis.name)
        if seen.setdefault((labels[id(row)], row.steps, row.seed), value) != value:
            arms.add(row.arm)
    return arms


def moving(rows: Sequence[TrialRow]) -> list[str]:
    """What differs along one curve from T' to T': a line between its points would say nothing of T' alone."""
    return [
        axis.title for axis in _AXES if axis.name != "interval" and len({getattr(row, axis.name) for row in rows}) > 1
    ]
