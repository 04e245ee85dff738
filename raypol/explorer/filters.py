"""Filters of the analysis app: their columns, the choices that each offers, and the conditions that a choice means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import duckdb

from raypol.store.results.columns import Column, columns_of
from raypol.store.results.queries import Between, Condition, OneOf, Value, facet
from raypol.store.results.rows import TrialRow

MAX_CHOICES: Final = 40
"""Distinct numbers up to which each is a choice of its own; more are chosen as a range."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """The choices of one filter."""

    column: Column
    options: Mapping[str, Value]
    """Value by label, to tick any of; empty for a range."""
    steps: Sequence[float] = ()
    """The values that a range can begin and end with."""


@lru_cache(maxsize=4)
def offers(database: duckdb.DuckDBPyConnection) -> tuple[list[Offer], dict[str, str]]:
    """The filters with more than one choice; and by label the value of each column that has only one."""
    found: list[Offer] = []
    constant: dict[str, str] = {}
    for one in columns_of(TrialRow, "filter"):
        counts = facet(database, one.name)
        named = {value: _name(one, value) for value in counts}
        numbers = [value for value in counts if isinstance(value, int | float) and not isinstance(value, bool)]
        if len(counts) <= 1:
            for name in named.values():
                constant[one.label] = name
        elif len(numbers) > MAX_CHOICES:
            found.append(Offer(column=one, options={}, steps=numbers))
        else:
            options = {f"{named[value]} ({count:,})": value for value, count in counts.items()}
            found.append(Offer(column=one, options=options))
    return found, constant


def conditions(offered: Sequence[Offer], chosen: Mapping[str, Sequence[Any]]) -> tuple[Condition, ...]:
    """The conditions that the choices mean. Nothing ticked, and a range from end to end, leave every trial.

    Args:
        offered: of `offers`.
        chosen: by column: the values ticked, or the two ends of a range.
    """
    found: list[Condition] = []
    for offer in offered:
        column, values = offer.column.name, tuple(chosen.get(offer.column.name, ()))
        if offer.steps:
            if values and (values[0], values[1]) != (offer.steps[0], offer.steps[-1]):
                found.append(Between(column, values[0], values[1]))
        elif values and len(values) < len(offer.options):
            found.append(OneOf(column, values))
    return tuple(found)


def widgets(mo: Any, offered: Sequence[Offer], remembered: Mapping[str, Sequence[Any]]) -> Any:  # noqa: ANN401 - marimo
    """A marimo element for each filter, by column; `remembered` are the choices made before the last reading."""
    made = {}
    for offer in offered:
        before, look = remembered.get(offer.column.name, ()), {"label": offer.column.label, "full_width": True}
        if offer.steps:
            ends = [end for end in before if end in offer.steps]
            made[offer.column.name] = mo.ui.range_slider(
                steps=list(offer.steps), value=ends if len(ends) == 2 else None, show_value=True, debounce=True, **look
            )
        else:
            labels = [label for label, value in offer.options.items() if value in before]
            made[offer.column.name] = mo.ui.multiselect(options=dict(offer.options), value=labels, **look)
    return mo.ui.dictionary(made)


def _name(one: Column, value: Value) -> str:
    if one.form is not None or value is None or value == "" or isinstance(value, bool):
        return one.text(value) or "none"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
