"""The table of all trials equals what the files say, whatever the cache holds."""

import os
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from raypol.core.errors import InputError
from raypol.core.progress import TimeLeft
from raypol.store.location import Location, open_location
from raypol.store.results.cache import TrialTable, default_cache, read_trial_table
from raypol.store.results.columns import schema_of
from raypol.store.results.files import read_trials, to_rows, write_trial
from raypol.store.results.rows import TrialRow
from tests.many_rows import varied_row, write_many
from tests.rows import made_row


def read(folder: Path, cache: Path | None = None) -> TrialTable:
    return read_trial_table(open_location(folder), cache=cache or folder.parent / "cache")


def rows_of(table: TrialTable) -> list[TrialRow]:
    return sorted(to_rows(table.table, TrialRow), key=lambda row: row.trial_id)


def write(folder: Path, row: TrialRow) -> None:
    write_trial(open_location(folder), row, [])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_many(tmp_path / "results", 30, intervals_of=0)
    return tmp_path / "results"


def test_the_table_is_what_the_files_say_and_a_second_time_no_file_is_opened(folder: Path) -> None:
    expected = sorted(read_trials(open_location(folder)), key=lambda row: row.trial_id)
    first = read(folder)
    assert (first.num_files, first.num_read, first.notes) == (30, 30, ())
    assert rows_of(first) == expected == sorted(map(varied_row, range(30)), key=lambda row: row.trial_id)
    for file in (folder / "trials").iterdir():  # same size and time, other content: it would show
        times = file.stat()
        file.write_bytes(b"\0" * times.st_size)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    second = read(folder)
    assert (second.num_files, second.num_read) == (30, 0)
    assert rows_of(second) == expected


def test_new_changed_and_removed_files_show(folder: Path) -> None:
    read(folder)
    write(folder, varied_row(100))
    write(folder, replace(varied_row(3), arm="again"))
    (folder / "trials" / f"{varied_row(4).trial_id}.parquet").unlink()
    found = read(folder)
    assert (found.num_files, found.num_read) == (30, 2)
    by_id = {row.trial_id: row for row in rows_of(found)}
    assert by_id[varied_row(3).trial_id].arm == "again"
    assert varied_row(100).trial_id in by_id
    assert varied_row(4).trial_id not in by_id
    assert len(by_id) == 30


def test_two_folders_do_not_mix(folder: Path, tmp_path: Path) -> None:
    read(folder)
    write(tmp_path / "other", made_row(1))
    assert rows_of(read(tmp_path / "other")) == read_trials(open_location(tmp_path / "other"))


def test_many_small_additions_become_few_parts(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raypol.store.results.cache._MAX_PARTS", 3)
    for number in range(40, 46):
        write(folder, varied_row(number))
        read(folder)
    assert len(list((tmp_path / "cache").rglob("*.parquet"))) <= 4
    assert rows_of(read(folder)) == sorted(read_trials(open_location(folder)), key=lambda row: row.trial_id)


def test_a_damaged_cache_is_no_cache(folder: Path, tmp_path: Path) -> None:
    read(folder)
    for part in (tmp_path / "cache").rglob("*.parquet"):
        part.write_bytes(b"PAR1 not really PAR1")
    found = read(folder)
    assert found.num_read == 30
    assert read(folder).num_read == 0


def test_a_cache_that_cannot_be_written_is_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = read(folder, tmp_path / "file" / "cache")
    assert len(found.table) == 30
    (note,) = found.notes
    assert note.startswith("nothing is kept for the next time")


def test_an_interrupted_first_read_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raypol.store.results.cache._BATCH", 10)
    monkeypatch.setattr("raypol.store.results.cache._PART", 10)

    def stop(what: str, done: int, _of: int, _left: TimeLeft | None = None) -> None:
        if what == "reading trials" and done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_trial_table(open_location(folder), cache=tmp_path / "cache", on_progress=stop)
    found = read(folder)
    assert (found.num_read, len(found.table)) == (10, 30)


@pytest.mark.parametrize("name", ["plain", "[odd] *na?me*"])
def test_files_of_another_version_are_read_and_said(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    write(folder, made_row(0))
    whole = pa.Table.from_pylist([asdict(made_row(1))], schema=schema_of(TrialRow))
    without = whole.drop_columns(["simulated", "arm", "error_l2"]).append_column("new", pa.array([1]))
    pq.write_table(without, folder / "trials" / "older.parquet")
    retyped = whole.set_column(whole.schema.get_field_index("steps"), "steps", pa.array(["many"]))
    pq.write_table(retyped, folder / "trials" / "retyped.parquet")
    for _ in range(2):  # the second time from the cache
        found = read(folder)
        by_id = {(row["trial_id"], row["arm"]): row for row in found.table.to_pylist()}
        assert len(found.table) == 3
        assert by_id["made-1", None]["simulated"] is False
        assert by_id["made-1", None]["error_l2"] is None
        assert by_id["made-1", "III"]["steps"] is None
        (note,) = found.notes
        assert note == "2 rows are of another version of raypol, without arm, error_l2, simulated, steps"


def test_what_is_no_row_is_left_out_and_said(folder: Path) -> None:
    trials = folder / "trials"
    (trials / "broken.parquet").write_bytes(b"PAR1")
    (trials / "empty.parquet").write_bytes(b"")
    (trials / "x.tmp").write_bytes(b"half")
    (trials / "folder.parquet").mkdir()
    for expected_reads in (32, 2):
        found = read(folder)
        assert len(found.table) == 30
        assert found.num_read == expected_reads
        (note,) = found.notes
        assert "broken.parquet cannot be read" in note
        assert "empty.parquet cannot be read" in note


def test_a_folder_that_is_not_on_this_machine(folder: Path, tmp_path: Path) -> None:
    there = Location(fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem()), "/", "s3://bucket/results")
    for expected_reads in (30, 0):
        found = read_trial_table(there, cache=tmp_path / "cache")
        assert (len(found.table), found.num_read) == (30, expected_reads)


def test_folders_without_trials(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert len(read(tmp_path / "empty").table) == 0
    with pytest.raises(InputError, match="no such results folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="expected a results folder, got a file"):
        read(tmp_path / "file")


def test_the_cache_lies_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYPOL_CACHE", str(tmp_path / "mine"))
    assert default_cache() == tmp_path / "mine"
    monkeypatch.delenv("RAYPOL_CACHE")
    assert default_cache() == Path.home() / ".cache" / "raypol"
