"""The rows of each curve: rows are split by dataset and model, and arms by whatever else varies at one T' and seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from raypol.core.datasets.load import half_of
from raypol.store.results.columns import Column, columns_of
from raypol.store.results.rows import TrialRow

MOST_CURVES: Final = 12
"""More cannot be told apart; columns that would make more are put together in bands."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The rows that are compared with one honest proof, or its seeds."""

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


class Series(str):
    """A curve: an arm, and what its rows have that other rows of the arm at one T' and seed have not. As text both, in words."""

    arm: str
    """Name of the arm alone."""
    variant: tuple[str, ...]
    """As ("alpha 0.1", "k 10")."""

    def __new__(cls, arm: str, variant: tuple[str, ...] = ()) -> "Series":
        """The text is "III, alpha 0.1, k 10"."""
        made = super().__new__(cls, ", ".join([arm, *variant]))
        made.arm, made.variant = arm, variant
        return made


@dataclass(frozen=True, slots=True)
class Curves:
    """Rows by the curve that they belong on."""

    series: dict[Series, list[TrialRow]]
    merged: list[str]
    """Titles of columns that vary too and have no curves of their own: there would be too many."""

    @property
    def spoofs(self) -> dict[Series, list[TrialRow]]:
        """The curves but that of the honest proofs."""
        return {series: rows for series, rows in self.series.items() if not rows[0].is_honest}


def by_variant(rows: Sequence[TrialRow], *, most: int = MOST_CURVES) -> Curves:
    """Give rows of one arm, T' and seed that differ in something else a curve each.

    Args:
        rows: of one setting; honest ones share a curve.
        most: how many curves of spoofs there may be.
    """
    spoofs = [row for row in rows if not row.is_honest]
    variants: dict[int, tuple[str, ...]] = {id(row): () for row in rows}
    merged = []
    for axis in _AXES:
        arms = _varying(spoofs, variants, axis)
        if not arms:
            continue
        tried = dict(variants)
        for row in spoofs:
            value = getattr(row, axis.name)
            if row.arm in arms or value is not None:
                tried[id(row)] = (*variants[id(row)], axis.name_curve(value))
        if len({(row.arm, tried[id(row)]) for row in spoofs}) <= max(most, len({row.arm for row in spoofs})):
            variants = tried
        else:
            merged.append(axis.title)
    found: dict[Series, list[TrialRow]] = {}
    for row in rows:
        found.setdefault(Series(row.arm, variants[id(row)]), []).append(row)
    return Curves(found, merged)


def _varying(rows: Sequence[TrialRow], variants: Mapping[int, tuple[str, ...]], axis: Column) -> set[str]:
    """The arms with two values of an axis at one T' and seed. Where there are some, all that have the axis are named by it."""
    seen: dict[tuple[object, ...], Any] = {}
    arms: set[str] = set()
    for row in rows:
        value = getattr(row, axis.name)
        if seen.setdefault((row.arm, variants[id(row)], row.steps, row.seed), value) != value:
            arms.add(row.arm)
    return arms


def moving(rows: Sequence[TrialRow]) -> list[str]:
    """Titles of columns that differ along one curve: a line between its points would not show T' alone."""
    return [
        axis.title for axis in _AXES if axis.name != "interval" and len({getattr(row, axis.name) for row in rows}) > 1
    ]
