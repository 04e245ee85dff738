"""Queries about the trials of a results folder, answered by DuckDB: filters, counts, rows for figures.

The table `trials` is in memory. After it is made, the database can read no file and change no setting. Values reach the SQL as
parameters, columns are checked by name. SQL that a person typed runs elsewhere: see `free_sql`.
"""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from raypol.core.errors import reject_choice
from raypol.store.location import Location
from raypol.store.results.columns import Column, View, columns_of, needed_columns, schema_of
from raypol.store.results.files import read_file, to_rows
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow
from raypol.store.results_folder import ResultsFolder, is_path_component

Value = str | int | float | bool | None

COLUMNS: Final = tuple(column.name for column in columns_of(TrialRow))
_MEMORY: Final = "2GB"
_READS_AT_A_TIME: Final = 8


@dataclass(frozen=True, slots=True)
class OneOf:
    """Rows whose column has one of these values; None is NULL."""

    column: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """Rows whose column lies in [low, high]; NULL does not."""

    column: str
    low: float
    high: float


Condition = OneOf | Between
"""Rows must fulfil each of a list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Numbers of rows of each kind."""

    trials: int
    sweeps: int
    ok: int
    error: int
    stopped: int
    simulated: int
    estimated: int
    judged: int
    """Spoofs with a verdict on success."""
    succeeded: int
    """By the published verifier's verdict."""
    succeeded_strict: int


def open_database(trials: pa.Table) -> duckdb.DuckDBPyConnection:
    """A database in memory with the table `trials`; it reads no file."""
    connection = duckdb.connect(config={"memory_limit": _MEMORY, "python_enable_replacements": False})
    connection.register("read", trials)
    connection.execute("CREATE TABLE trials AS FROM read")
    connection.unregister("read")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def where(conditions: Sequence[Condition]) -> tuple[str, list[Value]]:
    """An SQL expression with a ? for each of the values.

    Raises:
        InputError: no such column.
    """
    parts: list[str] = []
    values: list[Value] = []
    for condition in conditions:
        column = _column(condition.column)
        if isinstance(condition, Between):
            parts.append(f"{column} BETWEEN ? AND ?")
            values += [condition.low, condition.high]
            continue
        given = [value for value in condition.values if value is not None]
        either = [f"{column} IN ({', '.join('?' * len(given))})"] if given else []
        either += [f"{column} IS NULL"] if None in condition.values else []
        parts.append(f"({' OR '.join(either) or 'false'})")
        values += given
    return " AND ".join(parts) or "true", values


def facet(database: duckdb.DuckDBPyConnection, column: str) -> dict[Value, int]:
    """Rows by value of a column, in the order of the values, NULL last."""
    name = _column(column)
    found = (
        database.cursor().execute(f"SELECT {name}, count(*) FROM trials GROUP BY 1 ORDER BY 1 NULLS LAST").fetchall()
    )
    return dict(found)


def count(database: duckdb.DuckDBPyConnection, conditions: Sequence[Condition] = ()) -> Counts:
    """Count the rows that the conditions leave, by kind."""
    test, values = where(conditions)
    (found,) = database.cursor().execute(f"SELECT {_COUNTS} FROM trials WHERE {test}", values).fetchall()
    return Counts(**dict(zip(_COUNTED, found, strict=True)))


_COUNTED: Final = {
    "trials": "count(*)",
    "sweeps": "count(DISTINCT sweep_id)",
    **{status: f"count(*) FILTER (status = '{status}')" for status in ("ok", "error", "stopped")},
    "simulated": "count(*) FILTER (simulated)",
    "estimated": "count(*) FILTER (estimated)",
    "judged": "count(success)",
    "succeeded": "count(*) FILTER (success)",
    "succeeded_strict": "count(*) FILTER (success_strict)",
}
_COUNTS: Final = ", ".join(f"{expression} AS {name}" for name, expression in _COUNTED.items())


def by_arm(database: duckdb.DuckDBPyConnection, conditions: Sequence[Condition] = ()) -> list[dict[str, Any]]:
    """One row per arm that the conditions leave: counts by verdict, median errors and ratios of the trials with status ok."""
    test, values = where(conditions)
    medians = ", ".join(
        f"median({column}) FILTER (isfinite({column}) AND status = 'ok') AS {column}"
        for column in ("error_l2", "ratio_error_l2", "ratio_time", "ratio_size")
    )
    question = f"""
        SELECT arm, count(*) AS trials, count(*) FILTER (status <> 'ok') AS not_ok,
               count(*) FILTER (simulated OR estimated) AS not_measured,
               count(accepted_published) AS judged_published, count(*) FILTER (accepted_published) AS accepted_published,
               count(accepted_strict) AS judged_strict, count(*) FILTER (accepted_strict) AS accepted_strict,
               count(success) AS judged, count(*) FILTER (success) AS succeeded, {medians}
        FROM trials WHERE {test} GROUP BY arm ORDER BY arm"""
    found: list[dict[str, Any]] = _ask(database, question, values).to_pylist()
    return found


def select(
    database: duckdb.DuckDBPyConnection, conditions: Sequence[Condition] = (), columns: Sequence[str] = COLUMNS
) -> pa.Table:
    """Some columns of the rows that the conditions leave, by sweep, arm, T', k, seed and trial."""
    test, values = where(conditions)
    chosen = ", ".join(map(_column, columns))
    order = "sweep_id, arm, steps, interval, seed, trial_id"
    return _ask(database, f"SELECT {chosen} FROM trials WHERE {test} ORDER BY {order}", values)


def listing(database: duckdb.DuckDBPyConnection, conditions: Sequence[Condition] = ()) -> pa.Table:
    """Table of trials for the app: the rows that the conditions leave, the latest first; `trial` is the trial_id."""
    test, values = where(conditions)
    chosen = ", ".join(f'{expression} AS "{name}"' for name, expression in _LISTED.items())
    return _ask(database, f"SELECT {chosen} FROM trials WHERE {test} ORDER BY started_at DESC, trial_id", values)


_SOURCE: Final = """CASE WHEN simulated AND estimated THEN 'simulated, estimated' WHEN simulated THEN 'simulated'
    WHEN estimated THEN 'estimated' ELSE 'measured' END"""


def _shown(column: Column) -> str:
    """SQL: a cell of the listing."""
    if column.kind is bool:
        yes, no = column.words
        return f"CASE {column.name} WHEN true THEN '{yes}' WHEN false THEN '{no}' ELSE '' END"
    if column.kind is str:
        return f"coalesce({column.name}, '')"
    return f"{column.name} / 1e6" if column.unit == "bytes" else column.name


def _titles(view: View) -> dict[str, str]:
    """SQL by title."""
    return {f"{c.title}, MB" if c.unit == "bytes" else c.title: _shown(c) for c in columns_of(TrialRow, view)}


def _strength(column: Column) -> str:
    """SQL: a number that was asked, with its name; NULL where there is none."""
    value = f"round({column.name} * 255, 2) || '/255'" if column.form else column.name
    return f"CASE WHEN {column.name} > 0 THEN '{column.title} ' || {value} END"


_LISTED: Final = {
    "trial": "trial_id",
    "source": _SOURCE,
    **_titles("listing"),
    "strength": f"concat_ws(', ', {', '.join(map(_strength, columns_of(TrialRow, 'strength')))})",
    **_titles("listing_end"),
}


def success_by_steps(
    database: duckdb.DuckDBPyConnection, conditions: Sequence[Condition] = ()
) -> list[tuple[str, int, int, int]]:
    """(arm, T', spoofs with a verdict, successes among them) for each arm and T' that the conditions leave."""
    test, values = where(conditions)
    question = f"""
        SELECT arm, steps, count(*), count(*) FILTER (success) FROM trials
        WHERE {test} AND success IS NOT NULL GROUP BY ALL ORDER BY arm, steps"""
    return database.cursor().execute(question, values).fetchall()


def rows(database: duckdb.DuckDBPyConnection, conditions: Sequence[Condition] = ()) -> list[TrialRow]:
    """Rows that the conditions leave, without those that lack a required column (arm, T', status, ...)."""
    found = select(database, conditions)
    complete = [column for column in needed_columns(TrialRow) if found[column].null_count]
    if complete:
        test, values = where(conditions)
        needed = " AND ".join(f"{_column(column)} IS NOT NULL" for column in complete)
        found = _ask(database, f"SELECT * FROM trials WHERE {test} AND {needed} ORDER BY trial_id", values)
    return to_rows(found, TrialRow)


def trial(database: duckdb.DuckDBPyConnection, trial_id: str) -> dict[str, Any] | None:
    """One row, every column by name."""
    found: list[dict[str, Any]] = _ask(
        database, "SELECT * FROM trials WHERE trial_id = ? LIMIT 1", [trial_id]
    ).to_pylist()
    return found[0] if found else None


def read_intervals(results: Location, trial_ids: Sequence[str]) -> tuple[pa.Table, int]:
    """Read the intervals of some trials; returns them and the number of trials without a readable file."""
    paths = ResultsFolder(results)
    named = [paths.intervals_of(trial_id) for trial_id in trial_ids if is_path_component(trial_id)]
    with ThreadPoolExecutor(_READS_AT_A_TIME) as pool:
        found = list(pool.map(lambda file: read_file(file, IntervalRow), named))
    tables = [table for table in found if not isinstance(table, str)]
    return pa.concat_tables([schema_of(IntervalRow).empty_table(), *tables]), len(trial_ids) - len(tables)


def export(
    database: duckdb.DuckDBPyConnection, conditions: Sequence[Condition], kind: Literal["csv", "parquet"]
) -> bytes:
    """Make a file with every column of the rows that the conditions leave."""
    found, stream = select(database, conditions), io.BytesIO()
    if kind == "csv":
        pa_csv.write_csv(found, stream)
    else:
        pq.write_table(found, stream, compression="zstd")
    return stream.getvalue()


def _ask(database: duckdb.DuckDBPyConnection, question: str, values: Sequence[Value]) -> pa.Table:
    cursor = database.cursor()
    return cursor.sql(question, params=list(values)).to_arrow_table()


def _column(name: str) -> str:
    if name not in COLUMNS:
        reject_choice("column", name, COLUMNS)
    return f'"{name}"'
