"""What each column of a results row is: title, unit, group, meaning and the views that show it, described beside its field.

MLflow's fields, the tables of report and app, filters, curves of figures, SQL listings and docs/results.md are made from this.
"""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar, dataclass_transform, get_args, get_type_hints

import pyarrow as pa

Group = Literal[
    "identity", "where", "task", "attack", "spoof", "verifier", "verdict", "success", "errors", "cost", "size", "crafting",
    "provenance",
]  # fmt: skip
"""Topic of a column. `attack`: a hyperparameter, filled from the field of that name in the attack's configuration. `spoof`:
another choice of the adversary's, which controls at the same point share."""
View = Literal[
    "param", "tag", "headline", "strength", "runs", "filter", "listing", "listing_end", "trials", "swept", "point"
]
"""MLflow: param, tag; headline, strength (numbers that were asked) and runs are in its table of runs. App: filter; listing and
listing_end are in its table of trials. Report: trials is its table of trials, swept is shown where trials differ. point: a spoof
is compared with the control that agrees in all of these."""
ASKED: Final[tuple[View, ...]] = ("param", "filter", "swept")
"""Views of what was asked for."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of a row."""

    name: str
    kind: type
    """str, int, float or bool."""
    is_optional: bool
    """True if a cell may be None."""
    default: Any
    """MISSING if every row must have a value."""
    group: Group
    title: str
    """Short, for heads of tables and names of filters."""
    meaning: str
    unit: str
    shown: frozenset[View]
    variant: str
    """How a curve is named by a value, as "k {}"; empty if curves are not told apart by this column."""
    absent: str
    """Text of an empty cell."""
    words: tuple[str, str]
    """Texts of true and false."""
    form: Callable[[Any], str] | None

    def text(self, value: Any) -> str:  # noqa: ANN401 - a cell
        """A cell in words."""
        if value is None or value == "":
            return self.absent
        if isinstance(value, bool):
            return self.words[not value]
        if self.form is not None:
            return self.form(value)
        return f"{value:g}" if isinstance(value, float) else str(value)

    @property
    def label(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def name_curve(self, value: Any) -> str:  # noqa: ANN401 - a cell
        """What tells a curve of this value from others of its arm."""
        return self.variant.format(self.text(value) or "none")


def column(
    group: Group,
    title: str,
    meaning: str,
    unit: str = "",
    *,
    default: Any = MISSING,  # noqa: ANN401 - a cell
    shown: tuple[View, ...] | None = None,
    variant: str | None = None,
    absent: str = "",
    words: tuple[str, str] = ("yes", "no"),
    form: Callable[[Any], str] | None = None,
) -> Any:  # noqa: ANN401 - a field of any type
    """A field of a row with its description; arguments as in `Column`.

    Columns of the groups `attack` and `spoof` are in all views in `ASKED`, and name curves, unless told otherwise.
    """
    asked = group in ("attack", "spoof")
    views: set[View] = set(shown if shown is not None else ASKED if asked else ())
    views |= {"point"} if group in ("task", "spoof", "verifier") else set()
    described = {
        "group": group, "title": title, "meaning": meaning, "unit": unit, "shown": frozenset(views), "absent": absent,
        "variant": variant if variant is not None else f"{title} {{}}" if asked else "", "words": words, "form": form,
    }  # fmt: skip
    return field(default=default, metadata=described)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(column,))
def row(cls: type[T]) -> type[T]:
    """A frozen dataclass whose fields are made by `column`."""
    return dataclass(frozen=True, kw_only=True, slots=True)(cls)


@lru_cache(maxsize=16)
def columns_of(row_type: type, *views: View) -> tuple[Column, ...]:
    """The columns of a row type in order; with views those that at least one of them shows."""
    hints = get_type_hints(row_type)
    found = []
    for own in fields(row_type):
        kinds = get_args(hints[own.name]) or (hints[own.name],)
        is_optional = type(None) in kinds
        described = Column(name=own.name, kind=kinds[0], is_optional=is_optional, default=own.default, **own.metadata)
        if described.kind is float and described.group in ("attack", "spoof"):
            described = replace(described, shown=described.shown | {"strength"})
        found.append(described)
    return tuple(one for one in found if not views or one.shown.intersection(views))


_ARROW: Final[dict[type, pa.DataType]] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def schema_of(row_type: type) -> pa.Schema:
    """Arrow schema of a row dataclass."""
    return pa.schema([(own.name, _ARROW[own.kind]) for own in columns_of(row_type)])


@lru_cache(maxsize=16)
def needed_columns(row_type: type) -> tuple[str, ...]:
    """Names of the columns that no row leaves empty; a float's NaN is written as NULL."""
    return tuple(
        own.name
        for own in columns_of(row_type)
        if own.default is MISSING and not own.is_optional and own.kind is not float
    )
