"""Results as Parquet: one file per trial, one for its intervals; a reader needs a glob and nothing else.

RESULTS/trials/<trial_id>.parquet      one row per trial and arm
RESULTS/intervals/<trial_id>.parquet   one row per verified interval and metric
RESULTS/verdicts/<trial_id>.parquet    one row per policy

A file appears as a whole or not at all, and a trial that is run again replaces its own file: no half file, no duplicate row.
What else lies there (half a copy, another program's file) is left out, and a line says so.
"""

import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from raypol.core.errors import InputError, first_line
from raypol.store.escaping import visible, without_secrets
from raypol.store.location import Location, atomic_output
from raypol.store.parquet.footer import read_row_groups
from raypol.store.parquet.pages import CODECS, check_pages
from raypol.store.results.columns import columns_of, needed_columns, schema_of
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.legacy import legacy_fields, upgrade
from raypol.store.results.plain_files import is_plain_row
from raypol.store.results.rows import TrialRow
from raypol.store.results.verdict_rows import VerdictRow
from raypol.store.results_folder import ResultsFolder, is_path_component

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_log = logging.getLogger(__name__)

Row = TypeVar("Row", bound="DataclassInstance")
_IDENTIFIERS: Final = ("trial_id", "sweep_id", "proof_id", "proof_reference")
"""Columns that name files and folders."""
MAX_ROWS: Final = 100_000
"""Of a file, beside one per byte of it: equal rows fold to nothing in a file, and unfold to any number in memory."""
_MAX_TRIALS: Final = 10_000
"""Of a file of trials, of which raypol writes one to a file."""
_MAX_NAME: Final = 1_000
"""Characters of a text that tables and figures show."""
_MAX_TEXT: Final = 100_000
_LONG_TEXTS: Final = ("message", "versions", "replay", "thresholds", "verdict")
ROWS_PER_FILE: Final = 1_000
"""Expected at most of one trial where many files are read at once; more need a closer look."""
_MAX_BYTES: Final = 1 << 29
"""Of a file in memory."""
_CODECS: Final = {**CODECS, 1: "snappy"}
"""Snappy: what pyarrow writes unless told otherwise, for files that somebody else made of raypol's rows."""
_NAMED: Final = 3
"""Files that a line names; more are counted."""


def write_trial(
    results: Location, trial: TrialRow, intervals: Sequence[IntervalRow], verdicts: Sequence[VerdictRow] = ()
) -> None:
    """Record one trial; its intervals and verdicts first, so that a trial that is there is complete."""
    write_rows(ResultsFolder(results).intervals, trial.trial_id, IntervalRow, intervals)
    if verdicts:
        write_rows(ResultsFolder(results).verdicts, trial.trial_id, VerdictRow, verdicts)
    write_rows(ResultsFolder(results).trials, trial.trial_id, TrialRow, [trial])


def read_trials(results: Location, *, sweep_id: str = "") -> list[TrialRow]:
    """Read the rows of a results folder, or of one sweep in it, by trial_id; columns that an older file lacks are empty."""
    return read_rows(ResultsFolder(results).trials, TrialRow, sweep_id)


def read_verdicts(results: Location, *, sweep_id: str = "") -> list[VerdictRow]:
    """Read what policies say of the trials of a results folder, or of one sweep in it."""
    return read_rows(ResultsFolder(results).verdicts, VerdictRow, sweep_id)


def read_verdicts_of(results: Location, trial_id: str) -> list[VerdictRow]:
    """Read what policies say of one trial; nothing where none judged it."""
    folder, name = ResultsFolder(results).verdicts, f"{trial_id}.parquet"
    return read_rows(folder, VerdictRow, "", names=[name]) if (folder / name).exists() else []


def read_trial(results: Location, trial_id: str) -> tuple[TrialRow, list[IntervalRow]] | None:
    """Read one trial's row and its intervals; None if it has no row that can be read."""
    if not ResultsFolder(results).trial(trial_id).exists():
        return None
    found = read_rows(ResultsFolder(results).trials, TrialRow, "", names=[f"{trial_id}.parquet"])
    if len(found) != 1:
        return None
    return found[0], read_rows(ResultsFolder(results).intervals, IntervalRow, "", names=[f"{trial_id}.parquet"])


def read_rows(
    folder: Location,
    row_type: type[Row],
    sweep_id: str,
    names: Sequence[str] | None = None,
    *,
    notes: list[str] | None = None,
) -> list[Row]:
    """Read the rows of some files of a folder (None = all), of one sweep ("" = all).

    Files that are not of these rows are left out: a line says which, once in the log, and each time in `notes`.
    """
    problems: list[str] = []
    if names is None:
        there, problems = row_files(folder)
        names = [info.base_name for info in there]
    else:
        outside = _outside(folder, names)
        problems = [f"{folder / name} leads out of the results folder" for name in sorted(outside)]
        names = [name for name in names if name not in outside]
    plain = sorted(name for name in names if is_plain_row(folder / name, row_type, AS_ONE_ROW))
    together = _read_together(folder, row_type, plain)
    if together is None or len(together) != len(plain):
        together, plain = schema_of(row_type).empty_table(), []
    tables, files = [together], plain
    for name in sorted(set(names).difference(plain)):
        found = read_file(folder / name, row_type)
        if isinstance(found, str):
            problems.append(f"{folder / name} {found}")
        else:
            tables.append(found)
            files += [name] * len(found)
    table = pa.concat_tables(tables)
    if files != sorted(files):
        table = table.take(sorted(range(len(files)), key=files.__getitem__))
    warn_left_out(problems)
    if notes is not None:
        notes += left_out(problems)
    return to_rows(table.filter(pc.equal(table["sweep_id"], sweep_id)) if sweep_id else table, row_type)


def row_files(folder: Location) -> tuple[list[fs.FileInfo], list[str]]:
    """The Parquet files directly in a folder but for hidden ones, and a line on each thing of such a name that is no file."""
    infos = folder.filesystem.get_file_info(fs.FileSelector(folder.path, allow_not_found=True))
    named = [info for info in infos if info.base_name.endswith(".parquet") and not info.base_name.startswith(".")]
    problems = [f"{folder / info.base_name} is not a file" for info in named if info.type != fs.FileType.File]
    files = [info for info in named if info.type == fs.FileType.File]
    outside = _outside(folder, [info.base_name for info in files])
    problems += [f"{folder / name} leads out of the results folder" for name in outside]
    return [info for info in files if info.base_name not in outside], problems


def _outside(folder: Location, names: Sequence[str]) -> set[str]:
    """Those of the files in a folder like RESULTS/trials that links lead to out of RESULTS."""
    if not folder.is_local or not names:
        return set()
    root = os.path.realpath(os.path.dirname(folder.path.rstrip("/")))  # noqa: PTH120 - a hundred thousand files
    if os.path.islink(folder.path) and not Path(os.path.realpath(folder.path)).is_relative_to(root):  # noqa: PTH114
        return set(names)
    links = [name for name in names if os.path.islink(f"{folder.path}/{name}")]  # noqa: PTH114
    return {name for name in links if not Path(os.path.realpath(f"{folder.path}/{name}")).is_relative_to(root)}


def read_file(file: Location, row_type: type) -> pa.Table | str:
    """The rows of one file, with the columns of `schema_of(row_type)`; or what is wrong with it."""
    place, _, name = file.path.rpartition("/")
    if _outside(Location(file.filesystem, place, place), [name]):
        return "leads out of the results folder"
    found = read_stored(file, max_rows=_MAX_TRIALS if row_type is TrialRow else MAX_ROWS)
    if isinstance(found, str):
        return found
    there, schema = set(found.column_names), schema_of(row_type)
    try:
        columns = [
            found[own.name].cast(own.type) if own.name in there else pa.nulls(len(found), own.type) for own in schema
        ]
    except pa.ArrowException as err:
        return f"has other columns than raypol's ({first_line(err)[:120]})"
    table = pa.table(columns, schema=schema)
    empty = [name for name in needed_columns(row_type) if table[name].null_count]
    return f"has no complete rows of raypol (without {', '.join(empty[:_NAMED])})" if empty else table


def read_stored(file: Location, *, max_rows: int = _MAX_TRIALS) -> pa.Table | str:
    """The rows of one file in the columns that it has; or what is wrong with it."""
    try:
        with file.filesystem.open_input_file(file.path) as stream:
            groups, size = read_row_groups(stream, where="the file"), stream.size()
            num_rows = sum(group.num_rows for group in groups)
            if num_rows > max_rows + (size if max_rows == MAX_ROWS else size // 1000):
                return f"claims {num_rows:,} rows in {size:,} bytes"
            for group in groups:
                check_pages(stream, group, where="the file", codecs=_CODECS)
            most = sum(chunk.most_bytes for group in groups for chunk in group.chunks)
            found = upgrade(pq.ParquetFile(stream).read(use_threads=False) if most <= _MAX_BYTES else _folded(stream))
    except (OSError, pa.ArrowException, UnicodeDecodeError, InputError) as err:
        return f"cannot be read ({first_line(err)[:120]})"
    if "sweep_id" not in found.column_names:
        return "has no rows of raypol (no column sweep_id)"
    return misplaced(found) or found


def _folded(stream: pa.NativeFile) -> pa.Table:
    """Rows whose texts may repeat: read as dictionaries, and unfolded if that takes no more than `_MAX_BYTES`."""
    schema = pq.ParquetFile(stream).schema_arrow
    texts = [one.name for one in schema if pa.types.is_string(one.type) or pa.types.is_binary(one.type)]
    found = pq.ParquetFile(stream, read_dictionary=texts).read(use_threads=False)
    total = 0
    for name in texts:
        for part in found[name].chunks:
            total += pc.sum(pc.take(pc.binary_length(part.dictionary), part.indices)).as_py() or 0
    if total > _MAX_BYTES:
        raise InputError(f"its texts would unfold to {total:,} bytes, expected at most {_MAX_BYTES:,}")
    return found.cast(schema)


def misplaced(table: pa.Table) -> str:
    """What is wrong with an identifier that names no place inside a results folder, or a text without end; "" if nothing."""
    for name in _IDENTIFIERS:
        if name in table.column_names:
            for value in pc.unique(table[name]).to_pylist():
                if value and not is_path_component(str(value)):
                    return f"has a {name} that is no name of a file: {str(value)[:80]!r}"
    for own in table.schema:
        if pa.types.is_string(own.type):
            longest = pc.max(pc.utf8_length(table[own.name])).as_py()
            if longest is not None and longest > (_MAX_TEXT if own.name in _LONG_TEXTS else _MAX_NAME):
                return f"has a {own.name} of {longest:,} characters"
    return ""


def left_out(problems: Sequence[str]) -> list[str]:
    """One line on files that were left out; none if there are none."""
    more = f"; and {len(problems) - _NAMED:,} more" if len(problems) > _NAMED else ""
    return [visible(f"left out: {'; '.join(problems[:_NAMED])}{more}")] if problems else []


def warn_left_out(problems: Sequence[str]) -> None:
    """Log that files were left out, unless this process has said the same before."""
    for line in left_out(problems):
        _warn_once(line)


@lru_cache(maxsize=1024)
def _warn_once(line: str) -> None:
    _log.warning("%s", line)


def _read_together(folder: Location, row_type: type, names: Sequence[str]) -> pa.Table | None:
    """The rows of many files at once; None if some file needs a closer look."""
    paths = [(folder / name).path for name in names]
    if not paths:
        return schema_of(row_type).empty_table()
    schema = pa.schema([*schema_of(row_type), *legacy_fields(row_type)])
    batches, rows = [], 0
    try:
        dataset = ds.dataset(paths, filesystem=folder.filesystem, format="parquet", schema=schema)
        for batch in dataset.to_batches():
            batches.append(batch)
            rows += len(batch)
            if rows > MAX_ROWS + ROWS_PER_FILE * len(paths):
                return None
        found = pa.Table.from_batches(batches, schema=schema)
    except (OSError, pa.ArrowException):
        return None
    sound = not any(found[name].null_count for name in needed_columns(row_type)) and not misplaced(found)
    return upgrade(found) if sound else None


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
AS_ONE_ROW: Final = tuple(ONE_ROW.items())


def plain_rows(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Rows as they are written: by column, without secrets, NaN as nothing."""
    return [{key: _plain(value) for key, value in asdict(row).items()} for row in rows]


def write_rows(folder: Location, name: str, row_type: type, rows: Sequence[Any]) -> None:
    """Write FOLDER/<name>.parquet with these rows and no others."""
    folder.make_folder()
    plain = plain_rows(rows)
    with atomic_output(folder / f"{name}.parquet") as stream:
        table = pa.Table.from_pylist(plain, schema=schema_of(row_type))
        pq.write_table(table, stream, **(ONE_ROW if len(rows) == 1 else MANY_ROWS))


def _plain(value: Any) -> Any:  # noqa: ANN401 - any cell
    if isinstance(value, str):  # a message may quote a file name that is no Unicode
        return without_secrets(value[:_MAX_TEXT].encode("utf-8", "backslashreplace").decode())[:_MAX_TEXT]
    # Parquet has no NaN for "undefined" that SQL aggregates would skip; NULL is that.
    return None if isinstance(value, float) and math.isnan(value) else value
