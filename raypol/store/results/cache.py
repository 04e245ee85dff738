"""All trial rows of a results folder as one table, without opening a hundred thousand files each time.

A results folder has a file per trial. Rows that were read are kept in the user's cache folder with the name, size and time of
change of their files; a file that differs in any of them is read again, and the row of a missing file is dropped. The files alone
decide: the cache can be deleted at any time. Nothing is written into the results folder.
"""

import hashlib
import json
import os
import uuid
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from raypol.core.errors import InputError, first_line, local_path
from raypol.core.locks import hold_lock
from raypol.core.progress import Progress, no_progress
from raypol.store.location import Location, open_location
from raypol.store.results.columns import columns_of, schema_of
from raypol.store.results.files import AS_ONE_ROW, MAX_ROWS, ROWS_PER_FILE, left_out, misplaced, read_stored, row_files
from raypol.store.results.plain_files import is_plain_row
from raypol.store.results.rows import TrialRow
from raypol.store.results_folder import ResultsFolder

_KEY, _LACKS = "_file", "_lacks"
_BATCH: Final = 500
"""Files read at a time."""
_PART: Final = 10_000
"""Rows after which a first read is kept, so that an interrupted one continues there."""
_MAX_PARTS: Final = 16
_REMOTE_READS: Final = 16
_PATTERN: Final = frozenset("*?[]")
_MANY = 12


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrialTable:
    """The rows of a results folder at one moment."""

    table: pa.Table
    """Columns of TrialRow; where a file lacks one or has it in another type: its default, NULL if there is none."""
    num_files: int
    num_read: int
    """Files that had to be opened; the others' rows came from the cache."""
    notes: tuple[str, ...]
    """Files that could not be read and columns that are missing, a line each."""


def default_cache() -> Path:
    """The folder that RAYPOL_CACHE names, else ~/.cache/raypol."""
    named = os.environ.get("RAYPOL_CACHE")
    return local_path(named) if named else Path.home() / ".cache" / "raypol"


def read_trial_table(
    results: Location, *, cache: Path | None = None, on_progress: Progress = no_progress
) -> TrialTable:
    """Every row of RESULTS/trials, from the cache where the file is unchanged.

    Args:
        results: the results folder.
        cache: folder for what was read; None = the user's.
        on_progress: called while files are opened.

    Raises:
        InputError: no such folder, or it cannot be listed.
    """
    on_progress("listing the trials", 0, 1)
    files, unreadable = _listed(results)
    on_progress("listing the trials", 1, 1)
    with _store_for(results, cache or default_cache()) as store:
        known = store.read()
        is_current = pc.is_in(known[_KEY], pa.array(list(files), pa.string()))
        kept = known.filter(is_current)
        have = set(kept[_KEY].to_pylist())
        new = {key: name for key, name in files.items() if key not in have}
        fresh = _read_new(results, new, store, on_progress, unreadable)
        table = pa.concat_tables([kept, *fresh])
        store.tidy(table, outdated=len(known) - len(kept))
    return TrialTable(
        table=table.drop_columns([_KEY, _LACKS]),
        num_files=len(files),
        num_read=len(new),
        notes=(*store.notes, *left_out(unreadable), *_of_another_version(table)),
    )


def read_results(results: str | Path) -> pa.Table:
    """The trials of a results folder, one row each, with the columns of `TrialRow` (docs/results.md).

    Args:
        results: the folder's path or address.

    Raises:
        InputError: no such folder, or it cannot be listed.
    """
    found = read_trial_table(open_location(results))
    for note in found.notes:
        warnings.warn(note, stacklevel=2)
    return found.table


def _listed(results: Location) -> tuple[dict[str, str], list[str]]:
    """Name by key (name, size and time of change) of every trial's file, and a line on each thing that is no file."""
    try:
        if not results.exists():
            raise InputError(f"no such results folder: {results}")
        if results.filesystem.get_file_info(results.path).type == fs.FileType.File:
            raise InputError(f"expected a results folder, got a file: {results}")
        infos, problems = row_files(ResultsFolder(results).trials)
    except (OSError, pa.ArrowException) as err:
        raise InputError(f"cannot read the results folder {results}: {first_line(err)}") from err
    return {f"{info.base_name}|{info.size}|{info.mtime_ns}": info.base_name for info in infos}, problems


def _read_new(
    results: Location, new: dict[str, str], store: "_Store", on_progress: Progress, unreadable: list[str]
) -> list[pa.Table]:
    """The rows of files that the cache lacks; batch by batch into the cache. `unreadable` gets a line per file without rows."""
    fresh: list[pa.Table] = []
    waiting: list[pa.Table] = []
    items = list(new.items())
    for start in range(0, len(items), _BATCH):
        on_progress("reading trials", start, len(items))
        waiting += _read_batch(results, items[start : start + _BATCH], unreadable)
        if sum(map(len, waiting)) >= _PART or (waiting and start + _BATCH >= len(items)):
            part = pa.concat_tables(waiting)
            store.add(part)
            fresh.append(part)
            waiting = []
    if items:
        on_progress("reading trials", len(items), len(items))
    return fresh


def _read_batch(results: Location, items: Sequence[tuple[str, str]], unreadable: list[str]) -> list[pa.Table]:
    """The rows of some files; file by file if they are not all local, sound and of this version."""
    folder = ResultsFolder(results).trials
    plain = [item for item in items if is_plain_row(folder / item[1], TrialRow, AS_ONE_ROW)]
    together = _read_together(folder, plain) if plain else None
    if together is not None:
        items = sorted(set(items).difference(plain))

    def read(item: tuple[str, str]) -> pa.Table | str:
        key, name = item
        found = read_stored(folder / name)
        return f"{folder / name} {found}" if isinstance(found, str) else _conform(found, key, name)

    with ThreadPoolExecutor(2 if folder.is_local else _REMOTE_READS) as pool:
        found = list(pool.map(read, items))
    unreadable += [line for line in found if isinstance(line, str)]
    tables = [table for table in found if isinstance(table, pa.Table) and len(table)]
    closer = [pa.concat_tables(tables).combine_chunks()] if tables else []
    return closer if together is None else [together, *closer]


def _read_together(folder: Location, items: Sequence[tuple[str, str]]) -> pa.Table | None:
    """Read a batch in a third of the time; None if some file needs a closer look."""
    schema = schema_of(TrialRow)
    if (
        not folder.is_local
        or _PATTERN.intersection(folder.path)
        or any(_PATTERN.intersection(name) for _, name in items)
    ):
        return None  # DuckDB would take such a name for a pattern
    keys = {str(Path(folder.path) / name): key for key, name in items}
    columns = ", ".join(f'"{name}"' for name in schema.names)
    with duckdb.connect() as connection:
        try:
            files = connection.read_parquet(list(keys), filename=True, hive_partitioning=False)
            # Without union_by_name: a file that lacks a column of the first one is an error, not a column of NULL.
            # A chunk per file as they come: a hundred thousand times a hundred columns would take longer than the reading.
            most = MAX_ROWS + ROWS_PER_FILE * len(items)
            found = files.project(f"{columns}, filename").limit(most + 1).to_arrow_table().combine_chunks()
        except duckdb.Error:
            return None
    if len(found) > most or misplaced(found) or found.drop_columns(["filename"]).schema.types != schema.types:
        return None
    key = pa.array([keys[name] for name in found["filename"].to_pylist()], pa.string())
    lacks = pa.array([""] * len(found), pa.string())
    return pa.table([*found.columns[:-1], key, lacks], schema=_kept_schema())


def _conform(found: pa.Table, key: str, name: str) -> pa.Table:
    """The columns of TrialRow in their types, the file's key, and the names of the columns that the file lacks."""
    columns, lacks = [], []
    for own in schema_of(TrialRow):
        column = found[own.name] if found.column_names.count(own.name) == 1 else None
        if column is not None and column.type != own.type:
            try:
                column = column.cast(own.type)
            except pa.ArrowException:
                column = None
        if column is None:
            lacks.append(own.name)
            default = name.removesuffix(".parquet") if own.name == "trial_id" else _DEFAULTS.get(own.name)
            column = pa.array([default] * len(found), own.type)
        columns.append(column)
    told = [pa.array([text] * len(found), pa.string()) for text in (key, ", ".join(lacks))]
    return pa.table([*columns, *told], schema=_kept_schema())


_DEFAULTS: Final = {one.name: one.default for one in columns_of(TrialRow) if isinstance(one.default, str | bool | int)}


def _kept_schema() -> pa.Schema:
    return schema_of(TrialRow).append(pa.field(_KEY, pa.string())).append(pa.field(_LACKS, pa.string()))


def _of_another_version(table: pa.Table) -> list[str]:
    counted = table.filter(pc.not_equal(table[_LACKS], "")).group_by(_LACKS).aggregate([(_LACKS, "count")]).to_pylist()
    if not counted:
        return []
    rows = sum(group[f"{_LACKS}_count"] for group in counted)
    columns = sorted({name for group in counted for name in group[_LACKS].split(", ")})
    more = f" and {len(columns) - _MANY} more" if len(columns) > _MANY else ""
    which = "1 row is" if rows == 1 else f"{rows:,} rows are"
    return [f"{which} of another version of raypol, without {', '.join(columns[:_MANY])}{more}"]


@contextmanager
def _store_for(results: Location, cache: Path) -> Iterator["_Store"]:
    """The cache of this results folder, ours alone meanwhile; one that forgets if the folder cannot be written."""
    schema = schema_of(TrialRow)
    about = json.dumps([results.address, str(schema)])
    folder = cache / "trials" / hashlib.sha256(about.encode()).hexdigest()[:24]
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            held.enter_context(hold_lock(folder / "lock", busy=f"another process is reading the rows of {results}"))
            store = _Store(folder, ())
        except OSError as err:
            store = _Store(None, (f"nothing is kept for the next time: {cache} cannot be written ({err.strerror})",))
        yield store


class _Store:
    """Parts of one table, with the key of each row's file."""

    def __init__(self, folder: Path | None, notes: tuple[str, ...]) -> None:
        self._folder = folder
        self.notes = notes

    def read(self) -> pa.Table:
        """Read all parts; a damaged one is removed."""
        schema = _kept_schema()
        tables = [schema.empty_table()]
        for path in self._parts():
            try:
                tables.append(pq.read_table(path, schema=schema))
            except (OSError, pa.ArrowException):
                with suppress(OSError):
                    path.unlink()
        return pa.concat_tables(tables)

    def add(self, table: pa.Table) -> bool:
        """Keep a table, as a whole or not at all. A full disk is no reason to show nothing."""
        if self._folder is None:
            return False
        temporary = self._folder / f"{uuid.uuid4().hex}.tmp"
        try:
            pq.write_table(table, temporary, compression="zstd")
            temporary.replace(temporary.with_suffix(".parquet"))
        except OSError as err:
            self.notes = (f"not all is kept for the next time: {err.strerror or err}",)
            with suppress(OSError):
                temporary.unlink()
            return False
        return True

    def tidy(self, table: pa.Table, *, outdated: int) -> None:
        """Replace many parts, or parts of mostly outdated rows, by one."""
        parts = self._parts()
        if (len(parts) > _MAX_PARTS or outdated > len(table)) and self.add(table):
            for path in parts:
                with suppress(OSError):
                    path.unlink()

    def _parts(self) -> list[Path]:
        return [] if self._folder is None else sorted(self._folder.glob("*.parquet"))
