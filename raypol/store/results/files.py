"""Results as Parquet: one file per trial, one for its intervals; a reader needs a glob and nothing else.

RESULTS/trials/<trial_id>.parquet      one row per trial and arm
RESULTS/intervals/<trial_id>.parquet   one row per verified interval and metric

A file appears as a whole or not at all, and a trial that is run again replaces its own file: no half file, no duplicate row.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from raypol.store.location import Location, atomic_output
from raypol.store.results.columns import columns_of, schema_of
from raypol.store.results.legacy import legacy_fields, upgrade
from raypol.store.results.rows import IntervalRow, TrialRow
from raypol.store.results_folder import ResultsFolder

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")


def write_trial(results: Location, trial: TrialRow, intervals: Sequence[IntervalRow]) -> None:
    """Record one trial; the intervals first, so that a trial that is there is complete."""
    write_rows(ResultsFolder(results).intervals, trial.trial_id, IntervalRow, intervals)
    write_rows(ResultsFolder(results).trials, trial.trial_id, TrialRow, [trial])


def read_trials(results: Location, *, sweep_id: str = "") -> list[TrialRow]:
    """Read the rows of a results folder, or of one sweep in it, by trial_id; columns that an older file lacks are empty."""
    return read_rows(ResultsFolder(results).trials, TrialRow, sweep_id)


def read_trial(results: Location, trial_id: str) -> tuple[TrialRow, list[IntervalRow]] | None:
    """Read one trial's row and its intervals; None if it has no row."""
    if not (ResultsFolder(results).trials / f"{trial_id}.parquet").exists():
        return None
    (row,) = read_rows(ResultsFolder(results).trials, TrialRow, "", names=[f"{trial_id}.parquet"])
    return row, read_rows(ResultsFolder(results).intervals, IntervalRow, "", names=[f"{trial_id}.parquet"])


def read_rows(folder: Location, row_type: type[Row], sweep_id: str, names: Sequence[str] | None = None) -> list[Row]:
    """Read the rows of some files of a folder (None = all), of one sweep ("" = all)."""
    names = [name for name, _ in folder.files() if name.endswith(".parquet")] if names is None else names
    paths = [(folder / name).path for name in sorted(names)]
    if not paths:
        return []
    schema = pa.schema([*schema_of(row_type), *legacy_fields(row_type)])
    found = ds.dataset(paths, filesystem=folder.filesystem, format="parquet", schema=schema)
    return to_rows(upgrade(found.to_table(filter=ds.field("sweep_id") == sweep_id if sweep_id else None)), row_type)


def to_rows(table: pa.Table, row_type: type[Row]) -> list[Row]:
    """Rows of a table with the columns of `schema_of(row_type)`."""
    own = {one.name: one for one in columns_of(row_type)}

    def cell(name: str, value: Any) -> Any:  # noqa: ANN401 - any cell
        if value is not None:
            return value
        if own[name].default is not MISSING:  # the column is younger than the file
            return own[name].default
        return math.nan if own[name].kind is float and not own[name].is_optional else None  # NaN is written as NULL

    return [row_type(**{name: cell(name, value) for name, value in plain.items()}) for plain in table.to_pylist()]


MANY_ROWS: Final[Mapping[str, Any]] = {"compression": "zstd"}
ONE_ROW: Final[Mapping[str, Any]] = {
    "compression": "none",
    "use_dictionary": False,
    "write_statistics": False,
    "store_schema": False,
}
"""Without features that pay for many rows alone, a trial's file is a third as large and read in a quarter of the time."""


def write_rows(folder: Location, name: str, row_type: type, rows: Sequence[Any]) -> None:
    """Write FOLDER/<name>.parquet with these rows and no others."""
    folder.make_folder()
    plain = [{key: _plain(value) for key, value in asdict(row).items()} for row in rows]
    with atomic_output(folder / f"{name}.parquet") as stream:
        table = pa.Table.from_pylist(plain, schema=schema_of(row_type))
        pq.write_table(table, stream, **(ONE_ROW if len(rows) == 1 else MANY_ROWS))


def _plain(value: Any) -> Any:  # noqa: ANN401 - any cell
    if isinstance(value, str):  # a message may quote a file name that is no Unicode
        return value.encode("utf-8", "backslashreplace").decode()
    # Parquet has no NaN for "undefined" that SQL aggregates would skip; NULL is that.
    return None if isinstance(value, float) and math.isnan(value) else value
